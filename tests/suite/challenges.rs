//! Challenges of certificate authorities: TXT at `_acme-challenge.HOST` by acme-dns' API and by httpreq, who may write it, and what
//! becomes of it. What real clients make of it: tests/clients/certificates.rs.

use std::time::Duration;

use lab::fake::{Action, FakePrimary};
use lab::http::{Request, Response};
use lab::{Gateway, Key, Kind, Postgres, RecordType, ResponseCode, Server, Setup, digest, soon};
use tokio::time::{Instant, sleep};

use crate::stage::{Config, LOGIN, SECRET, Stage, ZONE, on_every_primary};

const HOME: &str = "home.dyn.example";
const AT_HOME: &str = "_acme-challenge.home.dyn.example";
const ON: &str = "[acme]\ndns01 = true\n";
/// Another account, which has `other.dyn.example` alone.
const OTHER: &str = "other";

on_every_primary!(
    two_values_are_served_together_and_what_others_put_there_stays,
    a_value_that_nobody_removed_goes_by_its_age,
    what_a_wildcard_holds_is_not_the_names_own,
    where_a_cname_hides_the_name_nobody_is_to_come_back,
);

/// 43 characters of base64url.
fn value(letter: &str) -> String {
    letter.repeat(43)
}

fn json(fqdn: &str, value: &str) -> String {
    format!("{{\"fqdn\":\"{fqdn}\",\"value\":\"{value}\"}}\n")
}

async fn post(gateway: &Gateway, login: &str, path: &str, body: impl Into<Vec<u8>>) -> Response {
    let request = Request::post(path, body).basic(login, SECRET);
    request.send(gateway.http()).await.expect("the gateway answers")
}

async fn present(gateway: &Gateway, value: &str) -> (u16, String) {
    let answer = post(gateway, LOGIN, "/httpreq/present", json(&format!("{AT_HOME}."), value)).await;
    (answer.status, answer.text())
}

async fn cleanup(gateway: &Gateway, value: &str) -> u16 {
    post(gateway, LOGIN, "/httpreq/cleanup", json(AT_HOME, value)).await.status
}

/// The first letters of the values that are served.
async fn served(primary: &Server, name: &str) -> String {
    let answer = primary.query(name, "TXT").await.expect("the primary answers");
    let text = |data: &&str| data.trim_matches('"').chars().next().unwrap_or_default();
    answer.data(RecordType::TXT).iter().map(text).collect()
}

fn on(config: &mut Config) {
    config.grants = vec![HOME, "*.office.dyn.example"];
    config.more = format!(
        "{ON}[[account]]\nlogin = \"{OTHER}\"\nsecret = \"{}\"\nhosts = [\"other.dyn.example\"]\n",
        digest(SECRET)
    );
}

