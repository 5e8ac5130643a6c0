//! Accounts, their hosts and the hosts' tokens: who may update what. What a command does is one transaction, which tells the
//! feed of each subject.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::any::AnyRow;

use super::account_row::{
    check, families_text, generated, mx_text, name, name_and_login, read_account, read_followers, read_host, read_mail,
    secrets_text, wildcards_text,
};
use super::error::readable;
use super::fit::{self, MAX_SECRETS, hex, unhex};
use super::rows::Rows;
use super::session::{Purpose, ROWS, Session, Work, at_most, of_names, optional_number, statement, text};
use super::{Store, StoreError, Subject};
use crate::model::{
    Families, HostExtras, Hostname, InterfaceId, MAX_FOLLOWERS, PasswordDigest, PendingChange, PrefixFrom, Timestamp,
    ZoneName,
};

macro_rules! accounts {
    ($rest:literal) => {
        concat!("SELECT login, secrets, wildcards, max_hosts, enabled, created FROM account ", $rest)
    };
}

macro_rules! hosts {
    ($more:literal, $rest:literal) => {
        concat!(
            "SELECT name, login, ttl, families, description, blocked, created, follow, interface_id, prefix_from, \
             wildcard, offline, ptr, mx",
            $more,
            " FROM host ",
            $rest
        )
    };
    ($rest:literal) => {
        hosts!("", $rest)
    };
}
/// With the names of those that follow it, and a space between them.
macro_rules! leader {
    ($rest:literal) => {
        hosts!(", (SELECT string_agg(f.name, ' ') FROM host AS f WHERE f.follow = host.name)", $rest)
    };
}

pub(super) const ACCOUNT: &str = accounts!("WHERE login = $1");
pub(super) const ACCOUNTS: &str = accounts!("WHERE login > $1 ORDER BY login LIMIT $2");
/// The next one where there is none: what is not there shall take as long as what is.
const ACCOUNT_OR_NEXT: &str = accounts!(
    "WHERE login = COALESCE((SELECT MIN(login) FROM account WHERE login >= $1), (SELECT MIN(login) FROM account))"
);
const LOGIN: &str = "SELECT login FROM account WHERE login = $1";
const LOGINS: &str = "SELECT login FROM account WHERE login IN ({text})";
const SET_ENABLED: &str = "UPDATE account SET enabled = $2 WHERE login = $1";
const SET_SECRETS: &str = "UPDATE account SET secrets = $2 WHERE login = $1";
const SET_WILDCARDS: &str = "UPDATE account SET wildcards = $2 WHERE login = $1";

pub(super) const HOST: &str = leader!("WHERE name = $1");
pub(super) const HOSTS: &str = hosts!("WHERE name > $1 ORDER BY name LIMIT $2");
/// As [`ACCOUNT_OR_NEXT`].
const HOST_OR_NEXT: &str =
    leader!("WHERE name = COALESCE((SELECT MIN(name) FROM host WHERE name >= $1), (SELECT MIN(name) FROM host))");
const HOSTS_OF: &str = hosts!("WHERE login = $3 AND name > $1 ORDER BY name LIMIT $2");
pub(super) const NAMES_OF: &str = "SELECT name FROM host WHERE login = $1 AND name > $2 ORDER BY name LIMIT $3";
/// No index leads to it: it is asked for a challenge below a wildcard alone. Such names hold neither `_` nor `%`.
const ANOTHERS_BELOW: &str = "SELECT name FROM host WHERE login <> $1 AND name LIKE '%.' || $2 \
    AND name NOT LIKE '%.%.' || $2 LIMIT 1";
const NAMES_OF_ALL: &str = "SELECT login, name FROM host WHERE login IN ({text}) ORDER BY login, name LIMIT ?";
const OWNERS: &str = "SELECT name, login FROM host WHERE name IN ({text})";
const SET_OWNER: &str = "UPDATE host SET login = $2 WHERE name = $1";
const SET_HOST: &str = "UPDATE host SET ttl = $2, families = $3, description = $4, blocked = $5, follow = $6, \
    interface_id = $7, prefix_from = $8, wildcard = $9, offline = $10, ptr = $11, mx = $12 WHERE name = $1";
const FOLLOWERS_OF: &str = "SELECT name FROM host WHERE follow = $1 AND name <> $2 LIMIT 64";
const LEADERS_OF: &str = "SELECT DISTINCT follow FROM host WHERE follow IS NOT NULL AND name IN ({text})";
const FOLLOW_NO_LONGER: [&str; 2] = [
    "UPDATE host SET follow = NULL, prefix_from = 'prefix' WHERE follow IN ({text}) RETURNING name",
    "UPDATE host SET follow = NULL, prefix_from = 'prefix' WHERE follow IS NOT NULL AND name IN ({text}) RETURNING name",
];
const WITH_MX: &str = "SELECT name, mx FROM host WHERE mx <> '' AND name IN ({text})";
const WITH_WILDCARD: &str = "SELECT name FROM host WHERE wildcard <> 0 AND name IN ({text})";
/// What no command does: leaders that are not there, leaders that follow, and leaders of too many.
const BAD_LEADERS: &str = "SELECT follow FROM host AS f WHERE follow IS NOT NULL \
    AND NOT EXISTS (SELECT 1 FROM host AS l WHERE l.name = f.follow AND l.follow IS NULL) \
    UNION ALL SELECT follow FROM host WHERE follow IS NOT NULL GROUP BY follow HAVING COUNT(*) > 64 LIMIT 1";

