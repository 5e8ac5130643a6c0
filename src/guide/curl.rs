//! Command lines of curl; the gateway takes the address that each comes from.

use super::target::Target;
use crate::model::Family;

pub(super) fn render(target: &Target) -> String {
    let Target { host, url, .. } = target;
    let login = target.login.replace('\'', "'\\''");
    let line = |family| {
        let option = match family {
            Family::V4 => "-4",
            Family::V6 => "-6",
        };
        format!("curl {option} -sS -w '\\n' -u '{login}:PASSWORD' '{url}/nic/update?hostname={host}'\n")
    };
    // An address as server is reached by its own family alone.
    let reached = |family: &Family| url.family().is_none_or(|only| only == *family);
    let lines: String = target.families.iter().filter(reached).map(line).collect();
    let missing = if target.families.iter().all(|family| reached(&family)) {
        String::new()
    } else {
        "# The gateway's address is of one family, so the caller's other address is not seen: name it with &myip=ADDRESS,\n\
         # or give the gateway a name that has addresses of both.\n"
            .to_owned()
    };
    format!(
        "# good and nochg are success, whatever the exit code; any other word is a failure. Without :PASSWORD curl asks for it.\n\
         # The address is the one that the request comes from; &myip=ADDRESS at the end of the URL names another.\n\
         {missing}{lines}"
    )
}
