//! Owner names and zone names: checked once, lower-case ASCII without the final dot from then on.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a text is not a name (RFC 1035 section 2.3.1 and 2.3.4, RFC 1123 section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing between the dots, or nothing at all.
    #[error("a label is empty")]
    EmptyLabel,
    /// A label of more than 63 octets.
    #[error("a label is longer than 63 octets")]
    LongLabel,
    /// More than 253 octets of text.
    #[error("the name is longer than 253 octets")]
    LongName,
    /// Anything but letters, digits, `-` inside a label and `_`, in a reverse zone also `/`; IDNs are written as A-labels
    /// (`xn--…`).
    #[error("only letters, digits, '-' and '_' make a name; international names are written as A-labels (xn--…)")]
    ForeignCharacter,
    /// A single label, where a fully qualified name is needed.
    #[error("the name is not fully qualified")]
    NotQualified,
}

/// The owner name of a host: at least two labels, the first of which may be `*` (a wildcard owner, RFC 4592).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hostname(Arc<str>);

/// The apex of a zone: one label or more, never the root.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ZoneName(Arc<str>);

impl Hostname {
    /// Checks `text`, with or without the final dot, in any letter case.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let below = name.strip_prefix("*.").unwrap_or(&name);
        check(below)?;
        if name.len() > 253 {
            return Err(NameError::LongName);
        }
        if !name.contains('.') {
            return Err(NameError::NotQualified);
        }
        Ok(Self(name.into()))
    }

    /// The name as text: lower case, no final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The wildcard owner directly below it (RFC 4592 section 2.1.1); none where there is no room for one, or it is one.
    #[must_use]
    pub fn wildcard(&self) -> Option<Self> {
        Self::parse(&format!("*.{}", self.0)).ok()
    }

    /// The name whose wildcard this is, if it is one's.
    #[must_use]
    pub fn below_wildcard(&self) -> Option<Self> {
        Self::parse(self.0.strip_prefix("*.")?).ok()
    }

    /// Whether any label holds a `_`: such names are not host names, and are served only where granted exactly.
    pub fn has_underscore(&self) -> bool {
        self.0.contains('_')
    }

    /// Whether this is `zone` itself or a name below it.
    pub fn is_within(&self, zone: &ZoneName) -> bool {
        self.0.as_ref() == zone.as_str() || self.is_below(zone.as_str())
    }

    /// Whether this is a proper descendant of `ancestor` (given without the final dot).
    pub fn is_below(&self, ancestor: &str) -> bool {
        is_below(&self.0, ancestor)
    }

    /// The names above this one, nearest first, down to a single label.
    pub fn ancestors(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(self.0.split_once('.').map(|(_, rest)| rest), |name| {
            name.split_once('.').map(|(_, rest)| rest)
        })
    }
}

impl FromStr for Hostname {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl ZoneName {
    /// Checks `text`, with or without the final dot, in any letter case.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        check(&name)?;
        Ok(Self(name.into()))
    }

    /// The apex as text: lower case, no final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `zone` itself or lies below it.
    pub fn is_within(&self, zone: &Self) -> bool {
        self == zone || is_below(&self.0, &zone.0)
    }

    /// Whether its names are addresses turned around.
    pub fn is_reverse(&self) -> bool {
        is_reverse(&self.0)
    }
}

/// Whether `name` is below a domain of addresses turned around (RFC 1035 section 3.5, RFC 3596 section 2.5).
fn is_reverse(name: &str) -> bool {
    is_below(name, "in-addr.arpa") || is_below(name, "ip6.arpa")
}

