//! dynv6 (<https://dynv6.com/docs/apis>): `/api/update`, in the spellings of dyndns2. What is not given stays as it is; the caller's
//! own address is asked for by name alone, `auto`.

use super::{DialectRequest, Echo, Parsed, Rendered, dyndns2, secret, whole};
use crate::config::Dialects;
use crate::gateway::{Asked, BadAddress, Verdicts};
use crate::model::Outcome;
use crate::public::spellings;

/// Reads what is asked for.
pub(super) fn parse(request: &DialectRequest<'_>) -> Parsed {
    let parameters = request.parameters;
    // An empty family stays as it is, whatever deSEC's clients mean by one.
    let settings = &Dialects { empty_deletes: false, ..request.settings.clone() };
    let parsed = dyndns2::parse(&DialectRequest { settings, ..*request });
    let (asked, echo) = match parsed.asked {
        Ok(Asked { more: None, .. }) | Err(BadAddress::None) if !spellings::address_is_in(parameters) => {
            (Ok(Asked::default()), Echo::default())
        }
        asked => (asked, parsed.echo),
    };
    Parsed { identity: secret(parameters.first_of(&["token"])), asked, echo, ..parsed }
}

/// inadyn and OpenWrt look for `updated` and `unchanged` anywhere.
pub(super) fn render(verdicts: &Verdicts, _: &Echo) -> Rendered {
    whole::once(verdicts, |outcome| {
        let (status, words) = match outcome {
            Outcome::Changed => (200, "addresses updated"),
            Outcome::Unchanged => (200, "addresses unchanged"),
            Outcome::BadCredentials => (401, "unauthorized"),
            Outcome::NotAName | Outcome::NotYourHost => (404, "zone not found"),
            Outcome::TooMany => (400, "too many zones"),
            Outcome::Blocked | Outcome::NotAllowed => (403, "forbidden"),
            Outcome::BadAddress => (400, "bad address"),
            Outcome::TooFast | Outcome::Unreachable | Outcome::Refused => (503, "try again later"),
        };
        (status, words.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::public::dialect::tests::{read, told};

    #[test]
    fn what_clients_send_is_read() {
        for (query, expected) in [
            ("zone=home.dyn.example&token=t&ipv4=192.0.2.1", "home.dyn.example: 192.0.2.1"),
            ("ipv4=auto&hostname=home.dyn.example&token=t", "home.dyn.example: 198.51.100.1"),
            ("zone=a.b&token=t&ipv4=&ipv6=", "a.b: "),
            ("zone=a.b&token=t&ipv6=auto", "a.b: not an address"),
            ("zone=a.b&token=t&ipv6=6to4", "a.b: not an address"),
            ("zone=a.b&token=t&ipv6prefix=6to4", "a.b: not an address"),
            ("zone=a.b&token=t&ipv4=-", "a.b:  removals: Some(V4)"),
            ("zone=a.b&token=t&ipv4=-&ipv6=-", "a.b:  removals: Some(Both)"),
            ("zone=a.b&token=t&ipv4=192.0.2.1&ipv6=-", "a.b: 192.0.2.1 removals: Some(V6)"),
            ("zone=a.b&token=t&ipv4=192.0.2.1,-", "a.b: it says two things at once"),
            ("zone=a.b&hostname=c.d&token=t", "c.d: it says two things at once"),
            ("zone=a.b&token=t&ipv6=2001:db8:1:2::10/128", "a.b: 2001:db8:1:2::10"),
            ("zone=a.b&token=t&ipv6=2001:db8:1:2::10/64", "a.b: 2001:db8:1:2::10 prefix: Some(Is(2001:db8:1:2::/64))"),
            ("zone=a.b&token=t&ipv6=2001:db8:1:2::/56", "a.b:  prefix: Some(Moves(2001:db8:1::/56))"),
            ("zone=a.b&token=t&ipv6=2001:db8::1/65", "a.b: not an address"),
            (
                "zone=a.b&token=t&ipv6=2001:db8::1&ipv6prefix=2001:db8:1::/56",
                "a.b: 2001:db8::1 prefix: Some(Is(2001:db8:1::/56))",
            ),
            ("zone=a.b&token=t&ipv6prefix=-", "a.b:  prefix: Some(Gone)"),
            (
                "zone=a.b&token=t&amp;ipv4=192.0.2.1",
                "a.b: a parameter is called almost like ipv4, and is not understood",
            ),
        ] {
            assert_eq!(told("dynv6", &format!("/api/update?{query}"), "198.51.100.1"), expected, "{query}");
        }
        let own = told("dynv6", "/api/update?zone=a.b&token=t&ipv6=auto&ipv6prefix=auto", "2001:db8:1:2::9");
        assert_eq!(own, "a.b: 2001:db8:1:2::9 prefix: Some(Is(2001:db8:1:2::/64))");
        let settings = &Dialects { empty_deletes: true, ..Dialects::default() };
        let parameters = &crate::public::parameters::Parameters::parse(b"zone=a.b&token=t&ipv4=192.0.2.1&ipv6=");
        let (head, ()) = hyper::Request::new(()).into_parts();
        let client = crate::net::ClientAddress { source: std::net::Ipv4Addr::LOCALHOST.into(), address: None };
        let request = DialectRequest { head: &head, rest: "", parameters, body: b"", client, settings };
        assert_eq!(parse(&request).asked.map(|asked| asked.more), Ok(None), "an empty family stays as it is");
        for caller in ["198.51.100.1", "unknown"] {
            let nothing = read("dynv6", "/api/update?zone=a.b&token=t", caller);
            assert_eq!(nothing.asked, Ok(Asked::default()), "the caller's own address is asked for by name alone");
        }
    }
}
