//! Targets for what strangers send over HTTP: whole connections, queries and forms, credentials.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Request;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::Public;
use super::authorization::identity;
use super::dialect::{Dialect, DialectRequest, Parse, Parsed, Rendered, TABLE, at, dyndns2};
use super::json::JsonObject;
use super::parameters::Parameters;
use crate::auth::Authenticator;
use crate::config::{Config, Dialects, ForwardingHeader};
use crate::gateway::{Asked, ChallengeAsked, Gateway, HostVerdict, Identity, Verdicts};
use crate::limit::Limits;
use crate::metrics::Metrics;
use crate::model::{ChallengeValue, Outcome, canonical};
use crate::net::fuzzing::{block_on, converse};
use crate::net::{ClientAddress, Peer, Proxies};
use crate::registry::Registry;

/// `router1` with the password `secret`; no primary is ever asked, since no zone runs.
const CONFIG: &str = r#"
[[key]]
name = "k"
algorithm = "hmac-sha256"
secret = "c2VjcmV0"

[[zone]]
name = "dyn.example"
primaries = ["127.0.0.1"]
key = "k"

[[account]]
login = "router1"
secret = "$sha256$K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols="
hosts = ["home.dyn.example", "*.office.dyn.example"]

[limits]
host = "off"
account = "off"
source = "off"
failed_logins = "off"
"#;

const CALLER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 250));
const CALLER_PEER: Peer = Peer::Ip(SocketAddr::new(CALLER, 4711));

/// A gateway whose zones do not run.
fn gateway() -> &'static Arc<Gateway> {
    static GATEWAY: OnceLock<Arc<Gateway>> = OnceLock::new();
    GATEWAY.get_or_init(|| {
        let Ok(config) = Config::parse(CONFIG, Path::new("gateway.toml")) else { panic!("the configuration is valid") };
        let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
        let Ok(authenticator) = Authenticator::new(1) else { panic!("no randomness") };
        let (registry, limits) = (Registry::declared(&config), Limits::new(&config.limits, metrics.clone()));
        Arc::new(Gateway::new(registry, authenticator, limits, [], metrics, &config.engine))
    })
}

/// What a client sends from the first octet of its connection on; it then closes its half. Each answer is whole, has the
/// length that it states, and is of our words.
pub fn connection(octets: &[u8]) {
    let (ours, theirs) = tokio::io::duplex(256 * 1024);
    let answers = block_on(async { tokio::join!(speak(ours, octets), serve(theirs)).0 });
    // An answer to HEAD states the length of a body that it has not.
    if !octets.windows(5).any(|five| five == b"HEAD ") {
        check_answers(&answers);
    }
}

async fn speak(mut stream: DuplexStream, octets: &[u8]) -> Vec<u8> {
    let mut answers = Vec::new();
    // The gateway may have closed already.
    let _closed_early = stream.write_all(octets).await;
    let _closed_early = stream.shutdown().await;
    let _closed_early = stream.read_to_end(&mut answers).await;
    answers
}

async fn serve(stream: DuplexStream) {
    let proxies = Arc::new(Proxies { trusted: Vec::new(), unix: false, header: ForwardingHeader::XForwardedFor });
    let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
    let public = Arc::new(Public::new(Arc::clone(gateway()), proxies, Dialects::default(), &metrics));
    let told = Arc::clone(&public);
    let service = service_fn(move |request| {
        let public = Arc::clone(&public);
        async move { Ok::<_, std::convert::Infallible>(public.answer(CALLER_PEER, request).await) }
    });
    converse(stream, CALLER_PEER, service, Arc::new(move |peer, status, why| told.unreadable(peer, status, why))).await;
}

