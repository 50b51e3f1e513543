//! The nearest known word.
//!
//! Compares without case by edits of single characters (insert, delete, replace, swap of neighbours). It does
//! not look at meaning.

/// Longest word that is compared; longer ones are never a typing slip of a key.
const MAX_WORD: usize = 64;

/// The candidate that is nearest to `word`, if one is near enough to be a slip: at most one edit in three
/// characters. The first of equally near ones wins.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().chars().collect();
    if word.is_empty() || word.len() > MAX_WORD {
        return None;
    }
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let other: Vec<char> = candidate.to_lowercase().chars().take(MAX_WORD + 1).collect();
        let allowed = (word.len().max(other.len()) / 3).max(1);
        if word.len().abs_diff(other.len()) > allowed && !other.starts_with(&word) {
            continue;
        }
        let prefix = word.len() >= 4 && other.starts_with(&word);
        let edits = if prefix { 1 } else { edits(&word, &other) };
        if edits <= allowed && best.is_none_or(|(least, _)| edits < least) {
            best = Some((edits, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 4] = ["address", "asDefault", "forwardedHeaders", "transport"];

    #[test]
    fn finds_slips() {
        assert_eq!(nearest("adress", KEYS), Some("address"));
        assert_eq!(nearest("asdefualt", KEYS), Some("asDefault"));
        assert_eq!(nearest("TRANSPROT", KEYS), Some("transport"));
        assert_eq!(nearest("forwarded", KEYS), Some("forwardedHeaders"));
    }

    #[test]
    fn stays_silent_about_strangers() {
        assert_eq!(nearest("port", ["rule", "service"]), None);
        assert_eq!(nearest("", KEYS), None);
        assert_eq!(nearest(&"a".repeat(1000), KEYS), None);
    }
}
