//! Accounts on both databases: what is added is found, what is changed is kept, what is wrong changes nothing.

use std::time::Duration;

use dyngate::model::{Desired, PasswordDigest, PendingChange, Timestamp};
use dyngate::store::{NewAccount, NewHost, RecordsPolicy, StoreError};

use crate::stage::{Stage, digest, name, new_account, new_host, on_both, zone};

on_both!(
    an_account_is_found_as_it_was_added,
    a_clash_adds_nothing,
    a_rotated_secret_leaves_the_old_one_its_time,
    wildcards_are_granted_and_revoked,
    a_change_that_is_refused_leaves_everything_as_it_was,
    accounts_are_paged_in_the_order_of_octets,
    what_does_not_fit_is_refused,
    two_who_add_the_same_account_do_not_both_succeed,
    an_account_is_found_by_what_was_generated_for_it,
    what_an_older_version_generated_finds_its_account_too,
);

/// Whose the secret with this digest is.
async fn whose(store: &dyngate::store::Store, octet: u8) -> Option<String> {
    store.login_of_secret(&[octet; 32]).await.unwrap().map(|login| login.to_string())
}

async fn an_account_is_found_by_what_was_generated_for_it(stage: &Stage) {
    let store = &stage.store;
    stage.account("a", &["a.dyn.example"]).await;
    let chosen = PasswordDigest::Argon2id("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR".to_owned());
    store.add_account(&NewAccount { secret: chosen, ..new_account("chosen") }, &[]).await.unwrap();
    assert_eq!((whose(store, 1).await.as_deref(), whose(store, 2).await), (Some("a"), None));
    let later = Timestamp::now().plus(Duration::from_secs(3600));
    store.rotate("a", &digest(2), Some(later)).await.unwrap();
    assert_eq!((whose(store, 1).await.as_deref(), whose(store, 2).await.as_deref()), (Some("a"), Some("a")));
    store.rotate("a", &digest(3), None).await.unwrap();
    assert_eq!((whose(store, 1).await, whose(store, 2).await), (None, None));
    store.add_account(&NewAccount { secret: digest(3), ..new_account("b") }, &[]).await.unwrap();
    assert_eq!(whose(store, 3).await, None, "a secret of two is nobody's");
    store.remove_account("a", RecordsPolicy::Keep).await.unwrap();
    assert_eq!(whose(store, 3).await.as_deref(), Some("b"));
}

async fn what_an_older_version_generated_finds_its_account_too(stage: &Stage) {
    for login in ["a", "b", "spoiled"] {
        stage.account(login, &[]).await;
    }
    let line = |octet| digest(octet).text();
    let secrets = format!("{} 99\n$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR 98\n{}", line(5), line(6));
    for sql in [
        "DROP TABLE account_secret".to_owned(),
        "DELETE FROM dyngate_migrations WHERE version = 7".to_owned(),
        format!("UPDATE account SET secrets = '{secrets}' WHERE login = 'a'"),
        "UPDATE account SET secrets = 'no secret\n\n\"\\' WHERE login = 'spoiled'".to_owned(),
    ] {
        stage.sql(&sql).await;
    }
    let store = stage.again().await;
    for (octet, login) in [(5, Some("a")), (6, Some("a")), (1, Some("b")), (7, None)] {
        assert_eq!(whose(&store, octet).await.as_deref(), login, "{octet}");
    }
}

async fn an_account_is_found_as_it_was_added(stage: &Stage) {
    let before = Timestamp::now();
    let phc = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b4dWRWJTmaaJObG";
    let secret = PasswordDigest::parse(phc).unwrap();
    let wildcards = vec![zone("office.dyn.example"), zone("lab.dyn.example")];
    let new = NewAccount { login: "Röuter 1".into(), secret: secret.clone(), max_hosts: u32::MAX, wildcards };
    stage.store.add_account(&new, &[new_host("a.dyn.example", "Röuter 1")]).await.unwrap();
    let found = stage.again().await.account("Röuter 1").await.unwrap().unwrap();
    assert_eq!(&*found.login, "Röuter 1");
    assert_eq!(found.secrets.len(), 1);
    assert_eq!((&found.secrets[0].digest, found.secrets[0].expires), (&secret, None));
    assert_eq!(found.wildcards, new.wildcards);
    assert_eq!((found.max_hosts, found.enabled), (u32::MAX, true));
    assert!(found.created >= before && found.created <= Timestamp::now());
    assert_eq!(stage.store.hosts_of("Röuter 1", None, 10).await.unwrap(), [name("a.dyn.example")]);
    assert_eq!(stage.store.account("röuter 1").await.unwrap(), None, "logins keep their letter case");
    stage.store.set_enabled("Röuter 1", false).await.unwrap();
    assert!(!stage.store.account("Röuter 1").await.unwrap().unwrap().enabled);
    let unknown = stage.store.set_enabled("nobody", true).await.unwrap_err();
    assert_eq!(unknown.to_string(), "the store has no account \"nobody\"");
}

