//! Hosts that may have addresses of both families and only ever report one: each is told once. Their router reaches the gateway by
//! one family alone, perhaps, and is content. Knows no store.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use tracing::info;

use crate::model::{Addresses, Families, Family, Hostname};

/// Hosts that are looked at; later ones are not.
const MOST: usize = 50_000;
/// Hosts that the log names in the life of a process.
const MOST_TOLD: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct OneFamily {
    seen: Mutex<SeenHosts>,
}

/// Those of which enough is known.
#[derive(Debug, Default)]
struct SeenHosts {
    settled: HashSet<Hostname>,
    told: usize,
}

/// What a host is known by after one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Its first report, or nothing of it is kept yet.
    Early,
    /// It has reported both, or may have no more than it does.
    Both,
    Only(Family),
}

impl OneFamily {
    /// Whether what is kept of `name` is worth reading.
    pub(super) fn wonders(&self, name: &Hostname) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.settled.len() < MOST && seen.told < MOST_TOLD && !seen.settled.contains(name)
    }

    /// Nothing is to be said of `name`.
    pub(super) fn settle(&self, name: &Hostname) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.settled.len() < MOST && !seen.settled.contains(name) {
            seen.settled.insert(name.clone());
        }
    }

    /// `name`, which may have `families`, reports `reported` alone, and `before` was kept of it.
    pub(super) fn look(&self, name: &Hostname, families: Families, reported: Family, before: Addresses) {
        let look = look(families, reported, before);
        if look == Look::Early {
            return;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.settled.insert(name.clone()) {
            return;
        }
        if let Look::Only(family) = look {
            seen.told += 1;
            drop(seen);
            let (only, key) = match family {
                Family::V4 => ("only IPv4 has ever been reported", "ipv6_name"),
                Family::V6 => ("only IPv6 has ever been reported", "ipv4_name"),
            };
            info!(host = %name, "{only}: if the host has both, see [http] {key}");
        }
    }
}

fn look(families: Families, reported: Family, before: Addresses) -> Look {
    match (families, reported, before.v4, before.v6) {
        (Families::V4 | Families::V6, ..) | (_, _, Some(_), Some(_)) => Look::Both,
        (_, Family::V4, Some(_), None) | (_, Family::V6, None, Some(_)) => Look::Only(reported),
        (_, Family::V4, None, Some(_)) | (_, Family::V6, Some(_), None) => Look::Both,
        (_, _, None, None) => Look::Early,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Addresses {
        texts.iter().map(|text| text.parse::<std::net::IpAddr>().unwrap()).collect()
    }

    #[test]
    fn the_second_report_of_one_family_tells() {
        let (v4, v6) = ("192.0.2.1", "2001:db8::1");
        for (families, reported, before, expected) in [
            (Families::Both, Family::V6, &[][..], Look::Early),
            (Families::Both, Family::V6, &[v6], Look::Only(Family::V6)),
            (Families::Both, Family::V4, &[v4], Look::Only(Family::V4)),
            (Families::Both, Family::V6, &[v4], Look::Both),
            (Families::Both, Family::V6, &[v4, v6], Look::Both),
            (Families::V6, Family::V6, &[v6], Look::Both),
        ] {
            assert_eq!(look(families, reported, addresses(before)), expected, "{reported:?} after {before:?}");
        }
    }

    #[test]
    fn each_host_is_looked_at_until_it_is_told_and_no_more_than_fit() {
        let all = OneFamily::default();
        let name = |number: usize| Hostname::parse(&format!("h{number}.example")).unwrap();
        all.look(&name(0), Families::Both, Family::V6, Addresses::default());
        assert!(all.wonders(&name(0)), "its first report says nothing");
        for number in 0..MOST_TOLD {
            assert!(all.wonders(&name(number)));
            all.look(&name(number), Families::Both, Family::V6, addresses(&["2001:db8::1"]));
            assert!(!all.wonders(&name(number)));
        }
        assert!(!all.wonders(&name(MOST_TOLD)));

        let all = OneFamily::default();
        all.settle(&name(1));
        assert!(!all.wonders(&name(1)) && all.wonders(&name(2)));
    }
}
