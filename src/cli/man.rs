//! `dyngate man`: manual pages of section 1, made from the definition of the arguments; one a command.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;

use super::{CommandResult, fail};

/// What every page ends with: it holds for all commands.
const END: &str = r#".SH "EXIT STATUS"
.TP
.B 0
All went well.
.TP
.B 1
It cannot start or go on: a port is taken, a file cannot be written.
.TP
.B 2
.B dyngate check
found something.
.TP
.B 64
The arguments or the configuration are wrong.
.SH ENVIRONMENT
.TP
.B DYNGATE_LOG
What is logged, as in
.B info
or
.BR dyngate=debug ;
without it
.B RUST_LOG
says so.
.SH FILES
.TP
.I /etc/dyngate/gateway.toml
The configuration.
"#;

/// Writes the pages into `folder`, which is made where it is missing.
pub(super) fn run(mut command: Command, folder: &Path) -> CommandResult {
    command.build();
    fs::create_dir_all(folder).and_then(|()| write(&command, folder, None)).map_err(|error| {
        let folder = folder.display();
        let advice = "Name a folder that you may write to";
        fail(1, &format_args!("cannot write the manual pages into {folder}: {error}\n{advice}"))
    })
}

/// The page of `command` and those of its commands; `above` is the page that its own refers to.
fn write(command: &Command, folder: &Path, above: Option<&str>) -> io::Result<()> {
    let man = Man::new(command.clone());
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let mut page = Vec::new();
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut text = title(name) + &tidy(&String::from_utf8_lossy(&page)) + END;
    if let Some(above) = above {
        text = text + ".SH \"SEE ALSO\"\n.BR " + above + " (1)\n";
    }
    fs::write(folder.join(man.get_filename()), text)?;
    command
        .get_subcommands()
        .filter(|inner| !inner.is_hide_set())
        .try_for_each(|inner| write(inner, folder, Some(name)))
}

/// The first lines of a page. clap_mangen's own drop the empty date, and all that follows moves up by one; a date of the
/// build would make each build another.
fn title(name: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("{APOSTROPHE}.TH {} 1 \"\" \"dyngate {version}\" \"dyngate\"\n", name.to_uppercase())
}

/// What clap_mangen begins each section with: once a page is enough.
const APOSTROPHE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// Takes out what mandoc warns of: line breaks around an empty line, and blanks at the end of lines.
fn tidy(page: &str) -> String {
    let page = page.replace(APOSTROPHE, "").replace("\n.br\n\n.br\n", "\n.sp\n");
    page.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}