/// Cuts what came back into answers.
fn check_answers(mut octets: &[u8]) {
    while !octets.is_empty() {
        let Some(end) = octets.windows(4).position(|four| four == b"\r\n\r\n") else { panic!("half a head") };
        let (head, rest) = octets.split_at(end + 4);
        let Ok(head) = std::str::from_utf8(head) else { panic!("a head that is not text") };
        assert!(head.starts_with("HTTP/1."), "{head}");
        assert!(!head.contains("Transfer-Encoding"), "{head}");
        if head.starts_with("HTTP/1.1 100 ") {
            octets = rest;
            continue;
        }
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let Some(length) = length.and_then(|length| length.parse().ok()) else { panic!("no length: {head}") };
        let Some((body, next)) = rest.split_at_checked(length) else { panic!("less than {length} octets") };
        assert!(body.len() < 4096, "{head}");
        assert!(body.iter().all(|octet| octet.is_ascii_graphic() || b" \r\n".contains(octet)), "{head}");
        octets = next;
    }
}

/// A query, a line end, and a form. What is asked for is made of what was sent; the echo is the address that would be
/// set; nothing of the client's own leaves by the answer.
pub fn update(octets: &[u8]) {
    let at = octets.iter().position(|octet| *octet == b'\n').unwrap_or(octets.len());
    let (query, form) = octets.split_at(at);
    let parameters = Parameters::parse(query).and(Parameters::of_body(form.get(1..).unwrap_or_default()));
    round_trip(&parameters);
    let client = ClientAddress { source: CALLER, address: Some(CALLER) };
    let (head, ()) = Request::new(()).into_parts();
    let request = DialectRequest {
        head: &head,
        rest: "",
        parameters: &parameters,
        body: b"",
        client,
        settings: &Dialects::default(),
    };
    let parsed = dyndns2::parse(&request);

    for host in &parsed.hosts {
        let is_said = |text: &str| parameters.iter().any(|(_, value)| value.contains(text));
        let below = parameters.list("alias").next().and_then(|alias| host.strip_prefix(alias)?.strip_prefix('.'));
        assert!((is_said(host) || below.is_some_and(is_said)) && !host.is_empty() && !host.contains(','), "{host:?}");
    }
    let texts: Vec<&str> = ADDRESSES.iter().flat_map(|key| parameters.list(key)).collect();
    if let Ok(Asked { addresses, more }) = &parsed.asked {
        assert!(!parameters.has_foreign_body() && (!addresses.is_empty() || more.is_some()));
        let address = |text: &&str| text.trim_matches(['[', ']']).split('/').next()?.parse().ok().map(canonical);
        let given: Vec<IpAddr> = texts.iter().filter_map(address).collect();
        let is_own = |set| set == CALLER && !texts.iter().any(|text| address(text).is_some() && !is_hollow(text));
        let is_auto = texts.iter().any(|text| text.eq_ignore_ascii_case("auto"));
        let is_said = |set| given.contains(&set) || is_own(set) || set == CALLER && is_auto;
        assert!(addresses.iter().all(is_said), "{addresses:?} of {texts:?}");
        // All that is said, and nothing else.
        if parameters.list("offline").next().is_none() {
            let must = texts.iter().filter(|text| !text.contains('/') && !is_hollow(text)).filter_map(address);
            let is_done = |must: IpAddr| {
                addresses.iter().any(|set| set == must) || more.as_ref().is_some_and(|more| more.interface_id.is_some())
            };
            assert!(must.into_iter().all(is_done), "{addresses:?} of {texts:?}");
        }
        let good = dyndns2::render(&verdicts(Outcome::Changed, 1), &parsed.echo).body;
        let echo = good.strip_prefix("good ").unwrap_or_default().split(',').filter(|text| !text.is_empty());
        assert!(echo.map(|text| text.parse().map(canonical)).eq(addresses.iter().map(Ok)), "{good}");
    }
    for outcome in Outcome::ALL {
        for count in [1, 20] {
            let answer = dyndns2::render(&verdicts(outcome, count), &parsed.echo);
            assert_eq!(answer.body.lines().count(), count);
            assert!(answer.body.lines().all(|line| (3..100).contains(&line.len())), "{}", answer.body);
            assert!(answer.body.bytes().all(|octet| octet.is_ascii_graphic() || b" \n".contains(&octet)));
            assert!(HeaderValue::from_str(&answer.reason).is_ok(), "{}", answer.reason);
            assert!([200, 400, 401, 503].contains(&answer.status));
        }
    }
}

