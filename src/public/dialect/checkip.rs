//! "What is my address?": Dyn's page as ddclient, inadyn and OPNsense parse it, the bare address, and JSON for whoever asks for it.

use std::net::IpAddr;

use hyper::header::{self, HeaderMap};

use super::{DialectRequest, Rendered};

/// Dyn's page, which holds exactly one address; as in RFC 5952, for OPNsense reads lower case only.
pub(super) fn page(request: &DialectRequest<'_>) -> Rendered {
    answer(request, "text/html", |address| {
        format!(
            "<html><head><title>Current IP Check</title></head><body>Current IP Address: {address}</body></html>\r\n"
        )
    })
}

/// The address and a line end.
pub(super) fn bare(request: &DialectRequest<'_>) -> Rendered {
    answer(request, "text/plain", |address| format!("{address}\n"))
}

/// What is not an address is not shown in its place.
fn answer(request: &DialectRequest<'_>, content_type: &'static str, write: fn(IpAddr) -> String) -> Rendered {
    let (status, content_type, body) = match request.client.address {
        // An address has nothing that JSON escapes.
        Some(address) if wants_json(request) => (200, "application/json", format!("{{\"ip\":\"{address}\"}}")),
        Some(address) => (200, content_type, write(address)),
        None => (400, "text/plain", "badip".to_owned()),
    };
    Rendered { status, content_type, body, reason: String::new(), retry_after: None }
}

/// `format` decides, and where nobody says one, whether JSON is named in `Accept`: `*/*` is what clients of the page send.
fn wants_json(request: &DialectRequest<'_>) -> bool {
    match request.parameters.first_of(&["format"]) {
        Some(format) => format.eq_ignore_ascii_case("json"),
        None => accepts_json(&request.head.headers),
    }
}

fn accepts_json(headers: &HeaderMap) -> bool {
    let all = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges = all.flat_map(|value| value.split(','));
    let is_html = |range: &str| media_type(range).eq_ignore_ascii_case("text/html");
    // The first that is named is what is wanted most: browsers name JSON too, after the page.
    ranges.find(|range| is_html(range) || is_json(range)).is_some_and(is_json)
}

fn is_json(range: &str) -> bool {
    media_type(range).eq_ignore_ascii_case("application/json")
}

/// Without its parameters.
fn media_type(range: &str) -> &str {
    range.split(';').next().unwrap_or_default().trim_ascii()
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;
    use crate::config::Dialects;
    use crate::net::ClientAddress;
    use crate::public::parameters::Parameters;

    fn answer_to(query: &str, accept: Option<&str>, address: Option<&str>) -> (u16, &'static str, String) {
        let mut request = Request::builder();
        if let Some(accept) = accept {
            request = request.header("Accept", accept);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let parameters = &Parameters::parse(query.as_bytes());
        let address = address.map(|address| address.parse().unwrap());
        let settings = &Dialects::default();
        let client = ClientAddress { source: std::net::Ipv4Addr::LOCALHOST.into(), address };
        let Rendered { status, content_type, body, .. } =
            bare(&DialectRequest { head: &head, rest: "", parameters, body: b"", client, settings });
        (status, content_type, body)
    }

    #[test]
    fn json_is_for_whoever_asks_for_it() {
        let is_json = |query: &str, accept: Option<&str>| match answer_to(query, accept, Some("2001:db8::7")) {
            (200, "application/json", body) if body == r#"{"ip":"2001:db8::7"}"# => true,
            (200, "text/plain", body) if body == "2001:db8::7\n" => false,
            other => panic!("{other:?}"),
        };
        for (query, accept) in [
            ("format=json", None),
            ("FORMAT=JSON", Some("text/html")),
            ("", Some("application/json")),
            ("", Some("Application/JSON; q=0.9, text/plain")),
            ("format=", Some("text/plain, application/json, text/html")),
        ] {
            assert!(is_json(query, accept), "{query} {accept:?}");
        }
        for (query, accept) in [
            ("", None),
            ("", Some("*/*")),
            ("format=text", Some("application/json")),
            ("", Some("application/jsonp")),
            ("", Some("text/html,application/xhtml+xml,application/json;q=0.8,*/*")),
        ] {
            assert!(!is_json(query, accept), "{query} {accept:?}");
        }
        assert_eq!(answer_to("format=json", None, None), (400, "text/plain", "badip".to_owned()));
    }
}
