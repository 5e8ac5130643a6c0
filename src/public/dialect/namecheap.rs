//! Namecheap's dynamic DNS: a label and its zone, a password without a login, IPv4 alone, and an answer in XML.

use super::stated::{Stated, apart, gives, hosts, understood};
use super::{DialectRequest, Echo, Parsed, Rendered, dyndns2, secret, whole};
use crate::gateway::{Asked, BadAddress, Labels, Verdicts};
use crate::model::{Family, Outcome};
use crate::public::spellings::is_or_is_below;

const KNOWN: [&str; 4] = ["host", "domain", "password", "ip"];

/// `?host=…&domain=…&password=…`, in any order.
pub(super) fn claims(request: &DialectRequest<'_>) -> bool {
    gives(request, &["host", "domain", "password"])
}

/// Reads what is asked for.
pub(super) fn parse(request: &DialectRequest<'_>) -> Parsed {
    let parameters = request.parameters;
    let (asked, echo) = apart(understood(parameters, &KNOWN).and_then(|()| read(request)));
    let domains = hosts(parameters, "domain");
    let labels = hosts(parameters, "host");
    let whole = |label: &String| match (label.as_str(), domains.as_slice()) {
        ("@", [domain]) => domain.clone(),
        // The whole name in both fields, or in the first.
        (label, [domain]) if is_or_is_below(label.as_bytes(), domain.as_bytes()) => label.to_owned(),
        (label, [domain]) => format!("{label}.{domain}"),
        (label, _) => label.to_owned(),
    };
    Parsed {
        identity: secret(parameters.first_of(&["password"])),
        hosts: labels.iter().map(whole).collect(),
        labels: Labels::NoHost,
        asked,
        echo,
    }
}

fn read(request: &DialectRequest<'_>) -> Result<(Asked, Echo), BadAddress> {
    let mut stated = Stated::default();
    for text in request.parameters.list("ip") {
        stated.add_of(Family::V4, text)?;
    }
    if stated.is_empty() {
        stated.add_caller(Family::V4, request.client.address)?;
    }
    Ok(stated.into_asked())
}

/// Clients look for `<ErrCount>0`, qdm12 for the address that it sent too.
pub(super) fn render(verdicts: &Verdicts, echo: &Echo) -> Rendered {
    let rendered = whole::once(verdicts, |outcome| match outcome {
        Outcome::Changed | Outcome::Unchanged => (200, done(echo)),
        Outcome::BadCredentials
        | Outcome::NotAName
        | Outcome::NotYourHost
        | Outcome::TooMany
        | Outcome::Blocked
        | Outcome::NotAllowed
        | Outcome::BadAddress => (200, failed(outcome)),
        Outcome::TooFast | Outcome::Unreachable | Outcome::Refused => (503, failed(outcome)),
    });
    Rendered { content_type: "text/xml", ..rendered }
}

fn done(echo: &Echo) -> String {
    let address = echo.v4.as_deref().unwrap_or_default();
    document(&format!("<IP>{address}</IP><ErrCount>0</ErrCount><ResponseCount>0</ResponseCount><Done>true</Done>"))
}

/// Nothing that reads like well done stands in it.
fn failed(outcome: Outcome) -> String {
    let reason = dyndns2::reason(outcome);
    document(&format!("<ErrCount>1</ErrCount><errors><Err1>{reason}</Err1></errors>"))
}

fn document(inner: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><interface-response><Command>SETDNSHOST</Command>{inner}</interface-response>"
    )
}

#[cfg(test)]
mod tests {
    use crate::public::dialect::tests::told;

    #[test]
    fn a_label_and_its_zone_are_one_name() {
        for (query, expected) in [
            ("host=home&domain=dyn.example&password=p&ip=192.0.2.1", "home.dyn.example: 192.0.2.1"),
            ("domain=dyn.example&password=p&host=@", "dyn.example: 198.51.100.1"),
            ("host=*&domain=dyn.example&password=p", "*.dyn.example: 198.51.100.1"),
            ("host=a.b&domain=dyn.example&password=p&ip=", "a.b.dyn.example: 198.51.100.1"),
            ("host=home&domain=dyn.example&password=p&ip=2001:db8::1", "home.dyn.example: not an address"),
            (
                "host=home&domain=dyn.example&password=p&ipv6=2001:db8::1",
                "home.dyn.example: a parameter is called almost like ipv6, and is not understood",
            ),
            ("host=home&domain=&password=p", "home: 198.51.100.1"),
            ("host=home.dyn.example&domain=home.dyn.example&password=p", "home.dyn.example: 198.51.100.1"),
            ("host=Home.dyn.example&domain=dyn.example.&password=p", "Home.dyn.example: 198.51.100.1"),
        ] {
            assert_eq!(told("namecheap", &format!("/update?{query}"), "198.51.100.1"), expected, "{query}");
        }
    }
}
