//! Sections of /etc/config/ddns for OpenWrt's ddns-scripts; one a family.

use super::target::Target;
use crate::model::Family;

pub(super) fn render(target: &Target) -> String {
    let sections: String = target.families.iter().map(|family| section(target, family)).collect();
    format!(
        "# Append to /etc/config/ddns (packages ddns-scripts and luci-app-ddns), then: /etc/init.d/ddns restart\n\
         # Leave the words in [ and ] as they are: the script fills them in, encoded.\n\
         # Not the preset no-ip.com: it first reports 127.0.0.1, which is refused.\n\
         # Behind another router: ip_source 'web' with ip_url '{}/checkip' in place of ip_source and ip_network.\n\
         {}{sections}",
        target.url,
        if target.url.tls { "# For https: opkg install wget-ssl ca-bundle\n" } else { "" },
    )
}

fn section(target: &Target, family: Family) -> String {
    let (suffix, use_ipv6, network) = match family {
        Family::V4 => ("ipv4", 0, "wan"),
        Family::V6 => ("ipv6", 1, "wan6"),
    };
    let Target { host, url, .. } = target;
    // A section's name has letters, digits and `_` alone.
    let name: String = host.as_str().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let (https, certificates) = if url.tls { (1, "\toption cacert '/etc/ssl/certs'\n") } else { (0, "") };
    let scheme = if url.tls { "https" } else { "http" };
    let login = target.login.replace('\'', "'\\''");
    format!(
        "\nconfig service '{name}_{suffix}'\n\
         \toption enabled '1'\n\
         \toption use_ipv6 '{use_ipv6}'\n\
         \toption lookup_host '{host}'\n\
         \toption domain '{host}'\n\
         \toption username '{login}'\n\
         \toption password 'PASSWORD'\n\
         \toption update_url '{scheme}://[USERNAME]:[PASSWORD]@{}/nic/update?hostname=[DOMAIN]&myip=[IP]'\n\
         \toption use_https '{https}'\n\
         {certificates}\
         \toption interface '{network}'\n\
         \toption ip_source 'network'\n\
         \toption ip_network '{network}'\n",
        url.authority(),
    )
}
