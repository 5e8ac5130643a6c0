//! data/config.json of qdm12's ddns-updater, with its provider `custom`.

use super::quoted::{json, percent};
use super::target::Target;
use super::{IN_URL, UrlOrigin};
use crate::model::Family;

pub(super) fn render(target: &Target) -> String {
    let Target { host, url, .. } = target;
    let address = format!("https://{}:PASSWORD@{}/nic/update?hostname={host}", percent(&target.login), url.authority());
    let setting = |family| {
        let version = match family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        };
        let fields = [
            ("provider", "custom"),
            ("domain", host.as_str()),
            ("ip_version", version),
            ("url", &address),
            ("ipv4key", "myip"),
            ("ipv6key", "myip"),
            ("success_regex", "^(good|nochg)( |$)"),
        ];
        let fields: Vec<_> =
            fields.iter().map(|(key, value)| format!("      {}: {}", json(key), json(value))).collect();
        format!("    {{\n{}\n    }}", fields.join(",\n"))
    };
    let settings: Vec<_> = target.families.iter().map(setting).collect();
    let https = if url.tls || url.origin == UrlOrigin::Placeholder {
        ""
    } else {
        "# It takes https alone: give the gateway [http.tls], and --url https://NAME.\n"
    };
    format!(
        "# data/config.json, without these lines. Not its provider dyn, which takes nochg for an error.\n\
         {https}{IN_URL}{{\n  \"settings\": [\n{}\n  ]\n}}\n",
        settings.join(",\n")
    )
}