/// A target, and after a line end the value of an Authorization header; after another one a form: read by every row that serves the
/// path. What is asked for is made of what was sent; the caller's own address takes the place of none; and no answer but that of
/// a success reads like one.
pub fn dialects(octets: &[u8]) {
    let mut lines = octets.splitn(3, |octet| *octet == b'\n');
    let [target, authorization, form] = std::array::from_fn(|_| lines.next().unwrap_or_default());
    let mut request = Request::builder().uri(target);
    if let Ok(value) = HeaderValue::from_bytes(authorization) {
        request = request.header(AUTHORIZATION, value);
    }
    let Ok((head, ())) = request.body(()).map(Request::into_parts) else { return };
    let query = head.uri.query().unwrap_or_default();
    let parameters = Parameters::parse(query.as_bytes()).and(Parameters::of_body(form));
    let settings = Dialects { empty_deletes: octets.len().is_multiple_of(2), ..Dialects::default() };
    let client = ClientAddress { source: CALLER, address: Some(CALLER) };
    for spoken in at(&TABLE, head.uri.path()) {
        let request = DialectRequest {
            head: &head,
            rest: spoken.rest,
            parameters: &parameters,
            body: form,
            client,
            settings: &settings,
        };
        let _either = (spoken.dialect.claims)(&request);
        if let Parse::Update(parse) = spoken.dialect.parse {
            check_parsed(spoken.dialect, &request, &parse(&request));
        }
    }
}

fn check_parsed(dialect: &Dialect, request: &DialectRequest<'_>, parsed: &Parsed) {
    let DialectRequest { head, rest, parameters, .. } = *request;
    let path = percent_encoding::percent_decode_str(rest).decode_utf8_lossy();
    let values = || parameters.iter().flat_map(|(name, value)| [name, value]).chain([&*path]);
    // What JSON says, the target `challenge` looks at.
    for host in parsed.hosts.iter().filter(|_| !JsonObject::is_begun_by(request.body)) {
        let is_said = host.split('.').all(|label| values().any(|value| value.contains(label)));
        assert!(is_said && !host.contains(','), "{host:?} of {:?}", head.uri);
    }
    if let Ok(Asked { addresses, .. }) = &parsed.asked {
        let ends = |octet: char| ",/[] \t\r\n".contains(octet);
        let said = || values().flat_map(|value| value.split(ends)).filter_map(|text| text.parse().ok().map(canonical));
        let is_said = |address: IpAddr| said().any(|said| said == address);
        assert!(
            addresses.iter().all(|address| address == CALLER || is_said(address)),
            "{addresses:?} of {:?}",
            head.uri
        );
        let says_auto = values().any(|value| value.split(ends).any(|word| word.eq_ignore_ascii_case("auto")));
        if addresses.iter().any(|address| address == CALLER && !is_said(address)) && !says_auto {
            let mut given = ADDRESSES.iter().flat_map(|key| parameters.list(key));
            assert!(given.all(|text| text.parse::<IpAddr>().is_err()), "{addresses:?} of {:?}", head.uri);
        }
    }
    for outcome in Outcome::ALL {
        for count in [1, 20] {
            check_answer(dialect.name, outcome, &(dialect.render)(&verdicts(outcome, count), &parsed.echo));
        }
    }
}

