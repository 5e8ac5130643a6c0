//! The form "DynDNS" of FRITZ!OS.

use super::form;
use super::target::Target;
use crate::model::Family;

pub(super) fn render(target: &Target) -> String {
    let (addresses, hint) = match (target.has(Family::V4), target.has(Family::V6)) {
        (true, true) => ("&myip=<ipaddr>&myipv6=<ip6addr>&ip6lanprefix=<ip6lanprefix>", PREFIX),
        (true, false) => ("&myip=<ipaddr>", ""),
        (false, _) => ("&myipv6=<ip6addr>&ip6lanprefix=<ip6lanprefix>", PREFIX),
    };
    let url = format!("{}/nic/update?hostname=<domain>{addresses}", target.url);
    let fields = form(&[
        ("Use DynDNS", "yes"),
        ("DynDNS provider", "User-defined"),
        ("Update-URL", &url),
        ("Domain name", target.host.as_str()),
        ("Username", &target.login),
        ("Password", "PASSWORD"),
    ]);
    format!(
        "# Internet > Permit Access > DynDNS. Leave the words in < and > as they are: the FRITZ!Box fills them in. It sends login and\n\
         # password in a header: put no <pass> into the URL, where & # % and + would break it.\n\
         # It looks the name up afterwards and may report an error for about four minutes, until it looks again.\n\
         {hint}\n{fields}"
    )
}

const PREFIX: &str = "# <ip6addr> is the FRITZ!Box's own address; <ip6lanprefix>, filled in beside it alone, is the network of the machines behind\n\
     # it: a host with `follow` and `interface_id` moves with it. A family that the connection has not may be empty there.\n";