async fn a_clash_adds_nothing(stage: &Stage) {
    stage.account("first", &["a.dyn.example"]).await;
    let clash = stage.store.add_account(&new_account("first"), &[]).await.unwrap_err();
    assert_eq!(clash.to_string(), "account \"first\" is already in the store");
    let hosts = [new_host("b.dyn.example", "second"), new_host("a.dyn.example", "second")];
    let clash = stage.store.add_account(&new_account("second"), &hosts).await.unwrap_err();
    assert_eq!(clash.to_string(), "host \"a.dyn.example\" of account \"first\" is already in the store");
    assert!(stage.store.account("second").await.unwrap().is_none());
    assert!(stage.store.host(&name("b.dyn.example")).await.unwrap().is_none());
    stage.account("second", &["b.dyn.example"]).await;
    assert_eq!(stage.store.accounts(None, 9).await.unwrap().len(), 2);
    assert_eq!(stage.store.hosts(None, None, 9).await.unwrap().len(), 2);
}

async fn a_rotated_secret_leaves_the_old_one_its_time(stage: &Stage) {
    stage.account("a", &[]).await;
    let hour = Duration::from_secs(3600);
    let soon = Timestamp::now().plus(hour);
    stage.store.rotate("a", &digest(2), Some(soon)).await.unwrap();
    let later = soon.plus(hour);
    stage.store.rotate("a", &digest(3), Some(later)).await.unwrap();
    let secrets = stage.store.account("a").await.unwrap().unwrap().secrets;
    let kept: Vec<_> = secrets.iter().map(|secret| (secret.digest.clone(), secret.expires)).collect();
    assert_eq!(kept, [(digest(3), None), (digest(2), Some(later)), (digest(1), Some(soon))], "an end is never put off");
    for octet in 4..9 {
        stage.store.rotate("a", &digest(octet), Some(later)).await.unwrap();
    }
    let full = stage.store.rotate("a", &digest(9), Some(later)).await.unwrap_err();
    assert!(matches!(full, StoreError::Unfit { .. }), "{full}");
    stage.store.rotate("a", &digest(9), None).await.unwrap();
    let secrets = stage.store.account("a").await.unwrap().unwrap().secrets;
    assert_eq!(secrets.len(), 1);
    assert_eq!(secrets[0].digest, digest(9));
}

async fn wildcards_are_granted_and_revoked(stage: &Stage) {
    stage.account("a", &[]).await;
    stage.store.grant("a", &[], &[zone("x.example"), zone("y.example")]).await.unwrap();
    stage.store.grant("a", &[], &[zone("y.example"), zone("z.example")]).await.unwrap();
    let granted = stage.store.account("a").await.unwrap().unwrap().wildcards;
    assert_eq!(granted, [zone("x.example"), zone("y.example"), zone("z.example")]);
    let unknown = stage.store.revoke("a", &[], &[zone("x.example"), zone("q.example")]).await.unwrap_err();
    assert_eq!(unknown.to_string(), "the store has no grant of \"*.q.example\" to account \"a\"");
    stage.store.revoke("a", &[], &[zone("x.example"), zone("z.example")]).await.unwrap();
    assert_eq!(stage.store.account("a").await.unwrap().unwrap().wildcards, [zone("y.example")]);
}

