//! The URL of one host, for devices that know neither login nor password.

use super::target::Target;
use crate::model::Family;

pub(super) fn render(target: &Target) -> String {
    let url = &target.url;
    let both = if target.has(Family::V4) && target.has(Family::V6) {
        "# The other family is left as it is; a device that knows both addresses names them with a comma between.\n"
    } else {
        ""
    };
    format!(
        "# good and nochg are success; any other word is a failure. Nothing else is to be entered, whatever the form asks for.\n\
         # The address is the one that the request comes from; ?myip=ADDRESS at the end names another, or the device's own\n\
         # placeholder for it, such as <ipaddr>.\n\
         {both}{url}/update/TOKEN\n"
    )
}