/// A body, of JSON or a form, as acme-dns' and httpreq's clients send it. A value has the shape of a challenge's, one host is named,
/// and what was read, written as JSON, is read as the same; no answer but that of a success reads like one.
pub fn challenge(octets: &[u8]) {
    for path in ["/acme-dns/update", "/httpreq/present", "/httpreq/cleanup/"] {
        let Some((dialect, parsed)) = post(path, octets) else { panic!("nothing is spoken at {path}") };
        assert_eq!(parsed.hosts.len(), 1);
        if let (Ok(asked), [host]) = (&parsed.asked, parsed.hosts.as_slice()) {
            let ((Some(ChallengeAsked::Present(value)), false) | (Some(ChallengeAsked::Remove(value)), true)) =
                (asked.challenge(), path.contains("cleanup"))
            else {
                panic!("{asked:?} at {path}")
            };
            assert!(asked.addresses.is_empty() && ChallengeValue::parse(value).is_ok(), "{asked:?}");
            assert_eq!(parsed.echo.txt.as_ref(), Some(value));
            let name = format!("_acme-challenge.{host}");
            let written = serde_json::json!({ "subdomain": name, "txt": value, "fqdn": name, "value": value });
            let Some((_, again)) = post(path, written.to_string().as_bytes()) else { panic!("{written}") };
            assert_eq!((again.hosts, again.asked), (parsed.hosts.clone(), Ok(asked.clone())), "{written}");
        }
        for outcome in Outcome::ALL {
            check_answer(dialect.name, outcome, &(dialect.render)(&verdicts(outcome, 1), &parsed.echo));
        }
    }
}

/// What the first row that serves `path` makes of a POST.
fn post(path: &str, body: &[u8]) -> Option<(&'static Dialect, Parsed)> {
    let (head, ()) = Request::post(path).body(()).ok()?.into_parts();
    let (parameters, settings) = (Parameters::of_body(body), Dialects::default());
    let client = ClientAddress { source: CALLER, address: Some(CALLER) };
    let dialect = at(&TABLE, path.trim_end_matches('/')).next()?.dialect;
    let Parse::Update(parse) = dialect.parse else { return None };
    let request = DialectRequest { head: &head, rest: "", parameters: &parameters, body, client, settings: &settings };
    Some((dialect, parse(&request)))
}

/// What clients take for well done, wherever it stands and in whatever letter case.
const WELL_DONE: [&str; 13] = [
    "good",
    "nochg",
    "ok",
    "updated",
    "unchanged",
    "success",
    "true",
    "noerror",
    "<errcount>0",
    "200",
    "no ip change",
    "has not changed",
    "deleted",
];

/// What holds for an answer of every dialect.
pub(super) fn check_answer(dialect: &str, outcome: Outcome, answer: &Rendered) {
    let body = answer.body.to_ascii_lowercase();
    assert!(!body.is_empty() && body.len() < 4096 && !body.ends_with(['\r', '\n']), "{dialect}: {answer:?}");
    assert!(body.bytes().all(|octet| octet.is_ascii_graphic() || b" \n".contains(&octet)), "{dialect}: {answer:?}");
    assert!(HeaderValue::from_str(&answer.reason).is_ok(), "{dialect}: {answer:?}");
    assert!([200, 400, 401, 403, 404, 503].contains(&answer.status), "{dialect}: {answer:?}");
    let is_temporary = matches!(outcome, Outcome::TooFast | Outcome::Unreachable | Outcome::Refused);
    assert_eq!(answer.status == 503, is_temporary, "{dialect}: {answer:?}");
    assert!(!is_temporary || answer.retry_after.is_some(), "{dialect}: {answer:?}");
    let is_done = matches!(outcome, Outcome::Changed | Outcome::Unchanged);
    if !is_done {
        assert!(!WELL_DONE.iter().any(|word| body.contains(word)), "{dialect} {outcome:?}: {answer:?}");
        let reads_as_address = body.split([' ', ',', '"', '<', '>', '\n']).any(|word| word.parse::<IpAddr>().is_ok());
        assert!(!reads_as_address && !body.contains(".example"), "{dialect} {outcome:?}: {answer:?}");
    }
}

