//! Which account of the configuration keeps a host up to date. Knows nothing of devices.

use crate::config::Config;
use crate::model::{Hostname, NameError, listed};
use crate::registry::{Declared, Denied};

/// How many logins an error lists.
const SHOWN: usize = 5;

/// Why there is no host and account to write for; each says who acts.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LookupError {
    #[error("{text:?} is not a host name: {error}\nWrite the whole name, such as home.dyn.example")]
    NotAName { text: String, error: NameError },
    #[error("no [[zone]] holds {host}\nName a host of one of the zones: {zones}")]
    NoZone { host: Hostname, zones: String },
    #[error(
        "{0} is no host of the store, and only those have URLs of their own\nAdd it with `dyngate host add {0} --account LOGIN`, or choose a device that sends a login"
    )]
    NotStored(Hostname),
    #[error(
        "no account may update {0}\nAdd \"{0}\" to the `hosts` of an [[account]], or with a store, run `dyngate host add {0} --account LOGIN`"
    )]
    NotGranted(Hostname),
    #[error(
        "{login}'s wildcard grant does not cover {host}: {why}\nAdd \"{host}\" to the `hosts` of the [[account]] that is to have it"
    )]
    NotCovered { host: Hostname, login: String, why: Denied },
    #[error("several accounts may update {host}: {logins}\nSay with --login which one the device has")]
    Several { host: Hostname, logins: String },
    #[error("account {login:?} may not update {host}: {why}\n{others}")]
    NotThisAccount { host: Hostname, login: String, why: Denied, others: String },
    #[error("there is no account {login:?}\n{others}")]
    NoAccount { login: String, others: String },
}

/// The host that `text` names, and the login of the account that may update it: the one `asked` for, or else the only one.
/// `keeper` is the account that the store keeps the host for.
pub(crate) fn updater(
    config: &Config,
    host: Hostname,
    asked: Option<&str>,
    keeper: Option<&str>,
) -> Result<(Hostname, String), LookupError> {
    let declared = Declared::new(config);
    if declared.zone_of(&host).is_none() {
        let zones: Vec<_> = config.zones.iter().map(|zone| zone.name.as_str()).collect();
        let zones = listed(&zones, SHOWN);
        return Err(LookupError::NoZone { host, zones });
    }
    if let Some(keeper) = keeper {
        return match asked {
            Some(asked) if asked != keeper => Err(refused(&declared, host, asked, Denied::AnothersHost, vec![keeper])),
            Some(_) | None => Ok((host, keeper.to_owned())),
        };
    }
    let may = |login: &str| {
        declared.account(login).map_or(Err(Denied::NotGranted), |account| declared.grant(account, &host, None))
    };
    let mut granted = Vec::new();
    let mut against = None;
    for account in &config.accounts {
        match may(&account.login) {
            Ok(_) => granted.push(account.login.as_str()),
            Err(Denied::NotGranted) => {}
            Err(why) => against = against.or(Some((account.login.clone(), why))),
        }
    }
    if let Some(asked) = asked {
        return match may(asked) {
            Ok(_) => Ok((host, asked.to_owned())),
            Err(why) => Err(refused(&declared, host, asked, why, granted)),
        };
    }
    match (granted.as_slice(), against) {
        ([only], _) => Ok((host, (*only).to_owned())),
        ([], None) => Err(LookupError::NotGranted(host)),
        ([], Some((login, why))) => Err(LookupError::NotCovered { host, login, why }),
        (_, _) => Err(LookupError::Several { host, logins: listed(&granted, SHOWN) }),
    }
}

pub(crate) fn name(text: &str) -> Result<Hostname, LookupError> {
    Hostname::parse(text).map_err(|error| LookupError::NotAName { text: text.to_owned(), error })
}

fn refused(declared: &Declared, host: Hostname, login: &str, why: Denied, granted: Vec<&str>) -> LookupError {
    let others = match granted.as_slice() {
        [] => format!("Add \"{host}\" to the `hosts` of an [[account]]"),
        _ => format!("{host} may be updated by: {}", listed(&granted, SHOWN)),
    };
    let login = login.to_owned();
    if declared.account(&login).is_some() {
        LookupError::NotThisAccount { host, login, why, others }
    } else {
        LookupError::NoAccount { login, others }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config() -> Config {
        let account = |login: &str, hosts: &str| {
            let secret = "$sha256$2zeUYzciOjEZ2rzsPoGfORTrmFDeqh8heL8xiqotPr8=";
            format!("[[account]]\nlogin = \"{login}\"\nsecret = \"{secret}\"\nhosts = [{hosts}]\n")
        };
        let text = [
            "[[key]]\nname = \"k\"\nalgorithm = \"hmac-sha256\"\nsecret = \"c2VjcmV0\"\n".to_owned(),
            "[[zone]]\nname = \"dyn.example\"\nprimaries = [\"127.0.0.1\"]\nkey = \"k\"\nprotect = [\"www\"]\n"
                .to_owned(),
            account("home", r#""home.dyn.example", "shared.dyn.example""#),
            account("office", r#""*.dyn.example", "shared.dyn.example""#),
        ];
        Config::parse(&text.concat(), Path::new("gateway.toml")).unwrap()
    }

    fn login(host: &str, asked: Option<&str>) -> Result<String, String> {
        let found = name(host).and_then(|host| super::updater(&config(), host, asked, None));
        found.map(|(_, login)| login).map_err(|error| error.to_string())
    }

    #[test]
    fn the_only_account_is_found_by_name_and_by_wildcard() {
        assert_eq!(login("home.dyn.example", None).unwrap(), "home", "the wildcard does not cover it");
        assert_eq!(login("Desk.DYN.example.", None).unwrap(), "office");
        assert_eq!(login("shared.dyn.example", Some("office")).unwrap(), "office");
    }

    #[test]
    fn a_host_of_the_store_is_its_keepers() {
        let ask = |asked| super::updater(&config(), name("kept.dyn.example").unwrap(), asked, Some("keeper"));
        assert_eq!(ask(None).unwrap().1, "keeper");
        assert_eq!(ask(Some("keeper")).unwrap().1, "keeper");
        assert!(ask(Some("office")).unwrap_err().to_string().contains("may be updated by: keeper"));
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        let all = [
            ("home", None),
            ("home.other.example", None),
            ("dyn.example", None),
            ("www.dyn.example", None),
            ("shared.dyn.example", None),
            ("shared.dyn.example", Some("nobody")),
            ("home.dyn.example", Some("office")),
        ];
        let said: Vec<_> = all.iter().map(|(host, asked)| login(host, *asked).unwrap_err()).collect();
        insta::assert_snapshot!(said.join("\n\n"), @r#"
        "home" is not a host name: the name is not fully qualified
        Write the whole name, such as home.dyn.example

        no [[zone]] holds home.other.example
        Name a host of one of the zones: dyn.example

        no account may update dyn.example
        Add "dyn.example" to the `hosts` of an [[account]], or with a store, run `dyngate host add dyn.example --account LOGIN`

        office's wildcard grant does not cover www.dyn.example: protected in its zone
        Add "www.dyn.example" to the `hosts` of the [[account]] that is to have it

        several accounts may update shared.dyn.example: home, office
        Say with --login which one the device has

        there is no account "nobody"
        shared.dyn.example may be updated by: home, office

        account "office" may not update home.dyn.example: granted exactly to another account
        home.dyn.example may be updated by: home
        "#);
    }
}