async fn two_values_are_served_together_and_what_others_put_there_stays(kind: Kind) {
    let stage = Stage::with(kind, |setup| setup, &["_acme-challenge.home 300 TXT \"zby-hand\""], on).await;
    let answer = (200, json(&format!("{AT_HOME}."), &value("a")).trim_end().to_owned());
    assert_eq!(present(&stage.gateway, &value("a")).await, answer);
    assert_eq!(present(&stage.gateway, &value("a")).await, answer, "again");
    for (letter, together) in [("b", "abz"), ("c", "bcz")] {
        assert_eq!(present(&stage.gateway, &value(letter)).await.0, 200);
        assert_eq!(served(&stage.primary, AT_HOME).await, together);
    }
    let read = stage.primary.query(AT_HOME, "TXT").await.unwrap();
    assert!(read.records.iter().all(|record| record.ttl == 300), "of an RRset that was there: {read:?}");
    for (letter, left) in [("b", "cz"), ("b", "cz"), ("c", "z"), ("y", "z")] {
        assert_eq!(cleanup(&stage.gateway, &value(letter)).await, 200);
        assert_eq!(served(&stage.primary, AT_HOME).await, left);
    }
    // What somebody else put there is not taken for ours though it is the same.
    let by_hand = format!("update add {AT_HOME} 300 TXT {}", value("h"));
    stage.primary.edit(&[&by_hand]).await.unwrap();
    assert_eq!(present(&stage.gateway, &value("h")).await.0, 200);
    for letter in ["i", "j"] {
        assert_eq!(present(&stage.gateway, &value(letter)).await.0, 200);
    }
    assert_eq!(served(&stage.primary, AT_HOME).await, "hijz", "ours are two");
    for letter in ["i", "j", "h"] {
        assert_eq!(cleanup(&stage.gateway, &value(letter)).await, 200);
    }
    assert_eq!(served(&stage.primary, AT_HOME).await, "z", "whoever names it may remove it");
    let only = "_acme-challenge.x.office.dyn.example";
    let body = format!("domain=x.office.dyn.example&token=t&keyAuth=t.{}", value("k"));
    assert_eq!(post(&stage.gateway, LOGIN, "/present", body.clone()).await.status, 200);
    let read = stage.primary.query(only, "TXT").await.unwrap();
    assert_eq!(read.records.iter().map(|record| record.ttl).collect::<Vec<_>>(), [60], "RAW mode, as a form");
    assert_eq!(post(&stage.gateway, LOGIN, "/cleanup", body).await.status, 200);
    assert_eq!(stage.primary.query(only, "TXT").await.unwrap().rcode, ResponseCode::NXDomain);
    assert_eq!(stage.set(HOME, "203.0.113.1").await, "good 203.0.113.1", "addresses have limits of their own");
}

async fn a_value_that_nobody_removed_goes_by_its_age(kind: Kind) {
    let stage = Stage::with(kind, |setup| setup, &[], |config| config.more = format!("{ON}keep = \"1s\"\n")).await;
    stage.primary.edit(&[&format!("update add {AT_HOME} 60 TXT {}", value("h"))]).await.unwrap();
    for letter in ["a", "h", "b"] {
        assert_eq!(present(&stage.gateway, &value(letter)).await.0, 200);
    }
    soon("ours are gone", async || served(&stage.primary, AT_HOME).await == "h").await;
    let told = || stage.gateway.log().matches("a challenge that nobody removed is gone").count();
    soon("both are told of", async || told() == 2).await;
}

async fn what_a_wildcard_holds_is_not_the_names_own(kind: Kind) {
    let stage = Stage::with(kind, |setup| setup, &["* 300 TXT \"wildcard\""], on).await;
    assert_eq!(present(&stage.gateway, &value("a")).await.0, 200);
    assert_eq!(served(&stage.primary, AT_HOME).await, "a");
    assert_eq!(cleanup(&stage.gateway, &value("a")).await, 200);
    assert_eq!(served(&stage.primary, AT_HOME).await.replace('w', ""), "", "PowerDNS with LMDB shows nothing now");
}

async fn where_a_cname_hides_the_name_nobody_is_to_come_back(kind: Kind) {
    for target in ["elsewhere.example.", "other"] {
        let lines = [&*format!("_acme-challenge.home 60 IN CNAME {target}"), "other 60 IN TXT \"another's\""];
        let stage = Stage::with(kind, |setup| setup, &lines, on).await;
        assert_eq!(present(&stage.gateway, &value("a")).await.0, 403, "{target}");
        assert_eq!(cleanup(&stage.gateway, &value("a")).await, 200, "{target}");
        assert!(stage.gateway.log().contains("the name stands at a CNAME"), "{}", stage.gateway.log());
    }
}

/// `(name, value)` of an acme-dns client.
fn update(path: &str, subdomain: &str, value: &str) -> Request {
    Request::post(path, format!("{{\"SubDomain\": \"{subdomain}\", \"Txt\": \"{value}\"}}"))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("X-Api-User", LOGIN)
        .header("X-Api-Key", SECRET)
}

