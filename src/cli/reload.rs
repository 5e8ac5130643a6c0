//! `dyngate reload`: checks the file here, then has the running gateway read its own.

use std::fs;
use std::path::Path;

use super::operating::{Common, note};
use super::{CommandResult, USAGE, fail};
use crate::api::reload::{Reloaded, request_reload};
use crate::config::Config;

/// Where systemd keeps the copies of LoadCredential=.
const CREDENTIALS: &str = "/run/credentials/";

pub(super) fn run(common: &Common) -> CommandResult {
    let path = &common.file.config;
    let config = Config::load(path)
        .map_err(|errors| fail(USAGE, &format_args!("the configuration cannot be used; nothing was sent\n{errors}")))?;
    match request_reload(config.admin.listen) {
        Ok(Ok(reloaded)) => {
            note_file(path, &reloaded.file);
            let shown = common.output().one(&reloaded, text);
            shown.map_err(|error| fail(1, &error))
        }
        Ok(Err(refused)) => {
            note_file(path, &refused.file);
            let shown = common.output().one(&refused, |_| String::new());
            let problems = refused.problems.join("\n");
            let told = format!("the gateway cannot use its configuration; the one in force stays\n{problems}");
            shown.map_err(|error| fail(1, &error))?;
            Err(fail(1, &told))
        }
        Err(error) => Err(fail(
            1,
            &format_args!(
                "{error}\n  where the gateway runs with another [admin] listen than this file's, or under systemd: \
                 `systemctl reload dyngate`, or send it SIGHUP; its log tells what came of it"
            ),
        )),
    }
}

fn text(reloaded: &Reloaded) -> String {
    let mut lines = vec![format!("reloaded: {}", reloaded.file)];
    if reloaded.changed.is_empty() {
        lines.push("  nothing has changed".to_owned());
    }
    lines.extend(reloaded.changed.iter().map(|what| format!("  {what}")));
    lines.extend(reloaded.restart.iter().map(|what| format!("restart needed: {what}")));
    lines.join("\n") + "\n"
}

/// The gateway reads the file that it was started with, whatever file was checked here.
fn note_file(checked: &Path, read: &str) {
    let real = |path: &Path| fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_default();
    if real(checked) == real(Path::new(read)) {
        return;
    }
    note(&format!("the gateway reads {read}, not {}", checked.display()));
    if read.starts_with(CREDENTIALS) {
        note("that is a copy which systemd made at the start: `systemctl restart dyngate` makes a new one");
    }
}
