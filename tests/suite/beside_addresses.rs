//! What a host may have beside its addresses: a wildcard that goes with it, its removal, MX and PTR records, on every primary.

use dyngate::config::Location;
use dyngate::model::{Families, Hostname, PasswordDigest};
use dyngate::store::{HostEdit, NewAccount, NewHost, RecordsPolicy, Store};
use lab::http::Request;
use lab::{Kind, Postgres, RecordType, Right, Setup, digest, soon};
use tempfile::TempDir;

use crate::stage::{Config, SECRET, Stage, on_bind_and_knot, on_every_primary, update};

on_every_primary!(
    a_wildcard_goes_with_its_host,
    what_is_not_granted_is_left_out,
    a_host_goes_offline_and_comes_back,
    mail_servers_are_set_and_left_alone,
    pointers_follow,
    a_pointer_of_somebody_else_stays,
    a_part_of_a_network_has_its_pointers,
    who_follows_has_a_wildcard_and_a_pointer_too,
    all_of_it_follows_after_an_outage,
    what_a_command_takes_away_leaves_the_zones,
);

const HOME: &str = "home.dyn.example";
// BIND takes no MX record whose server in the same zone has no address.
const MAIL: &str = "mail 60 IN A 192.0.2.25";
const MX2: &str = "mx2 60 IN A 192.0.2.26";
const REVERSE: &str = "113.0.203.in-addr.arpa";
const REVERSE_V6: &str = "8.b.d.0.1.0.0.2.ip6.arpa";

fn settings(config: &mut Config, host: &str, lines: &str) {
    config.more.push_str(&format!("[[host]]\nname = \"{host}\"\n{lines}\n"));
}

fn reverse(config: &mut Config, zone: &str) {
    let (key, primaries) = (&config.key.name, config.primaries.iter().map(ToString::to_string).collect::<Vec<_>>());
    config
        .more
        .push_str(&format!("[[zone]]\nname = \"{zone}\"\nkey = \"{key}\"\nprimaries = {primaries:?}\nttl = 300\n"));
}

/// Two hosts, of which "home" has these settings.
async fn stage(kind: Kind, lines: &[&str], of_home: &str) -> Stage {
    let config = |config: &mut Config| {
        config.grants = vec![HOME, "other.dyn.example", "*.dyn.example"];
        settings(config, HOME, of_home);
    };
    Stage::with(kind, |setup| setup, lines, config).await
}

/// The same with reverse zones, the first with `lines`.
async fn with_pointers(kind: Kind, lines: &[&str], of_home: &str) -> Stage {
    let setup = |setup: Setup| setup.zone_with(REVERSE, lines).zone(REVERSE_V6);
    let config = |config: &mut Config| {
        config.grants = vec![HOME, "other.dyn.example", "*.113.0.203.in-addr.arpa"];
        settings(config, HOME, of_home);
        settings(config, "other.dyn.example", "ptr = true");
        reverse(config, REVERSE);
        reverse(config, REVERSE_V6);
    };
    Stage::with(kind, setup, &[MAIL], config).await
}

async fn data(stage: &Stage, name: &str, kind: RecordType) -> Vec<String> {
    let answer = stage.primary.query(name, &kind.to_string()).await.unwrap();
    answer.data(kind).into_iter().map(str::to_owned).collect()
}

async fn pointer(stage: &Stage, last: u8) -> Vec<String> {
    data(stage, &format!("{last}.{REVERSE}"), RecordType::PTR).await
}

async fn ask(stage: &Stage, query: &str) -> String {
    update(&stage.gateway, query).await.text()
}

async fn a_wildcard_goes_with_its_host(kind: Kind) {
    let stage = stage(kind, &[], "wildcard = true\n[engine]\nverify_interval = \"0s\"").await;
    assert_eq!(stage.set(HOME, "203.0.113.7").await, "good 203.0.113.7");
    assert_eq!(stage.served("any.home.dyn.example").await, ["203.0.113.7"]);
    assert_eq!(stage.set(HOME, "203.0.113.7").await, "nochg 203.0.113.7");
    assert_eq!(
        ask(&stage, &format!("hostname={HOME}&myip=203.0.113.8,2001:db8::8&wildcard=ON")).await,
        "good 203.0.113.8,2001:db8::8"
    );
    assert_eq!(stage.served("any.home.dyn.example").await, ["203.0.113.8", "2001:db8::8"]);
    // It alone differs.
    stage.primary.edit(&["update delete *.home.dyn.example. A"]).await.unwrap();
    assert_eq!(stage.set(HOME, "203.0.113.8").await, "good 203.0.113.8");
    assert_eq!(stage.served("any.home.dyn.example").await, ["203.0.113.8", "2001:db8::8"]);
    assert_eq!(stage.served(HOME).await, ["203.0.113.8", "2001:db8::8"]);
    assert_eq!(stage.set("*.home.dyn.example", "203.0.113.9").await, "good 203.0.113.9", "named itself");
}

