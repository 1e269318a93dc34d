//! Where a text can be cut so that the pieces of both parts are the pieces of the whole.

use crate::pretokenizer::Pretokenizer;
use crate::special::SpecialTokens;

/// The last place after `searched` where `text`, of which more may follow, can be cut.
pub(crate) fn last_cut(
    pretokenizer: &Pretokenizer,
    specials: &SpecialTokens,
    text: &[u8],
    searched: usize,
) -> Option<usize> {
    // A special token that lies across a later place might not be whole yet, nor might the character after it.
    let end = text.len().checked_sub(specials.longest().max(4))?;
    let is_cut = |cut: usize| !specials.lies_across(text, cut);
    if pretokenizer.has_safe_cuts() {
        let safe = |&cut: &usize| {
            let around = char_before(text, cut).zip(char_at(text, cut));
            around.is_some_and(|(before, after)| pretokenizer.is_safe_cut(before, after)) && is_cut(cut)
        };
        return (searched.max(1)..=end).rev().find(safe);
    }
    let mut from = searched.saturating_sub(specials.longest());
    let mut last = None;
    while let Some(found) = specials.find(text, from).filter(|found| found.start <= end) {
        if found.start > 0 && is_cut(found.start) {
            last = Some(found.start);
        }
        from = found.end;
    }
    last
}

fn char_at(text: &[u8], at: usize) -> Option<char> {
    let first = *text.get(at)?;
    if first < 0x80 {
        return Some(char::from(first));
    }
    let end = text.len().min(at + 4);
    let chunk = text.get(at..end)?.utf8_chunks().next()?;
    chunk.valid().chars().next()
}

fn char_before(text: &[u8], at: usize) -> Option<char> {
    let start = (at.saturating_sub(4)..at).rev().find(|&i| text[i] & 0xC0 != 0x80)?;
    char_at(&text[..at], start).filter(|c| start + c.len_utf8() == at)
}
