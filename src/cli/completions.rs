//! `dyngate completions`: a shell's completion script, made from the definition of the arguments.

use std::io;

use clap::Command;
use clap_complete::Shell;

use super::{CommandResult, fail};

pub(super) fn run(mut command: Command, shell: Shell, mut output: impl io::Write) -> CommandResult {
    let name = command.get_name().to_owned();
    // clap_complete panics where it cannot write, and a vector always takes it.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    let written = output.write_all(&script).and_then(|()| output.flush());
    written.map_err(|error| fail(1, &format_args!("cannot write the script: {error}")))
}
