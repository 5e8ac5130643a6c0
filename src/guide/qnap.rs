//! The form "DDNS" of QNAP's QTS, with a server of one's own.

use super::target::Target;
use super::{IN_URL, form, only_ipv4, update_url};

pub(super) fn render(target: &Target) -> String {
    let url = update_url(target, "%HOST%", "%IP%&username=%USER%&password=%PASS%");
    let fields = form(&[
        ("Select DDNS server", "Customized"),
        ("URL", &url),
        ("User name", &target.login),
        ("Password", "PASSWORD"),
        ("Host name", target.host.as_str()),
    ]);
    format!(
        "# Control Panel > Network & Virtual Switch > DDNS > Add. Leave the words between % as they are: QTS fills them in.\n\
         {IN_URL}{}\n{fields}",
        only_ipv4(target)
    )
}
