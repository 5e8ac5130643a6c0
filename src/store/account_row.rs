//! Accounts and hosts as the rows of the store hold them: their texts, there and back.

use sqlx::any::AnyRow;

use super::fit;
use super::session::{number, optional_number, optional_text, text};
use super::{StoreError, StoredAccount, StoredHost, StoredSecret};
use crate::model::{Families, HostExtras, Hostname, PasswordDigest, Timestamp, ZoneName};

/// The digests of those that were generated.
pub(super) fn generated(secrets: &[StoredSecret]) -> impl Iterator<Item = &[u8; 32]> {
    secrets.iter().filter_map(|secret| match &secret.digest {
        PasswordDigest::Sha256(digest) => Some(digest),
        PasswordDigest::Argon2id(_) => None,
    })
}

pub(super) fn secrets_text(secrets: &[StoredSecret]) -> String {
    let line = |secret: &StoredSecret| match secret.expires {
        Some(Timestamp(expires)) => format!("{} {expires}", secret.digest.text()),
        None => secret.digest.text(),
    };
    secrets.iter().map(line).collect::<Vec<_>>().join("\n")
}

pub(super) fn wildcards_text(wildcards: &[ZoneName]) -> String {
    wildcards.iter().map(ZoneName::as_str).collect::<Vec<_>>().join(" ")
}

pub(super) fn mx_text(names: &[Hostname]) -> String {
    names.iter().map(Hostname::as_str).collect::<Vec<_>>().join(" ")
}

fn names(text: &str) -> Option<Vec<Hostname>> {
    text.split_ascii_whitespace().map(|name| Hostname::parse(name).ok()).collect()
}

/// Of a row that names the followers after the columns of a host.
pub(super) fn read_followers(row: &AnyRow) -> Result<Vec<Hostname>, StoreError> {
    let all = optional_text(row, 14)?.unwrap_or_default();
    let unreadable = || StoreError::Unreadable { what: format!("a name of \"{}\"", all.escape_debug()) };
    // A database joins them in any order.
    let mut followers = names(&all).ok_or_else(unreadable)?;
    followers.sort_unstable();
    Ok(followers)
}

/// Of a row that begins with a name and the mail servers that it may have.
pub(super) fn read_mail(row: &AnyRow) -> Result<(Hostname, Vec<Hostname>), StoreError> {
    Ok((name(row, 0)?, names(&text(row, 1)?).unwrap_or_default()))
}

pub(super) fn read_account(row: &AnyRow) -> Result<StoredAccount, StoreError> {
    let login = text(row, 0)?;
    let broken = |what: &'static str| {
        let what = format!("{what} of account \"{}\"", login.escape_debug());
        move || StoreError::Unreadable { what }
    };
    let secret = |line: &str| {
        let (digest, expires) = line.split_once(' ').map_or((line, None), |(digest, expires)| (digest, Some(expires)));
        let expires = expires.map(str::parse).transpose().ok()?;
        Some(StoredSecret { digest: PasswordDigest::parse(digest).ok()?, expires: expires.map(Timestamp) })
    };
    let secrets = text(row, 1).ok().and_then(|lines| lines.lines().map(secret).collect());
    let parse = |names: String| names.split_ascii_whitespace().map(ZoneName::parse).collect::<Result<_, _>>().ok();
    let number = |column| number(row, column).ok();
    Ok(StoredAccount {
        secrets: secrets.ok_or_else(broken("a secret"))?,
        wildcards: text(row, 2).ok().and_then(parse).ok_or_else(broken("a wildcard"))?,
        max_hosts: number(3).and_then(|most| u32::try_from(most).ok()).ok_or_else(broken("max_hosts"))?,
        enabled: number(4).ok_or_else(broken("`enabled`"))? != 0,
        created: number(5).map(Timestamp).ok_or_else(broken("`created`"))?,
        login: login.as_str().into(),
    })
}

/// What the store takes of it.
pub(super) fn check(host: &StoredHost) -> Result<(), StoreError> {
    fit::line("the description", &host.description)?;
    if let Some(reason) = &host.blocked {
        fit::line("the reason", reason)?;
    }
    host.extras.check(&host.name).map_err(|error| StoreError::Unfit { what: "the host:", why: error.to_string() })?;
    host.ttl.map_or(Ok(()), fit::ttl)
}

pub(super) fn families_text(families: Families) -> &'static str {
    match families {
        Families::V4 => "4",
        Families::V6 => "6",
        Families::Both => "46",
    }
}

pub(super) fn parse_families(text: &str) -> Option<Families> {
    match text {
        "4" => Some(Families::V4),
        "6" => Some(Families::V6),
        "46" => Some(Families::Both),
        _ => None,
    }
}

/// A host name of a row, spelled as we spell it: no other is found again.
pub(super) fn name(row: &AnyRow, column: usize) -> Result<Hostname, StoreError> {
    let text = text(row, column)?;
    let name = Hostname::parse(&text).ok().filter(|name| name.as_str() == text);
    name.ok_or_else(|| StoreError::Unreadable { what: format!("the name \"{}\"", text.escape_debug()) })
}

pub(super) fn name_and_login(row: &AnyRow) -> Result<(Hostname, String), StoreError> {
    Ok((name(row, 0)?, text(row, 1)?))
}

pub(super) fn read_host(row: &AnyRow) -> Result<StoredHost, StoreError> {
    let name = name(row, 0)?;
    let broken = |what: &'static str| {
        let what = format!("{what} of host \"{name}\"");
        move || StoreError::Unreadable { what }
    };
    let ttl = optional_number(row, 2).ok().and_then(|ttl| ttl.map(u32::try_from).transpose().ok());
    let families = text(row, 3).ok().and_then(|text| parse_families(&text));
    let parsed = |column| optional_text(row, column).ok();
    let follow = parsed(7).and_then(|text| text.map(|text| Hostname::parse(&text)).transpose().ok());
    let interface_id = parsed(8).and_then(|text| text.map(|text| text.parse()).transpose().ok());
    let flag = |column| number(row, column).ok().map(|flag| flag != 0);
    let extras = HostExtras {
        follow: follow.ok_or_else(broken("the host that it follows"))?,
        interface_id: interface_id.ok_or_else(broken("the interface id"))?,
        prefix_from: parsed(9).flatten().and_then(|text| text.parse().ok()).ok_or_else(broken("`prefix_from`"))?,
        wildcard: flag(10).ok_or_else(broken("`wildcard`"))?,
        offline: flag(11).ok_or_else(broken("`offline`"))?,
        ptr: flag(12).ok_or_else(broken("`ptr`"))?,
        mx: parsed(13).flatten().and_then(|text| names(&text)).ok_or_else(broken("a mail server"))?,
    };
    Ok(StoredHost {
        extras,
        login: text(row, 1).ok().ok_or_else(broken("the account"))?.into(),
        ttl: ttl.ok_or_else(broken("the TTL"))?,
        families: families.ok_or_else(broken("the families"))?,
        description: text(row, 4).ok().ok_or_else(broken("the description"))?,
        blocked: optional_text(row, 5).ok().ok_or_else(broken("the reason"))?,
        created: number(row, 6).ok().map(Timestamp).ok_or_else(broken("`created`"))?,
        name: name.clone(),
    })
}
