//! The form "Accounts" of OPNsense's plug-in os-ddclient, with its own back end.

use super::form;
use super::target::Target;
use crate::model::Family;

pub(super) fn render(target: &Target) -> String {
    let accounts: String = target.families.iter().map(|family| account(target, family)).collect();
    let is_taken = |c: char| c.is_ascii_alphanumeric() || "-.@_:+%".contains(c);
    let login = if target.login.chars().all(is_taken) {
        ""
    } else {
        "# OPNsense takes letters, digits and - . @ _ + % in a username: give the account another login.\n"
    };
    format!(
        "# Plug-in os-ddclient. Services > Dynamic DNS > Settings: General settings > Backend: native; then Accounts > +,\n\
         # one for each family.\n\
         # After nohost it shows the word and does not come back until the address changes: save the account again.\n\
         {login}{accounts}"
    )
}

fn account(target: &Target, family: Family) -> String {
    let (name, method, interface) = match family {
        Family::V4 => ("IPv4", "Interface [IPv4]", "WAN"),
        Family::V6 => ("IPv6", "Interface [IPv6]", "WAN"),
    };
    let Target { host, url, .. } = target;
    let fields = form(&[
        ("Enabled", "yes"),
        ("Description", &format!("{host} {name}")),
        ("Service", "Custom"),
        ("Protocol", "DynDNS 2"),
        ("Server", &url.authority()),
        ("Username", &target.login),
        ("Password", "PASSWORD"),
        ("Wildcard", "no"),
        ("Hostname(s)", host.as_str()),
        ("Check ip method", method),
        ("Interface to monitor", interface),
        ("Force SSL", if url.tls { "yes" } else { "no" }),
    ]);
    format!("\n{fields}")
}