async fn what_is_not_granted_is_left_out(kind: Kind) {
    let stage = stage(kind, &[], "ttl = 60").await;
    let query = format!("hostname={HOME}&myip=203.0.113.7&wildcard=ON&mx=mail.dyn.example&backmx=NO");
    assert_eq!(ask(&stage, &query).await, "good 203.0.113.7");
    assert!(stage.served("any.home.dyn.example").await.is_empty());
    assert!(data(&stage, HOME, RecordType::MX).await.is_empty());
    let log = stage.gateway.log();
    assert!(log.contains("wildcard is not granted") && log.contains("mx is not granted"), "{log}");
    let quiet = "&wildcard=OFF&mx=&backmx=NO&offline=NO";
    assert_eq!(ask(&stage, &format!("hostname={HOME}&myip=203.0.113.7{quiet}")).await, "nochg 203.0.113.7");
    assert_eq!(ask(&stage, &format!("hostname={HOME}&offline=YES")).await, "!donator");
    assert_eq!(stage.served(HOME).await, ["203.0.113.7"]);
}

async fn a_host_goes_offline_and_comes_back(kind: Kind) {
    let stage = stage(kind, &["home 60 IN TXT kept"], "offline = true\nwildcard = true").await;
    assert_eq!(ask(&stage, &format!("hostname={HOME}&offline=YES")).await, "nochg", "there was nothing");
    assert_eq!(stage.set(HOME, "203.0.113.7,2001:db8::7").await, "good 203.0.113.7,2001:db8::7");
    assert_eq!(ask(&stage, &format!("hostname={HOME}&offline=1&myip=203.0.113.7")).await, "good");
    for name in [HOME, "any.home.dyn.example"] {
        assert!(stage.served(name).await.is_empty(), "{name}");
    }
    assert_eq!(data(&stage, HOME, RecordType::TXT).await, ["kept"]);
    let serial = stage.primary.serial(crate::stage::ZONE).await.unwrap();
    assert_eq!(ask(&stage, &format!("hostname={HOME}&offline=yes")).await, "nochg");
    assert_eq!(stage.primary.serial(crate::stage::ZONE).await.unwrap(), serial);
    assert_eq!(stage.set(HOME, "203.0.113.7").await, "good 203.0.113.7");
    assert_eq!(stage.served("any.home.dyn.example").await, ["203.0.113.7"]);
}

async fn mail_servers_are_set_and_left_alone(kind: Kind) {
    let stage = stage(kind, &["other 60 IN MX 20 theirs", MAIL, MX2], "mx = [\"mail.dyn.example\"]").await;
    let ask = async |rest: &str| ask(&stage, &format!("hostname={HOME}&myip=203.0.113.7&{rest}")).await;
    assert_eq!(ask("mx=mail.dyn.example&backmx=YES").await, "good 203.0.113.7");
    let both = ["10 mail.dyn.example.", "5 home.dyn.example."];
    assert_eq!(data(&stage, HOME, RecordType::MX).await, both);
    assert_eq!(ask("mx=mail.dyn.example&backmx=YES").await, "nochg 203.0.113.7");
    for left_alone in ["mx=", "mx=NOCHG&backmx=NOCHG", "mx=evil.example"] {
        assert_eq!(ask(left_alone).await, "nochg 203.0.113.7", "{left_alone}");
        assert_eq!(data(&stage, HOME, RecordType::MX).await, both);
    }
    assert!(stage.gateway.log().contains("mx is not granted"));
    assert_eq!(ask("mx=Mail.dyn.example.&backmx=NO").await, "good 203.0.113.7");
    assert_eq!(data(&stage, HOME, RecordType::MX).await, both[..1]);
    assert_eq!(data(&stage, "other.dyn.example", RecordType::MX).await, ["20 theirs.dyn.example."]);
}

