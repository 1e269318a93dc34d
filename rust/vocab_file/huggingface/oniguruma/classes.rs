//! Characters, properties and classes as Oniguruma spells them.

/// What `\w` means in a class.
pub const WORD: &str = r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}";
/// What it matches outside a class beside.
pub const WORD_SIGNS: &str = "²³¹¼½¾";

/// Properties that both engines know by one name, beside general categories and scripts.
const PROPERTIES: [&str; 22] = [
    "Alphabetic",
    "Alpha",
    "Uppercase",
    "Upper",
    "Lowercase",
    "Lower",
    "White_Space",
    "Space",
    "Punct",
    "Alnum",
    "Digit",
    "Blank",
    "Cntrl",
    "ASCII",
    "Any",
    "Assigned",
    "Emoji",
    "Emoji_Presentation",
    "Extended_Pictographic",
    "Ideographic",
    "Hex_Digit",
    "Dash",
];

/// The rest of `\p{…}` or `\P{…}`.
pub fn property(letter: char, rest: &mut &str) -> Result<String, String> {
    let Some((name, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
        // `\pL` is `pL` there.
        return Err(format!("`\\{letter}` without braces"));
    };
    let (not, plain) = name.strip_prefix('^').map_or(("", name), |plain| ("^", plain));
    let is_known = |class: &str| regex_syntax::parse(class).is_ok();
    let is_word = plain.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
    let known = is_word
        && !plain.is_empty()
        && (PROPERTIES.contains(&plain)
            || is_known(&format!(r"\p{{gc={plain}}}"))
            || is_known(&format!(r"\p{{sc={plain}}}")));
    if !known {
        return Err(format!("the property `\\{letter}{{{name}}}`"));
    }
    *rest = after;
    Ok(format!("\\{letter}{{{not}{plain}}}"))
}

/// A class such as `alpha` of `[[:alpha:]]`, and how it differs from the one here.
pub fn bracket(name: &str) -> Result<(String, Option<&'static str>), String> {
    let (not, plain) = name.strip_prefix('^').map_or(("", name), |plain| ("^", plain));
    if matches!(plain, "ascii" | "xdigit") {
        return Ok((format!("[:{name}:]"), None));
    }
    let set = match plain {
        "alpha" => r"\p{Alphabetic}",
        "alnum" => r"\p{Alphabetic}\p{Nd}",
        "blank" => r"\p{Zs}\t",
        "cntrl" => r"\p{Cc}",
        "digit" => r"\p{Nd}",
        "lower" => r"\p{Lowercase}",
        "punct" => r"\p{P}\p{S}",
        "space" => r"\s",
        "upper" => r"\p{Uppercase}",
        "word" => WORD,
        _ => return Err(format!("the class `[:{name}:]`")),
    };
    Ok((format!("[{not}{set}]"), Some("`[[:…:]]` knows all of Unicode there, and ASCII alone here")))
}

/// An escaped character, from the one after `\` on.
pub fn character(c: char, rest: &mut &str) -> Result<String, String> {
    let code = match c {
        'n' | 'r' | 't' | 'f' | 'v' | 'a' => return Ok(format!("\\{c}")),
        'e' => 0x1B,
        // Above ASCII it is a byte there.
        'x' if !rest.starts_with('{') => {
            digits(rest, 2).filter(|code| *code < 0x80).ok_or("`\\x` with no two digits, or above 7f")?
        }
        'x' => {
            let (code, after) = rest[1..].split_once('}').ok_or("`\\x{` that is not closed")?;
            *rest = after;
            u32::from_str_radix(code, 16).map_err(|_| "`\\x{…}` that is no number")?
        }
        'u' => digits(rest, 4).ok_or("`\\u` without four digits")?,
        '<' | '>' => return Ok(c.to_string()),
        c if c.is_ascii_punctuation() || c == ' ' => {
            return Ok(regex_syntax::escape(&c.to_string()));
        }
        c => return Err(format!("the escape `\\{c}`")),
    };
    if char::from_u32(code).is_none() {
        return Err(format!("the code point {code:x}"));
    }
    Ok(format!("\\x{{{code:X}}}"))
}

/// Takes hexadecimal digits off the front.
fn digits(rest: &mut &str, len: usize) -> Option<u32> {
    let digits = rest.get(..len).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    *rest = &rest[len..];
    u32::from_str_radix(digits, 16).ok()
}

/// Writes a character of a class, so that two of them are never an operator.
pub fn push(out: &mut String, c: char) {
    if c == '~' {
        out.push('\\');
    }
    out.push(c);
}
