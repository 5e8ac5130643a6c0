//! dyndnsc.ini for dyndnsc from PyPI.

use super::one_family_hint;
use super::quoted::ini;
use super::target::Target;
use crate::model::Family;

pub(super) fn render(target: &Target) -> String {
    let Target { host, url, .. } = target;
    let login = ini(&target.login);
    let section = |family| {
        let (name, detector) = match family {
            Family::V4 => ("dyngate-ipv4", "webcheck4"),
            Family::V6 => ("dyngate-ipv6", "webcheck6"),
        };
        let seen = target.url_of(family);
        let section = format!(
            "\n[{name}]\n\
             updater = dyndns2\n\
             updater-url = {url}/nic/update\n\
             updater-hostname = {host}\n\
             updater-userid = {login}\n\
             updater-password = PASSWORD\n\
             detector = {detector}\n\
             detector-url = {seen}/myip\n\
             detector-parser = plain\n"
        );
        (name, section)
    };
    let (names, sections): (Vec<_>, Vec<_>) = target.families.iter().map(section).unzip();
    format!(
        "# ~/.dyndnsc.ini, mode 600; then `dyndnsc --loop`. A % in the password is written twice.\n\
         {}[dyndnsc]\nconfigs = {}\n{}",
        one_family_hint(target),
        names.join(", "),
        sections.concat()
    )
}
