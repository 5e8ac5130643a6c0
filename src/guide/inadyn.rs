//! inadyn.conf with a `custom` provider.

use super::target::Target;
use crate::model::Family;

/// inadyn takes the first IPv6 address of what this prints.
const IPV6_COMMAND: &str = "ip -6 -o addr show dev eth0 scope global";

pub(super) fn render(target: &Target) -> String {
    let server = target.url.authority();
    let ssl = target.url.tls;
    let ipv4 = provider(
        target,
        "dyngate",
        &format!("    checkip-server = \"{server}\"\n    checkip-path   = \"/checkip\"\n    checkip-ssl    = {ssl}\n"),
    );
    let ipv6 = provider(target, "dyngate-ipv6", &format!("    checkip-command = \"{IPV6_COMMAND}\"\n"));
    let eth0 = "# eth0: the interface that has the IPv6 address.\n";
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
         period = 300\n\
         {providers}"
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
