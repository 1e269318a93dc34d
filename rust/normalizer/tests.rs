use super::*;
use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization;

fn apply(steps: Vec<Step>, text: &str) -> String {
    let normalizer = Normalizer::new(steps).unwrap();
    String::from_utf8(normalizer.apply(text.as_bytes(), WHOLE).unwrap().into_owned()).unwrap()
}

#[test]
fn each_step_does_what_its_name_says() {
    let replace = |wanted, content: &str| Step::Replace { wanted, content: content.into() };
    for (step, text, expected) in [
        (Step::Nfc, "e\u{301} x\u{323}\u{307} \u{1100}\u{1161}\u{11A8} 한", "é ẋ\u{323} 각 한"),
        (Step::Nfd, "é 각", "e\u{301} \u{1100}\u{1161}\u{11A8}"),
        (Step::Nfkc, "ﬁ ² Å", "fi 2 Å"),
        (Step::Nfkd, "ﬁ é", "fi e\u{301}"),
        (Step::Lowercase, "ÀB İ ΣΣ", "àb i\u{307} σσ"),
        (Step::StripAccents, "e\u{301}a\u{20D7}é\u{903}\u{488}\u{1CF2}", "eaé"),
        // Unicode 14.0.
        (Step::StripAccents, "\u{898}", "\u{898}"),
        (Step::Strip { left: true, right: false }, " \u{3000}a ", "a "),
        (Step::Strip { left: true, right: true }, "\ta b\n", "a b"),
        (Step::Strip { left: true, right: true }, "  ", ""),
        (replace(Wanted::Text("ab".into()), "$0"), "abab x", "$0$0 x"),
        (replace(Wanted::Regex(" {2,}".into()), "_"), "a   b  ", "a_b_"),
        (Step::Prepend("> ".into()), "a", "> a"),
        (Step::Prepend("> ".into()), "", ""),
    ] {
        assert_eq!(apply(vec![step.clone()], text), expected, "{step:?}");
    }
}

#[test]
fn what_unicode_9_does_not_have_stays() {
    // Composed since Unicode 16.0, 13.0.
    for text in ["\u{105D2}\u{307}", "\u{11935}\u{11930}", "a\u{1AC5}\u{301}"] {
        assert_eq!(apply(vec![Step::Nfc], text), text);
    }
}

fn texts() -> impl Strategy<Value = String> {
    let parts = [
        "a",
        "e",
        "é",
        "\u{301}",
        "\u{323}",
        "\u{307}",
        "\u{1100}",
        "\u{1161}",
        "\u{11A8}",
        "각",
        "가",
        "語",
        " ",
        "ﬁ",
        "Å",
        "\u{212B}",
        "\u{F900}",
        "\u{1D15E}",
        "\u{0344}",
        "\u{0958}",
        "İ",
        "ſ",
        "\u{3099}",
        "か",
        "2",
        "²",
        "\u{344}",
        "\u{0F73}",
        "▁",
    ];
    let part = prop_oneof![4 => prop::sample::select(parts.to_vec()).prop_map(str::to_owned), 1 => "[a-z ]{20,50}", 1 => any::<char>().prop_map(String::from)];
    prop::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
}

fn all_steps() -> Vec<Vec<Step>> {
    let replace = Step::Replace { wanted: Wanted::Text("▁".into()), content: " ".into() };
    let strip = Step::Strip { left: true, right: true };
    vec![
        vec![Step::Nfc],
        vec![Step::Nfd],
        vec![Step::Nfkc],
        vec![Step::Nfkd],
        vec![Step::Nfd, Step::StripAccents, Step::Lowercase],
        vec![Step::Nfkc, replace, strip, Step::Prepend("▁".into())],
    ]
}

proptest! {
    #[test]
    fn forms_are_those_of_the_whole_text(text in texts()) {
        let text: String = text.chars().filter(|&c| !forms::is_later(c)).collect();
        prop_assert_eq!(apply(vec![Step::Nfc], &text), text.nfc().collect::<String>());
        prop_assert_eq!(apply(vec![Step::Nfd], &text), text.nfd().collect::<String>());
        prop_assert_eq!(apply(vec![Step::Nfkc], &text), text.nfkc().collect::<String>());
        prop_assert_eq!(apply(vec![Step::Nfkd], &text), text.nfkd().collect::<String>());
    }

    #[test]
    fn text_can_be_cut_where_characters_are_kept(text in texts(), bytes in any::<bool>()) {
        let mut text = text.into_bytes();
        if bytes && !text.is_empty() {
            text.insert(text.len() / 2, 0xFF);
        }
        for steps in all_steps() {
            let normalizer = Normalizer::new(steps).unwrap();
            let whole = normalizer.apply(&text, WHOLE).unwrap();
            for cut in normalizer.cuts(&text) {
                let (left, right) = text.split_at(cut);
                if left.is_empty() || right.is_empty() {
                    continue;
                }
                let parts = [(left, Ends { ends: false, ..WHOLE }), (right, Ends { begins: false, ..WHOLE })];
                let parts = parts.map(|(part, ends)| normalizer.apply(part, ends).unwrap().into_owned());
                prop_assert_eq!(&parts.concat()[..], &*whole, "{:?}", normalizer);
            }
            let (aligned, changes) = normalizer.aligned(&text, WHOLE).unwrap();
            prop_assert_eq!(&aligned[..], &*whole);
            // What lies between two changes is the same.
            let (mut source_at, mut at) = (0, 0);
            for (source, became) in changes.iter().cloned().chain([(text.len()..text.len(), aligned.len()..aligned.len())]) {
                prop_assert_eq!(&text[source_at..source.start], &aligned[at..became.start]);
                (source_at, at) = (source.end, became.end);
            }
        }
    }
}
