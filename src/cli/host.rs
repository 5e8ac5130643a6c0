//! `dyngate host`: arguments and tables. Knows no rule of hosts.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};

use super::CommandResult;
use super::operating::{self, CommandError, Common, Output, duration, kept_in, note, note_records, records_policy};
use super::table::{Cell, Paint, Tone, block, counted};
use crate::config::MAX_TTL;
use crate::model::{Families, HostExtras, Hostname, InterfaceId, NameError, PrefixFrom, Timestamp};
use crate::operator::{Access, Actor, Cursor, EventView, HostView, NewHostOptions, Operator, PAGE, Page, TokenView};
use crate::store::HostEdit;

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
    /// Change a host's settings: records that they forbid leave the zone, others change with the next update
    Set {
        /// Its name
        name: String,
        #[command(flatten)]
        edit: Edit,
    },
    /// Give a host to another account; its records stay as they are
    Move {
        /// Its name
        name: String,
        /// Whose it will be
        #[arg(long, value_name = "LOGIN")]
        to: String,
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
    /// The host whose IPv6 prefix it takes; "" for nobody's
    #[arg(long, value_name = "NAME", value_parser = or_none::<Hostname>)]
    follow: Option<OrNone<Hostname>>,
    /// Its bits in that prefix, such as ::10; "" for none
    #[arg(long, value_name = "ID", value_parser = or_none::<InterfaceId>)]
    interface_id: Option<OrNone<InterfaceId>>,
    /// Whether it takes the prefix that the other host reports, or also that of its address
    #[arg(long, value_name = "WHICH", value_parser = prefix_from())]
    prefix_from: Option<PrefixFrom>,
    /// Whether the wildcard below it has the same addresses
    #[arg(long, value_name = "BOOL")]
    wildcard: Option<bool>,
    /// Whether a request may remove its addresses
    #[arg(long, value_name = "BOOL")]
    offline: Option<bool>,
    /// The mail servers that a request may name, with commas between; "" for none
    #[arg(long, value_name = "NAMES", value_parser = mail_servers)]
    mx: Option<MailServers>,
    /// Whether its PTR records are kept in step, where we have the reverse zone
    #[arg(long, value_name = "BOOL")]
    ptr: Option<bool>,
}

#[derive(Debug, Clone, Copy)]
struct OwnTtl(Option<u32>);

#[derive(Debug, Clone)]
struct OrNone<T>(Option<T>);

#[derive(Debug, Clone)]
struct MailServers(Vec<Hostname>);

/// An address family as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FamilyName {
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

fn or_none<T: FromStr>(text: &str) -> Result<OrNone<T>, T::Err> {
    if text.is_empty() { Ok(OrNone(None)) } else { text.parse().map(|value| OrNone(Some(value))) }
}

fn prefix_from() -> impl TypedValueParser<Value = PrefixFrom> {
    let words = [PrefixFrom::Prefix, PrefixFrom::Address].map(PrefixFrom::as_str);
    PossibleValuesParser::new(words).try_map(|word| word.parse::<PrefixFrom>())
}

fn mail_servers(text: &str) -> Result<MailServers, NameError> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(Hostname::parse).collect::<Result<_, _>>().map(MailServers)
}

pub(super) fn run(common: &Common, command: HostCommand) -> CommandResult {
    let access = match command {
        HostCommand::List { .. } | HostCommand::Show(_) | HostCommand::History { .. } => Access::Read,
        _ => Access::Write,
    };
    operating::run(common, access, async |operator, actor, output| act(operator, actor, output, command).await)
}

