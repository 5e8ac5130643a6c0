//! `dyngate account`: who may update what.

use std::time::Duration;

use clap::Subcommand;
use serde::Serialize;

use super::Ended;
use super::operating::{
    self, CommandError, Common, JsonArray, duration, note, note_records, password, print, print_json,
};
use super::table::{Cell, Paint, Table, Tone, block, counted, listed};
use crate::model::Timestamp;
use crate::operator::{AccountView, Operator, Shown};

/// Names that a table shows of one account.
const SHOWN: usize = 3;

#[derive(Debug, Subcommand)]
pub(super) enum AccountCommand {
    /// Add an account and show its secret, this once
    Add {
        /// The user name that its routers send
        login: String,
        /// A name that it may update, or a wildcard such as "*.office.dyn.example"; may be repeated
        #[arg(long = "host", value_name = "NAME")]
        hosts: Vec<String>,
        /// How many distinct names its wildcards may bring into being [default: 100]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        max_hosts: Option<u32>,
        /// Read a chosen password from standard input in place of making a secret
        #[arg(long)]
        password_stdin: bool,
        /// Take names over that have addresses in the zone already
        #[arg(long)]
        adopt: bool,
    },
    /// List all accounts
    List,
    /// Show an account
    Show {
        /// The user name
        login: String,
    },
    /// Let an account log in again
    Enable {
        /// The user name
        login: String,
    },
    /// Let an account no longer log in; its records stay
    Disable {
        /// The user name
        login: String,
    },
    /// Remove an account, its hosts and their records
    Remove {
        /// The user name
        login: String,
        /// Leave the records of its hosts in the zone
        #[arg(long)]
        keep_records: bool,
    },
    /// Grant an account names, or wildcards such as "*.office.dyn.example"
    Grant {
        /// The user name
        login: String,
        /// The names
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Take names over that have addresses in the zone already
        #[arg(long)]
        adopt: bool,
    },
    /// Take names or wildcards back; the records stay
    Revoke {
        /// The user name
        login: String,
        /// The names
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Give an account a new secret, and show it this once
    Rotate {
        /// The user name
        login: String,
        /// How long the old secret goes on serving, such as 1h; not at all unless this is given
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        keep_old: Option<Duration>,
        /// Read a chosen password from standard input in place of making a secret
        #[arg(long)]
        password_stdin: bool,
    },
}

pub(super) fn run(common: &Common, command: AccountCommand) -> Ended {
    operating::run(&common.file.config, async |operator| act(operator, common.json, command).await)
}

async fn act(operator: &Operator, as_json: bool, command: AccountCommand) -> Result<(), CommandError> {
    let view = match command {
        AccountCommand::Add { login, hosts, max_hosts, password_stdin, adopt } => {
            let password = password(password_stdin)?;
            let password = password.as_ref().map(|password| password.as_str());
            let shown = operator.add_account(&login, &hosts, adopt, max_hosts, password).await?;
            return print_secret(&shown, "was added", as_json);
        }
        AccountCommand::Rotate { login, keep_old, password_stdin } => {
            let password = password(password_stdin)?;
            let shown = operator.rotate(&login, keep_old, password.as_ref().map(|password| password.as_str())).await?;
            return print_secret(&shown, "has a new secret", as_json);
        }
        AccountCommand::List => return list(operator, as_json).await,
        AccountCommand::Show { login } => operator.show_account(&login).await?,
        AccountCommand::Enable { login } => operator.set_enabled(&login, true).await?,
        AccountCommand::Disable { login } => operator.set_enabled(&login, false).await?,
        AccountCommand::Grant { login, names, adopt } => operator.grant(&login, &names, adopt).await?,
        AccountCommand::Revoke { login, names } => operator.revoke(&login, &names).await?,
        AccountCommand::Remove { login, keep_records } => {
            let (view, names, records) = operator.remove_account(&login, keep_records).await?;
            note(&format!("account {login} is removed, with {}", counted(names.len(), "host")));
            note_records("their records", "gone from the zone", records);
            view
        }
    };
    print_view(&view, as_json)
}

fn print_secret(shown: &Shown, what: &str, as_json: bool) -> Result<(), CommandError> {
    #[derive(Serialize)]
    struct Json<'s> {
        login: &'s str,
        secret: Option<&'s str>,
    }
    let secret = shown.secret.as_ref().map(|secret| secret.as_str());
    if as_json {
        return print_json(&Json { login: &shown.login, secret });
    }
    let line = match secret {
        Some(secret) => ("secret", Cell::from(format!("{secret}  (shown this once: give it to the router now)"))),
        None => ("secret", Cell::from("the password that was given")),
    };
    print(&block(&format!("account {} {what}", shown.login), &[line], Paint::stdout()))
}

async fn list(operator: &Operator, as_json: bool) -> Result<(), CommandError> {
    let mut pages = operator.accounts();
    if as_json {
        let mut array = JsonArray::begin()?;
        while let Some(page) = pages.next().await? {
            array.extend(page.iter().map(Json::from))?;
        }
        return array.end();
    }
    let paint = Paint::stdout();
    let mut table = Table::new(["LOGIN", "HOSTS", "MAX HOSTS", "ENABLED", "KEPT IN", "CREATED"], paint);
    let now = Timestamp::now();
    let row = |view: &AccountView| {
        let hosts = listed(&view.hosts, SHOWN);
        [
            Cell::from(&view.login),
            Cell::from(if hosts.is_empty() { "-" } else { &hosts }),
            Cell::from(view.max_hosts.to_string()),
            enabled(view),
            Cell::from(kept_in(view.declared)),
            Cell::from(view.created.map_or_else(|| "-".to_owned(), |created| created.with_age(now))),
        ]
    };
    while let Some(page) = pages.next().await? {
        print(&table.page(&page.iter().map(row).collect::<Vec<_>>()))?;
    }
    Ok(())
}

fn print_view(view: &AccountView, as_json: bool) -> Result<(), CommandError> {
    if as_json {
        return print_json(&Json::from(view));
    }
    let hosts = if view.hosts.is_empty() { "-".to_owned() } else { view.hosts.join(", ") };
    let lines = [
        ("hosts", Cell::from(hosts)),
        ("max hosts", Cell::from(view.max_hosts.to_string())),
        ("enabled", enabled(view)),
        ("kept in", Cell::from(kept_in(view.declared))),
        ("created", Cell::from(view.created.map_or_else(|| "-".to_owned(), |at| at.with_age(Timestamp::now())))),
    ];
    print(&block(&format!("account {}", view.login), &lines, Paint::stdout()))
}

fn enabled(view: &AccountView) -> Cell {
    if view.enabled { Cell::new(Tone::Good, "yes") } else { Cell::new(Tone::Warning, "no") }
}

/// Where it is changed.
pub(super) fn kept_in(declared: bool) -> &'static str {
    if declared { "file" } else { "store" }
}

#[derive(Serialize)]
struct Json<'v> {
    login: &'v str,
    hosts: &'v [String],
    max_hosts: u32,
    enabled: bool,
    declared: bool,
    created: Option<String>,
}

impl<'v> From<&'v AccountView> for Json<'v> {
    fn from(view: &'v AccountView) -> Self {
        Self {
            login: &view.login,
            hosts: &view.hosts,
            max_hosts: view.max_hosts,
            enabled: view.enabled,
            declared: view.declared,
            created: view.created.and_then(Timestamp::exact),
        }
    }
}
