//! Small files of the formats of other libraries, and what must hold for every damaged one.

use std::path::Path;
use tinybpe::vocab_file::{self, Given};
use tinybpe::{Encoder, Error, Monitor, Specials};

/// A message of a protocol buffer.
#[derive(Clone, Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    pub fn number(mut self, field: u64, number: u64) -> Self {
        self.varint(field << 3);
        self.varint(number);
        self
    }

    pub fn float(mut self, field: u64, number: f32) -> Self {
        self.varint(field << 3 | 5);
        self.0.extend(number.to_le_bytes());
        self
    }

    pub fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }
}

/// Text, score and type of pieces.
pub type Pieces<'a> = Vec<(&'a str, f32, u64)>;

/// Pieces as `SentencePiece` trains them, without byte pieces: ids 0 to 2, runs of spaces with the lowest score, words, characters.
pub fn pieces() -> Pieces<'static> {
    vec![
        ("<unk>", 0.0, 2),
        ("<s>", 0.0, 3),
        ("</s>", 0.0, 3),
        ("▁▁", -1e9, 1),
        ("▁▁▁", -1e9, 1),
        ("▁a", 0.0, 1),
        ("ab", -1.0, 1),
        ("▁b", -1.0, 1),
        ("ba", -1.0, 1),
        ("▁", -7.0, 1),
        ("a", -8.0, 1),
        ("b", -9.0, 1),
        ("c", -10.0, 1),
        ("<x>", 0.0, 4),
        ("<x>y", 0.0, 4),
        ("<unused0>", 0.0, 5),
    ]
}

/// A `SentencePiece` model of the type BPE; `trainer` and `normalizer` are added to its settings.
pub fn model(pieces: &[(&str, f32, u64)], trainer: &Message, normalizer: &Message) -> Vec<u8> {
    let mut file = Message::default();
    for (text, score, kind) in pieces {
        file =
            file.bytes(1, &Message::default().bytes(1, text.as_bytes()).float(2, *score).number(3, *kind).0);
    }
    let trainer = [&Message::default().number(3, 2).number(4, 16).0[..], &trainer.0].concat();
    let normalizer = [&Message::default().bytes(1, b"identity").number(4, 0).0[..], &normalizer.0].concat();
    file.bytes(2, &trainer).bytes(3, &normalizer).0
}

/// A value of a GGUF file.
pub enum Value<'a> {
    Text(&'a str),
    Texts(Vec<String>),
    Floats(Vec<f32>),
    Numbers(Vec<i32>),
    Number(u32),
    Flag(bool),
}

fn text(file: &mut Vec<u8>, text: &str) {
    file.extend((text.len() as u64).to_le_bytes());
    file.extend_from_slice(text.as_bytes());
}

/// A GGUF file with these keys, and some bytes of tensors behind them.
pub fn gguf(keys: &[(&str, Value)]) -> Vec<u8> {
    let mut file = b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0".to_vec();
    file.extend((keys.len() as u64).to_le_bytes());
    let array = |file: &mut Vec<u8>, kind: u32, len: usize| {
        file.extend(9_u32.to_le_bytes());
        file.extend(kind.to_le_bytes());
        file.extend((len as u64).to_le_bytes());
    };
    for (key, value) in keys {
        text(&mut file, key);
        match value {
            Value::Text(value) => {
                file.extend(8_u32.to_le_bytes());
                text(&mut file, value);
            }
            Value::Texts(values) => {
                array(&mut file, 8, values.len());
                for value in values {
                    text(&mut file, value);
                }
            }
            Value::Floats(values) => {
                array(&mut file, 6, values.len());
                for value in values {
                    file.extend(value.to_le_bytes());
                }
            }
            Value::Numbers(values) => {
                array(&mut file, 5, values.len());
                for value in values {
                    file.extend(value.to_le_bytes());
                }
            }
            Value::Number(value) => {
                file.extend(4_u32.to_le_bytes());
                file.extend(value.to_le_bytes());
            }
            Value::Flag(value) => {
                file.extend(7_u32.to_le_bytes());
                file.push(u8::from(*value));
            }
        }
    }
    file.extend([0xff; 40]);
    file
}

/// The pieces as GGUF.
pub fn gguf_pieces(pieces: &[(&str, f32, u64)]) -> Vec<u8> {
    gguf(&[
        ("general.architecture", Value::Text("llama")),
        ("tokenizer.ggml.model", Value::Text("llama")),
        ("tokenizer.ggml.tokens", Value::Texts(pieces.iter().map(|piece| piece.0.to_owned()).collect())),
        ("tokenizer.ggml.scores", Value::Floats(pieces.iter().map(|piece| piece.1).collect())),
        (
            "tokenizer.ggml.token_type",
            Value::Numbers(pieces.iter().map(|piece| i32::try_from(piece.2).unwrap()).collect()),
        ),
        ("llama.list", Value::Texts(vec!["x".into(), String::new()])),
        ("tokenizer.ggml.bos_token_id", Value::Number(1)),
        ("tokenizer.ggml.add_bos_token", Value::Flag(true)),
    ])
}

/// The bytes in GPT-2's characters.
pub fn byte_texts() -> Vec<String> {
    let mut others = '\u{100}'..='\u{143}';
    let is_printable = |byte: u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let text = |byte| if is_printable(byte) { char::from(byte) } else { others.next().unwrap() }.to_string();
    (0..=255_u8).map(text).collect()
}

