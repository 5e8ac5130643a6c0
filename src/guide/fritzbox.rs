//! The form "DynDNS" of FRITZ!OS.

use super::target::Target;
use super::{form, update_url};
use crate::model::Family;

pub(super) fn render(target: &Target) -> String {
    let (address, hint) = match (target.has(Family::V4), target.has(Family::V6)) {
        (true, true) => (
            "<ipaddr>,<ip6addr>",
            "# Without IPv6 at this connection end the Update-URL with myip=<ipaddr>; without a public IPv4 address (DS-Lite)\n\
             # with myip=<ip6addr>: an address that is none spoils the whole update (badip).\n",
        ),
        (true, false) => ("<ipaddr>", ""),
        (false, _) => {
            ("<ip6addr>", "# <ip6addr> is the address of the FRITZ!Box itself, not of a machine behind it.\n")
        }
    };
    let url = update_url(target, "<domain>", address);
    let fields = form(&[
        ("Use DynDNS", "yes"),
        ("DynDNS provider", "User-defined"),
        ("Update-URL", &url),
        ("Domain name", target.host.as_str()),
        ("Username", &target.login),
        ("Password", "PASSWORD"),
    ]);
    format!(
        "# Internet > Permit Access > DynDNS. Leave the words in < and > as they are: the FRITZ!Box fills them in.\n\
         # It looks the name up afterwards and may report an error for about four minutes, until it looks again.\n\
         {hint}\n{fields}"
    )
}
