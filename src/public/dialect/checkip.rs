//! "What is my address?": Dyn's page as ddclient, inadyn and OPNsense parse it, and the bare address.

use std::net::IpAddr;

/// The form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::public) enum Form {
    /// Dyn's page, which holds exactly one address.
    Page,
    /// The address and a line end, as plain text.
    Bare,
}

impl Form {
    /// The form that `path` asks for.
    #[must_use]
    pub(in crate::public) fn of(path: &str) -> Option<Self> {
        match path {
            "/nic/checkip" | "/checkip" => Some(Self::Page),
            "/myip" => Some(Self::Bare),
            _ => None,
        }
    }

    /// The value of `Content-Type`.
    #[must_use]
    pub(in crate::public) fn content_type(self) -> &'static str {
        match self {
            Self::Page => "text/html",
            Self::Bare => "text/plain",
        }
    }

    /// The body; the address as in RFC 5952, for OPNsense reads lower case only.
    #[must_use]
    pub(in crate::public) fn render(self, address: IpAddr) -> String {
        match self {
            Self::Page => format!(
                "<html><head><title>Current IP Check</title></head><body>Current IP Address: {address}</body></html>\r\n"
            ),
            Self::Bare => format!("{address}\n"),
        }
    }
}