/// Two are as good as none.
pub(super) const LOGINS_OF_SECRET: &str = "SELECT login FROM account_secret WHERE digest = $1 ORDER BY login LIMIT 2";
const DELETE_SECRETS: &str = "DELETE FROM account_secret WHERE login = $1";

pub(super) const TOKEN: &str = "SELECT name, expires FROM token WHERE digest = $1";
const TOKENS_OF: &str = "SELECT digest FROM token WHERE name IN ({text})";
const LET_EXPIRE: &str = "UPDATE token SET expires = $2 WHERE name = $1 AND (expires IS NULL OR expires > $2)";
const DELETE_EXPIRED: &str = "DELETE FROM token WHERE name = $1 AND expires <= $2";
const DELETE_TOKENS: &str = "DELETE FROM token WHERE name = $1";

/// The names of an account's hosts, and those below wildcards that are reserved for it alone.
const ALL_NAMES_OF: &str = "SELECT name FROM host WHERE login = $1 UNION ALL SELECT name FROM reserved WHERE login = $1 \
    AND NOT EXISTS (SELECT 1 FROM host WHERE host.name = reserved.name) \
    AND NOT EXISTS (SELECT 1 FROM reserved AS other WHERE other.name = reserved.name AND other.login <> $1) \
    ORDER BY name";
const DELETE_ACCOUNT: [&str; 3] = [
    "DELETE FROM reserved WHERE login = $1",
    "DELETE FROM reserved_count WHERE login = $1",
    "DELETE FROM account WHERE login = $1",
];
/// What is left of an account's hosts: those whose names cannot be read.
const DELETE_MISNAMED: [&str; 3] = [
    "DELETE FROM state WHERE name IN (SELECT name FROM host WHERE login = $1)",
    "DELETE FROM history WHERE name IN (SELECT name FROM host WHERE login = $1)",
    "DELETE FROM host WHERE login = $1",
];
/// A host's tokens go with it.
const DELETE_HOSTS: [&str; 3] = [
    "DELETE FROM host WHERE name IN ({text})",
    "DELETE FROM state WHERE name IN ({text})",
    "DELETE FROM history WHERE name IN ({text})",
];

/// Somebody who may update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAccount {
    pub login: Arc<str>,
    /// What stands for its passwords, newest first; those that expired may be among them.
    pub secrets: Vec<StoredSecret>,
    /// Names below which everything is granted: the part after `*.`.
    pub wildcards: Vec<ZoneName>,
    /// Distinct names that the wildcard grants may bring into being.
    pub max_hosts: u32,
    pub enabled: bool,
    pub created: Timestamp,
}

/// What stands for a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSecret {
    pub digest: PasswordDigest,
    /// From when on it is not taken any more.
    pub expires: Option<Timestamp>,
}

/// An account to be.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "as of a stored one")]
pub struct NewAccount {
    pub login: String,
    pub secret: PasswordDigest,
    pub max_hosts: u32,
    pub wildcards: Vec<ZoneName>,
}

/// A name of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHost {
    pub name: Hostname,
    pub login: Arc<str>,
    /// Its TTL in seconds, in place of the zone's.
    pub ttl: Option<u32>,
    pub families: Families,
    pub description: String,
    /// Why it may not be updated, while it may not.
    pub blocked: Option<String>,
    pub(crate) created: Timestamp,
    pub extras: HostExtras,
}

/// A host to be.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "as of a stored one")]
pub struct NewHost {
    pub name: Hostname,
    pub login: String,
    pub ttl: Option<u32>,
    pub families: Families,
    pub description: String,
}

/// What to change of a host; `None` leaves it as it is.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "as of a stored host")]
pub struct HostEdit {
    /// Its TTL in seconds, or none of its own.
    pub ttl: Option<Option<u32>>,
    pub families: Option<Families>,
    pub description: Option<String>,
    /// The host whose prefix it takes, or nobody's.
    pub follow: Option<Option<Hostname>>,
    pub interface_id: Option<Option<InterfaceId>>,
    pub prefix_from: Option<PrefixFrom>,
    pub wildcard: Option<bool>,
    pub offline: Option<bool>,
    pub mx: Option<Vec<Hostname>>,
    pub ptr: Option<bool>,
    /// Records of other names that go with what is taken from it.
    pub gone: Vec<PendingChange>,
}

/// Whose a token is: a host's own secret in a URL, kept as its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenHolder {
    /// The host that it updates.
    pub name: Hostname,
    /// From when on it is not taken any more.
    pub expires: Option<Timestamp>,
}

