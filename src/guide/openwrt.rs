//! A service of OpenWrt's ddns-scripts and sections of /etc/config/ddns that use it; one a family.

use super::quoted::shell;
use super::target::Target;
use crate::model::Family;

/// With the words that are success: without them, curl takes every refusal for one.
const SERVICE: &str = include_str!("../../packaging/openwrt/dyngate.json");

pub(super) fn render(target: &Target) -> String {
    let sections: String = target.families.iter().map(|family| section(target, family)).collect();
    format!(
        "# Packages ddns-scripts and luci-app-ddns. Paste all of this into a shell on the router.\n\
         # Leave the words in [ and ] as they are: the script fills them in, encoded.\n\
         # Not the preset no-ip.com: it first reports 127.0.0.1, which is refused. Not `custom` with curl: that takes nohost for success.\n\
         {}\n\
         # 1. The service, as packaging/openwrt/dyngate.json has it.\n\
         mkdir -p /usr/share/ddns/custom\n\
         cat >/usr/share/ddns/custom/dyngate.json <<'END'\n\
         {SERVICE}END\n\
         \n\
         # 2. The host.\n\
         cat >>/etc/config/ddns <<'END'\n\
         {sections}END\n\
         /etc/init.d/ddns restart\n",
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
    format!(
        "\nconfig service '{name}_{suffix}'\n\
         \toption enabled '1'\n\
         \toption service_name 'dyngate'\n\
         \toption param_opt '{}'\n\
         \toption use_ipv6 '{use_ipv6}'\n\
         \toption lookup_host '{host}'\n\
         \toption domain '{host}'\n\
         \toption username {}\n\
         \toption password 'PASSWORD'\n\
         \toption use_https '{https}'\n\
         {certificates}\
         \toption interface '{network}'\n\
         \toption ip_source 'network'\n\
         \toption ip_network '{network}'\n\
         # Behind another router, in place of the last two:\n\
         #\toption ip_source 'web'\n\
         #\toption ip_url '{}/checkip'\n\
         #\toption force_ipversion '1'\n",
        url.authority(),
        shell(&target.login),
        target.url_of(family),
    )
}
