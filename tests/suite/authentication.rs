//! Who gets in: credentials, their cost, and what wrong ones lead to.

use lab::http::{Request, Response};
use lab::{Gateway, Key, Kind, Server, Setup, digest, soon};

use crate::stage::{Config, LOGIN, SECRET, ZONE};

/// `old-password`, hashed as `dyngate hash` does.
async fn hashed(password: &str) -> String {
    crate::command_line::run(&["hash"], password).stdout.trim().to_owned()
}

struct Stage {
    gateway: Gateway,
    _primary: Server,
}

impl Stage {
    /// Two accounts: `router1` with a generated secret, `person` with the password `correct horse`.
    async fn new(limits: &str) -> Self {
        let key = Key::generate("gateway-key");
        let primary = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
        let mut config = Config::new(&key, primary.addr());
        config.more = format!(
            "[[account]]\nlogin = \"person\"\nsecret = \"{}\"\nhosts = [\"person.dyn.example\", \"*.person.dyn.example\"]\n\
             [[account]]\nlogin = \"single\"\nsecret = \"{}\"\nhosts = [\"single.dyn.example\"]\n[limits]\n{limits}\n",
            hashed("correct horse").await,
            digest("single-secret"),
        );
        Self { gateway: config.start().await, _primary: primary }
    }

    async fn send(&self, request: Request) -> Response {
        request.send(self.gateway.http()).await.unwrap()
    }

    async fn login(&self, login: &str, password: &str, host: &str) -> Response {
        let target = format!("/nic/update?hostname={host}.dyn.example&myip=203.0.113.7");
        self.send(Request::get(&target).basic(login, password)).await
    }

    async fn failures(&self) -> f64 {
        self.gateway.metric("dyngate_auth_failures_total").await.unwrap()
    }
}

const OFF: &str = "host = \"off\"\naccount = \"off\"\nsource = \"off\"\nfailed_logins = \"off\"";