/// What becomes of the zone's records of a host that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordsPolicy {
    /// They stay, and whatever was pending of them is forgotten.
    Keep,
    /// They go: that is pending from the removal on.
    Remove,
}

impl Store {
    // ---- Accounts.

    /// The account of `login`.
    pub async fn account(&self, login: &str) -> Result<Option<StoredAccount>, StoreError> {
        self.one_or_next([ACCOUNT_OR_NEXT, ACCOUNT], login, read_account).await
    }

    /// What `read` makes of the row of `key`. Time does not tell whether there is one: else another row is read.
    async fn one_or_next<T>(
        &self,
        [or_next, exact]: [&'static str; 2],
        key: &str,
        read: impl Fn(&AnyRow) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let row = match self.row(statement(or_next).bind(key.to_owned())).await {
            // The other's row may be spoiled.
            Err(_) => self.row(statement(exact).bind(key.to_owned())).await?,
            Ok(row) => row,
        };
        let Some(row) = row else { return Ok(None) };
        let found = read(&row);
        if text(&row, 0).is_ok_and(|found| found == key) { found.map(Some) } else { Ok(None) }
    }

    /// At most `limit` accounts in the order of their logins, those after `after`; one that cannot be read is left out with a
    /// warning, here and in all lists.
    pub async fn accounts(&self, after: Option<&str>, limit: usize) -> Result<Vec<StoredAccount>, StoreError> {
        self.page(after, limit, |after, most| statement(ACCOUNTS).bind(after).bind(most), read_account).await
    }

    /// Those of `logins` that are accounts, in no order.
    pub(crate) async fn logins(&self, logins: &[Arc<str>]) -> Result<Vec<String>, StoreError> {
        self.of_names(LOGINS, logins).await?.iter().map(|row| text(row, 0)).collect()
    }

    /// Adds an account with its hosts, or nothing. Nothing stays pending of the hosts' names.
    ///
    /// # Errors
    /// [`StoreError::Clash`] names what is there already; or the store cannot be written.
    pub async fn add_account(&self, account: &NewAccount, hosts: &[NewHost]) -> Result<(), StoreError> {
        fit::login(&account.login)?;
        fit::wildcards(account.wildcards.len())?;
        let account = StoredAccount {
            login: account.login.as_str().into(),
            secrets: vec![StoredSecret { digest: account.secret.clone(), expires: None }],
            wildcards: account.wildcards.clone(),
            max_hosts: account.max_hosts,
            enabled: true,
            created: Timestamp::now(),
        };
        let mut work = self.begin(Purpose::Administration).await?;
        if work.row(statement(ACCOUNT).bind(account.login.to_string())).await?.is_some() {
            return Err(StoreError::Clash { what: format!("account \"{}\"", account.login) });
        }
        work.insert_accounts([&account]).await?;
        work.changed(Subject::Account(Arc::clone(&account.login)));
        work.secrets_changed(&account.secrets);
        work.add_hosts(hosts, account.created).await?;
        work.commit().await
    }

    /// Lets it log in, or not.
    pub async fn set_enabled(&self, login: &str, enabled: bool) -> Result<(), StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        if work.run(statement(SET_ENABLED).bind(login.to_owned()).bind(i64::from(enabled))).await? == 0 {
            return Err(no_account(login));
        }
        work.changed(Subject::Account(login.into()));
        work.commit().await
    }

