//! HE.net's TXT records: `/nic/update` with `txt`, as lego's `hurricane`, acme.sh's `dns_he_ddns` and certbot's plugin send it. Ours
//! are challenges, at `_acme-challenge.HOST`, and the newest two are served.

use super::stated::{apart, gives, hosts, text, understood};
use super::{DialectRequest, Echo, Parsed, Rendered, dyndns2, whole};
use crate::gateway::{Asked, ChallengeAsked, Labels, Verdicts};
use crate::model::{Hostname, Outcome};
use crate::public::authorization::{LOGIN, PASSWORD, identity};

const KNOWN: [&str; 2] = ["hostname", "txt"];

/// With `txt`, be it empty.
pub(super) fn claims(request: &DialectRequest<'_>) -> bool {
    gives(request, &["txt"])
}

/// Reads what is asked for.
pub(super) fn parse(request: &DialectRequest<'_>) -> Parsed {
    let DialectRequest { head, parameters, .. } = *request;
    let known = [&KNOWN[..], &LOGIN, &PASSWORD].concat();
    let txt = understood(parameters, &known).and_then(|()| text(parameters, "txt"));
    let (asked, echo) = apart(txt.map(|txt| (challenge(&txt), Echo { txt: Some(txt), ..Echo::default() })));
    let names = hosts(parameters, "hostname");
    Parsed {
        identity: identity(&head.headers, parameters),
        hosts: names.iter().map(|name| Hostname::challenged(name).unwrap_or(name).to_owned()).collect(),
        labels: Labels::NoHost,
        asked,
        echo,
    }
}

/// lego cleans up with a dot.
fn challenge(txt: &str) -> Asked {
    let challenge = if txt == "." { ChallengeAsked::RemoveAll } else { ChallengeAsked::Present(txt.to_owned()) };
    Asked::of_challenge(challenge)
}

/// `good` also where nothing changed: acme.sh knows no other word for it.
pub(super) fn render(verdicts: &Verdicts, echo: &Echo) -> Rendered {
    whole::once(verdicts, |outcome| match outcome {
        Outcome::Changed | Outcome::Unchanged => (200, format!("good {}", echo.txt.as_deref().unwrap_or_default())),
        Outcome::BadCredentials => (401, dyndns2::line(outcome, echo)),
        Outcome::NotAName | Outcome::NotYourHost | Outcome::TooMany | Outcome::Blocked => {
            (200, dyndns2::line(outcome, echo))
        }
        Outcome::NotAllowed => (200, "abuse".to_owned()),
        Outcome::BadAddress => (200, "badtxt".to_owned()),
        Outcome::TooFast => (503, "interval".to_owned()),
        Outcome::Unreachable | Outcome::Refused => (503, "911".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use crate::public::dialect::tests::{read, told};

    #[test]
    fn a_challenge_is_its_hosts() {
        for (query, expected) in [
            ("hostname=_acme-challenge.a.b&password=p&txt=v", "a.b:  challenge: Some(Present(\"v\"))"),
            ("hostname=_ACME-challenge.a.b&password=p&txt=.", "a.b:  challenge: Some(RemoveAll)"),
            ("hostname=a.b&password=p&txt=v", "a.b:  challenge: Some(Present(\"v\"))"),
            ("hostname=a.b&password=p&txt=", "a.b: the value is no TXT record's, and is not understood"),
            (
                "hostname=a.b&password=p&txt=v&myip=192.0.2.1",
                "a.b: a parameter is called almost like myip, and is not understood",
            ),
        ] {
            assert_eq!(told("he-txt", &format!("/nic/update?{query}"), "198.51.100.1"), expected, "{query}");
        }
        let echo = read("he-txt", "/nic/update?hostname=a.b&txt=v", "198.51.100.1").echo;
        assert_eq!(echo.txt.as_deref(), Some("v"));
    }
}
