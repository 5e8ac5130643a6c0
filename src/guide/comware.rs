//! Commands of HPE's and H3C's Comware, and of Huawei's VRP, which took them over.

use super::target::Target;
use super::{IN_URL, only_ipv4};

pub(super) fn hpe(target: &Target) -> String {
    let Target { host, url, .. } = target;
    let https = if url.tls { " ssl-client-policy dyngate\n" } else { "" };
    let policy =
        if url.tls { "# https needs an `ssl client-policy dyngate` with the authority's certificate.\n" } else { "" };
    format!(
        "# GigabitEthernet1/0/1: the interface that has the public address. Leave <h> and <a> as they are: the router fills them\n\
         # in. It sends login and password in a header, never in the URL.\n\
         {policy}{}{}\
         system-view\n\
         ddns policy dyngate\n \
         url {url}/nic/update?system=dyndns&hostname=<h>&myip=<a>\n \
         username {}\n \
         password simple PASSWORD\n\
         {https} \
         interval 0 1\n \
         quit\n\
         interface GigabitEthernet1/0/1\n \
         ddns apply policy dyngate fqdn {host}\n",
        only_ipv4(target),
        word(&target.login),
        target.login,
    )
}

pub(super) fn huawei(target: &Target) -> String {
    let Target { host, url, login, .. } = target;
    let scheme = if url.tls { "https" } else { "http" };
    format!(
        "# GigabitEthernet0/0/1: the interface that has the public address. Leave the words in < and > as they are.\n\
         # A login and a password of 32 characters at most, so no generated one: choose it, and run `dyngate hash`.\n\
         {IN_URL}{}{}\
         system-view\n\
         ddns policy dyngate\n \
         method http\n \
         url {scheme}://<username>:<password>@{}/nic/update?hostname=<h>&myip=<a> username {login} password PASSWORD\n \
         interval 3600\n \
         quit\n\
         interface GigabitEthernet0/0/1\n \
         ddns apply policy dyngate fqdn {host}\n",
        only_ipv4(target),
        word(login),
        url.authority(),
    )
}

/// A comment where the command line takes the login for two words, or for a question.
fn word(login: &str) -> &'static str {
    if login.contains([' ', '?', '"']) {
        "# These routers take no blank, no ? and no \" in a login: give the account another one.\n"
    } else {
        ""
    }
}
