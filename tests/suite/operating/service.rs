//! The service behind the commands: lists in pages of any size, and the kinds of refusals.

use std::path::Path;

use dyngate::config::Config;
use dyngate::operator::{Access, Actor, NewHostOptions, Operator, OperatorError, RefusalKind};
use dyngate::store::{HostEdit, RecordsPolicy};

use super::{Stage, on_both};

on_both!(a_list_in_pages_loses_nothing, a_refusal_has_a_kind);

async fn open(stage: &Stage) -> Operator {
    let path = stage.path("gateway.toml");
    Operator::open(Config::load(Path::new(&path)).unwrap(), Path::new(&path), Access::Write).await.unwrap()
}

async fn accounts(operator: &Operator, limit: usize) -> Vec<(String, Vec<String>)> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = operator.accounts(after.as_ref(), limit).await.unwrap();
        assert!(page.items.len() <= limit);
        for mut view in page.items {
            while let Some(more) = view.more.take() {
                let rest = operator.grants(&view.login, &more).await.unwrap();
                view.hosts.extend(rest.items);
                view.more = rest.next;
            }
            all.push((view.login, view.hosts));
        }
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

async fn hosts(operator: &Operator, login: Option<&str>, limit: usize) -> Vec<String> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = operator.hosts(login, after.as_ref(), limit).await.unwrap();
        assert!(page.items.len() <= limit && (page.next.is_none() || page.items.len() == limit));
        all.extend(page.items.into_iter().map(|host| host.name.to_string()));
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

async fn a_list_in_pages_loses_nothing(stage: Stage) {
    let more = format!(
        "[[account]]\nlogin = \"router2\"\nsecret = \"{}\"\nhosts = [\"z.dyn.example\", \"b.dyn.example\"]",
        lab::digest("x")
    );
    stage.configure("gateway.toml", &stage.url(), &more);
    stage.done("account add alice --host a.dyn.example --host *.alice.dyn.example");
    stage.done("account add bob --host *.bob.dyn.example");
    stage.done("account add carl --host c.dyn.example");
    stage.done("account add dora");
    // More than are read of one account at once.
    let of_bob = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000) \
                  INSERT INTO host (name, login, ttl, families, description, blocked, created) \
                  SELECT 'h' || i || '.dyn.example', 'bob', NULL, '46', '', NULL, 0 FROM n";
    stage.sql(of_bob).await;
    stage
        .sql(
            "INSERT INTO reserved (login, name) VALUES ('router1', 'x.office.dyn.example'), \
             ('router1', 'b.dyn.example'), ('alice', 'x.alice.dyn.example')",
        )
        .await;
    let operator = open(&stage).await;
    let whole = accounts(&operator, 500).await;
    let logins: Vec<_> = whole.iter().map(|(login, _)| login.as_str()).collect();
    assert_eq!(logins, ["router1", "router2", "alice", "bob", "carl", "dora"]);
    assert_eq!(whole[1].1, ["b.dyn.example", "z.dyn.example"]);
    assert_eq!(whole[2].1, ["a.dyn.example", "*.alice.dyn.example"]);
    assert_eq!((whole[3].1.len(), whole[3].1.last().unwrap().as_str()), (12_001, "*.bob.dyn.example"));
    assert!(whole[3].1[..12_000].is_sorted());
    assert_eq!((whole[4].1.as_slice(), whole[5].1.len()), (&["c.dyn.example".to_owned()][..], 0));
    for limit in [1, 2, 3, 6] {
        assert_eq!(accounts(&operator, limit).await, whole, "{limit}");
    }

    let whole = hosts(&operator, None, 500).await;
    assert_eq!(whole.len(), 3 + 12_002 + 2, "declared, stored, below wildcards");
    assert_eq!(whole[..3], ["b.dyn.example", "home.dyn.example", "z.dyn.example"]);
    assert_eq!(whole[whole.len() - 2..], ["x.alice.dyn.example", "x.office.dyn.example"]);
    assert_eq!(hosts(&operator, None, 97).await, whole);
    for limit in [1, 2, 3, 500] {
        assert_eq!(hosts(&operator, Some("router1"), limit).await, ["home.dyn.example", "x.office.dyn.example"]);
        assert_eq!(hosts(&operator, Some("alice"), limit).await, ["a.dyn.example", "x.alice.dyn.example"]);
        assert_eq!(hosts(&operator, Some("dora"), limit).await, [""; 0]);
    }
    operator.close().await;
}

async fn a_refusal_has_a_kind(mut stage: Stage) {
    stage.done("account add alice --host a.dyn.example");
    stage.done("account add bob");
    let operator = open(&stage).await;
    let actor = Actor::Command { uid: 0, sudo_user: None };
    let add = async |name: &str, login: &str| {
        operator.add_host(&actor, name, login, NewHostOptions::default()).await.map(drop)
    };
    let long = HostEdit { description: Some("x".repeat(201)), ..HostEdit::default() };
    let all: [(Result<(), OperatorError>, RefusalKind); 10] = [
        (operator.account("nobody").await.map(drop), RefusalKind::NotFound),
        (operator.host("x.dyn.example").await.map(drop), RefusalKind::NotFound),
        (operator.remove_host(&actor, "x.dyn.example", RecordsPolicy::Keep).await.map(drop), RefusalKind::NotFound),
        (add("a.dyn.example", "bob").await, RefusalKind::Conflict),
        (add("taken.dyn.example", "bob").await, RefusalKind::Conflict),
        (add("alias.dyn.example", "bob").await, RefusalKind::Conflict),
        (operator.block(&actor, "home.dyn.example", None).await.map(drop), RefusalKind::ReadOnly),
        (operator.rotate(&actor, "router1", None, None).await.map(drop), RefusalKind::ReadOnly),
        (add("x.elsewhere.example", "bob").await, RefusalKind::Invalid),
        (operator.set_host(&actor, "a.dyn.example", &long).await.map(drop), RefusalKind::Invalid),
    ];
    for (answer, kind) in all {
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(!error.to_string().contains("dyngate "), "no command's words: {error}");
    }
    stage.primary.stop().await.unwrap();
    assert_eq!(add("x.dyn.example", "bob").await.unwrap_err().kind(), RefusalKind::Unavailable);
    operator.close().await;
}
