//! The form "DDNS" of DD-WRT, which runs an old inadyn.

use super::target::Target;
use super::{form, one_family_hint};
use crate::model::Family;

pub(super) fn render(target: &Target) -> String {
    let url = target.url_of(Family::V4);
    let fields = form(&[
        ("DDNS Service", "Custom"),
        ("DYNDNS Server", &url.authority()),
        ("User Name", &target.login),
        ("Password", "PASSWORD"),
        ("Hostname", target.host.as_str()),
        ("URL", "/nic/update?hostname="),
        ("Do not use external ip check", "yes"),
    ]);
    format!(
        "# Setup > DDNS. It puts the host name behind the URL and states no address: the gateway takes the one that it comes from.\n\
         {}{}\n{fields}",
        one_family_hint(target),
        super::only_ipv4(target),
    )
}
