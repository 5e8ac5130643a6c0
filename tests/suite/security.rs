//! What docs/SECURITY.md says that an attacker cannot do, tried on the built gateway.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dyngate::config::Location;
use dyngate::model::{PasswordDigest, ZoneName};
use dyngate::store::{NewAccount, Store};
use lab::http::{Connection, Request, raw};
use lab::{Gateway, Key, Kind, Postgres, Server, Setup, digest, soon};
use tempfile::TempDir;

use crate::stage::{Config, LOGIN, SECRET, ZONE};

/// A name server, and a gateway in front of it with `router1`, whose only grant is `home.dyn.example`.
struct Stage {
    primary: Server,
    gateway: Gateway,
}

impl Stage {
    async fn new(more: &str) -> Self {
        let key = Key::generate("gateway-key");
        let primary = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
        let mut config = Config::new(&key, primary.addr());
        config.grants = vec!["home.dyn.example"];
        config.more = more.to_owned();
        Self { gateway: config.start().await, primary }
    }

    async fn send(&self, request: Request) -> (u16, String) {
        let answer = request.send(self.gateway.http()).await.expect("the gateway answers");
        (answer.status, answer.text())
    }

    async fn ask(&self, query: &str) -> String {
        self.send(Request::get(&format!("/nic/update?{query}")).basic(LOGIN, SECRET)).await.1
    }
}