async fn pointers_follow(kind: Kind) {
    let stage = with_pointers(kind, &[], "ptr = true\noffline = true").await;
    let home = ["home.dyn.example."];
    assert_eq!(stage.set(HOME, "203.0.113.7,2001:db8::7").await, "good 203.0.113.7,2001:db8::7");
    assert_eq!(pointer(&stage, 7).await, home);
    let of_v6 = format!("7{}.{REVERSE_V6}", ".0".repeat(23));
    assert_eq!(data(&stage, &of_v6, RecordType::PTR).await, home);
    assert_eq!(stage.set(HOME, "203.0.113.7").await, "nochg 203.0.113.7");
    assert_eq!(stage.set(HOME, "203.0.113.8").await, "good 203.0.113.8");
    assert_eq!((pointer(&stage, 8).await, pointer(&stage, 7).await), (home.map(str::to_owned).to_vec(), vec![]));
    assert_eq!(data(&stage, &of_v6, RecordType::PTR).await, home);
    // The first of two hosts at one address keeps it.
    assert_eq!(stage.set("other.dyn.example", "203.0.113.8").await, "good 203.0.113.8");
    assert_eq!(pointer(&stage, 8).await, home);
    // No zone of ours is for this one.
    assert_eq!(stage.set(HOME, "198.51.100.8").await, "good 198.51.100.8");
    assert!(pointer(&stage, 8).await.is_empty());
    assert_eq!(ask(&stage, &format!("hostname={HOME}&offline=YES")).await, "good");
    assert!(data(&stage, &of_v6, RecordType::PTR).await.is_empty());
}

async fn a_pointer_of_somebody_else_stays(kind: Kind) {
    let lines = ["66 60 IN PTR theirs.example.", "67 60 IN PTR ."];
    let stage = with_pointers(kind, &lines, "ptr = true").await;
    assert_eq!(stage.set("9.113.0.203.in-addr.arpa", "203.0.113.9").await, "nohost", "no wildcard covers it");
    assert_eq!(stage.set(HOME, "203.0.113.7").await, "good 203.0.113.7");
    for (last, theirs) in [(66, "theirs.example."), (67, ".")] {
        let address = format!("203.0.113.{last}");
        assert_eq!(stage.set(HOME, &address).await, format!("good {address}"));
        assert_eq!(pointer(&stage, last).await, [theirs]);
        let said = format!("the PTR record of {address} is not its own and stays");
        assert!(stage.gateway.log().contains(&said), "{}", stage.gateway.log());
    }
    assert_eq!(stage.set(HOME, "203.0.113.7").await, "good 203.0.113.7");
    assert_eq!(
        (pointer(&stage, 66).await, pointer(&stage, 7).await),
        (vec!["theirs.example.".to_owned()], vec!["home.dyn.example.".to_owned()])
    );
}

async fn a_part_of_a_network_has_its_pointers(kind: Kind) {
    let zones = ["0/26.113.0.203.in-addr.arpa", "64-127.113.0.203.in-addr.arpa", "128-25.113.0.203.in-addr.arpa"];
    let setup = |setup: Setup| zones.into_iter().fold(setup, |setup, zone| setup.zone(zone));
    let config = |config: &mut Config| {
        config.grants = vec![HOME];
        settings(config, HOME, "ptr = true");
        zones.into_iter().for_each(|zone| reverse(config, zone));
    };
    let stage = Stage::with(kind, setup, &[], config).await;
    for (last, zone) in [63, 64, 255].into_iter().zip(zones) {
        assert_eq!(stage.set(HOME, &format!("203.0.113.{last}")).await, format!("good 203.0.113.{last}"));
        assert_eq!(data(&stage, &format!("{last}.{zone}"), RecordType::PTR).await, ["home.dyn.example."]);
    }
    assert!(data(&stage, &format!("63.{}", zones[0]), RecordType::PTR).await.is_empty());
    assert!(data(&stage, &format!("64.{}", zones[1]), RecordType::PTR).await.is_empty());
}

