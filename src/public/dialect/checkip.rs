//! "What is my address?": Dyn's page as ddclient, inadyn and OPNsense parse it, and the bare address.

use std::net::IpAddr;

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
        Some(address) => (200, content_type, write(address)),
        None => (400, "text/plain", "badip".to_owned()),
    };
    Rendered { status, content_type, body, reason: String::new(), retry_after: None }
}
