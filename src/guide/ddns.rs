//! The command line of `ddns` from PyPI.

use super::quoted::shell;
use super::target::Target;
use crate::model::Family;

pub(super) fn render(target: &Target) -> String {
    let Target { host, url, login, .. } = target;
    let names = |family| match family {
        // The gateway tells the address that a router in front translates to.
        Family::V4 => format!(" --ipv4 {host} --index4 {}", shell(&format!("url:{}/myip", target.url_of(family)))),
        Family::V6 => format!(" --ipv6 {host}"),
    };
    let names: String = target.families.iter().map(names).collect();
    format!(
        "# pip install ddns. Run it now and then: it asks nothing where the address is the one that it reported last.\n\
         {}\
         ddns --dns=noip --endpoint {} --id {} --token 'PASSWORD'{names}\n",
        super::one_family_hint(target),
        shell(&url.to_string()),
        shell(login),
    )
}
