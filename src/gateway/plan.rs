//! What a prefix makes of the host that is named, and of the hosts that follow it. Pure: it knows settings and what is asked,
//! no zone and no rights.
//!
//! A request that asks for nothing but addresses, of a host that has no settings beside those, needs none of it. Of each other,
//! [`own`] says which addresses the host itself gets, and [`followers`] which [`Companion`]s change with it: the records of
//! other names in the same request. All of a zone travel in one UPDATE; `together.rs` makes them, and says what that is for the
//! host. A new kind of companion is a variant of [`Bond`], which `Gateway::may_accompany` judges, now and when it is pending.

use std::net::Ipv6Addr;

use super::{Asked, More, PrefixAsked};
use crate::model::{
    Addresses, DesiredRecords, HostExtras, Hostname, InterfaceId, Overlaps, PrefixFrom, RrType, moved, network_of,
};

/// A name that changes with the host that is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Companion {
    pub(super) name: Hostname,
    pub(super) bond: Bond,
    /// Whether a wildcard below it has its addresses too, and whether its PTR records are kept in step.
    pub(super) has_wildcard: bool,
    pub(super) has_pointers: bool,
    /// What is set or goes; or why this one stays as it is while the others proceed.
    pub(super) records: Result<DesiredRecords, Stays>,
}

/// Why a name changes with another: the right to do so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bond {
    /// It follows the host by its own settings.
    Follower,
}

/// Why a companion stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stays {
    #[error("its interface id overlaps the prefix")]
    Overlaps,
    #[error("its addresses may not be removed: `offline` is not granted to it")]
    NotGranted,
}

impl From<Overlaps> for Stays {
    fn from(Overlaps: Overlaps) -> Self {
        Self::Overlaps
    }
}

/// A host that follows the one that is named.
#[derive(Debug, Clone, Copy)]
pub(super) struct Follower<'a> {
    pub(super) name: &'a Hostname,
    pub(super) extras: &'a HostExtras,
    /// The TTL of its records, in seconds.
    pub(super) ttl: u32,
}

/// Whether what is asked can only be planned once it is known which AAAA record the host holds: a prefix in the place of an
/// address moves that (deSEC's grammar).
pub(super) fn needs_held(asked: &Asked, extras: &HostExtras) -> bool {
    let more = asked.more.as_deref();
    let moves = matches!(more.and_then(|more| more.prefix), Some(PrefixAsked::Moves(_)));
    moves && asked.addresses.v6.is_none() && id(more, extras).is_none()
}

/// The addresses that `asked` gives to a host with these `extras`, which holds the AAAA record `held`.
///
/// # Errors
/// The host's interface id overlaps the prefix that is asked for.
pub(super) fn own(asked: &Asked, extras: &HostExtras, held: Option<Ipv6Addr>) -> Result<Addresses, Overlaps> {
    let mut addresses = asked.addresses;
    let more = asked.more.as_deref();
    let prefix = more.and_then(|more| more.prefix);
    if addresses.v6.is_none() {
        // A prefix never moves a host's own address that is reported as such.
        addresses.v6 = match (prefix, id(more, extras)) {
            (Some(PrefixAsked::Is(prefix) | PrefixAsked::Moves(prefix)), Some(id)) => Some(id.within(prefix)?),
            (Some(PrefixAsked::Moves(prefix)), None) => held.map(|held| moved(held, prefix)),
            (Some(PrefixAsked::Is(_)), None) | (Some(PrefixAsked::Gone) | None, _) => None,
        };
    }
    Ok(addresses)
}

/// What becomes of those that follow a host which gets the addresses `own`.
pub(super) fn followers<'a>(
    asked: &Asked,
    own: Addresses,
    followers: impl IntoIterator<Item = Follower<'a>>,
) -> Vec<Companion> {
    let prefix = asked.more.as_deref().and_then(|more| more.prefix);
    let records = |Follower { extras, ttl, .. }: Follower<'_>| {
        let network = match (prefix, extras.prefix_from) {
            (Some(PrefixAsked::Gone), _) if extras.offline => return Some(Ok(DesiredRecords::absent([RrType::Aaaa]))),
            (Some(PrefixAsked::Gone), _) => return Some(Err(Stays::NotGranted)),
            (Some(PrefixAsked::Is(prefix) | PrefixAsked::Moves(prefix)), _) => prefix,
            (None, PrefixFrom::Address) => network_of(own.v6?),
            (None, PrefixFrom::Prefix) => return None,
        };
        let address = extras.interface_id?.within(network);
        let set = |v6| DesiredRecords::set(Addresses { v4: None, v6: Some(v6) }, ttl);
        Some(address.map(set).map_err(Stays::from))
    };
    let companion = |follower: Follower<'_>| {
        let HostExtras { wildcard: has_wildcard, ptr: has_pointers, .. } = *follower.extras;
        let (name, records) = (follower.name.clone(), records(follower)?);
        Some(Companion { name, bond: Bond::Follower, has_wildcard, has_pointers, records })
    };
    followers.into_iter().filter_map(companion).collect()
}

