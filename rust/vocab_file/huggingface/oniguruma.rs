//! Where Oniguruma, in the Ruby syntax that Hugging Face uses, reads a pattern otherwise than the regex engine here.

/// A construct that both read differently.
pub fn read_otherwise(pattern: &str) -> Option<&'static str> {
    let mut chars = pattern.char_indices();
    let mut in_class = 0;
    while let Some((i, c)) = chars.next() {
        let rest = &pattern[i..];
        match c {
            '\\' => drop(chars.next()),
            '[' => in_class += 1,
            ']' if in_class > 0 => in_class -= 1,
            _ if in_class > 0 => {}
            '{' if rest.starts_with("{,") => return Some("`{,…}` is a count there, and text here"),
            '^' | '$' => return Some("`^` and `$` match at every line there, and at the text's ends here"),
            // `\p{N}+` ends a name, not a count.
            '}' if rest[1..].starts_with('+') && counted(&pattern[..i]) => {
                return Some("`{…}+` repeats the count there, and is possessive here");
            }
            '(' if rest[1..].starts_with('?') => {
                let flags = rest[2..]
                    .split(|c: char| !c.is_ascii_alphabetic() && c != '-')
                    .next()
                    .unwrap_or_default();
                if flags.contains(['m', 's', 'x', 'u', 'U', 'R']) {
                    return Some("flags other than `i` mean something else there");
                }
                if flags.contains('i') && !folds_alike(&rest[2 + flags.len()..]) {
                    return Some("`i` lets one letter stand for two there, as `ß` for `ss`, and never here");
                }
            }
            _ => {}
        }
    }
    None
}

/// Whether a case-insensitive group, from its `:` on, means the same to both engines: plain ASCII letters, and none of the
/// pairs for which a single character stands.
fn folds_alike(rest: &str) -> bool {
    let Some((group, _)) = rest.strip_prefix(':').and_then(|rest| rest.split_once(')')) else { return false };
    let group = group.to_ascii_lowercase();
    group.bytes().all(|b| b.is_ascii_alphabetic() || matches!(b, b'\'' | b'|' | b' '))
        && !["ff", "fi", "fl", "ss", "st"].iter().any(|pair| group.contains(pair))
}

/// Whether the text before a `}` is a count such as `{1,3`.
fn counted(before: &str) -> bool {
    let Some((_, count)) = before.rsplit_once('{') else { return false };
    !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit() || b == b',')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pretokenizer::Pretokenizer;

    #[test]
    fn tells_what_the_other_engine_reads_differently() {
        for named in crate::pretokenizer::NAMED {
            for regex in Pretokenizer::new(named.name).unwrap().regexes() {
                assert_eq!(read_otherwise(regex), None, "{}", named.name);
            }
        }
        assert_eq!(read_otherwise(r"[^$^]|\p{N}{1,3}|\$\^|\p{L}+|(?i:a)|(?<=x)[\]$]"), None);
        for pattern in [r"(?i:strasse)", r"(?i)a", r"(?i:ß)", r"(?i:[a-z])", r"a{,2}"] {
            assert!(read_otherwise(pattern).is_some(), "{pattern}");
        }
        assert_eq!(read_otherwise(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|\p{L}+"), None);
        for pattern in [r"\s++$", "^a", r"\p{N}{1,3}+", "(?s).", "(?m:.)", "(?i-s:.)", "a{2}+"] {
            assert!(read_otherwise(pattern).is_some(), "{pattern}");
        }
    }
}