async fn act(operator: &Operator, actor: &Actor, output: Output, command: HostCommand) -> Result<(), CommandError> {
    let view = match command {
        HostCommand::Add { name, account, ttl, description, addresses, adopt } => {
            let options = NewHostOptions { ttl, description, addresses, adopt };
            let (view, records) = operator.add_host(actor, &name, &account, options).await?;
            note_records("its address", "set in the zone", records);
            view
        }
        HostCommand::List { account } => return list(operator, account.as_deref(), output).await,
        HostCommand::Show(Name { name }) => operator.host(&name).await?,
        HostCommand::Set { name, edit } => {
            let (view, records) = operator.set_host(actor, &name, &edit.into()).await?;
            note_records("records that it may not have", "gone from the zone", records);
            view
        }
        HostCommand::Block { name, reason } => operator.block(actor, &name, Some(&reason)).await?,
        HostCommand::Unblock(Name { name }) => operator.block(actor, &name, None).await?,
        HostCommand::Move { name, to } => {
            let (view, revoked) = operator.move_host(actor, &name, &to).await?;
            if revoked > 0 {
                note(&format!("{} taken back, which its former account knows", counted(revoked, "URL")));
            }
            view
        }
        HostCommand::Token { name, revoke: true, .. } => {
            let (token, revoked) = operator.revoke_tokens(actor, &name).await?;
            return output.one(&token, |token| token_block(token, &format!("{} taken back", counted(revoked, "URL"))));
        }
        HostCommand::Token { name, keep_old, revoke: false } => {
            let token = operator.make_token(actor, &name, keep_old).await?;
            return output.one(&token, |token| token_block(token, ""));
        }
        HostCommand::History { name, limit } => return history(operator, &name, limit, output).await,
        HostCommand::Remove { name, keep_records } => {
            if operator.remove_misnamed_host(actor, &name).await? {
                note(&format!("host {name} is removed; the zone has no such name"));
                return Ok(());
            }
            let (view, records) = operator.remove_host(actor, &name, records_policy(keep_records)).await?;
            note(&format!("host {} is removed", view.name));
            note_records("its records", "gone from the zone", records);
            view
        }
    };
    output.one(&view, host_block)
}

