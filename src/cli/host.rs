//! `dyngate host`: names, what they point to, and when their routers last called.

use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::Ended;
use super::account::kept_in;
use super::operating::{self, CommandError, Common, JsonArray, duration, note, note_records, print, print_json};
use super::table::{Cell, Paint, Table, Tone, block, counted};
use crate::config::MAX_TTL;
use crate::model::{Addresses, Families, Hostname, Timestamp};
use crate::operator::{HostView, NewHostOptions, Operator};
use crate::store::{Event, HostEdit};

#[derive(Debug, Subcommand)]
pub(super) enum HostCommand {
    /// Add a host to an account
    Add {
        /// Its whole name
        name: String,
        /// Whose it will be
        #[arg(long, value_name = "LOGIN")]
        account: String,
        /// The TTL of its records in seconds, in place of its zone's
        #[arg(long, value_name = "SECONDS", value_parser = seconds(), allow_negative_numbers = true)]
        ttl: Option<u32>,
        /// A line for people
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        description: String,
        /// An address that it gets at once, through the gateway; one of a family
        #[arg(long = "address", value_name = "ADDR")]
        addresses: Vec<IpAddr>,
        /// Take the name over though it has addresses in the zone already
        #[arg(long)]
        adopt: bool,
    },
    /// List hosts
    List {
        /// Those of this account only
        #[arg(long, value_name = "LOGIN")]
        account: Option<String>,
    },
    /// Show a host: what it points to, when that changed, when its router last called
    Show(Name),
    /// Change a host's settings; its records change with its next update
    Set {
        /// Its name
        name: String,
        #[command(flatten)]
        edit: Edit,
    },
    /// Refuse all updates of a host
    Block {
        /// Its name
        name: String,
        /// Why, for whoever looks
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Allow updates of a host again
    Unblock(Name),
    /// Give a host a URL of its own to update it, shown this once
    Token {
        /// Its name
        name: String,
        /// How long its former URLs go on serving, such as 1h; not at all unless this is given
        #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "revoke")]
        keep_old: Option<Duration>,
        /// Give none: take all its URLs back
        #[arg(long)]
        revoke: bool,
    },
    /// List a host's changes, newest first
    History {
        /// Its name
        name: String,
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: u32,
    },
    /// Remove a host and its records
    Remove {
        /// Its name
        name: String,
        /// Leave its records in the zone
        #[arg(long)]
        keep_records: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Name {
    /// Its name
    name: String,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Edit {
    /// The TTL of its records in seconds, or "zone" for its zone's
    #[arg(long, value_name = "SECONDS", value_parser = own_ttl, allow_negative_numbers = true)]
    ttl: Option<OwnTtl>,
    /// A line for people; "" for none
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Which addresses it may have: ipv4, ipv6, or both with a comma between
    #[arg(long, value_name = "FAMILIES", value_delimiter = ',')]
    families: Vec<FamilyName>,
}

#[derive(Debug, Clone, Copy)]
struct OwnTtl(Option<u32>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FamilyName {
    #[value(alias = "4")]
    Ipv4,
    #[value(alias = "6")]
    Ipv6,
}

fn seconds() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(0..=i64::from(MAX_TTL))
}

fn own_ttl(text: &str) -> Result<OwnTtl, String> {
    match text {
        "zone" => Ok(OwnTtl(None)),
        number => match number.parse() {
            Ok(seconds) if seconds <= MAX_TTL => Ok(OwnTtl(Some(seconds))),
            _ => Err(format!("not in 0..={MAX_TTL}, nor \"zone\"")),
        },
    }
}

pub(super) fn run(common: &Common, command: HostCommand) -> Ended {
    operating::run(&common.file.config, async |operator| act(operator, common.json, command).await)
}

async fn act(operator: &Operator, as_json: bool, command: HostCommand) -> Result<(), CommandError> {
    let view = match command {
        HostCommand::Add { name, account, ttl, description, addresses, adopt } => {
            let options = NewHostOptions { ttl, description, addresses, adopt };
            let added = operator.add_host(&name, &account, options).await?;
            note_records("its address", "set in the zone", added.records);
            added.host
        }
        HostCommand::List { account } => return list(operator, account.as_deref(), as_json).await,
        HostCommand::Show(Name { name }) => operator.show_host(&name).await?,
        HostCommand::Set { name, edit } => operator.set_host(&name, &edit.into()).await?,
        HostCommand::Block { name, reason } => operator.block(&name, Some(&reason)).await?,
        HostCommand::Unblock(Name { name }) => operator.block(&name, None).await?,
        HostCommand::Token { name, revoke: true, .. } => {
            let (name, revoked) = operator.revoke_tokens(&name).await?;
            return print_token(&name, None, &format!("{} taken back", counted(revoked, "URL")), as_json);
        }
        HostCommand::Token { name, keep_old, revoke: false } => {
            let (name, token) = operator.make_token(&name, keep_old).await?;
            return print_token(&name, Some(&format!("/update/{}", *token)), "", as_json);
        }
        HostCommand::History { name, limit } => return history(operator, &name, limit, as_json).await,
        HostCommand::Remove { name, keep_records } => {
            let (view, records) = operator.remove_host(&name, keep_records).await?;
            note(&format!("host {} is removed", view.name));
            note_records("its records", "gone from the zone", records);
            view
        }
    };
    if as_json { print_json(&Json::from(&view)) } else { print(&described(&view)) }
}

async fn list(operator: &Operator, account: Option<&str>, as_json: bool) -> Result<(), CommandError> {
    let mut pages = operator.hosts(account).await?;
    if as_json {
        let mut array = JsonArray::begin()?;
        while let Some(page) = pages.next().await? {
            array.extend(page.iter().map(Json::from))?;
        }
        return array.end();
    }
    let now = Timestamp::now();
    let mut table =
        Table::new(["NAME", "ACCOUNT", "ADDRESSES", "LAST UPDATE", "LAST SEEN", "OUTCOME", "STATE"], Paint::stdout());
    let ago = |moment: Option<Timestamp>| moment.map_or_else(|| "-".to_owned(), |at| at.age(now));
    let row = |view: &HostView| {
        [
            Cell::from(view.name.as_str()),
            Cell::from(view.account.as_deref().unwrap_or("-")),
            Cell::from(spelled(view.addresses, ", ").as_deref().unwrap_or("-")),
            Cell::from(ago(view.last_update)),
            Cell::from(ago(view.last_seen)),
            Cell::from(view.last_outcome.as_deref().unwrap_or("-")),
            match (&view.blocked, view.below_wildcard, view.declared) {
                (Some(reason), _, _) => Cell::new(Tone::Bad, &format!("blocked: {reason}")),
                (None, true, _) => Cell::from("wildcard"),
                (None, false, true) => Cell::from("declared"),
                (None, false, false) => Cell::from("-"),
            },
        ]
    };
    while let Some(page) = pages.next().await? {
        print(&table.page(&page.iter().map(row).collect::<Vec<_>>()))?;
    }
    Ok(())
}

async fn history(operator: &Operator, name: &str, limit: u32, as_json: bool) -> Result<(), CommandError> {
    let events = operator.history(name, usize::try_from(limit).unwrap_or(usize::MAX)).await?;
    if as_json {
        let mut array = JsonArray::begin()?;
        array.extend(events.iter().map(JsonEvent::from))?;
        return array.end();
    }
    let mut table = Table::new(["AT", "OUTCOME", "OLD", "NEW", "FROM", "AGENT"], Paint::stdout());
    let row = |event: &Event| {
        [
            Cell::from(event.at.second()),
            Cell::from(&event.outcome),
            Cell::from(spelled(event.old, ", ").as_deref().unwrap_or("-")),
            Cell::from(spelled(event.new, ", ").as_deref().unwrap_or("-")),
            Cell::from(event.source.map_or_else(|| "-".to_owned(), |source| source.to_string())),
            Cell::from(event.agent.as_deref().unwrap_or("-")),
        ]
    };
    print(&table.page(&events.iter().map(row).collect::<Vec<_>>()))
}

fn print_token(name: &Hostname, path: Option<&str>, otherwise: &str, as_json: bool) -> Result<(), CommandError> {
    #[derive(Serialize)]
    struct JsonToken<'t> {
        name: &'t str,
        path: Option<&'t str>,
    }
    if as_json {
        return print_json(&JsonToken { name: name.as_str(), path });
    }
    let shown = path.map(|path| format!("{path}  (shown this once: whoever has it can update the host)"));
    print(&block(name.as_str(), &[("path", Cell::from(shown.as_deref().unwrap_or(otherwise)))], Paint::stdout()))
}

/// For people: a block of lines.
fn described(view: &HostView) -> String {
    let now = Timestamp::now();
    let moment = |moment: Option<Timestamp>| moment.map_or_else(|| "never".to_owned(), |at| at.with_age(now));
    let ttl = match (view.ttl, view.zone_ttl) {
        (Some(own), _) => format!("{own} s"),
        (None, Some(zone)) => format!("{zone} s, its zone's"),
        (None, None) => "- (no zone of the file holds it)".to_owned(),
    };
    let from = view.from.map(|from| from.to_string());
    // What nobody has said or seen yet has no line.
    let seen = [("last outcome", &view.last_outcome), ("from", &from), ("agent", &view.agent)];
    let mut lines = vec![("account", Cell::from(view.account.as_deref().unwrap_or("-")))];
    lines.extend(view.description.as_ref().map(|text| ("description", Cell::from(text))));
    lines.push(("addresses", Cell::from(spelled(view.addresses, ", ").as_deref().unwrap_or("none known"))));
    if view.waiting {
        lines.push(("", Cell::new(Tone::Warning, "waits for the gateway to change its records")));
    }
    lines.push(("last update", Cell::from(moment(view.last_update))));
    lines.push(("last seen", Cell::from(moment(view.last_seen))));
    lines.extend(seen.into_iter().filter_map(|(label, text)| Some((label, Cell::from(text.as_ref()?)))));
    lines.push(("ttl", Cell::from(ttl)));
    lines.push(("families", Cell::from(families(view.families).join(", "))));
    lines.push(("blocked", view.blocked.as_ref().map_or(Cell::from("no"), |reason| Cell::new(Tone::Bad, reason))));
    let by = if view.below_wildcard { ", below a wildcard" } else { "" };
    lines.push(("kept in", Cell::from(format!("{}{by}", kept_in(view.declared)))));
    block(view.name.as_str(), &lines, Paint::stdout())
}

/// Addresses, IPv4 first.
fn spelled(addresses: Addresses, between: &str) -> Option<String> {
    let all: Vec<_> = addresses.iter().map(|address| address.to_string()).collect();
    (!all.is_empty()).then(|| all.join(between))
}

fn families(families: Families) -> &'static [&'static str] {
    match families {
        Families::V4 => &["ipv4"],
        Families::V6 => &["ipv6"],
        Families::Both => &["ipv4", "ipv6"],
    }
}

impl From<Edit> for HostEdit {
    fn from(edit: Edit) -> Self {
        let has = |family| edit.families.contains(&family);
        let families = match (has(FamilyName::Ipv4), has(FamilyName::Ipv6)) {
            (true, true) => Some(Families::Both),
            (true, false) => Some(Families::V4),
            (false, true) => Some(Families::V6),
            (false, false) => None,
        };
        Self { ttl: edit.ttl.map(|ttl| ttl.0), families, description: edit.description }
    }
}

#[derive(Serialize)]
struct Json<'v> {
    name: &'v str,
    account: Option<&'v str>,
    ttl: Option<u32>,
    families: &'static [&'static str],
    description: Option<&'v str>,
    blocked: Option<&'v str>,
    ipv4: Option<std::net::Ipv4Addr>,
    ipv6: Option<std::net::Ipv6Addr>,
    last_update: Option<String>,
    last_seen: Option<String>,
    last_outcome: Option<&'v str>,
    agent: Option<&'v str>,
    from: Option<IpAddr>,
    declared: bool,
}

