//! The gateway's names of one family: whether each has addresses of that family, and none of the other.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

use super::{Advice, Finding};
use crate::config::Http;
use crate::model::{Family, Hostname};

/// Looks the names up as this machine does, each within `limit`.
pub(super) async fn examine(http: &Http, limit: Duration) -> Vec<Finding> {
    let mut found = Vec::new();
    for (key, family, name) in [("ipv4_name", Family::V4, &http.ipv4_name), ("ipv6_name", Family::V6, &http.ipv6_name)]
    {
        let Some(name) = name else { continue };
        let answer = timeout(limit, lookup_host((name.as_str(), 0))).await;
        let late = || Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
        let addresses =
            answer.unwrap_or_else(|_| late()).map(|all| all.map(|address| address.ip()).collect::<Vec<_>>());
        found.extend(judge(key, family, name, addresses));
    }
    found
}

fn judge(key: &str, family: Family, name: &Hostname, addresses: io::Result<Vec<IpAddr>>) -> Option<Finding> {
    let (wanted, unwanted, example) = match family {
        Family::V4 => ("IPv4", "IPv6", "A 192.0.2.1"),
        Family::V6 => ("IPv6", "IPv4", "AAAA 2001:db8::1"),
    };
    let add =
        || vec![Advice::new("the zone of that name", format!("{name}. {example}    ; the gateway's own address"))];
    let addresses = match addresses {
        Ok(addresses) => addresses,
        Err(error) => {
            let what = format!("[http] {key}: {name} has no address that this machine finds: {error}");
            return Some(Finding::error("gateway_name_unknown", what, add()));
        }
    };
    let of_family = |address: &&IpAddr| Family::of(**address) == family;
    if let Some(other) = addresses.iter().find(|address| !of_family(address)) {
        let what = format!(
            "[http] {key}: {name} has the {unwanted} address {other}: clients that ask there for their {wanted} address come over \
             {unwanted}, and report that"
        );
        let rtype = if family == Family::V4 { "AAAA" } else { "A" };
        let advice = format!(
            "dig {name}. {rtype}    # remove that record where it comes from: a name of {wanted} alone has none"
        );
        return Some(Finding::error("gateway_name_family", what, vec![Advice::new("shell", advice)]));
    }
    if addresses.iter().find(of_family).is_none() {
        let what = format!("[http] {key}: {name} has no {wanted} address");
        return Some(Finding::error("gateway_name_unknown", what, add()));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_addresses_of_its_family_and_of_no_other() {
        let name = Hostname::parse("ipv4.ddns.example.net").unwrap();
        let code = |family, addresses: io::Result<&[&str]>| {
            let addresses = addresses.map(|all| all.iter().map(|address| address.parse().unwrap()).collect());
            judge("ipv4_name", family, &name, addresses).map(|found| found.code)
        };
        assert_eq!(code(Family::V4, Ok(&["192.0.2.1", "192.0.2.2"])), None);
        assert_eq!(code(Family::V6, Ok(&["2001:db8::1"])), None);
        for (family, addresses) in [
            (Family::V4, &["192.0.2.1", "2001:db8::1"][..]),
            (Family::V4, &["2001:db8::1"]),
            (Family::V6, &["192.0.2.1"]),
        ] {
            assert_eq!(code(family, Ok(addresses)), Some("gateway_name_family"), "{addresses:?}");
        }
        assert_eq!(code(Family::V4, Ok(&[])), Some("gateway_name_unknown"));
        assert_eq!(code(Family::V4, Err(io::ErrorKind::NotFound.into())), Some("gateway_name_unknown"));
    }
}
