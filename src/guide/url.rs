//! The URL of one host, for devices that know neither login nor password.

use super::one_family_hint;
use super::target::Target;
use crate::model::Family;

pub(super) fn render(target: &Target) -> String {
    let both = if target.has(Family::V4) && target.has(Family::V6) {
        "# The other family is left as it is; a device that knows both addresses names them with a comma between.\n"
    } else {
        ""
    };
    // Two names see two families, so each has a line of its own.
    let seen = target.families.iter().filter(|family| target.is_seen_by(*family)).map(|family| target.url_of(family));
    let mut urls: Vec<_> = seen.map(|url| url.to_string()).collect();
    if urls.is_empty() {
        urls.push(target.url.to_string());
    }
    urls.dedup();
    let lines: String = urls.iter().map(|url| format!("{url}/update/TOKEN\n")).collect();
    format!(
        "# good and nochg are success; any other word is a failure. Nothing else is to be entered, whatever the form asks for.\n\
         # The address is the one that the request comes from; ?myip=ADDRESS at the end names another, or the device's own\n\
         # placeholder for it, such as <ipaddr>. The secret is the URL: whoever has it can update the host.\n\
         {both}{}{lines}",
        one_family_hint(target)
    )
}
