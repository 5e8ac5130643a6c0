//! Export and import: what leaves one store arrives in another, of the same or the other kind, all of it or nothing.

use std::time::Duration;

use dyngate::model::{DesiredRecords, Families, HostExtras, PasswordDigest, PrefixFrom, Timestamp};
use dyngate::store::{AddressChange, HostEdit, Imported, NewAccount, Seen, Store, StoreError};
use proptest::prelude::*;

use crate::stage::{Stage, digest, folder, name, new_account, on_both, seen, together, zone};

on_both!(
    an_export_of_nothing_is_one_line,
    one_bad_line_and_nothing_is_imported,
    who_follows_whom_is_looked_at_when_all_are_there,
    an_export_of_version_1_is_read,
    what_is_there_already_is_named,
    an_export_is_of_one_moment,
);

const START: &str = r#"{"kind":"dyngate-export","version":2}"#;

async fn lines(store: &Store) -> Vec<String> {
    let mut export = store.export().await.unwrap();
    let mut lines = Vec::new();
    while let Some(line) = export.next().await.unwrap() {
        assert!(!line.contains('\n'));
        lines.push(line);
    }
    assert_eq!(export.next().await.unwrap(), None);
    lines
}

async fn import(store: &Store, lines: &[impl AsRef<str> + Sync]) -> Result<Imported, StoreError> {
    store.import(lines.iter().map(|line| Ok(line.as_ref().to_owned()))).await
}

async fn fill(store: &Store) {
    let phc = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b4dWRWJTmaaJObG";
    let secret = PasswordDigest::parse(phc).unwrap();
    let wildcards = vec![zone("office.dyn.example"), zone("b.example")];
    let new = NewAccount { login: "Grün 1".into(), secret, max_hosts: u32::MAX, wildcards };
    store.add_account(&new, &[]).await.unwrap();
    store.rotate("Grün 1", &digest(5), Some(Timestamp::now().plus(Duration::from_secs(3600)))).await.unwrap();
    store.add_account(&new_account("b"), &[]).await.unwrap();
    store.set_enabled("b", false).await.unwrap();
    for number in 0..1100 {
        let login = if number % 2 == 0 { "b" } else { "Grün 1" };
        let host = crate::stage::new_host(&format!("h{number}.dyn.example"), login);
        // One transaction each is what commands do; a thousand of them are more than a page.
        if number < 50 {
            store.add_host(&host, &[]).await.unwrap();
        }
    }
    let below: Vec<_> = (0..1100).map(|number| format!("w{number}")).collect();
    crate::stage::reserve(store, "Grün 1", &below.iter().map(String::as_str).collect::<Vec<_>>(), 5000).await;
    let first = name("h0.dyn.example");
    let edit = HostEdit {
        ttl: Some(Some(300)),
        families: Some(Families::V4),
        description: Some("ß \"q\" \\".into()),
        follow: Some(Some(name("h9.dyn.example"))),
        interface_id: Some("::1:0:0:0:10".parse().ok()),
        prefix_from: Some(PrefixFrom::Address),
        wildcard: Some(true),
        offline: Some(true),
        mx: Some(vec![name("mail.dyn.example"), name("mail.example")]),
        ptr: Some(true),
        gone: Vec::new(),
    };
    store.set_host(&first, &edit).await.unwrap();
    store.block(&first, Some("late")).await.unwrap();
    store.set_token(&first, &[1; 32], None).await.unwrap();
    store.set_token(&first, &[2; 32], Some(Timestamp::now().plus(Duration::from_secs(60)))).await.unwrap();
    let held = "2001:db8::1".parse::<std::net::IpAddr>().unwrap().into();
    let change = Some(AddressChange { old: held, new: held });
    let calls = (0..1500).map(|at| Seen {
        change,
        held: DesiredRecords::set(held, 60),
        ..seen(&format!("h{at}.dyn.example"), at)
    });
    store.record(&together(&calls.collect::<Vec<_>>())).await.unwrap();
}

