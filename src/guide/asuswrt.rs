//! The script `ddns-start` of Asuswrt-Merlin.

use super::only_ipv4;
use super::quoted::shell;
use super::target::Target;

pub(super) fn render(target: &Target) -> String {
    let account = shell(&format!("{}:PASSWORD", target.login));
    let url = format!("\"{}/nic/update?hostname={}&myip=$1\"", target.url, target.host);
    format!(
        "# WAN > DDNS: Server Custom, Host Name {}. Administration > System: JFFS custom scripts on. Then this as\n\
         # /jffs/scripts/ddns-start, mode 700; the firmware runs it with the WAN address behind it.\n\
         {}\
         #!/bin/sh\n\
         answer=$(curl -sS -m 20 -u {account} {url})\n\
         case $answer in\n    \
             good*|nochg*) /sbin/ddns_custom_updated 1 ;;\n    \
             *) /sbin/ddns_custom_updated 0 ;;\n\
         esac\n",
        target.host,
        only_ipv4(target),
    )
}
