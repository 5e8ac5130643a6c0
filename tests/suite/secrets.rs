//! Secrets that come without a login, in all their places: what they open and what not; and requests on paths that are no
//! dialect's.

use dyngate::config::Location;
use dyngate::model::{Families, Hostname, PasswordDigest, Timestamp, TokenDigest};
use dyngate::store::{NewAccount, NewHost, Store};
use lab::http::Request;
use lab::{Gateway, Key, Kind, Postgres, Server, Setup, digest, soon};
use tempfile::TempDir;

use crate::stage::{Config, LOGIN, SECRET, ZONE, on_both};

/// What was generated for the account `kept`, which has the hosts `home` and `office`, and the token of `home`.
const GENERATED: &str = "mzxw-6ytb-generated";
const TOKEN: &str = "n5xg-k3df-token";
const CHOSEN: &str = "correct horse battery";
/// Of the account `off`, which is disabled, and of its host.
const DISABLED: &str = "mzxw-6ytb-disabled";
const DISABLED_TOKEN: &str = "n5xg-k3df-disabled";
/// Of two accounts.
const SHARED: &str = "mzxw-6ytb-shared";

struct Stage {
    primary: Server,
    gateway: Gateway,
    store: Store,
    _postgres: Option<Postgres>,
    _folder: TempDir,
}

fn name(label: &str) -> Hostname {
    Hostname::parse(&format!("{label}.{ZONE}")).unwrap()
}

impl Stage {
    async fn sqlite() -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("dyngate.db");
        let url = format!("sqlite:{}", file.display());
        Self::new(Location::Sqlite(file), &url, None, folder).await
    }

    async fn postgres() -> Self {
        let postgres = Postgres::start().await.unwrap();
        let url = postgres.url();
        Self::new(Location::Postgres(url.clone().into()), &url, Some(postgres), TempDir::new().unwrap()).await
    }

    async fn new(location: Location, url: &str, postgres: Option<Postgres>, folder: TempDir) -> Self {
        let key = Key::generate("gateway-key");
        let primary = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
        let store = Store::open(&location).await.unwrap();
        let phc = crate::command_line::run(&["hash"], CHOSEN).stdout.trim().to_owned();
        for (login, secret, hosts) in [
            ("kept", digest(GENERATED), &["home", "office"][..]),
            ("named.dyn.example", phc, &["named", "other"]),
            ("off", digest(DISABLED), &["off"]),
            ("one", digest(SHARED), &["one"]),
            ("two", digest(SHARED), &["two"]),
        ] {
            let secret = PasswordDigest::parse(&secret).unwrap();
            let account = NewAccount { login: login.to_owned(), secret, max_hosts: 1, wildcards: Vec::new() };
            let host = |label: &&str| NewHost {
                name: name(label),
                login: login.to_owned(),
                ttl: None,
                families: Families::Both,
                description: String::new(),
            };
            store.add_account(&account, &hosts.iter().map(host).collect::<Vec<_>>()).await.unwrap();
        }
        store.set_token(&name("home"), &TokenDigest::of(TOKEN).0, None).await.unwrap();
        store.set_token(&name("off"), &TokenDigest::of(DISABLED_TOKEN).0, None).await.unwrap();
        store.set_enabled("off", false).await.unwrap();
        let mut config = Config::new(&key, primary.addr());
        config.grants = vec!["declared.dyn.example"];
        config.more = format!("[store]\nurl = \"{url}\"\n");
        Self { gateway: config.start().await, primary, store, _postgres: postgres, _folder: folder }
    }

    async fn send(&self, request: Request) -> (u16, String) {
        let answer = request.send(self.gateway.http()).await.expect("the gateway answers");
        (answer.status, answer.text())
    }

    async fn text(&self, request: Request) -> String {
        self.send(request).await.1
    }

    async fn failures(&self) -> f64 {
        self.gateway.metric("dyngate_auth_failures_total").await.unwrap()
    }

    fn says_no_secret(&self) {
        let log = self.gateway.log();
        for secret in
            [GENERATED, TOKEN, CHOSEN, DISABLED, DISABLED_TOKEN, SHARED, SECRET, "guess", "mzxw-6ytb", "n5xg-k3df"]
        {
            assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
        }
    }
}

