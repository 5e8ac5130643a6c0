//! The form "Dynamic DNS Clients" of pfSense, with the type Custom.

use super::target::Target;
use super::{form, update_url};
use crate::model::Family;

pub(super) fn render(target: &Target) -> String {
    let clients: String = target.families.iter().map(|family| client(target, family)).collect();
    format!(
        "# Services > Dynamic DNS > Dynamic DNS Clients > Add, one for each family. %IP% is filled in by pfSense.\n\
         # Do not leave Result Match empty: everything would pass for success, a wrong password too.\n\
         {clients}"
    )
}

fn client(target: &Target, family: Family) -> String {
    let service = match family {
        Family::V4 => "Custom",
        Family::V6 => "Custom (v6)",
    };
    let url = update_url(target, target.host.as_str(), "%IP%");
    let mut fields =
        vec![("Service Type", service), ("Interface to monitor", "WAN"), ("Interface to send update from", "WAN")];
    if target.url.tls {
        fields.push(("Verify SSL/TLS Certificate Trust", "yes"));
    }
    fields.extend([
        ("Username", target.login.as_str()),
        ("Password", "PASSWORD"),
        ("Update URL", &url),
        ("Result Match", "good %IP%|nochg %IP%"),
        ("Description", target.host.as_str()),
    ]);
    format!("\n{}", form(&fields))
}