#[tokio::test(flavor = "multi_thread")]
async fn acme_dns_speaks_its_own_words() {
    let stage = Stage::with(Kind::Knot, |setup| setup, &[], on).await;
    let send = async |request: Request| {
        let answer = request.send(stage.gateway.http()).await.unwrap();
        let kind = answer.header("Content-Type").unwrap_or_default().to_owned();
        (answer.status, answer.text(), kind)
    };
    let json = "application/json".to_owned();
    for (path, subdomain, letter) in
        [("/acme-dns/update", HOME, "a"), ("/update", AT_HOME, "b"), ("//update/", "HOME.dyn.example.", "b")]
    {
        let told = (200, format!("{{\"txt\": \"{}\"}}", value(letter)), json.clone());
        assert_eq!(send(update(path, subdomain, &value(letter))).await, told, "{path}");
    }
    assert_eq!(served(&stage.primary, AT_HOME).await, "ab");
    let forbidden = (401, "{\"error\":\"forbidden\"}".to_owned(), json.clone());
    let bad = (400, "{\"error\":\"bad_txt\"}".to_owned(), json.clone());
    for other in ["other.dyn.example", "office.dyn.example", "nowhere.example", "", "a..b", "_dmarc.home.dyn.example"] {
        assert_eq!(send(update("/acme-dns/update", other, &value("c"))).await, forbidden, "{other}");
    }
    for wrong in ["", "short", &value("c")[1..], &format!("{}=", value("c")), &value("é"), "a\\u0000"] {
        assert_eq!(send(update("/acme-dns/update", HOME, wrong)).await, bad, "{wrong}");
    }
    let deep = format!("{{\"subdomain\":\"{HOME}\",\"txt\":{}{}}}", "[".repeat(7000), "]".repeat(7000));
    let twice = format!("{{\"subdomain\":\"{HOME}\",\"txt\":\"{}\",\"TXT\":\"{}\"}}", value("c"), value("d"));
    for body in [deep.as_bytes(), twice.as_bytes(), b"{", b"{\"txt\":\"\xff\"}", b"[]", b"", b"subdomain=x&txt=y"] {
        let request = update("/acme-dns/update", "", "").body(body);
        assert_eq!(send(request).await, bad, "{body:?}");
    }
    let wrong = update("/acme-dns/update", HOME, &value("c")).header("X-Api-Key", "wrong");
    let nobody = Request::post("/update", format!("{{\"subdomain\":\"{HOME}\",\"txt\":\"{}\"}}", value("c")));
    let half = Request::post("/update", "").header("X-Api-User", LOGIN);
    for request in [nobody, half] {
        assert_eq!(send(request).await.0, 401);
    }
    assert_eq!(send(wrong).await.0, 401, "two headers of one name");
    assert_eq!(served(&stage.primary, AT_HOME).await, "ab", "nothing else came of it");
    for path in ["/acme-dns/register", "/register"] {
        let answer = send(Request::post(path, "{}")).await;
        assert_eq!((answer.0, answer.1.contains("\"error\""), answer.2), (403, true, json.clone()));
    }
    for path in ["/acme-dns/health", "/health"] {
        assert_eq!(send(Request::get(path)).await.1, "");
    }
    assert_eq!(send(Request::get("/register")).await.0, 404);
    let log = stage.gateway.log();
    assert!(!log.contains(SECRET), "{log}");
    let changed = "dyngate_requests_total{dialect=\"acme-dns\",outcome=\"changed\"";
    assert_eq!(stage.gateway.metric(changed).await.unwrap(), 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn httpreq_tells_what_is_wrong_in_json_and_changes_nothing() {
    let stage = Stage::with(Kind::Knot, |setup| setup, &[], on).await;
    let tell = async |login: &str, body: &str| {
        let answer = post(&stage.gateway, login, "/httpreq/present", body).await;
        (answer.status, answer.text())
    };
    for (body, status) in [
        (json("_acme-challenge.other.dyn.example.", &value("a")), 403),
        (json("_acme-challenge.office.dyn.example.", &value("a")), 403),
        (json("_acme-challenge.nowhere.example.", &value("a")), 403),
        (json("_acme-challenge.*.office.dyn.example.", &value("a")), 403),
        (json("_acme-challenge.", &value("a")), 403),
        (json(HOME, &value("a")), 400),
        (json(AT_HOME, "short"), 400),
        (json(AT_HOME, ""), 400),
        (format!("fqdn={AT_HOME}&value={}&value={}", value("a"), value("b")), 400),
        (format!("{{\"fqdn\":\"{AT_HOME}\",\"value\":[\"{}\"]}}", value("a")), 400),
        (
            format!("{{\"fqdn\":\"{AT_HOME}\",\"value\":\"{}\",\"domain\":\"{HOME}\",\"keyAuth\":\"x\"}}", value("a")),
            400,
        ),
        ("<xml/>".to_owned(), 400),
        (String::new(), 400),
    ] {
        let (told, text) = tell(LOGIN, &body).await;
        assert!(
            told == status && text.starts_with("{\"error\":") && !text.contains(&value("a")),
            "{body}: {told} {text}"
        );
    }
    let unknown = post(&stage.gateway, "nobody", "/httpreq/present", json(AT_HOME, &value("a"))).await;
    assert_eq!((unknown.status, unknown.header("WWW-Authenticate").is_some()), (401, true));
    assert_eq!(tell(OTHER, &json(AT_HOME, &value("a"))).await.0, 403);
    assert_eq!(served(&stage.primary, AT_HOME).await, "");
    assert_eq!(Request::get("/httpreq/present").send(stage.gateway.http()).await.unwrap().status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_for_a_host_of_another_and_nothing_is_served_where_it_is_off() {
    let key = Key::generate("gateway-key");
    let fake = FakePrimary::start(&key, |_| Action::Answer(ResponseCode::NoError)).await.unwrap();
    let mut config = Config::new(&key, fake.addr());
    on(&mut config);
    let gateway = config.start().await;
    for fqdn in [AT_HOME, "_acme-challenge.x.office.dyn.example"] {
        for path in ["/httpreq/present", "/httpreq/cleanup"] {
            assert_eq!(post(&gateway, OTHER, path, json(fqdn, &value("a"))).await.status, 403);
        }
    }
    assert_eq!(fake.received().len(), 0);
    config.more = config.more.replace("true", "false");
    gateway.write("gateway.toml", &config.toml()).unwrap();
    let mut gateway = gateway;
    gateway.reload().unwrap();
    let body = || json(AT_HOME, &value("a"));
    soon("it is off", async || post(&gateway, OTHER, "/httpreq/present", body()).await.status == 404).await;
    for path in ["/acme-dns/update", "/acme-dns/register", "/register", "/present", "/cleanup"] {
        assert_eq!(post(&gateway, LOGIN, path, "{}").await.status, 404, "{path}");
    }
    let raw = || format!("domain={HOME}&token=t&keyAuth=t.k");
    assert_eq!(post(&gateway, LOGIN, "/present", raw()).await.status, 404, "nor is an address set in its place");
    assert_eq!(Request::get("/health").send(gateway.http()).await.unwrap().status, 404);
    let answer = update("/update", HOME, &value("a")).send(gateway.http()).await.unwrap();
    assert_ne!(answer.status, 200, "{}", answer.text());
    assert_eq!(fake.received().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn below_a_wildcard_the_rules_of_its_hosts_hold() {
    let lines = ["ns.office A 192.0.2.1", "@ NS ns.office", "ns.servers.office A 192.0.2.1", "@ NS ns.servers.office"];
    let stage = Stage::with(
        Kind::Knot,
        |setup| setup,
        &lines,
        |config| {
            config.grants = vec!["*.office.dyn.example"];
            config.zone = "protect = [\"www.office.dyn.example\", \"www.safe.office.dyn.example\"]\n".to_owned();
            config.more = format!(
                "{ON}[[account]]\nlogin = \"{OTHER}\"\nsecret = \"{}\"\n\
                 hosts = [\"mine.office.dyn.example\", \"bank.city.office.dyn.example\"]\n",
                digest(SECRET)
            );
        },
    )
    .await;
    for (host, status) in
        [("x", 200), ("deep.x", 200), ("mine", 403), ("www", 403), ("ns", 403), ("_x", 403), ("_acme-challenge.x", 403)]
    {
        let body = json(&format!("_acme-challenge.{host}.office.dyn.example"), &value("a"));
        let answer = post(&stage.gateway, LOGIN, "/httpreq/present", body).await;
        assert_eq!(answer.status, status, "{host}: {}", answer.text());
    }
    assert_eq!(served(&stage.primary, "_acme-challenge.deep.x.office.dyn.example").await, "a");
    // What proves a name proves `bank.city` and the like by its wildcard.
    for host in ["city", "safe", "servers"] {
        let body = json(&format!("_acme-challenge.{host}.office.dyn.example"), &value("a"));
        let answer = post(&stage.gateway, LOGIN, "/httpreq/present", body).await;
        assert_eq!(answer.status, 403, "{host}: {}", answer.text());
        assert_eq!(served(&stage.primary, &format!("_acme-challenge.{host}.office.dyn.example")).await, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_told_and_then_it_works() {
    let mut stage = Stage::with(
        Kind::Knot,
        |setup| setup,
        &[],
        |config| {
            on(config);
            config.more.push_str("[engine]\ndeadline = \"500ms\"\n");
        },
    )
    .await;
    assert_eq!(present(&stage.gateway, &value("a")).await.0, 200);
    stage.primary.stop().await.unwrap();
    let down = post(&stage.gateway, LOGIN, "/httpreq/present", json(AT_HOME, &value("b"))).await;
    assert_eq!((down.status, down.header("Retry-After").is_some()), (503, true));
    assert_eq!(cleanup(&stage.gateway, &value("a")).await, 503);
    // One that has presented nothing of its own asks for all to go.
    let all =
        Request::post("/nic/update", format!("hostname=other.dyn.example&username={OTHER}&password={SECRET}&txt=."));
    assert_eq!(all.send(stage.gateway.http()).await.unwrap().text(), "911");
    stage.primary.start_again().await.unwrap();
    soon("it works again", async || present(&stage.gateway, &value("b")).await.0 == 200).await;
    assert_eq!(served(&stage.primary, AT_HOME).await, "ab");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_run_presented_goes_by_its_age_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::with(
        Kind::Bind,
        |setup| setup,
        &[],
        |config| {
            let url = folder.path().join("dyngate.db");
            config.more = format!("{ON}keep = \"3s\"\n[store]\nurl = \"sqlite:{}\"\n", url.display());
        },
    )
    .await;
    stage.primary.edit(&[&format!("update add {AT_HOME} 60 TXT by-hand")]).await.unwrap();
    assert_eq!(present(&stage.gateway, &value("a")).await.0, 200);
    stage.gateway.stop().await.unwrap();
    assert_eq!(served(&stage.primary, AT_HOME).await, "ab");
    let wait = Instant::now() + Duration::from_secs(4);
    while Instant::now() < wait {
        assert_eq!(served(&stage.primary, AT_HOME).await, "ab", "nobody is there to remove it");
        sleep(Duration::from_millis(200)).await;
    }
    stage.gateway.start_again().await.unwrap();
    soon("it is gone", async || served(&stage.primary, AT_HOME).await == "b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_values_are_served_together_and_go_by_their_age_once() {
    let postgres = Postgres::start().await.unwrap();
    let key = Key::generate("gateway-key");
    let primary = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
    let mut config = Config::new(&key, primary.addr());
    config.more = format!("{ON}keep = \"5s\"\n[store]\nurl = \"{}\"\n", postgres.url());
    let (one, two) = (config.start().await, config.start().await);
    let (first, second) = (value("a"), value("b"));
    let (a, b) = tokio::join!(present(&one, &first), present(&two, &second));
    assert_eq!((a.0, b.0), (200, 200));
    assert_eq!(served(&primary, AT_HOME).await, "ab");
    assert_eq!(present(&one, &value("c")).await.0, 200);
    assert_eq!(served(&primary, AT_HOME).await.len(), 2, "the newest of both");
    assert_eq!(cleanup(&two, &value("c")).await, 200, "whoever presented it");
    assert_eq!(served(&primary, AT_HOME).await.len(), 1);
    soon("the last one is gone", async || served(&primary, AT_HOME).await.is_empty()).await;
    let gone = "a challenge that nobody removed is gone";
    let told = || one.log().matches(gone).count() + two.log().matches(gone).count();
    soon("it is told of", async || told() > 0).await;
    assert_eq!(told(), 1, "{}\n{}", one.log(), two.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_have_txt_records_serve_them_as_challenges() {
    let stage = Stage::with(
        Kind::Knot,
        |setup| setup,
        &[],
        |config| {
            config.grants = vec![HOME];
            config.more = ON.to_owned();
        },
    )
    .await;
    let send = async |request: Request| {
        let answer = request.send(stage.gateway.http()).await.unwrap();
        (answer.status, answer.text())
    };
    let duckdns = async |rest: &str| {
        send(Request::get(&format!("/update?domains={HOME}&token={SECRET}&verbose=true{rest}"))).await
    };
    let he = async |host: &str, txt: &str| {
        let form = format!("hostname={host}&password={SECRET}&txt={txt}");
        send(Request::post("/nic/update", form)).await
    };
    let (a, b) = (value("a"), value("b"));
    assert_eq!(duckdns(&format!("&txt={a}")).await, (200, format!("OK\n{a}\nUPDATED")));
    assert_eq!(he(AT_HOME, &b).await, (200, format!("good {b}")));
    assert_eq!(he(AT_HOME, &b).await, (200, format!("good {b}")), "acme.sh knows no nochg here");
    assert_eq!(served(&stage.primary, AT_HOME).await, "ab");
    assert_eq!(he("_acme-challenge.other.dyn.example", &b).await, (200, "nohost".to_owned()));
    assert_eq!(he(AT_HOME, "short").await, (200, "badtxt".to_owned()));
    assert_eq!(duckdns("&txt=short").await, (200, "KO".to_owned()));
    assert_eq!(he(AT_HOME, ".").await, (200, "good .".to_owned()), "lego's cleanup");
    assert_eq!(served(&stage.primary, AT_HOME).await, "", "all of this credential");
    assert_eq!(duckdns(&format!("&txt={a}")).await.1, format!("OK\n{a}\nUPDATED"));
    assert_eq!(duckdns("&txt=&clear=true").await, (200, "OK\n\nUPDATED".to_owned()));
    assert_eq!(served(&stage.primary, AT_HOME).await, "");

    let mut off = Config::new(&Key::generate("gateway-key"), stage.primary.addr());
    off.grants = vec![HOME];
    let gateway = off.start().await;
    let duckdns = Request::get(&format!("/update?domains={HOME}&token={SECRET}&txt={a}"));
    let he = Request::post("/nic/update", format!("hostname={AT_HOME}&password={SECRET}&txt={a}"));
    for (request, word) in [(duckdns, "KO"), (he, "abuse")] {
        assert_eq!(request.send(gateway.http()).await.unwrap().text(), word);
    }
}
