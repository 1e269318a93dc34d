//! The texts that benches share, from `../shared/data` beside the repository; one that is absent is named and left out.

use std::path::Path;

/// The beginning of a text.
pub struct Text {
    /// The name of its file, without an ending.
    pub name: String,
    /// At most as many bytes as were asked for; may end within a character.
    pub bytes: Vec<u8>,
}

/// Reads up to `max_bytes` of each of `files`.
pub fn texts(files: &[&str], max_bytes: usize) -> Vec<Text> {
    files.iter().filter_map(|file| text(file, max_bytes)).collect()
}

fn text(file: &str, max_bytes: usize) -> Option<Text> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(file);
    match std::fs::read(&path) {
        Ok(mut bytes) => {
            bytes.truncate(max_bytes);
            let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
            Some(Text { name, bytes })
        }
        Err(error) => {
            eprintln!("left out: {}: {error}", path.display());
            None
        }
    }
}