    /// Gives it hosts, and everything below these names: all of it or nothing. Wildcards that it has already stay; nothing
    /// stays pending of the hosts' names.
    ///
    /// # Errors
    /// [`StoreError::Unknown`]; [`StoreError::Clash`] where a host is there already; [`StoreError::Unfit`]; or the store
    /// cannot be written.
    pub async fn grant(&self, login: &str, hosts: &[NewHost], wildcards: &[ZoneName]) -> Result<(), StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        let mut account = work.account(login).await?;
        for wildcard in wildcards {
            if !account.wildcards.contains(wildcard) {
                account.wildcards.push(wildcard.clone());
            }
        }
        fit::wildcards(account.wildcards.len())?;
        work.set_wildcards(&account).await?;
        work.add_hosts(hosts, Timestamp::now()).await?;
        work.commit().await
    }

    /// Takes hosts and wildcards back: all of them, or none. The hosts' records stay.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] where there is no such account, or one of them was not granted; or the store cannot be written.
    pub async fn revoke(&self, login: &str, names: &[Hostname], wildcards: &[ZoneName]) -> Result<(), StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        let mut account = work.account(login).await?;
        let owners = work.owners(names).await?;
        let is_its = |name: &Hostname| owners.get(name).is_some_and(|owner| owner == login);
        let missing = match wildcards.iter().find(|wildcard| !account.wildcards.contains(wildcard)) {
            Some(wildcard) => Some(format!("*.{wildcard}")),
            None => names.iter().find(|name| !is_its(name)).map(ToString::to_string),
        };
        if let Some(missing) = missing {
            return Err(StoreError::Unknown { what: format!("grant of \"{missing}\" to account \"{login}\"") });
        }
        account.wildcards.retain(|granted| !wildcards.contains(granted));
        work.set_wildcards(&account).await?;
        work.remove_hosts(names, login, RecordsPolicy::Keep).await?;
        work.commit().await
    }

    /// Gives it a new secret. Those that it has serve until `keep_old_until`, or no more; none lives longer than it would have.
    ///
    /// # Errors
    /// [`StoreError::Unknown`]; [`StoreError::Unfit`] where too many old ones are still in force; or the store cannot be
    /// written.
    pub async fn rotate(
        &self,
        login: &str,
        digest: &PasswordDigest,
        keep_old_until: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        let account = work.account(login).await?;
        let now = Timestamp::now();
        work.secrets_changed(&account.secrets);
        let mut secrets = vec![StoredSecret { digest: digest.clone(), expires: None }];
        if let Some(until) = keep_old_until.filter(|until| *until > now) {
            let alive = account.secrets.into_iter().filter(|old| old.expires.is_none_or(|expires| expires > now));
            let ending = |old: StoredSecret| {
                let expires = old.expires.map_or(until, |expires| expires.min(until));
                StoredSecret { digest: old.digest, expires: Some(expires) }
            };
            secrets.extend(alive.map(ending));
        }
        if secrets.len() > MAX_SECRETS {
            let why =
                format!("has {} secrets that are still in force: rotate without keeping the old ones", MAX_SECRETS);
            return Err(StoreError::Unfit { what: "the account", why });
        }
        work.run(statement(SET_SECRETS).bind(login.to_owned()).bind(secrets_text(&secrets))).await?;
        work.run(statement(DELETE_SECRETS).bind(login.to_owned())).await?;
        work.insert_secrets([(&account.login, secrets.as_slice())]).await?;
        work.secrets_changed(&secrets);
        work.changed(Subject::Account(login.into()));
        work.commit().await
    }

    /// The login of the account whose generated secret has this SHA-256; none where several accounts have it. The secret may have
    /// expired.
    pub async fn login_of_secret(&self, digest: &[u8; 32]) -> Result<Option<Arc<str>>, StoreError> {
        let digest = PasswordDigest::Sha256(*digest).text();
        let rows = Session::new(&self.inner.readers).await?.rows(statement(LOGINS_OF_SECRET).bind(digest)).await?;
        match rows.as_slice() {
            [only] => Ok(Some(text(only, 0)?.into())),
            _ => Ok(None),
        }
    }

    // ---- Hosts.

    /// The host `name`.
    pub async fn host(&self, name: &Hostname) -> Result<Option<StoredHost>, StoreError> {
        self.one_or_next([HOST_OR_NEXT, HOST], name.as_str(), read_host).await
    }

    /// The host `name`, and those that follow it.
    pub async fn leader(&self, name: &Hostname) -> Result<Option<(StoredHost, Vec<Hostname>)>, StoreError> {
        let read = |row: &AnyRow| Ok((read_host(row)?, read_followers(row)?));
        self.one_or_next([HOST_OR_NEXT, HOST], name.as_str(), read).await
    }

    /// The accounts of those of `names` that are hosts, in no order.
    pub(crate) async fn owners(&self, names: &[Hostname]) -> Result<Vec<(Hostname, String)>, StoreError> {
        let rows = self.of_names(OWNERS, names).await?;
        Ok(rows.iter().filter_map(|row| readable(name_and_login(row))).collect())
    }

    /// At most `limit` names of `login`, in their order, those after `after`.
    pub async fn hosts_of(
        &self,
        login: &str,
        after: Option<&Hostname>,
        limit: usize,
    ) -> Result<Vec<Hostname>, StoreError> {
        let page = |after, most| statement(NAMES_OF).bind(login.to_owned()).bind(after).bind(most);
        self.page(after.map(Hostname::as_str), limit, page, |row| name(row, 0)).await
    }

    /// Whether a host of another account than `login` stands directly below `name`, which has no `_`.
    pub async fn has_anothers_below(&self, login: &str, name: &Hostname) -> Result<bool, StoreError> {
        let found = self.row(statement(ANOTHERS_BELOW).bind(login.to_owned()).bind(name.to_string())).await?;
        Ok(found.is_some())
    }

    /// The names of these accounts, in the order of the logins, then of the names; and whether `limit` cut them off.
    pub(crate) async fn hosts_of_all(
        &self,
        logins: &[&Arc<str>],
        limit: usize,
    ) -> Result<(Vec<(String, Hostname)>, bool), StoreError> {
        let (mut found, mut left) = (Vec::new(), limit);
        for logins in logins.chunks(ROWS) {
            let statement = of_names(self.inner.database, NAMES_OF_ALL, logins).bind(at_most(left));
            let read = Session::new(&self.inner.readers).await?.found(statement).await?;
            let of_account = |row: &AnyRow| Ok((text(row, 0)?, name(row, 1)?));
            found.extend(read.rows.iter().filter_map(|row| readable(of_account(row))));
            left -= read.rows.len() + read.unreadable;
            if left == 0 {
                break;
            }
        }
        Ok((found, left == 0))
    }

    /// At most `limit` hosts, in the order of their names, of `login` or of all, those after `after`.
    pub async fn hosts(
        &self,
        login: Option<&str>,
        after: Option<&Hostname>,
        limit: usize,
    ) -> Result<Vec<StoredHost>, StoreError> {
        let page = |after, most| match login {
            Some(login) => statement(HOSTS_OF).bind(after).bind(most).bind(login.to_owned()),
            None => statement(HOSTS).bind(after).bind(most),
        };
        self.page(after.map(Hostname::as_str), limit, page, read_host).await
    }

    /// Adds a host, and what the zone shall hold for it in place of all that was pending of its name, or nothing.
    ///
    /// # Errors
    /// [`StoreError::Clash`] where it is there already; [`StoreError::Unknown`] where the account is not; or the store cannot
    /// be written.
    pub async fn add_host(&self, host: &NewHost, pending: &[PendingChange]) -> Result<(), StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        work.account(&host.login).await?;
        work.add_hosts(std::slice::from_ref(host), Timestamp::now()).await?;
        work.changed(Subject::Account(host.login.as_str().into()));
        work.put_pending(pending).await?;
        work.commit().await
    }

    /// Changes its settings. From then on it is pending that records go which it may no longer have.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] where it is not there, or the host that it shall follow; [`StoreError::Unfit`]; or the store
    /// cannot be written.
    pub async fn set_host(&self, name: &Hostname, edit: &HostEdit) -> Result<(), StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        let before = work.host(name).await?;
        let host = edit.applied(before.clone());
        check(&host)?;
        if host.extras.follow != before.extras.follow {
            work.must_lead(&host).await?;
            let leaders = [before.extras.follow, host.extras.follow.clone()];
            leaders.into_iter().flatten().for_each(|leader| work.changed(Subject::Host(leader)));
        }
        if let Some(families) = edit.families {
            work.remove_other_families(name, &host.login, &Vec::from_iter(families.iter())).await?;
        }
        if let Some(wildcard) = edit.wildcard {
            work.allow_wildcard(name, &host.login, wildcard).await?;
        }
        if edit.mx.is_some() {
            let gone = before.extras.mx.iter().filter(|server| !host.extras.mx.contains(server));
            work.remove_mail(name, &host.login, gone, host.extras.mx.is_empty()).await?;
        }
        if !edit.gone.is_empty() {
            work.put_pending(&edit.gone).await?;
        }
        work.update_host(&host).await?;
        work.commit().await
    }

    /// Makes it a host of `login`, with its settings and all that is known of it, but that it follows nobody and nobody follows
    /// it. Its tokens are taken back, since its former owner has them; how many those were.
    ///
    /// # Errors
    /// [`StoreError::Unknown`]; or the store cannot be written.
    pub async fn move_host(&self, name: &Hostname, login: &str) -> Result<u64, StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        let (host, account) = (work.host(name).await?, work.account(login).await?);
        work.tokens_changed(std::slice::from_ref(name)).await?;
        let revoked = work.run(statement(DELETE_TOKENS).bind(name.to_string())).await?;
        work.run(statement(SET_OWNER).bind(name.to_string()).bind(login.to_owned())).await?;
        // Whom it follows, and who follows it, was between its former owner and them.
        work.follow_no_longer(std::slice::from_ref(name)).await?;
        for subject in [Subject::Host(name.clone()), Subject::Account(host.login), Subject::Account(account.login)] {
            work.changed(subject);
        }
        work.commit().await?;
        Ok(revoked)
    }

    /// Forbids updates of it and says why, or with `None` allows them again.
    pub async fn block(&self, name: &Hostname, reason: Option<&str>) -> Result<(), StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        let mut host = work.host(name).await?;
        host.blocked = reason.map(str::to_owned);
        check(&host)?;
        work.update_host(&host).await?;
        work.commit().await
    }

    // ---- Tokens.

    /// The host of the token with this SHA-256; the token may have expired.
    pub async fn host_of_token(&self, digest: &[u8; 32]) -> Result<Option<TokenHolder>, StoreError> {
        let row = self.row(statement(TOKEN).bind(hex(digest))).await?;
        row.map(|row| Ok(TokenHolder { name: name(&row, 0)?, expires: optional_number(&row, 1)?.map(Timestamp) }))
            .transpose()
    }

    /// Gives the host a token. Those that it has serve until `keep_old_until`, or no more.
    pub async fn set_token(
        &self,
        name: &Hostname,
        digest: &[u8; 32],
        keep_old_until: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        work.host(name).await?;
        work.tokens_changed(std::slice::from_ref(name)).await?;
        let now = Timestamp::now();
        let until = keep_old_until.unwrap_or(now);
        work.run(statement(LET_EXPIRE).bind(name.to_string()).bind(until.0)).await?;
        work.run(statement(DELETE_EXPIRED).bind(name.to_string()).bind(now.0)).await?;
        work.insert_tokens([(hex(digest), name.to_string(), now, None)]).await?;
        work.changed(Subject::Token(*digest));
        work.commit().await
    }

    /// Takes all its tokens back; how many those were.
    pub async fn revoke_tokens(&self, name: &Hostname) -> Result<u64, StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        work.host(name).await?;
        work.tokens_changed(std::slice::from_ref(name)).await?;
        let revoked = work.run(statement(DELETE_TOKENS).bind(name.to_string())).await?;
        work.commit().await?;
        Ok(revoked)
    }

    // ---- Removal.

    /// Removes a host, its tokens, its state and its history, whether its settings can be read or not.
    pub async fn remove_host(&self, name: &Hostname, records: RecordsPolicy) -> Result<(), StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        let login = work.owners(std::slice::from_ref(name)).await?.remove(name).ok_or_else(|| no_host(name))?;
        work.remove_hosts(std::slice::from_ref(name), &login, records).await?;
        work.changed(Subject::Account(login.into()));
        work.commit().await
    }

    /// Removes a host whose name is none, or not as we spell it, by the text of its row; whether there is one.
    pub(crate) async fn remove_misnamed_host(&self, text: &str) -> Result<bool, StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        let mut removed = 0;
        for sql in DELETE_HOSTS {
            removed += work.write(&format!("{sql} RETURNING name"), &[text], |rows, text| rows.bind(text)).await?.len();
        }
        // Its tokens are not known.
        work.changed_everything();
        if removed == 0 {
            work.abandon().await?
        } else {
            work.commit().await?
        }
        Ok(removed > 0)
    }

    /// Removes an account with its hosts and the names below wildcards that are reserved for it alone, and all that was known
    /// of them; the removed names, in their order. Whether the account itself can be read does not matter.
    pub async fn remove_account(&self, login: &str, records: RecordsPolicy) -> Result<Vec<Hostname>, StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        work.allow_long_statements();
        let bound = |sql| statement(sql).bind(login.to_owned());
        work.row(bound(LOGIN)).await?.ok_or_else(|| no_account(login))?;
        work.lock_counts([login].into_iter()).await?;
        let names = work.rows(bound(ALL_NAMES_OF)).await?;
        let names: Vec<_> = names.iter().filter_map(|row| name(row, 0).ok()).collect();
        work.remove_hosts(&names, login, records).await?;
        for sql in DELETE_MISNAMED {
            if work.run(bound(sql)).await? > 0 {
                // Their tokens are not known.
                work.changed_everything();
            }
        }
        for sql in DELETE_ACCOUNT {
            work.run(bound(sql)).await?;
        }
        work.changed(Subject::Account(login.into()));
        work.commit().await?;
        Ok(names)
    }
}

