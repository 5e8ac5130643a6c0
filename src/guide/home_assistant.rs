//! The integration `freedns` of Home Assistant, the one that takes a URL.

use super::one_family_hint;
use super::quoted::json;
use super::target::Target;
use crate::model::Family;

pub(super) fn render(target: &Target) -> String {
    let family = if target.has(Family::V4) { Family::V4 } else { Family::V6 };
    let both = if target.has(Family::V4) && target.has(Family::V6) {
        "# It reports the address that it comes from, IPv4 here. For the IPv6 address too, take another client beside it.\n"
    } else {
        ""
    };
    let url = json(&format!("{}/u/TOKEN/", target.url_of(family)));
    format!(
        "# In configuration.yaml; then restart. Whoever has this URL can update the host: keep it out of backups that others read.\n\
         {both}{}freedns:\n  url: {url}\n  scan_interval: 300\n",
        one_family_hint(target)
    )
}
