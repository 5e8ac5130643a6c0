//! The lines of an export: JSON objects, each of a kind. The form of a version never changes.

use serde::{Deserialize, Serialize};

use super::account_row::{check, families_text, parse_families};
use super::fit;
use super::{State, StoreError, StoredAccount, StoredHost, StoredSecret};
use crate::model::{
    Addresses, HostExtras, Hostname, InterfaceIdError, PasswordDigest, PrefixFrom, Timestamp, UnknownPrefixFrom,
    ZoneName, escaped,
};

/// The version that is written; older ones are read too.
pub(super) const VERSION: u32 = 2;
/// The longest line that is read, in octets: an account with all its wildcards.
pub(super) const MAX_LINE: usize = 512 * 1024;

/// A line. Times are milliseconds since the epoch, UTC.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Line {
    #[serde(rename = "dyngate-export")]
    Start(StartLine),
    Account(AccountLine),
    Host(HostLine),
    Token(TokenLine),
    State(StateLine),
    #[serde(rename = "born")]
    Reserved(ReservedLine),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StartLine {
    pub(super) version: u32,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountLine {
    pub(super) login: String,
    secrets: Vec<SecretLine>,
    wildcards: Vec<String>,
    max_hosts: u32,
    enabled: bool,
    created: i64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretLine {
    digest: String,
    expires: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HostLine {
    pub(super) name: String,
    pub(super) account: String,
    ttl: Option<u32>,
    families: String,
    description: String,
    blocked: Option<String>,
    created: i64,
    // From here on, of version 2, and only where they are set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    follow: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interface_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix_from: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    wildcard: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    offline: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    ptr: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    mx: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference to the field")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenLine {
    pub(super) name: String,
    pub(super) digest: String,
    pub(super) created: i64,
    pub(super) expires: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StateLine {
    name: String,
    ipv4: Option<std::net::Ipv4Addr>,
    ipv6: Option<std::net::Ipv6Addr>,
    verified: Option<i64>,
    last_update: Option<i64>,
    last_seen: Option<i64>,
    last_outcome: Option<String>,
    agent: Option<String>,
    source: Option<std::net::IpAddr>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReservedLine {
    pub(super) login: String,
    pub(super) name: String,
}

impl Line {
    /// Its text, without an end of line.
    pub(super) fn write(&self) -> Result<String, StoreError> {
        let text = serde_json::to_string(self);
        // It may be read on a terminal.
        text.map(|text| escaped(&text))
            .map_err(|error| StoreError::broken(format!("a row cannot be exported: {error}")))
    }

    /// Why it is not a line, in words of one line.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LINE {
            return Err(format!("longer than {MAX_LINE} octets"));
        }
        serde_json::from_str(text).map_err(|error| {
            let text = error.to_string();
            // serde_json counts lines too, and would always say 1.
            let text = text.split(" at line ").next().unwrap_or_default().to_owned();
            if error.is_data() { text } else { format!("not a JSON object: {text}") }
        })
    }
}

impl From<&StoredAccount> for AccountLine {
    fn from(account: &StoredAccount) -> Self {
        let secret = |secret: &StoredSecret| SecretLine {
            digest: secret.digest.text(),
            expires: secret.expires.map(|expires| expires.0),
        };
        Self {
            login: account.login.to_string(),
            secrets: account.secrets.iter().map(secret).collect(),
            wildcards: account.wildcards.iter().map(ToString::to_string).collect(),
            max_hosts: account.max_hosts,
            enabled: account.enabled,
            created: account.created.0,
        }
    }
}

impl AccountLine {
    pub(super) fn check(self) -> Result<StoredAccount, String> {
        fit::login(&self.login).map_err(|error| error.to_string())?;
        fit::wildcards(self.wildcards.len()).map_err(|error| error.to_string())?;
        if self.secrets.is_empty() || self.secrets.len() > fit::MAX_SECRETS {
            return Err(format!("an account has 1 to {} secrets", fit::MAX_SECRETS));
        }
        let secret = |secret: SecretLine| {
            let digest = PasswordDigest::parse(&secret.digest).map_err(|error| format!("a secret: {error}"))?;
            Ok(StoredSecret { digest, expires: secret.expires.map(Timestamp) })
        };
        let wildcard = |text: String| ZoneName::parse(&text).map_err(|error| format!("wildcard \"{text}\": {error}"));
        Ok(StoredAccount {
            login: self.login.into(),
            secrets: self.secrets.into_iter().map(secret).collect::<Result<_, String>>()?,
            wildcards: self.wildcards.into_iter().map(wildcard).collect::<Result<_, _>>()?,
            max_hosts: self.max_hosts,
            enabled: self.enabled,
            created: Timestamp(self.created),
        })
    }
}

impl From<&StoredHost> for HostLine {
    fn from(host: &StoredHost) -> Self {
        let extras = &host.extras;
        Self {
            name: host.name.to_string(),
            account: host.login.to_string(),
            ttl: host.ttl,
            families: families_text(host.families).to_owned(),
            description: host.description.clone(),
            blocked: host.blocked.clone(),
            created: host.created.0,
            follow: extras.follow.as_ref().map(ToString::to_string),
            interface_id: extras.interface_id.map(|id| id.to_string()),
            prefix_from: (extras.prefix_from != PrefixFrom::default()).then(|| extras.prefix_from.to_string()),
            wildcard: extras.wildcard,
            offline: extras.offline,
            ptr: extras.ptr,
            mx: extras.mx.iter().map(ToString::to_string).collect(),
        }
    }
}

impl HostLine {
    pub(super) fn check(self) -> Result<StoredHost, String> {
        let families = parse_families(&self.families);
        let interface_id = self
            .interface_id
            .map(|text| text.parse().map_err(|error: InterfaceIdError| format!("`interface_id`: {error}")));
        let prefix_from = self
            .prefix_from
            .map(|text| text.parse().map_err(|error: UnknownPrefixFrom| format!("`prefix_from`: {error}")));
        let extras = HostExtras {
            follow: self.follow.map(|text| hostname(&text)).transpose()?,
            interface_id: interface_id.transpose()?,
            prefix_from: prefix_from.transpose()?.unwrap_or_default(),
            wildcard: self.wildcard,
            offline: self.offline,
            mx: self.mx.iter().map(|text| hostname(text)).collect::<Result<_, _>>()?,
            ptr: self.ptr,
        };
        let host = StoredHost {
            name: hostname(&self.name)?,
            families: families.ok_or_else(|| "`families` is \"4\", \"6\" or \"46\"".to_owned())?,
            login: self.account.into(),
            ttl: self.ttl,
            description: self.description,
            blocked: self.blocked,
            created: Timestamp(self.created),
            extras,
        };
        check(&host).map_err(|error| error.to_string())?;
        Ok(host)
    }
}

impl TokenLine {
    pub(super) fn check(self) -> Result<Self, String> {
        fit::unhex(&self.digest).ok_or("`digest` is the SHA-256 of a token in hexadecimal")?;
        Ok(Self { name: hostname(&self.name)?.to_string(), ..self })
    }
}

impl StateLine {
    pub(super) fn new(name: &Hostname, state: &State) -> Self {
        Self {
            name: name.to_string(),
            ipv4: state.addresses.v4,
            ipv6: state.addresses.v6,
            verified: state.verified.map(|at| at.0),
            last_update: state.last_update.map(|at| at.0),
            last_seen: state.last_seen.map(|at| at.0),
            last_outcome: state.last_outcome.clone(),
            agent: state.agent.clone(),
            source: state.source,
        }
    }

    pub(super) fn check(self) -> Result<(Hostname, State), String> {
        let name = hostname(&self.name)?;
        if let Some(outcome) = &self.last_outcome {
            fit::line("`last_outcome`", outcome).map_err(|error| error.to_string())?;
        }
        let state = State {
            addresses: Addresses { v4: self.ipv4, v6: self.ipv6 },
            verified: self.verified.map(Timestamp),
            last_update: self.last_update.map(Timestamp),
            last_seen: self.last_seen.map(Timestamp),
            last_outcome: self.last_outcome,
            agent: self.agent.as_deref().map(fit::agent),
            source: self.source,
        };
        Ok((name, state))
    }
}

impl ReservedLine {
    pub(super) fn check(self) -> Result<Self, String> {
        fit::login(&self.login).map_err(|error| error.to_string())?;
        Ok(Self { name: hostname(&self.name)?.to_string(), ..self })
    }
}

fn hostname(text: &str) -> Result<Hostname, String> {
    Hostname::parse(text).map_err(|error| format!("\"{}\" is not a host name: {error}", text.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        for (text, why) in [
            ("", "not a JSON object: EOF while parsing a value"),
            ("{", "not a JSON object: EOF while parsing an object"),
            (r#"{"kind":"zone"}"#, "unknown variant `zone`"),
            (r#"{"kind":"born","login":"a","name":"b.example","x":1}"#, "unknown field `x`"),
            (r#"{"kind":"born","login":"a"}"#, "missing field `name`"),
        ] {
            let error = Line::read(text).unwrap_err();
            assert!(error.starts_with(why), "{text}: {error}");
        }
        let Ok(Line::Reserved(line)) = Line::read(r#"{"kind":"born","login":"a","name":"B.example."}"#) else {
            panic!()
        };
        assert_eq!(line.check().unwrap().name, "b.example");
    }
}
