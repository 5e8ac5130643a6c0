//! `dyngate account`: arguments and tables. Knows no rule of accounts.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::CommandResult;
use super::operating::{
    self, CommandError, Common, Output, duration, kept_in, note, note_records, password, records_policy,
};
use super::table::{Cell, Paint, Tone, block, counted};
use crate::model::{Timestamp, listed};
use crate::operator::{Access, AccountView, Actor, Cursor, NewAccountOptions, Operator, PAGE, SecretView};

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
    Show(Login),
    /// Let an account log in again
    Enable(Login),
    /// Let an account no longer log in; its records stay
    Disable(Login),
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

#[derive(Debug, Args)]
pub(super) struct Login {
    /// The user name
    login: String,
}

pub(super) fn run(common: &Common, command: AccountCommand) -> CommandResult {
    let access = match command {
        AccountCommand::List | AccountCommand::Show(_) => Access::Read,
        _ => Access::Write,
    };
    operating::run(common, access, async |operator, actor, output| act(operator, actor, output, command).await)
}

async fn act(operator: &Operator, actor: &Actor, output: Output, command: AccountCommand) -> Result<(), CommandError> {
    let mut view = match command {
        AccountCommand::Add { login, hosts, max_hosts, password_stdin, adopt } => {
            let password = password(password_stdin)?;
            let password = password.as_ref().map(|password| password.as_str());
            let options = NewAccountOptions { grants: &hosts, adopt, max_hosts, password };
            let secret = operator.add_account(actor, &login, options).await?;
            return output.one(&secret, |secret| secret_block(secret, "was added"));
        }
        AccountCommand::Rotate { login, keep_old, password_stdin } => {
            let password = password(password_stdin)?;
            let password = password.as_ref().map(|password| password.as_str());
            let secret = operator.rotate(actor, &login, keep_old, password).await?;
            return output.one(&secret, |secret| secret_block(secret, "has a new secret"));
        }
        AccountCommand::List => return list(operator, output).await,
        AccountCommand::Show(Login { login }) => operator.account(&login).await?,
        AccountCommand::Enable(Login { login }) => operator.set_enabled(actor, &login, true).await?,
        AccountCommand::Disable(Login { login }) => operator.set_enabled(actor, &login, false).await?,
        AccountCommand::Grant { login, names, adopt } => operator.grant(actor, &login, &names, adopt).await?,
        AccountCommand::Revoke { login, names } => operator.revoke(actor, &login, &names).await?,
        AccountCommand::Remove { login, keep_records } => {
            let (view, names, records) = operator.remove_account(actor, &login, records_policy(keep_records)).await?;
            note(&format!("account {login} is removed, with {}", counted(names, "host")));
            note_records("their records", "gone from the zone", records);
            view
        }
    };
    complete(operator, &mut view).await?;
    output.one(&view, account_block)
}

/// Reads the rest of what it is granted.
async fn complete(operator: &Operator, view: &mut AccountView) -> Result<(), CommandError> {
    while let Some(more) = view.more.take() {
        let page = operator.grants(&view.login, &more).await?;
        view.hosts.extend(page.items);
        view.more = page.next;
    }
    Ok(())
}

async fn list(operator: &Operator, output: Output) -> Result<(), CommandError> {
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
    let titles = ["LOGIN", "HOSTS", "MAX HOSTS", "ENABLED", "KEPT IN", "CREATED"];
    let read = async |after: Option<Cursor>| {
        let mut page = operator.accounts(after.as_ref(), PAGE).await?;
        for view in &mut page.items {
            complete(operator, view).await?;
        }
        Ok(page)
    };
    output.pages(titles, row, read).await
}

fn secret_block(view: &SecretView, what: &str) -> String {
    let secret = view.secret.as_ref();
    let secret = secret.map(|secret| format!("{}  (shown this once: give it to the router now)", **secret));
    let line = ("secret", Cell::from(secret.as_deref().unwrap_or("the password that was given")));
    block(&format!("account {} {what}", view.login), &[line], Paint::stdout())
}

fn account_block(view: &AccountView) -> String {
    let hosts = if view.hosts.is_empty() { "-".to_owned() } else { view.hosts.join(", ") };
    let lines = [
        ("hosts", Cell::from(hosts)),
        ("max hosts", Cell::from(view.max_hosts.to_string())),
        ("enabled", enabled(view)),
        ("kept in", Cell::from(kept_in(view.declared))),
        ("created", Cell::from(view.created.map_or_else(|| "-".to_owned(), |at| at.with_age(Timestamp::now())))),
    ];
    block(&format!("account {}", view.login), &lines, Paint::stdout())
}

fn enabled(view: &AccountView) -> Cell {
    if view.enabled { Cell::new(Tone::Good, "yes") } else { Cell::new(Tone::Warning, "no") }
}