impl Work {
    async fn account(&mut self, login: &str) -> Result<StoredAccount, StoreError> {
        let row = self.row(statement(ACCOUNT).bind(login.to_owned())).await?;
        read_account(&row.ok_or_else(|| no_account(login))?)
    }

    async fn host(&mut self, name: &Hostname) -> Result<StoredHost, StoreError> {
        let row = self.row(statement(HOST).bind(name.to_string())).await?;
        read_host(&row.ok_or_else(|| no_host(name))?)
    }

    /// Writes its settings.
    async fn update_host(&mut self, host: &StoredHost) -> Result<(), StoreError> {
        let extras = &host.extras;
        let set = statement(SET_HOST).bind(host.name.to_string()).bind(host.ttl.map(i64::from));
        let set = set.bind(families_text(host.families).to_owned()).bind(host.description.clone());
        let set = set.bind(host.blocked.clone()).bind(extras.follow.as_ref().map(ToString::to_string));
        let set = set.bind(extras.interface_id.map(|id| id.to_string())).bind(extras.prefix_from.to_string());
        let set = set.bind(i64::from(extras.wildcard)).bind(i64::from(extras.offline)).bind(i64::from(extras.ptr));
        self.run(set.bind(mx_text(&extras.mx))).await?;
        self.changed(Subject::Host(host.name.clone()));
        Ok(())
    }

