//! The forms "Customize Provider" and "Add" of Synology DSM.

use super::target::Target;
use super::{IN_URL, form, only_ipv4, update_url};

pub(super) fn render(target: &Target) -> String {
    let url = update_url(target, "__HOSTNAME__", "__MYIP__&username=__USERNAME__&password=__PASSWORD__");
    let provider = form(&[("Service Provider", "dyngate"), ("Query URL", &url)]);
    let entry = form(&[
        ("Service provider", "dyngate"),
        ("Hostname", target.host.as_str()),
        ("Username/Email", &target.login),
        ("Password/Key", "PASSWORD"),
    ]);
    format!(
        "# Leave the words between __ as they are: DSM fills them in.\n\
         # DSM knows the words good, nochg, nohost, abuse, notfqdn, badauth and 911; any other is a general failure to it.\n\
         {IN_URL}{}\n\
         # 1. Control Panel > External Access > DDNS > Customize Provider\n\
         {provider}\n\
         # 2. Control Panel > External Access > DDNS > Add\n\
         {entry}",
        only_ipv4(target),
    )
}
