//! ddclient.conf for ddclient 4, which knows both families.

use super::ddclient::quoted;
use super::target::Target;
use crate::model::Family;

pub(super) fn render(target: &Target) -> String {
    let Target { host, url, .. } = target;
    let server = url.authority();
    let ssl = if url.tls { "yes" } else { "no" };
    let find = |family| {
        let url = target.url_of(family);
        match family {
            Family::V4 => format!("usev4=webv4, webv4={url}/checkip\n"),
            // The address that the machine has is the one that it is reached by.
            Family::V6 if !target.is_seen_by(family) => "usev6=ifv6, ifv6=eth0\n".to_owned(),
            Family::V6 => format!("usev6=webv6, webv6={url}/checkip\n"),
        }
    };
    let finds: String = target.families.iter().map(find).collect();
    let hint = if finds.contains("eth0") { "# eth0: the interface that has the IPv6 address.\n" } else { "" };
    let login = quoted(&target.login);
    format!(
        "# /etc/ddclient.conf, mode 600, for ddclient 4. Not use=web: that reports one family alone, the one that curl prefers.\n\
         # It sends both addresses in one request, and comes back after 5 minutes where it was refused.\n\
         {hint}\
         daemon=300\n\
         protocol=dyndns2\n\
         ssl={ssl}\n\
         server={server}\n\
         {finds}\
         login={login}\n\
         password='PASSWORD'\n\
         {host}\n"
    )
}