    /// Refuses chains, and more followers than one request may move.
    async fn must_lead(&mut self, host: &StoredHost) -> Result<(), StoreError> {
        let Some(leader) = &host.extras.follow else { return Ok(()) };
        let unfit = |why: String| Err(StoreError::Unfit { what: "the host", why });
        if let Some(further) = self.host(leader).await?.extras.follow {
            return unfit(format!(
                "cannot follow {leader}, which follows {further}: only one that follows nobody is followed"
            ));
        }
        let followers =
            |of: &Hostname, other: &Hostname| statement(FOLLOWERS_OF).bind(of.to_string()).bind(other.to_string());
        if let Some(row) = self.rows(followers(&host.name, &host.name)).await?.first() {
            return unfit(format!("is followed by {}, so it cannot follow another", text(row, 0)?.escape_debug()));
        }
        if self.rows(followers(leader, &host.name)).await?.len() >= MAX_FOLLOWERS {
            return unfit(format!("cannot follow {leader}, which has {MAX_FOLLOWERS} that follow it already"));
        }
        Ok(())
    }

    /// None of `names` follows another from now on, nor is followed.
    async fn follow_no_longer(&mut self, names: &[Hostname]) -> Result<(), StoreError> {
        for row in self.of_names(LEADERS_OF, names).await? {
            self.changed(Subject::Host(name(&row, 0)?));
        }
        for sql in FOLLOW_NO_LONGER {
            for row in self.of_names(sql, names).await? {
                self.changed(Subject::Host(name(&row, 0)?));
            }
        }
        Ok(())
    }

