//! What is different between two configurations, in short: what a reload changes, and what only a restart can. Pure.

use std::collections::HashMap;
use std::hash::Hash;

use secrecy::ExposeSecret as _;

use crate::config::{Config, Location};

/// What a reload from `old` to `new` changes.
pub(super) fn changed(old: &Config, new: &Config) -> Vec<String> {
    let mut changed = Vec::new();
    changed.extend(counted("accounts", &old.accounts, &new.accounts, |account| &account.login));
    changed.extend(counted("hosts", &old.hosts, &new.hosts, |host| &host.name));
    let zones = |config: &Config| {
        config
            .zones
            .iter()
            .cloned()
            .map(|zone| (zone.name, (zone.primaries, zone.ttl, zone.allow, zone.protect, zone.source, zone.key.name)))
            .collect::<Vec<_>>()
    };
    changed.extend(counted("zones", &zones(old), &zones(new), |(name, _)| name));
    let keys = |config: &Config| config.zones.iter().map(|zone| zone.key.clone()).collect::<Vec<_>>();
    changed.extend(counted("keys", &keys(old), &keys(new), |key| &key.name));
    let files = |config: &Config| config.http.tls.clone().map(|tls| (tls.certificate, tls.private_key));
    let of_both = old.http.tls.is_some() && new.http.tls.is_some();
    for (what, is_changed) in [
        ("[http] trusted_proxies", trust(old) != trust(new)),
        ("[http] client_address_header", old.http.client_address_header != new.http.client_address_header),
        ("[http] connections_per_source", old.http.connections_per_source != new.http.connections_per_source),
        ("[http] ipv4_name", old.http.ipv4_name != new.http.ipv4_name),
        ("[http] ipv6_name", old.http.ipv6_name != new.http.ipv6_name),
        ("[http.tls] certificate, private_key", of_both && files(old) != files(new)),
        ("[engine] deadline", old.engine.deadline != new.engine.deadline),
        ("[engine] verify_interval", old.engine.verify_interval != new.engine.verify_interval),
        ("[engine] defer", old.engine.defer != new.engine.defer),
        ("[limits] host", old.limits.host != new.limits.host),
        ("[limits] account", old.limits.account != new.limits.account),
        ("[limits] source", old.limits.source != new.limits.source),
        ("[limits] failed_logins", old.limits.failed_logins != new.limits.failed_logins),
        ("[limits] repeats", old.limits.repeats != new.limits.repeats),
        ("[addresses] refuse", old.refuse != new.refuse),
        ("[dialects]", old.dialects != new.dialects),
        ("[acme] dns01", old.acme.dns01 != new.acme.dns01),
        ("[acme] keep", old.acme.keep != new.acme.keep),
    ] {
        changed.extend(is_changed.then(|| what.to_owned()));
    }
    changed
}

/// What of `new` is not in force in a gateway that was started with `started`.
pub(super) fn needs_restart(started: &Config, new: &Config) -> Vec<String> {
    let tls = |config: &Config| config.http.tls.clone().map(|tls| tls.listen);
    let all = [
        ("[http] listen", started.http.listen != new.http.listen),
        ("[http.tls] listen", tls(started) != tls(new)),
        ("[admin] listen", started.admin.listen != new.admin.listen),
        ("[store] url", !is_same_place(&started.store.location, &new.store.location)),
        ("[store] grace", started.store.grace != new.store.grace),
        ("[store] history", started.store.history != new.store.history),
    ];
    all.into_iter().filter(|(_, is_changed)| *is_changed).map(|(what, _)| what.to_owned()).collect()
}

fn trust(config: &Config) -> (&[ipnet::IpNet], bool) {
    (&config.http.trusted_proxies, config.http.trusts_unix)
}

fn is_same_place(one: &Location, other: &Location) -> bool {
    match (one, other) {
        (Location::Memory, Location::Memory) => true,
        (Location::Sqlite(one), Location::Sqlite(other)) => one == other,
        (Location::Postgres(one), Location::Postgres(other)) => one.expose_secret() == other.expose_secret(),
        (Location::Memory | Location::Sqlite(_) | Location::Postgres(_), _) => false,
    }
}