async fn who_follows_has_a_wildcard_and_a_pointer_too(kind: Kind) {
    let config = |config: &mut Config| {
        config.grants = vec![HOME, "nas.dyn.example"];
        settings(
            config,
            "nas.dyn.example",
            "follow = \"home.dyn.example\"\ninterface_id = \"::10\"\nwildcard = true\nptr = true",
        );
        reverse(config, REVERSE_V6);
    };
    let stage = Stage::with(kind, |setup| setup.zone(REVERSE_V6), &[], config).await;
    for (prefix, nibble) in [("2001:db8:0:2300::/56", 3), ("2001:db8:0:2400::/56", 4)] {
        let query = format!("hostname={HOME}&myip=203.0.113.7&ip6lanprefix={prefix}");
        assert_eq!(ask(&stage, &query).await, "good 203.0.113.7");
        let address = prefix.replace("::/56", "::10");
        for name in ["nas.dyn.example", "any.nas.dyn.example"] {
            assert_eq!(stage.served(name).await, [address.as_str()], "{name}");
        }
        let pointer = |nibble| format!("0.1.{}0.0.{nibble}.2.0.0.0.0.{REVERSE_V6}", "0.".repeat(14));
        assert_eq!(data(&stage, &pointer(nibble), RecordType::PTR).await, ["nas.dyn.example."]);
        assert!(data(&stage, &pointer(7 - nibble), RecordType::PTR).await.is_empty());
        assert_eq!(ask(&stage, &query).await, "nochg 203.0.113.7");
    }
}

async fn all_of_it_follows_after_an_outage(kind: Kind) {
    let settings = "ptr = true\nwildcard = true\nmx = [\"mail.dyn.example\"]\n[engine]\ndeadline = \"1s\"";
    let mut stage = with_pointers(kind, &["66 60 IN PTR theirs.example."], settings).await;
    assert_eq!(stage.set(HOME, "203.0.113.7").await, "good 203.0.113.7");
    assert_eq!(pointer(&stage, 7).await, ["home.dyn.example."]);
    stage.primary.pause().await.unwrap();
    assert_eq!(ask(&stage, &format!("hostname={HOME}&myip=203.0.113.8&mx=mail.dyn.example")).await, "911");
    stage.primary.resume().unwrap();
    soon("what was asked for", async || {
        stage.served("any.home.dyn.example").await == ["203.0.113.8"]
            && stage.served(HOME).await == ["203.0.113.8"]
            && data(&stage, HOME, RecordType::MX).await == ["10 mail.dyn.example."]
    })
    .await;
    soon("the pointers", async || {
        pointer(&stage, 8).await == ["home.dyn.example."] && pointer(&stage, 7).await.is_empty()
    })
    .await;
    stage.primary.pause().await.unwrap();
    assert_eq!(stage.set(HOME, "203.0.113.66").await, "911");
    stage.primary.resume().unwrap();
    soon("the address", async || stage.served(HOME).await == ["203.0.113.66"]).await;
    soon("the old pointer is gone", async || pointer(&stage, 8).await.is_empty()).await;
    assert_eq!(pointer(&stage, 66).await, ["theirs.example."]);
}