#[tokio::test]
async fn a_store_moves_from_sqlite_to_postgresql_and_back() {
    let (first, second, third) = (Stage::sqlite().await, Stage::postgres().await, Stage::sqlite().await);
    fill(&first.store).await;
    let exported = lines(&first.store).await;
    assert_eq!(exported.len(), 1 + 2 + 50 + 2 + 1500 + 1100);
    assert_eq!(exported[0], START);
    let imported = import(&second.store, &exported).await.unwrap();
    assert_eq!(imported, Imported { accounts: 2, hosts: 50, tokens: 2 });
    assert_eq!(lines(&second.store).await, exported);
    import(&third.store, &lines(&second.store).await).await.unwrap();
    assert_eq!(lines(&third.store).await, exported);
    let login = "Grün 1";
    assert_eq!(third.store.account(login).await.unwrap(), first.store.account(login).await.unwrap());
    let host = name("h0.dyn.example");
    assert_eq!(second.store.host(&host).await.unwrap(), first.store.host(&host).await.unwrap());
    assert_eq!(second.store.state(&host).await.unwrap(), first.store.state(&host).await.unwrap());
}

async fn an_export_of_nothing_is_one_line(stage: &Stage) {
    assert_eq!(lines(&stage.store).await, [START]);
    assert_eq!(import(&stage.store, &[START, "", "  "]).await.unwrap(), Imported::default());
}

const ACCOUNT: &str = r#"{"kind":"account","login":"a","secrets":[{"digest":"$sha256$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","expires":null}],"wildcards":[],"max_hosts":1,"enabled":true,"created":1}"#;
const HOST: &str = r#"{"kind":"host","name":"h.dyn.example","account":"a","ttl":60,"families":"46","description":"","blocked":null,"created":1}"#;

