//! `dyngate reload`: checks the file here, then has the running gateway read its own, which must have the same content.

use std::fs;
use std::path::Path;

use super::operating::{Common, note};
use super::{CommandResult, USAGE, fail};
use crate::api::reload::{Reloaded, request_reload};
use crate::config::Config;

/// The gateway did not take it.
const REFUSED: u8 = 2;
/// Where systemd keeps the copies of LoadCredential=.
const CREDENTIALS: &str = "/run/credentials/";

pub(super) fn run(common: &Common) -> CommandResult {
    let path = &common.file.config;
    let config = Config::load(path)
        .map_err(|errors| fail(USAGE, &format_args!("the configuration cannot be used; nothing was sent\n{errors}")))?;
    match request_reload(config.admin.listen, &config.content) {
        Ok(Ok(reloaded)) => {
            note_file(path, &reloaded.file);
            let shown = common.output().one(&reloaded, text);
            shown.map_err(|error| fail(1, &error))
        }
        Ok(Err(refused)) => {
            note_file(path, &refused.file);
            let shown = common.output().one(&refused, |_| String::new());
            let problems = refused.problems.join("\n");
            let told = format!("the gateway did not take its configuration; the one in force stays\n{problems}");
            shown.map_err(|error| fail(1, &error))?;
            Err(fail(REFUSED, &told))
        }
        Err(error) => Err(fail(
            REFUSED,
            &format_args!(
                "{error}\n  where the gateway was started with another [admin] listen than this file's, it needs a restart, or \
                 SIGHUP for all the rest; its log tells what came of it"
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
