//! Command lines of curl; the gateway takes the address that each comes from.

use super::target::Target;
use super::unreached;
use crate::model::Family;

pub(super) fn render(target: &Target) -> String {
    let host = &target.host;
    let login = target.login.replace('\'', "'\\''");
    let line = |family| {
        let option = match family {
            Family::V4 => "-4",
            Family::V6 => "-6",
        };
        let url = target.url_of(family);
        format!("curl {option} -sS -w '\\n' -u '{login}:PASSWORD' '{url}/nic/update?hostname={host}'\n")
    };
    let lines: String = target.families.iter().filter(|family| target.reaches(*family)).map(line).collect();
    format!(
        "# good and nochg are success, whatever the exit code; any other word is a failure. Without :PASSWORD curl asks for it.\n\
         # The address is the one that the request comes from; &myip=ADDRESS at the end of the URL names another.\n\
         {}{lines}",
        unreached(target)
    )
}
