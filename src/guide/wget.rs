//! Command lines of GNU Wget; the gateway takes the address that each comes from.

use super::quoted::shell;
use super::target::Target;
use crate::model::Family;

pub(super) fn render(target: &Target) -> String {
    let login = shell(&format!("--user={}", target.login));
    let line = |family| {
        let option = match family {
            Family::V4 => "-4",
            Family::V6 => "-6",
        };
        let url = format!("{}/nic/update?hostname={}", target.url_of(family), target.host);
        format!("wget {option} -q -O - {login} '--password=PASSWORD' {}\n", shell(&url))
    };
    let lines: String = target.families.iter().filter(|family| target.reaches(*family)).map(line).collect();
    format!(
        "# good and nochg are success, whatever the exit code; any other word is a failure. Not BusyBox' wget: it sends no login.\n\
         # The address is the one that the request comes from; &myip=ADDRESS at the end of the URL names another.\n\
         {}{lines}",
        super::unreached(target)
    )
}