/// What is wanted of a name is another's until the change is made.
async fn a_change_that_is_refused_leaves_everything_as_it_was(stage: &Stage) {
    let store = &stage.store;
    stage.account("a", &["gone.dyn.example", "h.dyn.example"]).await;
    stage.account("b", &["of-b.dyn.example"]).await;
    let gone = name("gone.dyn.example");
    store.remove_host(&gone, RecordsPolicy::Remove).await.unwrap();
    let (new, taken) = (new_host("gone.dyn.example", "b"), new_host("h.dyn.example", "b"));
    let many: Vec<_> = (0..=1000).map(|number| zone(&format!("z{number}.example"))).collect();
    let long = NewHost { description: "x".repeat(201), ..new.clone() };
    let both = [new.clone(), taken.clone()];
    let new_account = new_account("c");
    let refused = [
        store.add_account(&new_account, &both).await,
        store.add_account(&new_account, std::slice::from_ref(&long)).await,
        store.add_account(&NewAccount { wildcards: many.clone(), ..new_account.clone() }, &both[..1]).await,
        store.add_host(&long, &[]).await,
        store.add_host(&NewHost { login: "nobody".into(), ..new.clone() }, &[]).await,
        store.grant("b", &both, &[zone("x.example")]).await,
        store.grant("b", &both[..1], &many).await,
        store.revoke("b", &[name("of-b.dyn.example"), name("h.dyn.example")], &[]).await,
        store.revoke("b", &[name("of-b.dyn.example")], &[zone("x.example")]).await,
    ];
    assert!(refused.iter().all(Result::is_err), "{refused:?}");
    let removal = store.pending().of(std::slice::from_ref(&gone)).await.unwrap();
    let both_go = |row: &PendingChange| row.account == "a" && row.desired == Desired::Absent;
    assert!(removal.len() == 2 && removal.iter().all(both_go), "what was promised when the host was removed");
    assert_eq!(store.account("b").await.unwrap().unwrap().wildcards, []);
    assert_eq!(store.hosts_of("b", None, 10).await.unwrap(), [name("of-b.dyn.example")]);

    store.grant("b", &[new], &[zone("x.example")]).await.unwrap();
    assert_eq!(
        store.pending().of(std::slice::from_ref(&gone)).await.unwrap(),
        [],
        "the new host's records are its own"
    );
    store.revoke("b", &[gone, name("of-b.dyn.example")], &[zone("x.example")]).await.unwrap();
    assert_eq!(store.hosts_of("b", None, 10).await.unwrap(), []);
    assert_eq!(store.pending().page(None, 10).await.unwrap(), [], "what is revoked keeps its records");
}

async fn accounts_are_paged_in_the_order_of_octets(stage: &Stage) {
    // A language's order would put "b" before "C" and pass over the signs.
    let mut logins = ["b", "C", "-d", "_a", "ä", "a b", "ab"];
    for login in logins {
        stage.account(login, &[]).await;
    }
    logins.sort_unstable();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = stage.store.accounts(after.as_deref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.login.to_string());
        found.extend(page.iter().map(|account| account.login.to_string()));
    }
    assert_eq!(found, logins);
}

async fn what_does_not_fit_is_refused(stage: &Stage) {
    for login in ["", "a:b", "a\nb", "\0", &"x".repeat(256)] {
        let unfit = stage.store.add_account(&new_account(login), &[]).await.unwrap_err();
        assert!(matches!(unfit, StoreError::Unfit { what: "the login", .. }), "{unfit}");
    }
    assert_eq!(stage.store.accounts(None, 9).await.unwrap(), []);
    for login in ["'; DROP TABLE account; --", "$1", "%s", "\\"] {
        stage.account(login, &[]).await;
        assert_eq!(&*stage.store.account(login).await.unwrap().unwrap().login, login);
    }
}

async fn two_who_add_the_same_account_do_not_both_succeed(stage: &Stage) {
    let other = stage.again().await;
    for login in ["a", "b", "c", "d", "e"] {
        let account = new_account(login);
        let (one, two) = tokio::join!(stage.store.add_account(&account, &[]), other.add_account(&account, &[]));
        let clash = |tried: &Result<(), StoreError>| matches!(tried, Err(StoreError::Clash { .. }));
        assert!(one.is_ok() && clash(&two) || two.is_ok() && clash(&one), "{one:?} {two:?}");
    }
}