    /// What an import must not bring: as [`Self::must_lead`] for all at once.
    pub(super) async fn check_leaders(&mut self) -> Result<(), StoreError> {
        match self.row(statement(BAD_LEADERS)).await? {
            None => Ok(()),
            Some(row) => Err(StoreError::Unfit {
                what: "the import",
                why: format!(
                    "has hosts that follow {}, which is no host, follows another itself, or has more than {MAX_FOLLOWERS} \
                     that follow it",
                    text(&row, 0)?.escape_debug()
                ),
            }),
        }
    }

    /// Whether the wildcard below the host may have its addresses; unless it is a host of its own, its records go else.
    async fn allow_wildcard(&mut self, name: &Hostname, login: &str, is_allowed: bool) -> Result<(), StoreError> {
        let Some(wildcard) = name.wildcard() else { return Ok(()) };
        if !self.owners(std::slice::from_ref(&wildcard)).await?.is_empty() {
            return Ok(());
        }
        let families = if is_allowed { Vec::from_iter(Families::Both.iter()) } else { Vec::new() };
        self.remove_other_families(&wildcard, login, &families).await
    }

    pub(super) async fn insert_accounts(
        &mut self,
        accounts: impl IntoIterator<Item = &StoredAccount>,
    ) -> Result<(), StoreError> {
        const INSERT: &str = "INSERT INTO account (login, secrets, wildcards, max_hosts, enabled, created) \
                              {text, text, text, bigint, bigint, bigint}";
        let bind = |rows: Rows, account: &&StoredAccount| {
            rows.bind(account.login.to_string())
                .bind(secrets_text(&account.secrets))
                .bind(wildcards_text(&account.wildcards))
                .bind(i64::from(account.max_hosts))
                .bind(i64::from(account.enabled))
                .bind(account.created.0)
        };
        let accounts = Vec::from_iter(accounts);
        self.write(INSERT, &accounts, bind).await?;
        self.insert_secrets(accounts.iter().map(|account| (&account.login, account.secrets.as_slice()))).await
    }

