//! The form of ddns-go, with a callback.

use super::quoted::percent;
use super::target::Target;
use super::{IN_URL, form};
use crate::model::Family;

pub(super) fn render(target: &Target) -> String {
    let Target { host, url, .. } = target;
    let callback = format!("{}/nic/update?hostname=#{{domain}}&myip=#{{ip}}", url.with_login(&percent(&target.login)));
    let name = host.as_str();
    let mut fields = vec![("DNS Provider", "Callback"), ("URL", callback.as_str()), ("RequestBody", "(empty)")];
    fields.extend(target.families.iter().map(|family| match family {
        Family::V4 => ("IPv4: Enabled, Domains", name),
        Family::V6 => ("IPv6: Enabled, Domains", name),
    }));
    format!(
        "# Leave #{{domain}} and #{{ip}} as they are: ddns-go fills them in. It takes every answer of 200 for success, nohost too:\n\
         # look at its log once.\n\
         {IN_URL}\n{}",
        form(&fields)
    )
}
