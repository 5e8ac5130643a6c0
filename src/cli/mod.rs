//! The command line: arguments in, exit codes out; one sub-command a file. Knows no socket.

mod account;
mod check;
mod client_config;
mod completions;
mod demo;
mod hash;
mod health;
mod host;
mod log;
mod man;
mod moving;
mod operating;
mod reload;
mod serve;
mod table;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use tokio::runtime::{Builder, Runtime};

use crate::check::Extent;
use crate::config::Config;
use crate::demo::Options;
use account::AccountCommand;
use hash::HashCommandError;
use host::HostCommand;
use log::Format;
use operating::Common;

/// The usage or the configuration is wrong (EX_USAGE of sysexits.h).
const USAGE: u8 = 64;

/// How a command ended: well, or with the exit code for what it told on standard error.
type CommandResult = Result<(), ExitCode>;

/// A DynDNS front door for the name server you already run.
#[derive(Debug, Parser)]
#[command(name = "dyngate", version, disable_help_subcommand = true, subcommand_value_name = "COMMAND")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or SIGINT
    Serve {
        #[command(flatten)]
        file: ConfigFile,
        /// Write the real addresses to this file, as JSON, once the listeners accept
        #[arg(long, value_name = "PATH")]
        ready_file: Option<PathBuf>,
        /// How log lines are written to standard error; DYNGATE_LOG filters them, as in "info" or "dyngate=debug"
        #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
        log_format: Format,
    },
    /// Ask every primary whether this configuration works with it and the store, and say what to mend; changes nothing
    Check {
        #[command(flatten)]
        file: ConfigFile,
        /// Stop after the configuration: ask no primary
        #[arg(long, conflicts_with = "write")]
        offline: bool,
        /// Also add, look for and remove a TXT record at _dyngate-check in each zone, and addresses at a few granted names that
        /// nobody uses: finds a secondary that forwards, and a policy that drops what was acknowledged
        #[arg(long)]
        write: bool,
        /// Print one JSON document in place of the table
        #[arg(long)]
        json: bool,
    },
    /// Check this configuration, then have the running gateway take it without a restart; fails where it did not
    Reload(Common),
    /// Ask the running gateway whether it can serve, for health checks and scripts
    Health {
        #[command(flatten)]
        file: ConfigFile,
        /// Also ask whether a primary of each zone can be reached
        #[arg(long)]
        primaries: bool,
    },
    /// Show the gateway at work with a real name server found on this machine, and let you try it until Ctrl-C
    Demo {
        /// Return after one update was shown
        #[arg(long)]
        once: bool,
        /// Look for knotd and named only in these folders, separated by colons
        #[arg(long, value_name = "FOLDERS")]
        path: Option<OsString>,
    },
    /// Accounts: who may update what
    Account {
        #[command(flatten)]
        common: Common,
        #[command(subcommand)]
        command: AccountCommand,
    },
    /// Hosts: names, what they point to, and when their routers last called
    Host {
        #[command(flatten)]
        common: Common,
        #[command(subcommand)]
        command: HostCommand,
    },
    /// Write all accounts, hosts and tokens as JSON lines, secrets as digests
    Export {
        #[command(flatten)]
        common: Common,
        /// Where to, readable by its owner alone; standard output unless this is given
        #[arg(value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Take the lines of an export, all of them or none
    Import {
        #[command(flatten)]
        common: Common,
        /// Where from; - for standard input
        #[arg(value_name = "FILE")]
        from: PathBuf,
    },
    /// Read a password from standard input and print what stands for it in the configuration
    Hash {
        /// Make a secret instead: line 1 for the router, line 2 for the configuration
        #[arg(long)]
        generate: bool,
    },
    /// Print what to paste on a router so that it keeps a host up to date
    ClientConfig {
        #[command(flatten)]
        options: client_config::ClientConfigOptions,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Print the completion script of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages into a folder
    Man {
        /// The folder, which is made where it is missing
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DYNGATE_CONFIG",
        default_value = "/etc/dyngate/gateway.toml"
    )]
    config: PathBuf,
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(message) => {
            let _output_gone = message.print();
            return if message.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match act(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => code,
    }
}

fn act(command: Command) -> CommandResult {
    match command {
        Command::Serve { file, ready_file, log_format } => serve::run(&file.config, ready_file.as_deref(), log_format),
        Command::Check { file, offline, write, json } => {
            let extent = match (offline, write) {
                (true, _) => Extent::Offline,
                (false, true) => Extent::Write,
                (false, false) => Extent::Questions,
            };
            check::run(&file.config, extent, json)
        }
        Command::Reload(common) => reload::run(&common),
        Command::Health { file, primaries } => health::run(&file.config, primaries),
        Command::Demo { once, path } => {
            let folders = path.map(|path| std::env::split_paths(&path).collect());
            demo::run(&Options { once, folders })
        }
        Command::Account { common, command } => account::run(&common, command),
        Command::Host { common, command } => host::run(&common, command),
        Command::Export { common, to } => moving::export(&common, to.as_deref()),
        Command::Import { common, from } => moving::import(&common, &from),
        Command::Hash { generate } => {
            if !generate {
                hash::prompt();
            }
            hash::run(generate, io::stdin().lock(), io::stdout().lock()).map_err(|error| match error {
                HashCommandError::Empty | HashCommandError::TooLong => fail(USAGE, &error),
                error => fail(1, &error),
            })
        }
        Command::ClientConfig { options, file } => client_config::run(&file.config, &options),
        Command::Completions { shell } => completions::run(Arguments::command(), shell, io::stdout().lock()),
        Command::Man { folder } => man::run(Arguments::command(), &folder),
    }
}

fn load(path: &Path) -> Result<Config, ExitCode> {
    Config::load(path).map_err(|errors| fail(USAGE, &format_args!("the configuration cannot be used\n{errors}")))
}

/// What a command's tasks run in.
fn runtime(mut builder: Builder) -> Result<Runtime, ExitCode> {
    builder.enable_all().build().map_err(|error| fail(1, &format_args!("cannot start: {error}")))
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    let mut text = format!("dyngate: {error}");
    if log::goes_to_journal() {
        text = format!("{}{}", log::ERROR, text.replace('\n', &format!("\n{}", log::ERROR)));
    }
    let _stderr_gone = writeln!(io::stderr(), "{text}");
    ExitCode::from(code)
}