    /// What finds an account by a generated secret alone.
    async fn insert_secrets<'a>(
        &mut self,
        secrets: impl IntoIterator<Item = (&'a Arc<str>, &'a [StoredSecret])>,
    ) -> Result<(), StoreError> {
        const INSERT: &str = "INSERT INTO account_secret (digest, login) {text, text} ON CONFLICT DO NOTHING";
        let text = |digest: &[u8; 32]| PasswordDigest::Sha256(*digest).text();
        let all = secrets.into_iter().flat_map(|(login, all)| generated(all).map(move |one| (text(one), login)));
        let all: Vec<_> = all.collect();
        self.write(INSERT, &all, |rows, (digest, login)| rows.bind(digest).bind(login.to_string())).await.map(drop)
    }

    /// Tells the feed of what was generated among them.
    fn secrets_changed(&mut self, secrets: &[StoredSecret]) {
        generated(secrets).for_each(|digest| self.changed(Subject::Token(*digest)));
    }

    async fn set_wildcards(&mut self, account: &StoredAccount) -> Result<(), StoreError> {
        let set = statement(SET_WILDCARDS).bind(account.login.to_string());
        self.run(set.bind(wildcards_text(&account.wildcards))).await?;
        self.changed(Subject::Account(Arc::clone(&account.login)));
        Ok(())
    }

    /// The accounts of those of `names` that are hosts.
    async fn owners(&mut self, names: &[Hostname]) -> Result<BTreeMap<Hostname, String>, StoreError> {
        let rows = self.of_names(OWNERS, names).await?;
        rows.iter().map(name_and_login).collect()
    }

    /// Their accounts must be there.
    async fn add_hosts(&mut self, hosts: &[NewHost], created: Timestamp) -> Result<(), StoreError> {
        let new = |host: &NewHost| StoredHost {
            name: host.name.clone(),
            login: host.login.as_str().into(),
            ttl: host.ttl,
            families: host.families,
            description: host.description.clone(),
            blocked: None,
            created,
            extras: HostExtras::default(),
        };
        let hosts: Vec<_> = hosts.iter().map(new).collect();
        hosts.iter().try_for_each(check)?;
        let names: Vec<_> = hosts.iter().map(|host| host.name.clone()).collect();
        if let Some((name, login)) = self.owners(&names).await?.pop_first() {
            return Err(StoreError::Clash { what: format!("host \"{name}\" of account \"{login}\"") });
        }
        names.iter().for_each(|name| self.changed(Subject::Host(name.clone())));
        self.insert_hosts(&hosts).await
    }

    /// What an earlier host of a name left to be done must not happen to the new one.
    pub(super) async fn insert_hosts(
        &mut self,
        hosts: impl IntoIterator<Item = &StoredHost>,
    ) -> Result<(), StoreError> {
        const INSERT: &str = "INSERT INTO host (name, login, ttl, families, description, blocked, created, follow, \
                              interface_id, prefix_from, wildcard, offline, ptr, mx) {text, text, bigint, text, text, \
                              text, bigint, text, text, text, bigint, bigint, bigint, text}";
        let hosts = Vec::from_iter(hosts);
        let bind = |rows: Rows, host: &&StoredHost| {
            rows.bind(host.name.to_string())
                .bind(host.login.to_string())
                .bind(host.ttl.map(i64::from))
                .bind(families_text(host.families))
                .bind(&host.description)
                .bind(&host.blocked)
                .bind(host.created.0)
                .bind(host.extras.follow.as_ref().map(Hostname::as_str))
                .bind(host.extras.interface_id.map(|id| id.to_string()))
                .bind(host.extras.prefix_from.as_str())
                .bind(i64::from(host.extras.wildcard))
                .bind(i64::from(host.extras.offline))
                .bind(i64::from(host.extras.ptr))
                .bind(mx_text(&host.extras.mx))
        };
        self.write(INSERT, &hosts, bind).await?;
        self.drop_pending(&hosts.iter().map(|host| host.name.clone()).collect::<Vec<_>>()).await
    }

    /// Each with its digest, its host, when it was made, and its end.
    pub(super) async fn insert_tokens(
        &mut self,
        tokens: impl IntoIterator<Item = (String, String, Timestamp, Option<Timestamp>)>,
    ) -> Result<(), StoreError> {
        const INSERT: &str = "INSERT INTO token (digest, name, created, expires) {text, text, bigint, bigint}";
        self.write(INSERT, &Vec::from_iter(tokens), |rows, (digest, name, created, expires)| {
            rows.bind(digest).bind(name).bind(created.0).bind(expires.map(|expires| expires.0))
        })
        .await
        .map(drop)
    }

    /// Tells the feed of each token that the hosts have.
    async fn tokens_changed(&mut self, names: &[Hostname]) -> Result<(), StoreError> {
        for row in self.of_names(TOKENS_OF, names).await? {
            // No token has another digest.
            if let Some(digest) = unhex(&text(&row, 0)?) {
                self.changed(Subject::Token(digest));
            }
        }
        Ok(())
    }

    /// Hosts of `login`, and names below its wildcards, with all that is known of them; what is pending of them from now on is
    /// what becomes of their records.
    async fn remove_hosts(
        &mut self,
        names: &[Hostname],
        login: &str,
        records: RecordsPolicy,
    ) -> Result<(), StoreError> {
        self.tokens_changed(names).await?;
        self.follow_no_longer(names).await?;
        let with_wildcard = self.of_names(WITH_WILDCARD, names).await?;
        let with_mx = self.of_names(WITH_MX, names).await?;
        for sql in DELETE_HOSTS {
            self.of_names(sql, names).await?;
        }
        match records {
            RecordsPolicy::Keep => self.drop_pending(names).await?,
            RecordsPolicy::Remove => {
                for row in with_wildcard {
                    self.allow_wildcard(&name(&row, 0)?, login, false).await?;
                }
                let removals = names.iter().flat_map(|name| PendingChange::removal(name, login));
                self.put_pending(&removals.collect::<Vec<_>>()).await?;
                for row in with_mx {
                    let (name, servers) = read_mail(&row)?;
                    self.remove_mail(&name, login, &servers, true).await?;
                }
            }
        }
        names.iter().for_each(|name| self.changed(Subject::Host(name.clone())));
        Ok(())
    }
}

impl HostEdit {
    fn applied(&self, mut host: StoredHost) -> StoredHost {
        let edit = self.clone();
        host.ttl = edit.ttl.unwrap_or(host.ttl);
        host.families = edit.families.unwrap_or(host.families);
        host.description = edit.description.unwrap_or(host.description);
        let extras = &mut host.extras;
        if let Some(follow) = edit.follow {
            extras.follow = follow;
            // Of a follower alone.
            extras.prefix_from = PrefixFrom::default();
        }
        extras.interface_id = edit.interface_id.unwrap_or(extras.interface_id);
        extras.prefix_from = edit.prefix_from.unwrap_or(extras.prefix_from);
        extras.wildcard = edit.wildcard.unwrap_or(extras.wildcard);
        extras.offline = edit.offline.unwrap_or(extras.offline);
        extras.ptr = edit.ptr.unwrap_or(extras.ptr);
        if let Some(mx) = edit.mx {
            extras.mx = mx;
        }
        host
    }
}

fn no_account(login: &str) -> StoreError {
    StoreError::Unknown { what: format!("account \"{login}\"") }
}

fn no_host(name: &Hostname) -> StoreError {
    StoreError::Unknown { what: format!("host \"{name}\"") }
}
