//! What becomes of a host's records, and of those beside it, by what a request asks and the host's settings grant. Pure.

use crate::model::{Addresses, Desired, DesiredRecords, Family, HostExtras, Hostname, RrData, RrType, mail_exchanges};

use super::More;

/// The records that a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GrantedRecords {
    /// Of the host itself.
    pub(super) records: DesiredRecords,
    /// Of `*.HOST`, which has the same addresses.
    pub(super) wildcard: Option<(Hostname, DesiredRecords)>,
    /// What is asked for and not granted, for the log: devices ask for it on their own.
    pub(super) ignored: Vec<&'static str>,
}

impl GrantedRecords {
    /// `addresses` at `name` with `ttl` seconds, and what `more` asks for beside them.
    pub(super) fn new(
        name: &Hostname,
        extras: &HostExtras,
        addresses: Addresses,
        more: Option<&More>,
        ttl: u32,
    ) -> Self {
        let removals = more.and_then(|more| more.removals);
        let goes = |family| removals.is_some_and(|removals| removals.allow(family));
        let stays: Addresses = addresses.iter().filter(|address| !goes(Family::of(*address))).collect();
        let gone = removals.into_iter().flat_map(|removals| removals.iter().map(RrType::from).collect::<Vec<_>>());
        let set = DesiredRecords::set(stays, ttl);
        let absent = DesiredRecords::absent(gone);
        let records: DesiredRecords = both(&set, &absent);
        let goes_along = extras.wildcard && !records.is_empty();
        let wildcard = name.wildcard().filter(|_| goes_along).map(|wildcard| (wildcard, records.clone()));
        let mut ignored = Vec::new();
        if more.is_some_and(|more| more.wildcard) && !extras.wildcard {
            ignored.push("wildcard is not granted");
        }
        let servers = more.map(|more| more.mx.as_slice()).unwrap_or_default();
        let named: Vec<_> = servers.iter().filter_map(|server| Hostname::parse(server).ok()).collect();
        let granted: Vec<_> = named.iter().filter(|server| extras.mx.contains(server)).collect();
        if granted.len() < servers.len() {
            ignored.push("mx is not granted");
        }
        let is_backup = more.is_some_and(|more| more.backmx);
        let mail = mail_exchanges(name, granted, is_backup).map(|data| (RrType::Mx, Desired::Set { data, ttl }));
        Self { records: both(&records, &mail.into_iter().collect()), wildcard, ignored }
    }
}

fn both(one: &DesiredRecords, other: &DesiredRecords) -> DesiredRecords {
    one.iter().chain(other.iter()).map(|(rtype, desired)| (rtype, desired.clone())).collect()
}

/// Whether the host may still have these MX records.
pub(super) fn may_have_mail(name: &Hostname, extras: &HostExtras, data: &RrData) -> bool {
    let RrData::Mx(exchanges) = data else { return false };
    let mut others = exchanges.iter().map(|mail| &mail.exchange).filter(|exchange| *exchange != name).peekable();
    others.peek().is_some() && others.all(|exchange| extras.mx.contains(exchange))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Families;

    fn name(text: &str) -> Hostname {
        Hostname::parse(text).unwrap()
    }

    fn shown(records: &DesiredRecords) -> Vec<String> {
        let show = |(rtype, desired): (RrType, &Desired)| match desired {
            Desired::Set { data, ttl } => format!("{ttl} {rtype} {data}"),
            Desired::Absent => format!("no {rtype}"),
            Desired::Without(data) => format!("without {rtype} {data}"),
        };
        records.iter().map(show).collect()
    }

    fn granted_to(extras: &HostExtras, addresses: &str, more: &More) -> GrantedRecords {
        let addresses = addresses.split_terminator(',').map(|text| text.parse().unwrap()).collect();
        GrantedRecords::new(&name("home.dyn.example"), extras, addresses, Some(more), 60)
    }

    #[test]
    fn a_wildcard_has_the_addresses_of_its_host_and_nothing_else() {
        let granted = HostExtras { wildcard: true, mx: vec![name("mail.example")], ..HostExtras::default() };
        let more = More { mx: vec!["Mail.Example.".to_owned()], ..More::default() };
        let GrantedRecords { records, wildcard, ignored } = granted_to(&granted, "192.0.2.1,2001:db8::1", &more);
        assert_eq!(shown(&records), ["60 A 192.0.2.1", "60 AAAA 2001:db8::1", "60 MX 10 mail.example"]);
        let (wildcard, records) = wildcard.unwrap();
        assert_eq!((wildcard.as_str(), ignored.len()), ("*.home.dyn.example", 0));
        assert_eq!(shown(&records), ["60 A 192.0.2.1", "60 AAAA 2001:db8::1"]);
    }

    #[test]
    fn mail_alone_is_no_change_of_the_wildcard() {
        let granted = HostExtras { wildcard: true, mx: vec![name("mail.example")], ..HostExtras::default() };
        let more = More { mx: vec!["mail.example".to_owned()], ..More::default() };
        assert_eq!(granted_to(&granted, "", &more).wildcard, None);
    }

    #[test]
    fn a_family_that_is_to_go_takes_no_address() {
        let granted = HostExtras { wildcard: true, offline: true, ..HostExtras::default() };
        let of = |removals| More { removals: Some(removals), ..More::default() };
        let GrantedRecords { records, wildcard, .. } = granted_to(&granted, "192.0.2.1,2001:db8::1", &of(Families::V4));
        assert_eq!(shown(&records), ["no A", "60 AAAA 2001:db8::1"]);
        assert_eq!(wildcard.map(|(_, records)| records), Some(records));
        let GrantedRecords { records, .. } = granted_to(&granted, "", &of(Families::Both));
        assert_eq!(shown(&records), ["no A", "no AAAA"]);
    }

    #[test]
    fn what_is_not_granted_is_left_out_and_said() {
        let more = More { wildcard: true, mx: vec!["mail.example".to_owned()], backmx: true, ..More::default() };
        let GrantedRecords { records, wildcard, ignored } = granted_to(&HostExtras::default(), "192.0.2.1", &more);
        assert_eq!((shown(&records), wildcard), (vec!["60 A 192.0.2.1".to_owned()], None));
        assert_eq!(ignored, ["wildcard is not granted", "mx is not granted"]);
        // pfSense sends it with an empty `mx`.
        let quiet = More { backmx: true, ..More::default() };
        assert!(granted_to(&HostExtras::default(), "192.0.2.1", &quiet).ignored.is_empty());
        let one = HostExtras { mx: vec![name("mail.example")], ..HostExtras::default() };
        let two = More { mx: vec!["mail.example".to_owned(), "other.example".to_owned()], ..more };
        let GrantedRecords { records, ignored, .. } = granted_to(&one, "", &two);
        assert_eq!(shown(&records), ["60 MX 5 home.dyn.example\n10 mail.example"]);
        assert_eq!(ignored, ["wildcard is not granted", "mx is not granted"]);
        let data = records.get(RrType::Mx).and_then(Desired::data).unwrap();
        assert!(may_have_mail(&name("home.dyn.example"), &one, data));
        assert!(!may_have_mail(&name("home.dyn.example"), &HostExtras::default(), data));
    }
}
