//! Commands of Cisco's IOS and IOS XE.

use super::quoted::percent;
use super::target::Target;
use super::{IN_URL, only_ipv4};

pub(super) fn render(target: &Target) -> String {
    let Target { host, url, .. } = target;
    format!(
        "# GigabitEthernet0/0: the interface that has the public address. Leave <h> and <a> as they are: IOS fills them in.\n\
         # Type Ctrl-V before the ? of the URL, or IOS shows its help.\n\
         {IN_URL}{}\
         configure terminal\n\
         ip ddns update method dyngate\n \
         HTTP\n  \
         add {}/nic/update?hostname=<h>&myip=<a>\n \
         interval maximum 0 1 0 0\n \
         exit\n\
         interface GigabitEthernet0/0\n \
         ip ddns update hostname {host}\n \
         ip ddns update dyngate\n \
         end\n",
        only_ipv4(target),
        url.with_login(&percent(&target.login)),
    )
}