impl<'v> From<&'v HostView> for Json<'v> {
    fn from(view: &'v HostView) -> Self {
        Self {
            name: view.name.as_str(),
            account: view.account.as_deref(),
            ttl: view.ttl,
            families: families(view.families),
            description: view.description.as_deref(),
            blocked: view.blocked.as_deref(),
            ipv4: view.addresses.v4,
            ipv6: view.addresses.v6,
            last_update: view.last_update.and_then(Timestamp::exact),
            last_seen: view.last_seen.and_then(Timestamp::exact),
            last_outcome: view.last_outcome.as_deref(),
            agent: view.agent.as_deref(),
            from: view.from,
            declared: view.declared,
        }
    }
}

#[derive(Serialize)]
struct JsonEvent<'e> {
    at: Option<String>,
    outcome: &'e str,
    from: Option<IpAddr>,
    agent: Option<&'e str>,
    old: Option<String>,
    new: Option<String>,
}

impl<'e> From<&'e Event> for JsonEvent<'e> {
    fn from(event: &'e Event) -> Self {
        Self {
            at: event.at.exact(),
            outcome: &event.outcome,
            from: event.source,
            agent: event.agent.as_deref(),
            old: spelled(event.old, ","),
            new: spelled(event.new, ","),
        }
    }
}
