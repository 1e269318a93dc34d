use super::*;
use crate::pretokenizer::Pretokenizer;

#[test]
fn patterns_in_use_are_read_alike() {
    for named in crate::pretokenizer::NAMED {
        for regex in Pretokenizer::new(named.name).unwrap().regexes() {
            assert_eq!(read_otherwise(regex), None, "{}", named.name);
        }
    }
    for regex in [
        r"[^$^]|\p{N}{1,3}|\$\^|\p{L}+|(?i:a)|(?<=x)[\]$]",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|\p{L}+",
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
        r" ?[^(\s|[.,!?…。，、।۔،])]+",
        r"[\p{Han}]+|[\p{Lu}&&[^\p{Han}]]",
        r"(?=(\d{3})+(?!\d))|\A\p{Nd}{1,2}(?=\p{Nd}{3}+\z)",
    ] {
        let translated = translate(regex).unwrap();
        assert!(Pretokenizer::sequence(&[&translated.regex]).is_ok(), "{regex}");
        if !regex.contains("}+") {
            assert_eq!(translated, Translated { regex: regex.into(), difference: None });
        }
    }
}

#[test]
fn what_differs_is_written_otherwise() {
    for (pattern, regex) in [
        (r"a$", r"a(?=\n|\z)"),
        (r"\p{N}{1,3}+", r"(?:\p{N}{1,3})+"),
        (r"(?:ab){2}+", r"(?:(?:ab){2})+"),
        (r"a[bc]{2}?", r"a(?:[bc]{2})?"),
        (r"a{,2}", r"a{0,2}"),
        (r"(?m:.)a.", r"(?:[\s\S])a."),
        (r"[\w-]+", r"[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}-]+"),
        (r"\<|\>", r"<|>"),
        (r"[a~~b]", r"[a\~\~b]"),
        (r"a(?i)b|k", r"a(?i:b|k)"),
        (r"[[:alpha:]_]", r"[[\p{Alphabetic}]_]"),
    ] {
        let translated = translate(pattern).unwrap();
        assert_eq!(translated.regex, regex, "{pattern}");
        assert!(translated.difference.is_some(), "{pattern}");
        // What is written means the same to both.
        assert_eq!(read_otherwise(regex), None, "{pattern}");
    }
    for pattern in [r"\w+", r"\W", r"\bx\B", r"^a"] {
        let translated = translate(pattern).unwrap();
        assert_eq!(read_otherwise(&translated.regex), None, "{pattern}");
        assert!(Pretokenizer::sequence(&[translated.regex]).is_ok(), "{pattern}");
    }
}

#[test]
fn what_is_not_known_to_mean_the_same_is_refused() {
    for pattern in [
        r"(?i:strasse)",
        r"(?i:s[s])",
        r"(?i:f(?:x|i))",
        r"(?i:s+)",
        r"(?i:ß)",
        r"(?i:\p{Lu})",
        r"(?i:[^a])",
        r"(?s).",
        r"(?x: a)",
        r"(?u:a)",
        r"(?P<n>a)",
        r"(?~a)",
        r"(?(1)a|b)",
        r"\pL",
        r"\p{Graph}",
        r"\p{sc=Han}",
        r"\X",
        r"\K",
        r"\G",
        r"\g<1>",
        r"\k<n>",
        r"\101",
        r"\10",
        r"\0",
        r"\cA",
        r"\xe9",
        r"a**",
        r"a+{2}",
        r"a{2}{3}",
        r"*",
        r"[a",
        r"(a",
        r"a)",
        r"[a--b]",
        r"[[:graph:]]",
        r"(?<n>a)(b)\1",
        r"\y",
        r"\Q",
    ] {
        assert!(translate(pattern).is_err(), "{pattern}");
    }
}
