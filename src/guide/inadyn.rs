//! inadyn.conf with a `custom` provider.

use super::one_family_hint;
use super::target::Target;
use crate::model::Family;

/// inadyn takes the first IPv6 address of what this prints.
const IPV6_COMMAND: &str = "ip -6 -o addr show dev eth0 scope global";

pub(super) fn render(target: &Target) -> String {
    let checkip = |family| {
        let (server, ssl) = (target.url_of(family).authority(), target.url.tls);
        format!("    checkip-server = \"{server}\"\n    checkip-path   = \"/checkip\"\n    checkip-ssl    = {ssl}\n")
    };
    let ipv4 = provider(target, "dyngate", &checkip(Family::V4));
    let (find, eth0) = if target.is_seen_by(Family::V6) {
        (checkip(Family::V6), "")
    } else {
        let eth0 = "# eth0: the interface that has the IPv6 address.\n";
        (format!("    checkip-command = \"{IPV6_COMMAND}\"\n"), eth0)
    };
    let ipv6 = provider(target, "dyngate-ipv6", &find);
    let providers = match (target.has(Family::V4), target.has(Family::V6)) {
        (true, false) => ipv4,
        (false, _) => format!("{eth0}allow-ipv6 = true\n{ipv6}"),
        (true, true) => {
            let commented: String = ipv6.lines().map(|line| format!("#{line}\n")).collect();
            format!(
                "{ipv4}# For the IPv6 address too, take the # from these lines.\n{eth0}#allow-ipv6 = true\n{commented}"
            )
        }
    };
    format!(
        "# /etc/inadyn.conf, mode 600. inadyn encodes what it puts for %h and %i; that is understood.\n\
         # It ends for good at nohost, badauth and badip; with --continue-on-error it goes on.\n\
         {}period = 300\n\
         {providers}",
        one_family_hint(target)
    )
}

fn provider(target: &Target, name: &str, find: &str) -> String {
    let login = quoted(&target.login);
    let Target { host, url, .. } = target;
    format!(
        "custom {name} {{\n    \
             ssl            = {}\n    \
             username       = {login}\n    \
             password       = 'PASSWORD'\n    \
             hostname       = \"{host}\"\n    \
             ddns-server    = \"{}\"\n    \
             ddns-path      = \"/nic/update?hostname=%h&myip=%i\"\n\
         {find}}}\n",
        url.tls,
        url.authority(),
    )
}

/// A string in single quotes, in which libConfuse puts no environment variables.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}
