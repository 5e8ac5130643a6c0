//! The engine alone writes records that are no addresses, at every primary: several in one RRset, and beside somebody else's.

use std::time::Duration;

use dyngate::engine::{Compared, Trouble};
use dyngate::model::{Desired, DesiredRecords, Hostname, RrData, RrKey, RrType};
use lab::{Kind, RecordType};
use tokio::time::Instant;

use crate::removal::{Bench, DONE, wanted};
use crate::stage::{ZONE, on_every_primary};

on_every_primary!(
    two_values_are_one_rrset,
    somebody_elses_records_stay,
    a_swap_expects_all_records,
    a_name_that_is_hidden_takes_none,
);

const CHALLENGE: &str = "_acme-challenge.home";

fn data(rtype: RrType, text: &str) -> RrData {
    RrData::parse(rtype, text).unwrap()
}

fn set(rtype: RrType, text: &str) -> DesiredRecords {
    DesiredRecords::from_iter([(rtype, Desired::Set { data: data(rtype, text), ttl: 60 })])
}

fn without(rtype: RrType, text: &str) -> DesiredRecords {
    DesiredRecords::from_iter([(rtype, Desired::Without(data(rtype, text)))])
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// Whether the name holds these. Asked again where that is not as expected: PowerDNS says SERVFAIL while its SQLite is busy.
async fn holds(bench: &Bench, host: &str, records: DesiredRecords, expected: bool) -> bool {
    for _ in 0..50 {
        if bench.engine.holds(&wanted(host, records.clone()), soon()).await == expected {
            return expected;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    !expected
}

async fn served(bench: &Bench, host: &str, kind: RecordType) -> Vec<String> {
    let answer = bench.primary.query(&format!("{host}.{ZONE}"), &kind.to_string()).await.unwrap();
    answer.data(kind).into_iter().map(str::to_owned).collect()
}

async fn two_values_are_one_rrset(kind: Kind) {
    let bench =
        Bench::new(kind, &["stands 60 IN TXT \"b\"", "stands 60 IN TXT \"a\"", "stands 60 IN MX 10 mail"]).await;
    assert_eq!(bench.change(CHALLENGE, set(RrType::Txt, "two\none \"quoted\"")).await, DONE);
    assert_eq!(served(&bench, CHALLENGE, RecordType::TXT).await, ["one \"quoted\"", "two"]);
    assert_eq!(bench.compare(CHALLENGE, set(RrType::Txt, "one \"quoted\"\ntwo")), Compared::Same);
    assert_eq!(bench.compare(CHALLENGE, set(RrType::Txt, "two")), Compared::Differs);
    assert_eq!(bench.change(CHALLENGE, set(RrType::Txt, "two")).await, DONE);
    assert_eq!(served(&bench, CHALLENGE, RecordType::TXT).await, ["two"]);
    assert_eq!(bench.change(CHALLENGE, DesiredRecords::absent([RrType::Txt])).await, DONE);
    assert!(served(&bench, CHALLENGE, RecordType::TXT).await.is_empty());
    // What nobody has asked before, the primary says.
    for (records, is_so) in [
        (set(RrType::Txt, "a\nb"), true),
        (set(RrType::Txt, "a"), false),
        (set(RrType::Txt, "a\nb\nc"), false),
        (set(RrType::Mx, &format!("10 mail.{ZONE}")), true),
        (set(RrType::Mx, &format!("5 mail.{ZONE}")), false),
    ] {
        assert_eq!(holds(&bench, "stands", records.clone(), is_so).await, is_so, "{records:?}");
    }
    let pointer = set(RrType::Ptr, "home.dyn.example");
    assert_eq!(bench.change("7.reverse", pointer.clone()).await, DONE);
    assert!(holds(&bench, "7.reverse", pointer, true).await);
    assert_eq!(served(&bench, "7.reverse", RecordType::PTR).await, ["home.dyn.example."]);
}

async fn somebody_elses_records_stay(kind: Kind) {
    let lines =
        ["home 60 IN MX 10 mail", "home 60 IN MX 20 theirs", "home 60 IN TXT theirs", "7.reverse IN PTR theirs"];
    let bench = Bench::new(kind, &lines).await;
    assert_eq!(bench.change("home", without(RrType::Mx, &format!("5 home.{ZONE}\n10 mail.{ZONE}"))).await, DONE);
    assert_eq!(served(&bench, "home", RecordType::MX).await, [format!("20 theirs.{ZONE}.")]);
    assert_eq!(bench.change("home", without(RrType::Mx, &format!("10 mail.{ZONE}"))).await, DONE, "again");
    assert_eq!(bench.change("7.reverse", without(RrType::Ptr, "home.dyn.example")).await, DONE);
    assert_eq!(served(&bench, "7.reverse", RecordType::PTR).await, [format!("theirs.{ZONE}.")]);
    assert_eq!(bench.change("7.reverse", without(RrType::Ptr, &format!("theirs.{ZONE}"))).await, DONE);
    assert!(served(&bench, "7.reverse", RecordType::PTR).await.is_empty());
    assert_eq!(served(&bench, "home", RecordType::TXT).await, ["theirs"]);
}

async fn a_swap_expects_all_records(kind: Kind) {
    let bench = Bench::new(kind, &["home 60 IN TXT \"a\"", "home 60 IN TXT \"b\""]).await;
    let key = RrKey { name: Hostname::parse(&format!("home.{ZONE}")).unwrap(), rtype: RrType::Txt };
    let held = bench.engine.read(&key, soon()).await.unwrap();
    assert_eq!(held, [Desired::Set { data: data(RrType::Txt, "b\na"), ttl: 60 }]);
    for (expected, is_so) in [("a", false), ("a\nb\nc", false), ("b\na", true)] {
        let desired = Desired::Set { data: data(RrType::Txt, "new"), ttl: 60 };
        let expected = data(RrType::Txt, expected);
        let until = soon();
        let swapped = loop {
            let (key, desired) = (key.clone(), desired.clone());
            match bench.engine.compare_and_swap(key, vec![expected.clone()], desired, until).await {
                // PowerDNS says SERVFAIL while its SQLite is busy, and has changed nothing.
                Err(Trouble::Failed(_)) => tokio::time::sleep(Duration::from_millis(100)).await,
                other => break other,
            }
        };
        assert_eq!(swapped, Ok(is_so), "{expected:?}");
    }
    assert_eq!(served(&bench, "home", RecordType::TXT).await, ["new"]);
}

async fn a_name_that_is_hidden_takes_none(kind: Kind) {
    let bench = Bench::new(kind, &["alias 60 IN CNAME ns1", "sub 60 IN NS ns1.elsewhere.example."]).await;
    for (host, records) in [
        ("alias", set(RrType::Mx, "10 mail.example")),
        ("_acme-challenge.sub", set(RrType::Txt, "a")),
        ("*.sub", set(RrType::A, "192.0.2.1")),
    ] {
        assert!(matches!(bench.change(host, records).await, Err(Trouble::Hidden(_))), "{host}");
    }
    assert_eq!(bench.change("*.home", set(RrType::A, "192.0.2.1")).await, DONE);
    assert_eq!(served(&bench, "any.home", RecordType::A).await, ["192.0.2.1"]);
}