async fn one_bad_line_and_nothing_is_imported(stage: &Stage) {
    let token = format!(
        r#"{{"kind":"token","name":"h.dyn.example","digest":"{}","created":1,"expires":null}}"#,
        "0".repeat(64)
    );
    let with = |key: &str, value: &str| HOST.replace("\"created\"", &format!("\"{key}\":\"{value}\",\"created\""));
    for (bad, why) in [
        ("{".to_owned(), "not a JSON object"),
        ("[]".to_owned(), "missing field `kind`"),
        ("7".to_owned(), "invalid type"),
        (START.to_owned(), "a second first line"),
        (ACCOUNT.replace("$sha256$AAAA", "hunter2"), "a secret: a password in plain text is not accepted"),
        (ACCOUNT.replace(r#""login":"a""#, r#""login":"a:b""#), "the login has a colon in it, where HTTP ends it"),
        (HOST.replace("h.dyn", "-.dyn"), "\"-.dyn.example\" is not a host name"),
        (HOST.replace("60", "4000000000"), "the TTL is larger"),
        (with("follow", "h.dyn.example"), "the host: a host does not follow itself"),
        (with("follow", "other.dyn.example"), "the host: a host that follows another needs an interface id"),
        (with("interface_id", "::"), "`interface_id`: it is zero"),
        (with("prefix_from", "both"), "`prefix_from`: it is neither"),
        (HOST.replace("\"46\"", "\"64\""), "`families` is"),
        (HOST.replace("\"ttl\"", "\"tll\""), "unknown field `tll`"),
        (HOST.replace("\"a\"", "\"nobody\""), "no account \"nobody\" before this line, nor in the store"),
        (token.replace("h.dyn", "x.dyn"), "no host \"x.dyn.example\" before this line"),
        (token.replace("000", "0g0"), "`digest` is the SHA-256"),
        (format!("{{\"kind\":\"born\",\"x\":\"{}\"}}", "y".repeat(600_000)), "longer than"),
    ] {
        let text = [START, ACCOUNT, HOST, "", &bad, &token];
        let error = import(&stage.store, &text).await.unwrap_err();
        let StoreError::BadLine { line: 5, why: said } = &error else { panic!("{error}") };
        assert!(said.starts_with(why), "{said}");
        assert!(error.to_string().ends_with("nothing was imported"), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    for (text, line) in [(&[ACCOUNT][..], 1), (&[], 1), (&["", r#"{"kind":"dyngate-export","version":3}"#], 2)] {
        let error = import(&stage.store, text).await.unwrap_err();
        assert!(matches!(error, StoreError::BadLine { line: at, .. } if at == line), "{error}");
    }
    let read = [Ok(START.to_owned()), Err(std::io::Error::other("the disk is gone"))];
    let error = stage.store.import(read.into_iter()).await.unwrap_err();
    assert_eq!(error.to_string(), "line 2: the disk is gone; nothing was imported");
    assert_eq!(lines(&stage.store).await, [START], "nothing of it was applied");
    import(&stage.store, &[START, ACCOUNT, HOST, &token]).await.unwrap();
}

async fn who_follows_whom_is_looked_at_when_all_are_there(stage: &Stage) {
    let host = |name: &str, leader: &str| {
        let more = format!("\"follow\":\"{leader}\",\"interface_id\":\"::10\",\"created\"");
        HOST.replace("h.dyn", &format!("{name}.dyn")).replace("\"created\"", &more)
    };
    let many = |count| (0..count).map(|number| host(&format!("n{number}"), "h.dyn.example")).collect::<Vec<_>>();
    for (hosts, leader) in [
        (vec![host("i", "x.dyn.example")], "x.dyn.example"),
        (vec![host("j", "i.dyn.example"), host("i", "h.dyn.example")], "i.dyn.example"),
        (many(65), "h.dyn.example"),
    ] {
        let lines: Vec<_> =
            [START.to_owned(), ACCOUNT.to_owned()].into_iter().chain(hosts).chain([HOST.to_owned()]).collect();
        let error = import(&stage.store, &lines).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("the import has hosts that follow {leader}, which")), "{error}");
    }
    assert_eq!(lines(&stage.store).await, [START], "nothing of it was applied");
    let all: Vec<_> =
        [START.to_owned(), ACCOUNT.to_owned()].into_iter().chain(many(64)).chain([HOST.to_owned()]).collect();
    import(&stage.store, &all).await.unwrap();
}

async fn an_export_of_version_1_is_read(stage: &Stage) {
    import(&stage.store, &[&START.replace('2', "1"), ACCOUNT, HOST]).await.unwrap();
    assert_eq!(stage.store.host(&name("h.dyn.example")).await.unwrap().unwrap().extras, HostExtras::default());
}

async fn what_is_there_already_is_named(stage: &Stage) {
    import(&stage.store, &[START, ACCOUNT, HOST]).await.unwrap();
    let error = import(&stage.store, &[START, ACCOUNT]).await.unwrap_err();
    assert_eq!(error.to_string(), "account \"a\" of line 2 is already in the store");
    let error = import(&stage.store, &[START, HOST]).await.unwrap_err();
    assert_eq!(error.to_string(), "host \"h.dyn.example\" of line 2 is already in the store");
    let twice = HOST.replace("h.dyn", "i.dyn");
    let error = import(&stage.store, &[START, &twice, &twice]).await.unwrap_err();
    assert_eq!(error.to_string(), "host \"i.dyn.example\" of line 3 is already in the store");
    assert_eq!(stage.store.hosts(None, None, 9).await.unwrap().len(), 1);
}

async fn an_export_is_of_one_moment(stage: &Stage) {
    stage.account("a", &["a.dyn.example"]).await;
    let mut export = stage.store.export().await.unwrap();
    stage.account("b", &["b.dyn.example"]).await;
    let mut count = 0;
    while export.next().await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever a person writes into an account and a host is the same after the way there and back.
    #[test]
    fn texts_survive_the_move(login in "[^\\x00-\\x1f\\x7f-\\x9f:]{1,40}", description in "\\PC{0,60}", ttl in any::<Option<u16>>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (here, there) = (folder(), folder());
            let open = |folder: &tempfile::TempDir| dyngate::config::Location::Sqlite(folder.path().join("s.db"));
            let (one, two) = (Store::open(&open(&here)).await.unwrap(), Store::open(&open(&there)).await.unwrap());
            let mut host = crate::stage::new_host("h.dyn.example", &login);
            host.description = description;
            host.ttl = ttl.map(u32::from);
            one.add_account(&new_account(&login), &[host.clone()]).await.unwrap();
            import(&two, &lines(&one).await).await.unwrap();
            let found = two.host(&host.name).await.unwrap().unwrap();
            assert_eq!((&found.description, found.ttl, &*found.login), (&host.description, host.ttl, login.as_str()));
            assert_eq!(two.account(&login).await.unwrap(), one.account(&login).await.unwrap());
        });
    }
}
