//! ddclient.conf for ddclient 3.10.

use super::target::Target;
use crate::model::Family;

pub(super) fn render(target: &Target) -> String {
    let Target { host, url, .. } = target;
    let server = url.authority();
    let ssl = if url.tls { "yes" } else { "no" };
    let (find, hints) = if target.has(Family::V4) {
        (format!("use=web, web={}/checkip", target.url_of(Family::V4)), both(target))
    } else {
        let hint = "# eth0: the interface that has the IPv6 address.\n";
        ("use=cmd, cmd='ip -6 -o addr show dev eth0 scope global'".to_owned(), hint.to_owned())
    };
    let literal = if url.family() == Some(Family::V6) {
        "# ddclient takes no IPv6 address as server: give the gateway a name and use that.\n"
    } else {
        ""
    };
    let login = quoted(&target.login);
    format!(
        "# /etc/ddclient.conf, mode 600. Not use=ip: it takes a failed attempt for done.\n\
         # Of the answers 400 and 503 its log says nothing: look for status=noconnect in its cache file.\n\
         {hints}{literal}\
         daemon=300\n\
         protocol=dyndns2\n\
         ssl={ssl}\n\
         server={server}\n\
         {find}\n\
         login={login}\n\
         password='PASSWORD'\n\
         {host}\n"
    )
}

fn both(target: &Target) -> String {
    if !target.has(Family::V6) {
        return String::new();
    }
    "# ddclient 3.10 reports one address, here the one that the gateway sees: IPv4, unless it was told ipv6=. For both families\n\
     # take ddclient 4: --for ddclient-4\n"
        .to_owned()
}

/// A value as ddclient reads it. A `#` begins a comment even in quotes, so such a login cannot be written.
pub(super) fn quoted(value: &str) -> String {
    if value.chars().all(|c| c.is_alphanumeric() || "._@+-".contains(c)) {
        return value.to_owned();
    }
    let inner = value.replace('\\', "\\\\").replace('\'', "\\'");
    let hint = if value.contains('#') { "\n# ddclient cannot have this login: it reads # as a comment." } else { "" };
    format!("'{inner}'{hint}")
}