/// Every octet as a percent code: nothing in it is the client library's to judge.
fn encoded(text: &[u8]) -> String {
    text.iter().map(|octet| format!("%{octet:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_list_only_what_is_granted_changes() {
    let other =
        format!("[[account]]\nlogin = \"other\"\nsecret = \"{}\"\nhosts = [\"other.dyn.example\"]\n", digest("x"));
    let stage = Stage::new(&other).await;
    let hosts = "home.dyn.example,other.dyn.example,nobody.dyn.example,HOME.dyn.example.,home.dyn.example.evil.example";
    assert_eq!(
        stage.ask(&format!("hostname={hosts}&myip=203.0.113.7")).await,
        "good 203.0.113.7\nnohost\nnohost\ngood 203.0.113.7\nnohost"
    );
    assert_eq!(stage.primary.addresses("home.dyn.example").await.unwrap().len(), 1);
    for name in ["other.dyn.example", "nobody.dyn.example"] {
        assert!(stage.primary.addresses(name).await.unwrap().is_empty(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_host_is_told_before_the_credentials_are_right() {
    let stage = Stage::new("").await;
    let mut answers = Vec::new();
    for host in ["home.dyn.example", "nobody.dyn.example", "not a name", "home.elsewhere.example", "", &"a,".repeat(30)]
    {
        for address in ["203.0.113.7", "10.0.0.1", "no address"] {
            let target =
                format!("/nic/update?hostname={}&myip={}", encoded(host.as_bytes()), encoded(address.as_bytes()));
            for request in [Request::get(&target), Request::get(&target).basic(LOGIN, "wrong")] {
                let answer = request.send(stage.gateway.http()).await.unwrap();
                let reason = answer.header("X-Dyngate-Reason").map(str::to_owned);
                answers.push((answer.status, answer.text(), reason));
            }
        }
    }
    answers.dedup();
    assert_eq!(answers, [(401, "badauth".to_owned(), Some("bad credentials".to_owned()))]);
    assert_eq!(stage.gateway.metric("dyngate_updates_total").await.unwrap_or_default(), 0.0, "nobody was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_means_anything_to_a_zone_file_or_a_command() {
    let key = Key::generate("gateway-key");
    let primary = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
    let stage = Stage { gateway: Config::new(&key, primary.addr()).start().await, primary };
    let serial = stage.primary.serial(ZONE).await.unwrap();
    for label in [
        &b"a\nevil A 203.0.113.66"[..],
        b"a\r\n$INCLUDE /etc/shadow",
        b"a\0",
        b"a;b",
        b"a\\046b",
        b"a\"b",
        b"(a",
        b"$ORIGIN",
        b"@",
        b"a b",
        b"a\tb",
        b"`id`",
        b"$(id)",
        b"a|id",
        b"a/../../b",
        b"-a",
        b"a.*",
        b"\xe4",
        "\u{ff41}".as_bytes(),
        "a\u{2028}b".as_bytes(),
        "a\u{3002}b".as_bytes(),
        b"%2e",
        b"a..b",
        b"_acme-challenge",
        b"update add evil.dyn.example 60 A 203.0.113.66",
    ] {
        let host = [label, b".dyn.example"].concat();
        let answer = stage.ask(&format!("hostname={}&myip=203.0.113.7", encoded(&host))).await;
        assert_eq!(answer, "notfqdn", "{}", host.escape_ascii());
    }
    assert_eq!(stage.primary.serial(ZONE).await.unwrap(), serial, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_password_opens_nothing() {
    // What a script stores whose variable was empty.
    let more = format!("[[account]]\nlogin = \"open\"\nsecret = \"{}\"\nhosts = [\"open.dyn.example\"]\n", digest(""));
    let stage = Stage::new(&more).await;
    let target = "/nic/update?hostname=open.dyn.example&myip=203.0.113.7";
    for request in [
        Request::get(target).basic("open", ""),
        Request::get(target).basic("", ""),
        Request::get(target).basic("", SECRET),
        Request::get(&format!("{target}&username=open&password=")),
        Request::get(&format!("{target}&username=&password=")),
        Request::get("/update/?myip=203.0.113.7"),
        Request::get("/update//?myip=203.0.113.7"),
    ] {
        let answer = stage.send(request.clone()).await;
        assert_eq!(answer, (401, "badauth".to_owned()), "{request:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_leaves_nothing_to_the_next_on_its_connection() {
    let stage = Stage::new("").await;
    let target = "/nic/update?hostname=home.dyn.example&myip=203.0.113.7";
    let known = Request::get(target).basic(LOGIN, SECRET);
    let mut connection = Connection::open(stage.gateway.http(), None).await.unwrap();
    for _ in 0..2 {
        assert_eq!(connection.send(&known).await.unwrap().status, 200);
        for nobody in
            [Request::get(target), Request::post("/nic/update", "myip=203.0.113.9"), Request::get("/update/x")]
        {
            let answer = connection.send(&nobody).await.unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (401, "badauth"));
        }
    }
    // Sent at once, and answered in order.
    let host = stage.gateway.http();
    let all = [known.octets(host), Request::get(target).octets(host), known.octets(host)].concat();
    connection.write(&all).await.unwrap();
    for status in [200, 401, 200] {
        assert_eq!(connection.read(false).await.unwrap().status, status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_hides_in_another() {
    let stage = Stage::new("").await;
    let hidden = "GET /nic/checkip HTTP/1.1\r\nHost: x\r\n\r\n";
    let length = hidden.len();
    // The number of answers that each may get: the front and we must never count differently.
    for (head, most) in [
        (format!("Content-Length: {length}\r\nContent-Length: 0\r\n"), 1),
        (format!("Content-Length: 0, {length}\r\n"), 1),
        (format!("Content-Length: +{length}\r\n"), 1),
        (format!("Content-Length: 0x{length:x}\r\n"), 1),
        ("Content-Length: -1\r\n".to_owned(), 1),
        ("Transfer-Encoding: xchunked\r\n".to_owned(), 1),
        ("Transfer-Encoding: chunked, identity\r\n".to_owned(), 1),
        (format!("Transfer-Encoding : chunked\r\nContent-Length: {length}\r\n"), 1),
        (format!("Content-Length: {length}\r\n folded: 0\r\n"), 1),
        (format!("X\0: a\r\nContent-Length: {length}\r\n"), 1),
        (format!("Content-Length\r\n: {length}\r\n"), 1),
    ] {
        let octets = format!("POST /nic/update HTTP/1.1\r\nHost: x\r\n{head}\r\n{hidden}");
        let answers = String::from_utf8(raw(stage.gateway.http(), octets.as_bytes()).await.unwrap()).unwrap();
        let count = answers.matches("HTTP/1.1 ").count();
        assert!(count <= most && !answers.contains("Current IP"), "{head:?}: {answers}");
    }
    // Of both lengths the chunks count (RFC 9112 section 6.3), and what follows them is a request.
    let both = format!(
        "POST /nic/update HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    );
    let answers = String::from_utf8(raw(stage.gateway.http(), both.as_bytes()).await.unwrap()).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_and_unknown_tokens_write_nothing_into_the_store() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("dyngate.db");
    let mut stage = Stage::new(&format!("[store]\nurl = \"sqlite:{}\"\n", file.display())).await;
    let dump = || {
        let ran =
            std::process::Command::new("sqlite3").arg(&file).arg(".dump").output().expect("apt-get install sqlite3");
        String::from_utf8(ran.stdout).unwrap()
    };
    let before = dump();
    assert!(before.contains("CREATE TABLE"), "{before}");
    for number in 0..50 {
        let target = "/nic/update?hostname=home.dyn.example&myip=203.0.113.7";
        for login in [LOGIN, &format!("stranger{number}")] {
            let request = Request::get(target).basic(login, &format!("guess{number}"));
            assert_eq!(stage.send(request).await.1, "badauth");
        }
        assert_eq!(stage.send(Request::get(&format!("/update/guess{number}"))).await.1, "badauth");
    }
    assert_eq!(stage.gateway.metric("dyngate_auth_failures_total").await.unwrap(), 150.0);
    assert!(stage.gateway.stop().await.unwrap().success(), "whatever waited is written at the latest now");
    assert_eq!(dump(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_never_came_to_be_leave_nothing_in_the_store() {
    let folder = TempDir::new().unwrap();
    let location = Location::Sqlite(folder.path().join("dyngate.db"));
    let store = Store::open(&location).await.unwrap();
    let account = NewAccount {
        login: "many".to_owned(),
        secret: PasswordDigest::parse(&digest(SECRET)).unwrap(),
        max_hosts: 2,
        wildcards: vec![ZoneName::parse("many.dyn.example").unwrap()],
    };
    store.add_account(&account, &[]).await.unwrap();
    let mut stage = Stage::new(&format!("[store]\nurl = \"sqlite:{}/dyngate.db\"\n", folder.path().display())).await;
    let ask =
        async |query: String| stage.send(Request::get(&format!("/nic/update?{query}")).basic("many", SECRET)).await.1;
    for number in 0..2 {
        assert_eq!(ask(format!("hostname=h{number}.many.dyn.example&myip=203.0.113.7")).await, "good 203.0.113.7");
    }
    for number in 2..30 {
        for (more, answer) in
            [("myip=203.0.113.7", "nohost"), ("myip=10.0.0.1", "badip"), ("myip=203.0.113.7&offline=YES", "!donator")]
        {
            assert_eq!(ask(format!("hostname=h{number}.many.dyn.example&{more}")).await, answer);
        }
    }
    assert!(stage.gateway.stop().await.unwrap().success());
    let exported = async {
        let mut export = store.export().await.unwrap();
        let mut lines = Vec::new();
        while let Some(line) = export.next().await.unwrap() {
            lines.push(line);
        }
        lines
    };
    let states = exported.await.into_iter().filter(|line| line.contains("last_seen")).count();
    assert_eq!(states, 2, "a row for each name that there is");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_login_of_a_stranger_takes_the_store_away() {
    let postgres = Postgres::start().await.unwrap();
    let stage = Stage::new(&format!("[store]\nurl = \"{}\"\n", postgres.url())).await;
    let target = "/nic/update?hostname=home.dyn.example&myip=203.0.113.7";
    // PostgreSQL takes no NUL in a text; others are longer than any login.
    for login in ["a\0b", "\0", "a\nb", "\u{202e}", &"x".repeat(5000), "日本", "' OR ''='"] {
        assert_eq!(
            stage.send(Request::get(target).basic(login, "wrong")).await,
            (401, "badauth".to_owned()),
            "{login:?}"
        );
        let form = format!("username={}&password=wrong&hostname=home.dyn.example", encoded(login.as_bytes()));
        assert_eq!(stage.send(Request::post("/nic/update", form)).await, (401, "badauth".to_owned()), "{login:?}");
    }
    assert!(!stage.gateway.log().contains("the store is away"), "{}", stage.gateway.log());
    assert_eq!(stage.ask("hostname=home.dyn.example&myip=203.0.113.7").await, "good 203.0.113.7");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_the_most_talkative_log() {
    let folder = TempDir::new().unwrap();
    let key = Key::generate("gateway-key");
    let primary = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
    let mut config = Config::new(&key, primary.addr());
    config.more = format!("[store]\nurl = \"sqlite:{}/dyngate.db\"\n", folder.path().display());
    let mut gateway = Gateway::builder(crate::stage::program())
        .config(&config.toml())
        .env("DYNGATE_LOG", "trace")
        .start()
        .await
        .unwrap();
    let target = "/nic/update?hostname=home.dyn.example&myip=203.0.113.7";
    let (wrong, token) = ("a-wrong-password", "a-token-that-is-none");
    let mut requests = vec![
        Request::get(target).basic(LOGIN, SECRET),
        Request::get(target).basic(LOGIN, wrong),
        Request::get(&format!("{target}&username={LOGIN}&password={SECRET}")),
        Request::post("/nic/update", format!("username={LOGIN}&password={wrong}&hostname=home.dyn.example")),
        // Not a pair, not base64, another scheme, a login in the place of the password.
        Request::get(target).header("Authorization", &format!("Basic {SECRET}")),
        Request::get(target).header("Authorization", &format!("Bearer {SECRET}")),
        Request::get(target).basic(SECRET, LOGIN),
        // Turned away for what it is.
        Request::get(&format!("{target}&password={SECRET}&x={}", "y".repeat(9000))),
        Request::new("DELETE", &format!("{target}&password={SECRET}")),
        Request::get(&format!("http://{LOGIN}:{SECRET}@x/nic/update")),
        Request::post("/nic/update", format!("password={SECRET}&x={}", "y".repeat(17_000))),
    ];
    for path in ["/update/", "//update//", "/cpanelwebcall/", "/update/x/", "/nowhere/", "/%75pdate/", "/update/%2e/"] {
        requests.push(Request::get(&format!("{path}{token}")));
        requests.push(Request::get(&format!("{path}{token}?myip=203.0.113.7")));
        // Where somebody says who asks, any path is heard.
        requests.push(Request::get(&format!("{path}{token}?myip=203.0.113.7")).basic(LOGIN, SECRET));
    }
    let keys = ["password", "pass", "passwd", "pwd", "PWD", "p", "token", "key", "k", "apikey", "username:password"];
    for (key, secret) in keys.into_iter().flat_map(|key| [(key, SECRET), (key, wrong), (key, token)]) {
        requests.push(Request::get(&format!("{target}&{key}={secret}")));
        requests.push(Request::get(&format!("{target}&username={secret}&{key}={secret}")));
        requests.push(Request::get(&format!("/nowhere?hostname=home.dyn.example&user=none&{key}={secret}")));
        requests.push(Request::post("/api/update", format!("zone=home.dyn.example&{key}={secret}")));
    }
    for secret in [SECRET, wrong, token] {
        for scheme in ["Token", "Bearer"] {
            requests.push(Request::get(target).header("Authorization", &format!("{scheme} {secret}")));
        }
        for login in ["", "none", "home.dyn.example", secret] {
            requests.push(Request::get(target).basic(login, secret));
        }
        for path in [
            format!("/u/{secret}/"),
            format!("/dynamic/update.php?{secret}"),
            format!("/dynamic/update.php?{secret}&address=203.0.113.7"),
            format!("/update/home/{secret}"),
            format!("/update/home/{secret}/203.0.113.7"),
            format!("/update?domains=home&token={secret}"),
            format!("/update?host=home&domain=dyn.example&password={secret}"),
            format!("/update/?h=home.dyn.example&k={secret}&a=203.0.113.7"),
        ] {
            requests.push(Request::get(&path));
        }
    }
    for request in requests {
        let _whatever_the_answer = request.send(gateway.http()).await.unwrap();
    }
    let _refused = raw(gateway.http(), format!("GET /update/{token} HTTP/9\r\n{SECRET}\r\n\r\n").as_bytes()).await;
    assert!(gateway.stop().await.unwrap().success());
    let log = gateway.log();
    assert!(log.contains("TRACE") && log.lines().count() > 20, "{log}");
    let pair = |password: &str| STANDARD.encode(format!("{LOGIN}:{password}"));
    for secret in [SECRET, wrong, token, &key.secret, &digest(SECRET), &pair(SECRET), &pair(wrong)] {
        assert!(!log.contains(secret), "{secret} is in\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_side_serves_nothing_of_the_admin_side_by_any_spelling() {
    let stage = Stage::new("").await;
    for target in [
        "/metrics",
        "//metrics",
        "/nic/../metrics",
        "/%6detrics",
        "/healthz",
        "/readyz",
        "http://127.0.0.1/metrics",
        "*",
    ] {
        let answer =
            Request::get(target).header("X-Original-URL", "/metrics").send(stage.gateway.http()).await.unwrap();
        assert_eq!(answer.status, 404, "{target}");
        assert!(!answer.text().contains("dyngate_"), "{target}");
    }
    let admin = Request::get("/nic/update?hostname=home.dyn.example").basic(LOGIN, SECRET);
    assert_eq!(admin.send(stage.gateway.admin()).await.unwrap().status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_any_length_costs_no_more_than_a_line() {
    let stage = Stage::new("").await;
    let agent = "z".repeat(15_000);
    let request = Request::get("/nic/update?hostname=home.dyn.example&myip=203.0.113.7").basic(LOGIN, SECRET);
    assert_eq!(stage.send(request.header("User-Agent", &agent)).await.1, "good 203.0.113.7");
    soon("the request is logged", async || stage.gateway.log().contains("zzz")).await;
    assert!(!stage.gateway.log().contains(&"z".repeat(301)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ready_file_is_written_through_nobodys_link() {
    let mut gateway = Config::new(&Key::generate("k"), "127.0.0.1:1".parse().unwrap()).start().await;
    let mut ready = std::fs::read_dir(gateway.folder()).unwrap().map(|entry| entry.unwrap().path());
    let ready = ready.find(|path| path.extension().is_some_and(|end| end == "json")).unwrap();
    let (mine, new) = (gateway.folder().join("mine"), ready.with_extension("json.new"));
    std::fs::write(&mine, "precious").unwrap();
    for link in [true, false] {
        gateway.stop().await.unwrap();
        if link {
            std::os::unix::fs::symlink(&mine, &new).unwrap();
        } else {
            // What a gateway that was killed just then left there.
            std::fs::write(&new, "{\"http\"").unwrap();
        }
        gateway.start_again().await.unwrap();
        assert_eq!(std::fs::read_to_string(&mine).unwrap(), "precious");
        assert!(std::fs::symlink_metadata(&ready).unwrap().is_file() && !new.exists());
    }
    gateway.stop().await.unwrap();
    std::fs::create_dir(&new).unwrap();
    let refused = gateway.start_again().await.unwrap_err().to_string();
    assert!(
        refused.contains("exit status: 1") && refused.contains(&format!("cannot write {}", new.display())),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_reloads_reads_the_file_no_more_often_than_it_may() {
    let mut gateway = Config::new(&Key::generate("k"), "127.0.0.1:1".parse().unwrap()).start().await;
    let began = tokio::time::Instant::now();
    let flood = async {
        for _ in 0..200 {
            gateway.reload().unwrap();
            crate::reload::order(&gateway).await;
        }
    };
    let _too_many = tokio::time::timeout(std::time::Duration::from_secs(3), flood).await;
    let done = gateway.log().lines().filter(|line| line.contains("configuration reloaded")).count();
    let most = 10 * (1 + usize::try_from(began.elapsed().as_secs()).unwrap() / 10);
    assert!((1..=most).contains(&done), "{done} in {:?}", began.elapsed());
}

#[test]
fn every_test_and_target_that_the_page_names_is_there() {
    fn sources(folder: &Path, all: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, all);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                all.push_str(&fs::read_to_string(&path).unwrap());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = String::new();
    for folder in ["src", "tests/suite", "tests/store"] {
        sources(&root.join(folder), &mut all);
    }
    let page = include_str!("../../docs/SECURITY.md");
    let table = page.split("## Designed against").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let mut named = 0;
    for row in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")).skip(1) {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for name in tests.split('`').skip(1).step_by(2) {
            let test = name.rsplit("::").next().unwrap();
            let is_target = root.join(format!("fuzz/fuzz_targets/{test}.rs")).is_file();
            assert!(is_target || all.contains(&format!("fn {test}(")), "{name} in {row}");
            named += 1;
        }
    }
    assert!(named > 14, "{named}");
}
