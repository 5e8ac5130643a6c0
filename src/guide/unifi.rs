//! The form "Dynamic DNS" of UniFi gateways, which run inadyn.

use super::target::Target;
use super::{form, only_ipv4};

pub(super) fn render(target: &Target) -> String {
    let server = format!("{}/nic/update?hostname=%h&myip=%i", target.url.authority());
    let scheme = if target.url.tls { "https" } else { "plain HTTP" };
    let fields = form(&[
        ("Service", "custom"),
        ("Hostname", target.host.as_str()),
        ("Username", &target.login),
        ("Password", "PASSWORD"),
        ("Server", &server),
    ]);
    format!(
        "# Settings > Internet > WAN > Dynamic DNS > Create New. Leave %h and %i as they are; no http:// before the server.\n\
         # The firmware decides between HTTP and https; this gateway is expected to be reached by {scheme}.\n\
         # Some firmware reports only at its start, and takes changes only to an entry that is made anew.\n\
         {}\n{fields}",
        only_ipv4(target),
    )
}
