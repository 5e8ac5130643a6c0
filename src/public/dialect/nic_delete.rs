//! nsupdate.info's `/nic/delete`: takes the address of one family away, and answers in dyndns2's words but for one.

use super::stated::{Stated, apart, hosts, understood};
use super::{DialectRequest, Echo, Parsed, Rendered, dyndns2};
use crate::gateway::{Asked, BadAddress, Labels, More, Verdicts};
use crate::model::{Families, Family, Outcome};
use crate::public::authorization::{LOGIN, PASSWORD, identity};

const KNOWN: [&str; 2] = ["hostname", "myip"];

/// Reads what is asked for.
pub(super) fn parse(request: &DialectRequest<'_>) -> Parsed {
    let DialectRequest { head, parameters, .. } = *request;
    let known = [&KNOWN[..], &LOGIN, &PASSWORD].concat();
    let (asked, echo) = apart(understood(parameters, &known).and_then(|()| read(request)));
    let hosts = hosts(parameters, "hostname");
    Parsed { identity: identity(&head.headers, parameters), hosts, labels: Labels::NoHost, asked, echo }
}

/// Of the address, or the caller's own, nothing but the family counts.
fn read(request: &DialectRequest<'_>) -> Result<(Asked, Echo), BadAddress> {
    let mut stated = Stated::default();
    for text in request.parameters.list("myip") {
        stated.add(text)?;
    }
    if let (true, Some(own)) = (stated.is_empty(), request.client.address) {
        stated.add_caller(Family::of(own), Some(own))?;
    }
    let (of, echo) = stated.into_asked();
    let removals = Families::of(of.addresses.v4.is_some(), of.addresses.v6.is_some()).ok_or(BadAddress::None)?;
    Ok((Asked::only(More { removals: Some(removals), ..More::default() }), echo))
}

/// One line for each host.
pub(super) fn render(verdicts: &Verdicts, echo: &Echo) -> Rendered {
    let deleted = match (&echo.v4, &echo.v6) {
        (Some(_), None) => "deleted A",
        (None, _) => "deleted AAAA",
        (Some(_), Some(_)) => "deleted A,AAAA",
    };
    let line = |outcome| match outcome {
        Outcome::Changed | Outcome::Unchanged => deleted.to_owned(),
        failed => dyndns2::line(failed, &Echo::default()),
    };
    let lines: Vec<_> = verdicts.each.iter().map(|verdict| line(verdict.outcome)).collect();
    Rendered { body: lines.join("\n"), ..dyndns2::render(verdicts, &Echo::default()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::HostVerdict;
    use crate::public::dialect::tests::{read, told};

    #[test]
    fn an_address_names_a_family_and_nothing_else() {
        for (query, expected, word) in [
            ("hostname=a.b", "a.b:  removals: Some(V4)", "deleted A"),
            ("hostname=a.b&myip=192.0.2.1", "a.b:  removals: Some(V4)", "deleted A"),
            ("hostname=a.b&myip=2001:db8::1", "a.b:  removals: Some(V6)", "deleted AAAA"),
            ("hostname=a.b&myip=192.0.2.1,2001:db8::1", "a.b:  removals: Some(Both)", "deleted A,AAAA"),
        ] {
            let target = format!("/nic/delete?{query}");
            assert_eq!(told("nic-delete", &target, "198.51.100.1"), expected, "{query}");
            let verdicts = Verdicts::once(None, HostVerdict::new(Outcome::Changed, ""));
            let echo = read("nic-delete", &target, "198.51.100.1").echo;
            assert_eq!(render(&verdicts, &echo).body, word, "{query}");
        }
        assert_eq!(told("nic-delete", "/nic/delete?hostname=a.b&myip=x", "198.51.100.1"), "a.b: not an address");
        assert_eq!(told("nic-delete", "/nic/delete?hostname=a.b", "unknown"), "a.b: no address is left to set");
    }
}