/// A request with `secret` in each place where it may stand without a login.
fn alone(target: &str, secret: &str) -> Vec<Request> {
    let mut requests = Vec::new();
    for key in ["password", "pass", "passwd", "pwd", "PWD", "p", "token", "key", "k", "apikey"] {
        requests.push(Request::get(&format!("{target}&{key}={secret}")));
    }
    for scheme in ["Token", "token", "Bearer", "BEARER"] {
        requests.push(Request::get(target).header("Authorization", &format!("{scheme} {secret}")));
    }
    requests.push(Request::post(target, format!("password={secret}")));
    requests.push(Request::get(&format!("{target}&username=&token={secret}")));
    requests
}

/// The same beside what is no login.
fn beside_no_login(target: &str, secret: &str, host: &str) -> Vec<Request> {
    let mut requests: Vec<_> = ["", "none", "NONE", host].map(|login| Request::get(target).basic(login, secret)).into();
    requests.push(Request::get(&format!("{target}&username=none&password={secret}")));
    requests.push(Request::post(target, format!("username:password={host}:{secret}")));
    requests
}

on_both!(
    a_hosts_token_opens_that_host_wherever_it_stands,
    what_was_generated_for_an_account_needs_no_login,
    a_host_may_be_the_login_of_its_account,
    what_opens_nothing_is_a_failed_login_and_no_more,
    what_is_taken_back_opens_nothing_any_more,
);

async fn a_hosts_token_opens_that_host_wherever_it_stands(stage: Stage) {
    let requests = |query: &str| {
        let target = format!("/nic/update?{query}");
        let twice = Request::get(&target).basic(TOKEN, TOKEN);
        [alone(&target, TOKEN), beside_no_login(&target, TOKEN, "home.dyn.example"), vec![twice]].concat()
    };
    for request in requests("myip=203.0.113.1") {
        assert!(stage.text(request.clone()).await.ends_with(" 203.0.113.1"), "{request:?}");
    }
    for request in requests("hostname=office.dyn.example&myip=203.0.113.99") {
        assert_eq!(stage.text(request.clone()).await, "nohost", "{request:?}");
    }
    for request in requests("hostname=office.dyn.example,home.dyn.example,nobody.dyn.example,x&myip=203.0.113.98") {
        let answer = stage.text(request.clone()).await;
        let lines: Vec<_> = answer.lines().collect();
        assert!(lines[1].ends_with(" 203.0.113.98") && lines[0] == "nohost", "{request:?}: {answer}");
        assert_eq!(lines[2..], ["nohost", "notfqdn"], "{request:?}");
    }
    assert!(stage.primary.addresses("office.dyn.example").await.unwrap().is_empty());
    // A name beside it that is another host's is no login of this token.
    for login in ["office.dyn.example", "nobody.dyn.example", "fritz", "kept"] {
        let request = Request::get("/nic/update?myip=203.0.113.97").basic(login, TOKEN);
        assert_eq!(stage.send(request).await, (401, "badauth".to_owned()), "{login}");
    }
    stage.says_no_secret();
}

async fn what_was_generated_for_an_account_needs_no_login(stage: Stage) {
    for request in alone("/nic/update?hostname=office.dyn.example&myip=203.0.113.1", GENERATED) {
        assert!(stage.text(request.clone()).await.ends_with(" 203.0.113.1"), "{request:?}");
    }
    for request in alone("/nic/update?myip=203.0.113.2", GENERATED) {
        assert_eq!(stage.text(request.clone()).await, "notfqdn", "it has two hosts: {request:?}");
    }
    for request in alone("/nic/update?hostname=named.dyn.example&myip=203.0.113.3", GENERATED) {
        assert_eq!(stage.text(request.clone()).await, "nohost", "{request:?}");
    }
    for request in alone("/nic/update?myip=203.0.113.4", SECRET) {
        assert!(stage.text(request.clone()).await.ends_with(" 203.0.113.4"), "an account of the file: {request:?}");
    }
    // Beside a login that is none, only a token is meant.
    for request in
        beside_no_login("/nic/update?hostname=office.dyn.example&myip=203.0.113.5", GENERATED, "office.dyn.example")
    {
        assert_eq!(stage.send(request.clone()).await.0, 401, "{request:?}");
    }
    // A Basic header wins, unless it is nobody's.
    let target = format!("/nic/update?hostname=office.dyn.example&myip=203.0.113.6&token={GENERATED}");
    assert_eq!(stage.text(Request::get(&target).basic("nobody", "guess")).await, "good 203.0.113.6");
    assert_eq!(stage.text(Request::get(&target).basic(LOGIN, "guess")).await, "badauth");
    assert_eq!(stage.text(Request::get(&target).basic(LOGIN, SECRET)).await, "nohost");
    stage.says_no_secret();
}