#[tokio::test(flavor = "multi_thread")]
async fn none_is_a_challenge_and_wrong_is_a_failure() {
    let stage = Stage::new(OFF).await;
    for request in [
        Request::get("/nic/update?hostname=home.dyn.example"),
        Request::get("/nic/update?hostname=home.dyn.example").header("Authorization", "Basic Og=="),
        Request::get("/nic/update?hostname=home.dyn.example").header("Authorization", "Digest abc"),
        Request::get("/nic/update?hostname=home.dyn.example").header("Authorization", "Basic !"),
    ] {
        let none = stage.send(request).await;
        assert_eq!((none.status, none.text().as_str()), (401, "badauth"));
        assert!(none.header("WWW-Authenticate").is_some_and(|challenge| challenge.starts_with("Basic ")));
    }
    assert_eq!(stage.failures().await, 0.0, "no credentials are no failed login");
    for (login, password) in [(LOGIN, "wrong"), ("person", "wrong"), ("nobody", SECRET), ("", SECRET), (LOGIN, "")] {
        let wrong = stage.login(login, password, "home").await;
        assert_eq!((wrong.status, wrong.text().as_str()), (401, "badauth"), "{login}");
        assert!(wrong.header("WWW-Authenticate").is_some());
    }
    assert_eq!(stage.failures().await, 5.0);
    let log = stage.gateway.log();
    for secret in ["wrong", SECRET, "nobody", "correct horse"] {
        assert!(
            !log.contains(&format!("login={secret}")) && !log.contains(&format!("\"{secret}\"")),
            "{secret} in {log}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chosen_password_is_hashed_once_and_known_from_then_on() {
    let stage = Stage::new(OFF).await;
    assert_eq!(stage.login("person", "correct horse", "person").await.text(), "good 203.0.113.7");
    for _ in 0..100 {
        assert_eq!(stage.login("person", "correct horse", "person").await.text(), "nochg 203.0.113.7");
    }
    let query = "/nic/update?hostname=person.dyn.example&myip=203.0.113.7&username=person&password=correct+horse";
    assert_eq!(stage.send(Request::get(query)).await.text(), "nochg 203.0.113.7", "credentials in the query");
    let basic_wins = Request::get(query).basic("person", "wrong");
    assert_eq!(stage.send(basic_wins).await.text(), "badauth");
    assert!(!stage.gateway.log().contains("correct"), "{}", stage.gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_accounts_host_and_an_unknown_one_are_not_told_apart() {
    let stage = Stage::new(OFF).await;
    assert_eq!(stage.login("single", "single-secret", "single").await.text(), "good 203.0.113.7");
    let (anothers, unknown) = (
        stage.login("single", "single-secret", "person").await,
        stage.login("single", "single-secret", "nothing").await,
    );
    assert_eq!((anothers.status, anothers.text()), (unknown.status, unknown.text()));
    assert_eq!(anothers.header("X-Dyngate-Reason"), unknown.header("X-Dyngate-Reason"));
    assert_eq!(anothers.text(), "nohost");
    // router1's wildcard does not cover what is granted exactly to someone else, but everything else.
    assert_eq!(stage.login(LOGIN, SECRET, "person").await.text(), "nohost");
    assert_eq!(stage.login(LOGIN, SECRET, "pc.person").await.text(), "good 203.0.113.7");
    assert_eq!(
        stage.login("person", "correct horse", "pc.person").await.text(),
        "nochg 203.0.113.7",
        "grants may overlap"
    );
    // No host name: the account's only host, where there is only one.
    let own = |login: &str, password: &str| Request::get("/nic/update?myip=203.0.113.9").basic(login, password);
    assert_eq!(stage.send(own("single", "single-secret")).await.text(), "good 203.0.113.9");
    assert_eq!(stage.send(own("person", "correct horse")).await.text(), "notfqdn");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_meet_a_limit_that_never_stops_who_is_known() {
    let limits = "host = \"off\"\naccount = \"off\"\nsource = \"off\"\nfailed_logins = { burst = 3, per_minute = 1 }";
    let stage = Stage::new(limits).await;
    let other = |password: &str| {
        let target = "/nic/update?hostname=person.dyn.example&myip=203.0.113.7";
        Request::get(target).basic("person", password).from("127.0.0.2".parse::<std::net::IpAddr>().unwrap())
    };
    assert_eq!(stage.send(other("correct horse")).await.text(), "good 203.0.113.7");
    for attempt in 0..3 {
        assert_eq!(stage.login("person", &format!("guess{attempt}"), "person").await.text(), "badauth");
    }
    let limited = stage.login("person", "guess3", "person").await;
    assert_eq!((limited.status, limited.text().as_str()), (503, "911"));
    assert_eq!(limited.header("X-Dyngate-Reason"), Some("too fast"));
    assert!(limited.header("Retry-After").is_some());
    assert_eq!(stage.send(other("correct horse")).await.text(), "nochg 203.0.113.7", "verified before, from anywhere");
    assert_eq!(stage.login("person", "correct horse", "person").await.text(), "nochg 203.0.113.7", "even from there");
    assert_eq!(stage.login("single", "single-secret", "single").await.text(), "good 203.0.113.7", "a generated secret");
    assert!(stage.gateway.metric("dyngate_rate_limited_total{limit=\"failed_logins\"}").await.unwrap() >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_router_with_an_old_password_does_not_lock_out_its_neighbours() {
    let limits = "host = \"off\"\naccount = \"off\"\nsource = \"off\"\nfailed_logins = { burst = 3, per_minute = 1 }";
    let stage = Stage::new(limits).await;
    for _ in 0..20 {
        let old = stage.login("nobody-any-more", "old password", "home").await;
        assert!(["badauth", "911"].contains(&old.text().as_str()));
    }
    assert_eq!(stage.login("person", "correct horse", "person").await.text(), "good 203.0.113.7");
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_up_saves_no_failed_login() {
    let limits = "host = \"off\"\naccount = \"off\"\nsource = \"off\"\nfailed_logins = { burst = 3, per_minute = 1 }";
    let stage = Stage::new(limits).await;
    let target = "/nic/update?hostname=person.dyn.example&myip=203.0.113.7";
    for guess in 0..3 {
        let mut connection = lab::http::Connection::open(stage.gateway.http(), None).await.unwrap();
        let request = Request::get(target).basic("person", &format!("guess{guess}"));
        connection.write(&request.octets(stage.gateway.http())).await.unwrap();
    }
    soon("three failed logins are counted", async || stage.failures().await >= 3.0).await;
    assert_eq!(stage.login("person", "guess3", "person").await.text(), "911");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_a_zone_protects_is_protected_in_a_zone_within_it() {
    let key = Key::generate("gateway-key");
    let inner = format!("sub.{ZONE}");
    let setup = Setup::new().key(&key).zone(ZONE).zone(&inner);
    let primary = Server::start(Kind::Knot, setup).await.unwrap();
    let mut config = Config::new(&key, primary.addr());
    config.zone = format!("protect = [\"www.{inner}\"]");
    config.more =
        format!("[[zone]]\nname = \"{inner}\"\nkey = \"gateway-key\"\nprimaries = [\"{}\"]\n", primary.addr());
    let stage = Stage { gateway: config.start().await, _primary: primary };
    assert_eq!(stage.login(LOGIN, SECRET, "www.sub").await.text(), "nohost");
    assert_eq!(stage.login(LOGIN, SECRET, "home.sub").await.text(), "good 203.0.113.7");
}