fn is_below(name: &str, ancestor: &str) -> bool {
    name.strip_suffix(ancestor).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

fn check(name: &str) -> Result<(), NameError> {
    if name.len() > 253 {
        return Err(NameError::LongName);
    }
    // RFC 2317 section 4 names a part of a network `0/25`.
    let may_have_slash = is_reverse(name);
    name.split('.').try_for_each(|label| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let foreign = |byte: u8| !(known(byte) || byte == b'/' && may_have_slash);
        match label.len() {
            0 => Err(NameError::EmptyLabel),
            64.. => Err(NameError::LongLabel),
            _ if label.bytes().any(foreign) => Err(NameError::ForeignCharacter),
            // RFC 1123 section 2.1; BIND's check-names refuses an address record at such a name.
            _ if label.starts_with('-') || label.ends_with('-') => Err(NameError::ForeignCharacter),
            _ => Ok(()),
        }
    })
}

macro_rules! text {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}
text!(Hostname, ZoneName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_and_lose_the_final_dot() {
        assert_eq!(Hostname::parse("Home.Dyn.Example.").unwrap().as_str(), "home.dyn.example");
        let wildcard = Hostname::parse("*.Home.dyn.example").unwrap();
        assert_eq!(wildcard.as_str(), "*.home.dyn.example");
        assert_eq!(wildcard.below_wildcard().and_then(|above| above.wildcard()), Some(wildcard));
        assert_eq!(Hostname::parse("home.dyn.example").unwrap().below_wildcard(), None);
        assert_eq!(ZoneName::parse("Example").unwrap().as_str(), "example");
    }

    #[test]
    fn what_cannot_be_a_name_says_why() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = format!("{}example", "a.".repeat(124));
        for (text, error) in [
            ("", NameError::EmptyLabel),
            (".", NameError::EmptyLabel),
            ("a..example", NameError::EmptyLabel),
            ("home", NameError::NotQualified),
            (&long_label, NameError::LongLabel),
            (&long_name, NameError::LongName),
            ("höme.example", NameError::ForeignCharacter),
            ("a b.example", NameError::ForeignCharacter),
            ("a.*.example", NameError::ForeignCharacter),
            ("-a.example", NameError::ForeignCharacter),
            ("a\0.example", NameError::ForeignCharacter),
        ] {
            assert_eq!(Hostname::parse(text), Err(error), "{text}");
        }
        assert!(Hostname::parse(&format!("{}com", "a.".repeat(125))).is_ok(), "253 octets are allowed");
    }

    #[test]
    fn names_of_reverse_zones_may_have_a_slash() {
        for name in ["7.113.0.203.in-addr.arpa", "7.0/25.113.0.203.in-addr.arpa", "7.0-127.113.0.203.in-addr.arpa"] {
            assert_eq!(Hostname::parse(name).unwrap().as_str(), name);
        }
        let of_v6 = format!("{}ip6.arpa", "f.".repeat(32));
        assert_eq!(Hostname::parse(&of_v6).unwrap().as_str(), of_v6);
        let zone = |text| ZoneName::parse(text).unwrap();
        assert!(zone("0/25.113.0.203.in-addr.arpa").is_reverse() && zone("8.b.d.0.1.0.0.2.ip6.arpa").is_reverse());
        assert!(!zone("in-addr.arpa").is_reverse() && !zone("xin-addr.arpa.example").is_reverse());
        for name in ["0/25.dyn.example", "0/25.ip6.arpa.example", "0/25.in-addr.arpa@"] {
            assert_eq!(Hostname::parse(name), Err(NameError::ForeignCharacter), "{name}");
        }
    }

    #[test]
    fn below_means_whole_labels() {
        let name = Hostname::parse("a.b.dyn.example").unwrap();
        assert!(name.is_below("dyn.example") && name.is_below("b.dyn.example"));
        assert!(!name.is_below("yn.example") && !name.is_below("a.b.dyn.example"));
        assert!(name.is_within(&ZoneName::parse("dyn.example").unwrap()));
        let zone = |text| ZoneName::parse(text).unwrap();
        assert!(zone("a.dyn.example").is_within(&zone("example")) && zone("example").is_within(&zone("example")));
        assert!(
            !zone("xdyn.example").is_within(&zone("dyn.example")) && !zone("example").is_within(&zone("a.example"))
        );
        assert_eq!(name.ancestors().collect::<Vec<_>>(), ["b.dyn.example", "dyn.example", "example"]);
    }
}