async fn what_a_command_takes_away_leaves_the_zones(kind: Kind) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("dyngate.db");
    let url = format!("sqlite:{}", file.display());
    takes_away(kind, &Location::Sqlite(file), &url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_takes_away_leaves_the_zones_on_postgres() {
    let postgres = Postgres::start().await.unwrap();
    let url = postgres.url();
    takes_away(Kind::Knot, &Location::Postgres(url.clone().into()), &url).await;
}

async fn takes_away(kind: Kind, location: &Location, url: &str) {
    let name = |text: &str| Hostname::parse(text).unwrap();
    let store = Store::open(location).await.unwrap();
    let account = NewAccount {
        login: "kept".to_owned(),
        secret: PasswordDigest::parse(&digest(SECRET)).unwrap(),
        max_hosts: 3,
        wildcards: Vec::new(),
    };
    let host = NewHost {
        name: name("kept.dyn.example"),
        login: "kept".to_owned(),
        ttl: None,
        families: Families::Both,
        description: String::new(),
    };
    store.add_account(&account, &[host]).await.unwrap();
    let all = HostEdit {
        wildcard: Some(true),
        mx: Some(vec![name("mail.dyn.example"), name("mx2.dyn.example")]),
        ptr: Some(true),
        ..HostEdit::default()
    };
    store.set_host(&name("kept.dyn.example"), &all).await.unwrap();
    let lines = ["kept 60 IN TXT stays", MAIL, MX2, "theirs 60 IN A 192.0.2.27"];
    let setup = |setup: Setup| setup.zone(REVERSE);
    let config = |config: &mut Config| {
        config.grants = vec![HOME];
        reverse(config, REVERSE);
        config.more.push_str(&format!("[store]\nurl = \"{url}\"\n[engine]\ndeadline = \"1s\"\n"));
    };
    let mut stage = Stage::with(kind, setup, &lines, config).await;
    let query = "/nic/update?hostname=kept.dyn.example&myip=203.0.113.7&mx=mail.dyn.example,mx2.dyn.example&backmx=YES";
    let at = stage.gateway.http();
    let set = async |query: &str| Request::get(query).basic("kept", SECRET).send(at).await.unwrap().text();
    assert_eq!(set(query).await, "good 203.0.113.7");
    stage.primary.pause().await.unwrap();
    assert_eq!(set("/nic/update?hostname=kept.dyn.example&myip=203.0.113.6").await, "911");
    stage.primary.resume().unwrap();
    soon("the pointers", async || {
        pointer(&stage, 6).await == ["kept.dyn.example."] && pointer(&stage, 7).await.is_empty()
    })
    .await;
    assert_eq!(stage.served("any.kept.dyn.example").await, ["203.0.113.6"]);
    assert_eq!(set(query).await, "good 203.0.113.7");
    let stage = stage;
    let mail = async || data(&stage, "kept.dyn.example", RecordType::MX).await;
    assert_eq!(mail().await, ["10 mail.dyn.example.", "10 mx2.dyn.example.", "5 kept.dyn.example."]);
    // On PostgreSQL it waits where the older change is still being made.
    soon("the pointer is back", async || pointer(&stage, 7).await == ["kept.dyn.example."]).await;
    stage.primary.edit(&["update add kept.dyn.example. 60 MX 30 theirs.dyn.example."]).await.unwrap();
    // One at a time, and at last all that is left.
    let less = HostEdit { mx: Some(vec![name("mx2.dyn.example")]), ..HostEdit::default() };
    store.set_host(&name("kept.dyn.example"), &less).await.unwrap();
    soon("one mail server is gone", async || {
        mail().await == ["10 mx2.dyn.example.", "30 theirs.dyn.example.", "5 kept.dyn.example."]
    })
    .await;
    let no_wildcard = HostEdit { wildcard: Some(false), ..HostEdit::default() };
    store.set_host(&name("kept.dyn.example"), &no_wildcard).await.unwrap();
    soon("the wildcard is gone", async || stage.served("any.kept.dyn.example").await.is_empty()).await;
    assert_eq!(stage.served("kept.dyn.example").await, ["203.0.113.7"]);
    store.remove_host(&name("kept.dyn.example"), RecordsPolicy::Remove).await.unwrap();
    soon("all that was its own is gone", async || {
        stage.served("kept.dyn.example").await.is_empty()
            && mail().await == ["30 theirs.dyn.example."]
            && pointer(&stage, 7).await.is_empty()
    })
    .await;
    assert_eq!(data(&stage, "kept.dyn.example", RecordType::TXT).await, ["stays"]);
}

async fn a_reverse_zone_that_refuses_harms_no_answer(kind: Kind) {
    let key = lab::Key::generate("narrow-key");
    let rights = [Right::Below(crate::stage::ZONE.to_owned())];
    let setup = |setup: Setup| setup.zone(REVERSE).key(&key).restrict(&key, &rights);
    let config = |config: &mut Config| {
        config.key = key.clone();
        config.grants = vec![HOME];
        settings(config, HOME, "ptr = true");
        reverse(config, REVERSE);
    };
    let stage = Stage::with(kind, setup, &[], config).await;
    assert_eq!(stage.set(HOME, "203.0.113.7").await, "good 203.0.113.7");
    assert!(pointer(&stage, 7).await.is_empty());
    let log = stage.gateway.log();
    assert!(log.contains("the PTR record of 203.0.113.7: the primary refuses us"), "{log}");
    assert_eq!(stage.set(HOME, "203.0.113.7").await, "nochg 203.0.113.7");
}

mod refused {
    use super::on_bind_and_knot;

    use super::a_reverse_zone_that_refuses_harms_no_answer;

    on_bind_and_knot!(a_reverse_zone_that_refuses_harms_no_answer);
}
