//! Which address families a host may have.

use super::Family;

/// The families that a host may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Families {
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
    /// Both.
    #[default]
    Both,
}

impl Families {
    /// Whether `family` is among them.
    pub fn allow(self, family: Family) -> bool {
        match self {
            Self::V4 => family == Family::V4,
            Self::V6 => family == Family::V6,
            Self::Both => true,
        }
    }

    /// Each of them, IPv4 first.
    pub fn iter(self) -> impl Iterator<Item = Family> {
        [Family::V4, Family::V6].into_iter().filter(move |family| self.allow(*family))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_is_what_nobody_narrowed() {
        assert_eq!(Families::default().iter().collect::<Vec<_>>(), [Family::V4, Family::V6]);
        assert_eq!(Families::V4.iter().collect::<Vec<_>>(), [Family::V4]);
        assert!(!Families::V6.allow(Family::V4));
    }
}