fn verdicts(outcome: Outcome, count: usize) -> Verdicts {
    let verdict = HostVerdict { outcome, ..HostVerdict::unreachable("fuzzing") };
    Verdicts { each: vec![verdict; count], ..Verdicts::answered() }
}

const ADDRESSES: [&str; 20] = [
    "myip", "myipv4", "myipv6", "myip4", "ip", "ipv4", "ipv6", "ip4", "ip6", "ip4addr", "ip6addr", "myip6", "myip2",
    "address", "addr", "dnsto", "ipv4addr", "ipv6addr", "a", "aaaa",
];

/// Sets nothing where something else does.
fn is_hollow(text: &str) -> bool {
    ["0.0.0.0", "::"].contains(&text.trim_matches(['[', ']'])) || text.parse() == Ok(std::net::Ipv6Addr::UNSPECIFIED)
}

/// What was read, written as a client would, is read as the same.
fn round_trip(parameters: &Parameters) {
    for key in ["hostname", "username", "password", "offline", "wildcard", "mx"].into_iter().chain(ADDRESSES) {
        let Some(value) = parameters.first_of(&[key]) else { continue };
        let written = percent_encoding::utf8_percent_encode(&value, percent_encoding::NON_ALPHANUMERIC);
        let again = Parameters::of_body(format!("x=y&{key}={written}&z=").as_bytes());
        assert_eq!(again.first_of(&[key]), Some(value));
    }
}

/// The value of an Authorization header, the same octets as the pair that a device would encode, and as a secret alone.
pub fn authorization(octets: &[u8]) {
    check_credentials(octets);
    check_secret(octets);
    let pair = [b"Basic ", STANDARD.encode(octets).as_bytes()].concat();
    let found = check_credentials(&pair);
    let is_pair = octets.contains(&b':') && octets != b":";
    assert_eq!(found, is_pair, "a pair, and only a pair, is credentials");
}

/// A secret alone is read as it came, but for blanks around it, and never shown.
fn check_secret(octets: &[u8]) {
    for scheme in ["Bearer ", "Token ", "tOKEN  "] {
        let Ok(value) = HeaderValue::from_bytes(&[scheme.as_bytes(), octets].concat()) else { continue };
        let found = identity(&HeaderMap::from_iter([(AUTHORIZATION, value)]), &Parameters::default());
        let said = octets.trim_ascii();
        match found {
            Identity::Secret(secret) => {
                assert_eq!(secret.expose(), super::parameters::text(said.to_vec()).as_bytes());
                assert_eq!(format!("{secret:?}"), "Password(…)");
            }
            other => assert!(said.is_empty() && matches!(other, Identity::Nobody), "{other:?}"),
        }
    }
}

/// Whether the header holds credentials.
fn check_credentials(header: &[u8]) -> bool {
    let nothing = Parameters::default();
    let headers =
        |octets: &[u8]| HeaderValue::from_bytes(octets).map(|value| HeaderMap::from_iter([(AUTHORIZATION, value)]));
    // What HTTP lets through of it in a header.
    let Ok(given) = headers(header) else { return false };
    let credentials = |headers: &HeaderMap| match identity(headers, &nothing) {
        Identity::Password(found) => Some(found),
        Identity::Nobody | Identity::Secret(_) | Identity::Either(..) | Identity::Token(_) => None,
    };
    let Some(found) = credentials(&given) else { return false };
    assert!(!found.login.contains(':'));
    assert!(!found.login.is_empty() || !found.password.expose().is_empty(), "an empty pair is none");
    let written = STANDARD.encode([found.login.as_bytes(), b":", found.password.expose()].concat());
    let again = headers(format!("basic {written}").as_bytes()).ok();
    let Some(again) = again.and_then(|headers| credentials(&headers)) else {
        panic!("no credentials in {written}");
    };
    assert_eq!(again.login, found.login);
    assert_eq!(again.password.expose(), found.password.expose());
    assert!(format!("{found:?}").ends_with("password: Password(…) }"));
    true
}
