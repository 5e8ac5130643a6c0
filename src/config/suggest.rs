//! "Did you mean": the known word nearest to an unknown one.

/// The candidate that is nearest to `word`, if it is near enough to be meant.
pub(super) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word: String = word.to_lowercase().chars().take(64).collect();
    candidates
        .into_iter()
        .map(|candidate| (strsim::levenshtein(&word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood_and_a_foreign_word_is_not() {
        let known = ["listen", "trusted_proxies", "ttl"];
        assert_eq!(nearest("lsiten", known), Some("listen"));
        assert_eq!(nearest("Listens", known), Some("listen"));
        assert_eq!(nearest("trusted-proxy", known), Some("trusted_proxies"));
        assert_eq!(nearest("password", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest("x", []), None);
    }
}