async fn a_host_may_be_the_login_of_its_account(stage: Stage) {
    let password = CHOSEN.replace(' ', "%20");
    let target = "/nic/update?myip=203.0.113.1";
    let named = format!("{target}&hostname=named.dyn.example&password={password}");
    assert_eq!(stage.text(Request::get(&named)).await, "good 203.0.113.1", "HE.net's way");
    assert_eq!(stage.text(Request::get(&format!("{target}&password={password}"))).await, "badauth", "nobody is named");
    // It has two hosts.
    let own = Request::get("/nic/update?myip=203.0.113.2").basic("named.dyn.example", CHOSEN);
    assert_eq!(stage.text(own).await, "good 203.0.113.2", "the login says which host");
    let other =
        Request::get("/nic/update?myip=203.0.113.3&hostname=other.dyn.example").basic("named.dyn.example", CHOSEN);
    assert_eq!(stage.text(other).await, "good 203.0.113.3");
    for host in ["home.dyn.example", "other.dyn.example", "kept"] {
        let request = Request::get(&format!("{target}&hostname={host}&password={password}"));
        assert_eq!(stage.text(request).await, "badauth", "{host} is no login with this password");
    }
    stage.says_no_secret();
}

async fn what_opens_nothing_is_a_failed_login_and_no_more(stage: Stage) {
    let mut expected = 0.0;
    for secret in ["guess", DISABLED, DISABLED_TOKEN, SHARED] {
        for query in ["myip=203.0.113.1", "hostname=home.dyn.example&myip=203.0.113.1", "hostname=off.dyn.example"] {
            for request in alone(&format!("/nic/update?{query}"), secret) {
                assert_eq!(stage.send(request.clone()).await, (401, "badauth".to_owned()), "{request:?}");
                expected += 1.0;
            }
        }
    }
    let basic = |login: &str, secret: &str| Request::get("/nic/update?hostname=off.dyn.example").basic(login, secret);
    for (login, secret) in
        [("off", DISABLED), ("off.dyn.example", DISABLED_TOKEN), ("", "guess"), ("guess", "guess"), ("none", "")]
    {
        assert_eq!(stage.send(basic(login, secret)).await, (401, "badauth".to_owned()), "{login}");
        expected += 1.0;
    }
    assert_eq!(stage.send(Request::get("/update/n5xg-k3df-guess")).await, (401, "badauth".to_owned()));
    assert_eq!(stage.failures().await, expected + 1.0);
    // What is empty is not said.
    for request in alone("/nic/update?hostname=home.dyn.example", "") {
        assert_eq!(stage.send(request.clone()).await, (401, "badauth".to_owned()), "{request:?}");
    }
    assert_eq!(stage.failures().await, expected + 1.0, "nothing is no guess");
    for label in ["home", "off", "one", "two"] {
        assert!(stage.primary.addresses(&format!("{label}.{ZONE}")).await.unwrap().is_empty(), "{label}");
    }
    stage.says_no_secret();
}