async fn list(operator: &Operator, account: Option<&str>, output: Output) -> Result<(), CommandError> {
    let now = Timestamp::now();
    let ago = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.age(now));
    let row = |view: &HostView| {
        [
            Cell::from(view.name.as_str()),
            Cell::from(view.account.as_deref().unwrap_or("-")),
            Cell::from(addresses(view).as_deref().unwrap_or("-")),
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
    let titles = ["NAME", "ACCOUNT", "ADDRESSES", "LAST UPDATE", "LAST SEEN", "OUTCOME", "STATE"];
    let read = async |after: Option<Cursor>| Ok(operator.hosts(account, after.as_ref(), PAGE).await?);
    output.pages(titles, row, read).await
}

async fn history(operator: &Operator, name: &str, limit: u32, output: Output) -> Result<(), CommandError> {
    let spelled = |addresses: &Option<String>| addresses.as_ref().map_or("-".to_owned(), |all| all.replace(',', ", "));
    let row = |event: &EventView| {
        [
            Cell::from(event.at.second()),
            Cell::from(&event.outcome),
            Cell::from(spelled(&event.old)),
            Cell::from(spelled(&event.new)),
            Cell::from(event.from.map_or_else(|| "-".to_owned(), |from| from.to_string())),
            Cell::from(event.agent.as_deref().unwrap_or("-")),
        ]
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let read = async |_| Ok(Page { items: operator.history(name, limit).await?, next: None });
    output.pages(["AT", "OUTCOME", "OLD", "NEW", "FROM", "AGENT"], row, read).await
}

fn token_block(view: &TokenView, otherwise: &str) -> String {
    let path = view.path.as_ref();
    let path = path.map(|path| format!("{}  (shown this once: whoever has it can update the host)", **path));
    block(view.name.as_str(), &[("path", Cell::from(path.as_deref().unwrap_or(otherwise)))], Paint::stdout())
}

fn host_block(view: &HostView) -> String {
    let now = Timestamp::now();
    let moment = |at: Option<Timestamp>| at.map_or_else(|| "never".to_owned(), |at| at.with_age(now));
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
    lines.push(("addresses", Cell::from(addresses(view).as_deref().unwrap_or("none known"))));
    lines.extend(only_family(view).map(|only| ("", Cell::from(only))));
    if view.pending {
        lines.push(("", Cell::new(Tone::Warning, "waits for the gateway to change its records")));
    }
    lines.push(("last update", Cell::from(moment(view.last_update))));
    lines.push(("last seen", Cell::from(moment(view.last_seen))));
    lines.extend(seen.into_iter().filter_map(|(label, text)| Some((label, Cell::from(text.as_ref()?)))));
    lines.push(("ttl", Cell::from(ttl)));
    lines.push(("families", Cell::from(view.family_names().join(", "))));
    if !view.followers.is_empty() {
        let followers: Vec<_> = view.followers.iter().map(Hostname::as_str).collect();
        lines.push(("followed by", Cell::from(followers.join(", "))));
    }
    lines.extend(extras(&view.extras).into_iter().map(|(label, text)| (label, Cell::from(text))));
    lines.push(("blocked", view.blocked.as_ref().map_or(Cell::from("no"), |reason| Cell::new(Tone::Bad, reason))));
    let by = if view.below_wildcard { ", below a wildcard" } else { "" };
    lines.push(("kept in", Cell::from(format!("{}{by}", kept_in(view.declared)))));
    block(view.name.as_str(), &lines, Paint::stdout())
}

/// A word about a host that may have both families and has only ever reported one.
fn only_family(view: &HostView) -> Option<&'static str> {
    // What a command set is no report, nor what is made of a prefix.
    let is_composed = view.extras.follow.is_some() || view.extras.interface_id.is_some();
    view.last_seen.filter(|_| !is_composed)?;
    match (view.families, view.ipv4, view.ipv6) {
        (Families::Both, Some(_), None) => Some("only IPv4 has ever been reported; if it has both, see ipv6_name"),
        (Families::Both, None, Some(_)) => Some("only IPv6 has ever been reported; if it has both, see ipv4_name"),
        (Families::Both, ..) | (Families::V4 | Families::V6, ..) => None,
    }
}

/// What few hosts have: nothing of most.
fn extras(extras: &HostExtras) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Some(leader) = &extras.follow {
        let from = match extras.prefix_from {
            PrefixFrom::Prefix => "",
            PrefixFrom::Address => ", its address too",
        };
        lines.push(("follows", format!("{leader}{from}")));
    }
    lines.extend(extras.interface_id.map(|id| ("interface id", id.to_string())));
    let may = [("wildcard", extras.wildcard), ("offline", extras.offline), ("ptr", extras.ptr)];
    lines.extend(may.into_iter().filter(|(_, may)| *may).map(|(label, _)| (label, "yes".to_owned())));
    if !extras.mx.is_empty() {
        lines.push(("mx", extras.mx.iter().map(Hostname::as_str).collect::<Vec<_>>().join(", ")));
    }
    lines
}

fn addresses(view: &HostView) -> Option<String> {
    let all: Vec<_> = view.addresses().iter().map(|address| address.to_string()).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// `None` where none is named.
pub(super) fn families(names: &[FamilyName]) -> Option<Families> {
    Families::of(names.contains(&FamilyName::Ipv4), names.contains(&FamilyName::Ipv6))
}

impl From<Edit> for HostEdit {
    fn from(edit: Edit) -> Self {
        let families = families(&edit.families);
        Self {
            ttl: edit.ttl.map(|ttl| ttl.0),
            families,
            description: edit.description,
            follow: edit.follow.map(|follow| follow.0),
            interface_id: edit.interface_id.map(|id| id.0),
            prefix_from: edit.prefix_from,
            wildcard: edit.wildcard,
            offline: edit.offline,
            mx: edit.mx.map(|mx| mx.0),
            ptr: edit.ptr,
            gone: Vec::new(),
        }
    }
}
