//! Commands of VyOS and of EdgeOS, which run ddclient.

use super::only_ipv4;
use super::quoted::shell;
use super::target::Target;
use crate::model::Family;

pub(super) fn vyos(target: &Target) -> String {
    let versions = match (target.has(Family::V4), target.has(Family::V6)) {
        (true, true) => "both",
        (true, false) => "ipv4",
        (false, _) => "ipv6",
    };
    commands(
        target,
        "set service dns dynamic name dyngate",
        &[("address interface", "eth0"), ("ip-version", versions)],
        "username",
        "",
    )
}

pub(super) fn edgeos(target: &Target) -> String {
    commands(target, "set service dns dynamic interface eth0 service custom-dyngate", &[], "login", only_ipv4(target))
}

/// `set` begins each line; `more` are lines that one of the two has.
fn commands(target: &Target, set: &str, more: &[(&str, &str)], login: &str, hint: &str) -> String {
    let Target { host, url, .. } = target;
    let (server, user) = (url.authority(), shell(&target.login));
    let more: String = more.iter().map(|(key, value)| format!("{set} {key} {value}\n")).collect();
    let https = if url.tls {
        ""
    } else {
        "# It speaks https whatever is set here: give the gateway [http.tls], and --url https://NAME.\n"
    };
    format!(
        "# eth0: the interface that has the public address.\n\
         {https}{hint}\
         configure\n\
         {more}\
         {set} protocol dyndns2\n\
         {set} server {server}\n\
         {set} {login} {user}\n\
         {set} password 'PASSWORD'\n\
         {set} host-name {host}\n\
         commit\n\
         save\n"
    )
}