/// "accounts: 2 added, 1 removed, 3 changed"; nothing where all are the same.
fn counted<T: PartialEq, K: Hash + Eq>(
    what: &str,
    old: &[T],
    new: &[T],
    key: impl for<'t> Fn(&'t T) -> &'t K,
) -> Option<String> {
    let before: HashMap<_, _> = old.iter().map(|one| (key(one), one)).collect();
    let after: HashMap<_, _> = new.iter().map(|one| (key(one), one)).collect();
    let added = after.keys().filter(|key| !before.contains_key(*key)).count();
    let removed = before.keys().filter(|key| !after.contains_key(*key)).count();
    let changed = after.iter().filter(|(key, one)| before.get(*key).is_some_and(|before| before != *one)).count();
    let parts = [(added, "added"), (removed, "removed"), (changed, "changed")];
    let parts: Vec<_> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, how)| format!("{count} {how}")).collect();
    (!parts.is_empty()).then(|| format!("{what}: {}", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONES: &str = "[[key]]\nname = \"k\"\nalgorithm = \"hmac-sha256\"\nsecret = \"c2VjcmV0\"\n\
        [[zone]]\nname = \"dyn.example\"\nkey = \"k\"\nprimaries = [\"127.0.0.1\"]\n";

    fn config(more: &str) -> Config {
        Config::parse(&format!("{ZONES}{more}"), "gateway.toml".as_ref()).unwrap()
    }

    #[test]
    fn each_thing_that_can_be_said_is_in_one_of_the_lists_and_the_same_file_in_none() {
        let old = config("");
        assert!(changed(&old, &config("")).is_empty() && needs_restart(&old, &config("")).is_empty());
        let account = |login: &str, digit: char| {
            let digest = format!("{}=", digit.to_string().repeat(42) + "A");
            format!(
                "[[account]]\nlogin = \"{login}\"\nsecret = \"$sha256${digest}\"\nhosts = [\"{login}.dyn.example\"]\n"
            )
        };
        for (before, after, says) in [
            (account("a", 'A'), account("a", 'B') + &account("b", 'B'), "accounts: 1 added, 1 changed"),
            (account("a", 'A'), account("b", 'A'), "accounts: 1 added, 1 removed"),
            (String::new(), "[[host]]\nname = \"h.dyn.example\"\nttl = 30\n".to_owned(), "hosts: 1 added"),
            (String::new(), "[engine]\ndeadline = \"1s\"\n".to_owned(), "[engine] deadline"),
            (String::new(), "[engine]\nverify_interval = \"1s\"\n".to_owned(), "[engine] verify_interval"),
            (String::new(), "[engine]\ndefer = \"off\"\n".to_owned(), "[engine] defer"),
            (String::new(), "[limits]\nrepeats = { burst = 1, per_minute = 1 }\n".to_owned(), "[limits] repeats"),
            (String::new(), "[limits]\nhost = \"off\"\n".to_owned(), "[limits] host"),
            (String::new(), "[limits]\nfailed_logins = \"off\"\n".to_owned(), "[limits] failed_logins"),
            (String::new(), "[addresses]\nrefuse = []\n".to_owned(), "[addresses] refuse"),
            (String::new(), "[dialects]\nempty_deletes = true\n".to_owned(), "[dialects]"),
            (String::new(), "[acme]\ndns01 = true\n".to_owned(), "[acme] dns01"),
            (String::new(), "[acme]\nkeep = \"2h\"\n".to_owned(), "[acme] keep"),
            (String::new(), "[http]\ntrusted_proxies = [\"unix\"]\n".to_owned(), "[http] trusted_proxies"),
            (String::new(), "[http]\nconnections_per_source = 1\n".to_owned(), "[http] connections_per_source"),
            (String::new(), "[http]\nipv4_name = \"v4.example.net\"\n".to_owned(), "[http] ipv4_name"),
            (String::new(), "[http]\nipv6_name = \"v6.example.net\"\n".to_owned(), "[http] ipv6_name"),
        ] {
            let (before, after) = (config(&before), config(&after));
            assert_eq!(changed(&before, &after), [says]);
            assert!(needs_restart(&before, &after).is_empty(), "{says}");
        }
        for (after, says) in [
            ("[http]\nlisten = [\"127.0.0.1:1\"]\n", "[http] listen"),
            ("[http.tls]\nlisten = [\"127.0.0.1:1\"]\ncertificate = \"c\"\nprivate_key = \"k\"\n", "[http.tls] listen"),
            ("[admin]\nlisten = \"127.0.0.1:1\"\n", "[admin] listen"),
            ("[store]\nurl = \"sqlite:x\"\n", "[store] url"),
            ("[store]\nurl = \"memory:\"\ngrace = \"1s\"\n", "[store] grace"),
            ("[store]\nurl = \"memory:\"\nhistory = \"2h\"\n", "[store] history"),
        ] {
            assert_eq!(needs_restart(&old, &config(after)), [says]);
            assert!(changed(&old, &config(after)).is_empty(), "{says}");
        }
        let mut new = ZONES.replace("c2VjcmV0", "b3RoZXI=");
        let keys = Config::parse(&new, "gateway.toml".as_ref()).unwrap();
        assert_eq!(changed(&old, &keys), ["keys: 1 changed"]);
        new.push_str("ttl = 30\n");
        let both = Config::parse(&new, "gateway.toml".as_ref()).unwrap();
        assert_eq!(changed(&old, &both), ["zones: 1 changed", "keys: 1 changed"]);
    }
}
