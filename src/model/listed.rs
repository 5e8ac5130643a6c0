//! Lists in a sentence. Knows nothing of what is listed.

/// `a, b and 3 more`: at most `most` of the names.
pub(crate) fn listed(names: &[impl AsRef<str>], most: usize) -> String {
    let shown = names.iter().take(most).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_many_is_counted() {
        let names = ["a", "b", "c"];
        assert_eq!((listed(&names, 3), listed(&names, 1)), ("a, b, c".to_owned(), "a and 2 more".to_owned()));
    }
}