async fn what_is_taken_back_opens_nothing_any_more(stage: Stage) {
    let ask = async |secret: &str| {
        let target = format!("/nic/update?hostname=home.dyn.example&myip=203.0.113.1&token={secret}");
        stage.send(Request::get(&target)).await.0
    };
    let new = "mzxw-6ytb-new";
    assert_eq!((ask(GENERATED).await, ask(TOKEN).await, ask(new).await), (200, 200, 401));
    let rotated = PasswordDigest::parse(&digest(new)).unwrap();
    let later = Timestamp::now().plus(std::time::Duration::from_secs(3600));
    stage.store.rotate("kept", &rotated, Some(later)).await.unwrap();
    soon("the new secret", async || ask(new).await == 200).await;
    assert_eq!(ask(GENERATED).await, 200, "the old one has its time");
    stage.store.rotate("kept", &rotated, None).await.unwrap();
    soon("the old secret is gone", async || ask(GENERATED).await == 401).await;
    assert_eq!((ask(new).await, ask(TOKEN).await), (200, 200));
    stage.store.set_enabled("kept", false).await.unwrap();
    soon("disabled", async || (ask(new).await, ask(TOKEN).await) == (401, 401)).await;
    stage.store.set_enabled("kept", true).await.unwrap();
    soon("enabled", async || (ask(new).await, ask(TOKEN).await) == (200, 200)).await;
    stage.says_no_secret();
}

#[tokio::test(flavor = "multi_thread")]
async fn on_any_path_who_says_who_asks_and_for_what_is_heard() {
    let stage = Stage::sqlite().await;
    let query = "hostname=declared.dyn.example";
    for (number, path) in
        ["/", "/cgi-bin/dyndns.cgi", "/nowhere/n5xg-k3df-token", "/dns/v2/dynamic/x", "/healthz"].iter().enumerate()
    {
        let address = format!("203.0.113.{}", number + 1);
        let target = format!("{path}?{query}&myip={address}");
        if *path != "/" {
            assert_eq!(stage.send(Request::get(&target)).await.0, 404, "{path}: nobody asks");
            assert_eq!(stage.send(Request::get(&target).basic("", "")).await.0, 404, "{path}: an empty pair is nobody");
        }
        let head = Request::new("HEAD", &target).basic(LOGIN, SECRET);
        assert_eq!(stage.send(head).await, (200, String::new()), "{path}");
        let wrong = Request::get(&target).basic(LOGIN, "guess").send(stage.gateway.http()).await.unwrap();
        assert_eq!((wrong.status, wrong.text().as_str()), (401, "badauth"), "{path}");
        assert!(wrong.header("WWW-Authenticate").is_some(), "{path}");
        let good = format!("good {address}");
        assert_eq!(stage.send(Request::get(&target).basic(LOGIN, SECRET)).await, (200, good), "{path}");
        let form = format!("{query}&myip=203.0.113.9&username={LOGIN}&password={SECRET}");
        let posted = stage.text(Request::post(path, form)).await;
        assert!(posted.ends_with(" 203.0.113.9"), "{path}: {posted}");
        assert_eq!(stage.send(Request::post(path, "{}").basic(LOGIN, SECRET)).await.0, 404, "{path}: a foreign body");
        let nothing = Request::get(&format!("{path}?page=1")).basic(LOGIN, SECRET);
        assert_eq!(stage.send(nothing).await.0, 404, "{path}: nothing is asked for");
        assert_eq!(stage.send(Request::new("PUT", &target).basic(LOGIN, SECRET)).await.0, 405, "{path}");
    }
    // The login is the host.
    let named = Request::get("/dns/v2/dynamic").basic("home.dyn.example", TOKEN);
    assert_eq!(stage.text(named).await, "badip", "the caller's own address, which is a loopback one");
    for path in ["/", "/?", "/?page=1", "/api/v1/hosts", "/healthz", "/metrics", "/nic", "/wp-login.php"] {
        assert_eq!(stage.send(Request::get(path)).await.0, 404, "{path}");
    }
    // Services whose clients wait for a challenge.
    for path in
        ["/?hostname=x", "/XDynDNSServer/XDynDNS.php", "/api/v1/update/", "/v0/dyndns/update", "/update.php", "/setip"]
    {
        let answer = Request::get(path).send(stage.gateway.http()).await.unwrap();
        assert_eq!((answer.status, answer.header("WWW-Authenticate").is_some()), (401, true), "{path}");
    }
    let log = stage.gateway.log();
    for shown in ["\"/…/…\"", "\"/\"", "\"/api/v1/update/\""] {
        assert!(log.contains(&format!("path={shown}")), "{shown} is not in\n{log}");
    }
    stage.says_no_secret();
    assert_eq!(
        stage.gateway.metric("dyngate_requests_total{dialect=\"dyndns2\",outcome=\"changed\"").await.unwrap(),
        10.0
    );
}