/// The bits that the host has in a prefix that is reported for it: those of the request before its own.
fn id(more: Option<&More>, extras: &HostExtras) -> Option<InterfaceId> {
    more.and_then(|more| more.interface_id).or(extras.interface_id)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use super::*;

    const PREFIX: &str = "2001:db8:1:2300::/56";

    fn asked(addresses: &[&str], prefix: Option<PrefixAsked>) -> Asked {
        let addresses = addresses.iter().map(|text| text.parse::<IpAddr>().unwrap()).collect();
        Asked { addresses, more: Some(Arc::new(More { prefix, ..More::default() })) }
    }

    fn is(prefix: &str) -> Option<PrefixAsked> {
        Some(PrefixAsked::Is(prefix.parse().unwrap()))
    }

    fn with_id(id: &str) -> HostExtras {
        HostExtras { interface_id: id.parse().ok(), ..HostExtras::default() }
    }

    fn addresses(all: &[&str]) -> Addresses {
        all.iter().map(|text| text.parse::<IpAddr>().unwrap()).collect()
    }

    #[test]
    fn a_prefix_never_moves_an_address_that_is_reported() {
        let both = ["192.0.2.1", "2001:db8:ffff::1"];
        for extras in [HostExtras::default(), with_id("::1")] {
            assert_eq!(own(&asked(&both, is(PREFIX)), &extras, None), Ok(addresses(&both)));
        }
    }

    #[test]
    fn given_only_a_prefix_a_host_with_an_id_is_composed_and_another_is_left_alone() {
        let only = asked(&["192.0.2.1"], is(PREFIX));
        assert_eq!(own(&only, &HostExtras::default(), None), Ok(addresses(&["192.0.2.1"])));
        assert_eq!(own(&only, &with_id("::1"), None), Ok(addresses(&["192.0.2.1", "2001:db8:1:2300::1"])));
        assert_eq!(own(&only, &with_id("0:0:0:2400::1"), None), Err(Overlaps));
        let more = More { prefix: is(PREFIX), interface_id: "::10".parse().ok(), ..More::default() };
        let named = Asked { more: Some(Arc::new(more)), ..Asked::default() };
        assert_eq!(own(&named, &with_id("::1"), None), Ok(addresses(&["2001:db8:1:2300::10"])), "the request's own id");
    }

    #[test]
    fn a_prefix_in_the_place_of_an_address_moves_what_is_held() {
        let moves = asked(&[], Some(PrefixAsked::Moves(PREFIX.parse().unwrap())));
        assert!(needs_held(&moves, &HostExtras::default()) && !needs_held(&moves, &with_id("::1")));
        assert!(!needs_held(&asked(&[], is(PREFIX)), &HostExtras::default()));
        let held = "2001:db8:9:9942:1:2:3:4".parse().ok();
        assert_eq!(own(&moves, &HostExtras::default(), held), Ok(addresses(&["2001:db8:1:2342:1:2:3:4"])));
        assert_eq!(own(&moves, &HostExtras::default(), None), Ok(Addresses::default()));
        assert_eq!(own(&moves, &with_id("::1"), None), Ok(addresses(&["2001:db8:1:2300::1"])));
    }

    fn records(asked: &Asked, own: &[&str], extras: &HostExtras) -> Option<Result<DesiredRecords, Stays>> {
        let name = Hostname::parse("nas.dyn.example").unwrap();
        let mut all = followers(asked, addresses(own), [Follower { name: &name, extras, ttl: 60 }]);
        assert!(all.len() < 2);
        all.pop().map(|companion| companion.records)
    }

    fn set(address: &str) -> Option<Result<DesiredRecords, Stays>> {
        Some(Ok(DesiredRecords::set(addresses(&[address]), 60)))
    }

    #[test]
    fn who_follows_takes_the_prefix_and_not_the_routers_own_network() {
        let both = ["192.0.2.1", "2001:db8:ffff::1"];
        let in_subnet = with_id("0:0:0:3::10");
        assert_eq!(records(&asked(&both, is(PREFIX)), &both, &with_id("::10")), set("2001:db8:1:2300::10"));
        assert_eq!(records(&asked(&both, is(PREFIX)), &both, &in_subnet), set("2001:db8:1:2303::10"));
        assert_eq!(records(&asked(&both, is("2001:db8:1:2300::/64")), &both, &in_subnet), Some(Err(Stays::Overlaps)));
        assert_eq!(records(&asked(&both, None), &both, &with_id("::10")), None);
        let of_address = HostExtras { prefix_from: PrefixFrom::Address, ..with_id("::10") };
        assert_eq!(records(&asked(&both, None), &both, &of_address), set("2001:db8:ffff::10"));
        assert_eq!(records(&asked(&both, is(PREFIX)), &both, &of_address), set("2001:db8:1:2300::10"));
        assert_eq!(records(&asked(&both[..1], None), &both[..1], &of_address), None);
    }

    #[test]
    fn where_the_prefix_is_gone_the_records_go_of_those_that_may() {
        let gone = asked(&[], Some(PrefixAsked::Gone));
        let granted = HostExtras { offline: true, ..with_id("::10") };
        assert_eq!(records(&gone, &[], &granted), Some(Ok(DesiredRecords::absent([RrType::Aaaa]))));
        assert_eq!(records(&gone, &[], &with_id("::10")), Some(Err(Stays::NotGranted)));
        assert_eq!(own(&gone, &granted, None), Ok(Addresses::default()));
    }
}
