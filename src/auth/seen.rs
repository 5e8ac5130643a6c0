//! A bounded set of tags that forgets those not asked for longest, half of it at a time.

use std::collections::HashSet;

use super::Tag;

/// Two generations: what is asked for is carried into the young one; when that is full the old one is forgotten and the
/// young one grows old. At most `cap` tags, and none of the last `cap / 2` that were asked for is ever missing.
#[derive(Debug)]
pub(super) struct SeenTags {
    young: HashSet<Tag>,
    old: HashSet<Tag>,
    cap: usize,
}

impl SeenTags {
    /// An empty set that takes no memory until it is used.
    pub(super) fn new(cap: usize) -> Self {
        Self { young: HashSet::new(), old: HashSet::new(), cap }
    }

    pub(super) fn contains(&mut self, tag: &Tag) -> bool {
        if self.young.contains(tag) {
            return true;
        }
        let old = self.old.remove(tag);
        if old {
            self.insert(*tag);
        }
        old
    }

    /// Adds `tag`; `true` where it was there before.
    pub(super) fn insert(&mut self, tag: Tag) -> bool {
        if self.young.contains(&tag) {
            return true;
        }
        if self.young.len() >= self.cap / 2 {
            let young = std::mem::take(&mut self.young);
            let forgotten = std::mem::replace(&mut self.old, young);
            self.young.insert(tag);
            return forgotten.contains(&tag);
        }
        self.young.insert(tag);
        self.old.remove(&tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(n: u32) -> Tag {
        let mut tag = Tag::default();
        tag[..4].copy_from_slice(&n.to_be_bytes());
        tag
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_asked_for() {
        let mut seen = SeenTags::new(100);
        assert!(!seen.insert(tag(0)));
        for n in 1..10_000 {
            assert!(!seen.insert(tag(n)));
            assert!(seen.contains(&tag(0)) && seen.contains(&tag(n)));
            assert!(seen.young.len() + seen.old.len() <= 100);
        }
        assert!(!seen.contains(&tag(1)));
        assert!(seen.insert(tag(9_960)), "among the last fifty");
    }
}