/// Merges of bytes as GGUF, split by the rule `pre`: ` a` is 256, `ab` 257, `<end>` 258 a control token, `<y>` 259 one for every text.
pub fn gguf_merges(pre: &str) -> Vec<u8> {
    let mut tokens = byte_texts();
    tokens.extend(["\u{120}a", "ab", "<end>", "<y>", "[PAD260]"].map(str::to_owned));
    let mut kinds = vec![1; 258];
    kinds.extend([3, 4, 5]);
    gguf(&[
        ("tokenizer.ggml.model", Value::Text("gpt2")),
        ("tokenizer.ggml.pre", Value::Text(pre)),
        ("tokenizer.ggml.tokens", Value::Texts(tokens)),
        ("tokenizer.ggml.token_type", Value::Numbers(kinds)),
        ("tokenizer.ggml.merges", Value::Texts(vec!["\u{120} a".into(), "a b".into()])),
        ("tokenizer.ggml.eos_token_id", Value::Number(258)),
        ("tokenizer.ggml.add_eos_token", Value::Flag(true)),
    ])
}

/// A `tekken.json` with four special tokens, of which two have names, and `ab` as id 260; a last token is cut off.
pub fn tekken() -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let mut tokens: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    tokens.extend([b"ab".to_vec(), b"abc".to_vec()]);
    let token = |(rank, bytes): (usize, &Vec<u8>)| {
        format!(r#"{{"rank": {rank}, "token_bytes": "{}", "token_str": null}}"#, STANDARD.encode(bytes))
    };
    let tokens: Vec<String> = tokens.iter().enumerate().map(token).collect();
    format!(
        r#"{{"config": {{"pattern": "\\p{{L}}+|\\P{{L}}", "num_vocab_tokens": 258, "default_vocab_size": 261, "default_num_special_tokens": 4, "version": "v11"}},
"special_tokens": [{{"rank": 0, "token_str": "<unk>", "is_control": true}}, {{"rank": 1, "token_str": "<s>", "is_control": true}}],
"vocab": [{}]}}"#,
        tokens.join(", ")
    )
}

/// Loads a file; it is refused with a reason, or gives a tokenizer that encodes and decodes any text.
pub fn load(path: &Path, given: &Given) {
    let definition = match vocab_file::load(path, given) {
        Ok(definition) => definition,
        Err(error) => {
            assert!(matches!(error, Error::VocabFile { .. }), "{error:?}");
            assert!(error.to_string().len() < 5000);
            return;
        }
    };
    let vocab = &definition.vocab;
    for merge in vocab.merges() {
        let (left, right) = vocab.parts(*merge);
        assert_eq!(vocab.token_bytes(merge.id), Some(&[left, right].concat()[..]));
    }
    let Ok(encoder) = Encoder::of(definition) else { return };
    let text = "  ab abba  <x>y caab\u{2581}\u{2581}<end> <y>\n世".as_bytes();
    for text in [text, b"", b" ", b"\xff a"] {
        for specials in [Specials::Ordinary, Specials::Allowed] {
            let mut ids = Vec::new();
            if encoder.encode(text, specials, &mut ids, &Monitor::default()).is_ok() {
                encoder.decode(ids.into_iter().map(i64::from)).unwrap();
            }
        }
    }
}

/// Writes a file and loads it.
pub fn load_bytes(bytes: &[u8], given: &Given) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    load(file.path(), given);
}

/// Good files of a format.
pub fn good(format: &str) -> Vec<Vec<u8>> {
    match format {
        "load_sentencepiece" => {
            let removes = Message::default().number(4, 1);
            vec![
                model(&pieces(), &Message::default(), &Message::default()),
                model(&pieces(), &Message::default().number(44, 0), &removes),
            ]
        }
        "load_gguf" => vec![gguf_pieces(&pieces()), gguf_merges("gpt-2"), gguf_merges("deepseek-coder")],
        _ => vec![tekken().into_bytes()],
    }
}

/// An input's first byte chooses a good file, and whether the rest is the file itself or a list of edits: offset, bytes to remove,
/// bytes to insert.
fn edited(format: &str, data: &[u8]) {
    let Some((&choice, mut rest)) = data.split_first() else { return };
    if choice & 0x80 != 0 {
        return load_bytes(rest, &Given::default());
    }
    let mut files = good(format);
    let index = usize::from(choice) % files.len();
    let mut file = files.swap_remove(index);
    while let Some(([low, high, removed, inserted], behind)) = rest.split_first_chunk() {
        let at = usize::from(u16::from_le_bytes([*low, *high])) % (file.len() + 1);
        let removed = usize::from(*removed).min(file.len() - at);
        let (new, behind) = behind.split_at(behind.len().min(usize::from(inserted & 15)));
        file.splice(at..at + removed, new.iter().copied());
        rest = behind;
    }
    load_bytes(&file, &Given::default());
}

pub fn load_sentencepiece(data: &[u8]) {
    edited("load_sentencepiece", data);
}

pub fn load_gguf(data: &[u8]) {
    edited("load_gguf", data);
}

pub fn load_tekken(data: &[u8]) {
    edited("load_tekken", data);
}
