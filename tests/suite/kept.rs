//! A gateway on a store: what commands change is in force at once, and what was seen of hosts is written down.

use dyngate::config::Location;
use dyngate::model::{Families, Hostname, PasswordDigest, TokenDigest};
use dyngate::store::{HostEdit, NewAccount, NewHost, State, Store};
use lab::http::Request;
use lab::{Gateway, Key, Kind, Postgres, Server, Setup, digest, soon};
use tempfile::TempDir;

use crate::namespace;
use crate::stage::{Config, SECRET, ZONE, on_both};

const HOME: &str = "home.dyn.example";

/// A real primary, a store with one account and one host, and gateways on both.
struct Stage {
    primary: Server,
    config: Config,
    location: Location,
    url: String,
    store: Store,
    postgres: Option<Postgres>,
    _folder: TempDir,
}

fn name(text: &str) -> Hostname {
    Hostname::parse(text).unwrap()
}

impl Stage {
    async fn sqlite() -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("dyngate.db");
        Self::on(Location::Sqlite(file.clone()), format!("sqlite:{}", file.display()), None, folder).await
    }

    async fn postgres() -> Self {
        let postgres = Postgres::start().await.unwrap();
        let url = postgres.url();
        Self::on(Location::Postgres(url.clone().into()), url, Some(postgres), TempDir::new().unwrap()).await
    }

    async fn on(location: Location, url: String, postgres: Option<Postgres>, folder: TempDir) -> Self {
        let key = Key::generate("gateway-key");
        let primary = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
        let mut config = Config::new(&key, primary.addr());
        config.grants = vec!["declared.dyn.example"];
        let store = Store::open(&location).await.unwrap();
        let account = NewAccount {
            login: "kept".to_owned(),
            secret: PasswordDigest::parse(&digest(SECRET)).unwrap(),
            max_hosts: 3,
            wildcards: Vec::new(),
        };
        let host = NewHost {
            name: name(HOME),
            login: "kept".to_owned(),
            ttl: Some(120),
            families: Families::Both,
            description: String::new(),
        };
        store.add_account(&account, &[host]).await.unwrap();
        Self { primary, config, location, url, store, postgres, _folder: folder }
    }

    async fn gateway(&self, more: &str) -> Gateway {
        let toml = format!("{}\n[store]\nurl = \"{}\"\n{more}", self.config.toml(), self.url);
        Gateway::builder(crate::stage::program()).config(&toml).start().await.expect("the gateway starts")
    }

    async fn state(&self) -> State {
        self.store.state(&name(HOME)).await.unwrap().unwrap_or_else(|| panic!("nothing is known of {HOME}"))
    }
}

async fn as_account(gateway: &Gateway, login: &str, query: &str) -> String {
    let request = Request::get(&format!("/nic/update?{query}")).basic(login, SECRET);
    request.send(gateway.http()).await.expect("the gateway answers").text()
}

async fn set(gateway: &Gateway, address: &str) -> String {
    as_account(gateway, "kept", &format!("hostname={HOME}&myip={address}")).await
}

on_both!(
    an_account_and_a_host_of_the_store_work_beside_those_of_the_file,
    what_was_seen_is_written_down_and_survives,
    a_change_in_the_store_is_in_force_without_a_restart,
    a_token_opens_one_host_and_is_never_logged,
    what_is_declared_and_kept_too_is_a_configuration_error,
    the_first_chosen_password_is_not_told_from_an_unknown_login,
    a_host_that_only_ever_reports_one_family_is_told_once,
);

async fn an_account_and_a_host_of_the_store_work_beside_those_of_the_file(stage: Stage) {
    let gateway = stage.gateway("").await;
    assert_eq!(set(&gateway, "203.0.113.1").await, "good 203.0.113.1");
    assert_eq!(set(&gateway, "203.0.113.1").await, "nochg 203.0.113.1");
    assert_eq!(as_account(&gateway, "kept", "myip=203.0.113.2").await, "good 203.0.113.2", "its only host");
    let answer = stage.primary.query(HOME, "A").await.unwrap();
    assert_eq!(answer.records.first().map(|record| record.ttl), Some(120));
    assert_eq!(
        as_account(&gateway, "router1", "hostname=declared.dyn.example&myip=203.0.113.3").await,
        "good 203.0.113.3"
    );
    assert_eq!(as_account(&gateway, "router1", &format!("hostname={HOME}&myip=203.0.113.4")).await, "nohost");
    assert_eq!(as_account(&gateway, "kept", "hostname=declared.dyn.example&myip=203.0.113.4").await, "nohost");
    assert_eq!(as_account(&gateway, "nobody", &format!("hostname={HOME}&myip=203.0.113.4")).await, "badauth");
}

async fn what_was_seen_is_written_down_and_survives(stage: Stage) {
    let mut gateway = stage.gateway("").await;
    set(&gateway, "203.0.113.1").await;
    set(&gateway, "203.0.113.2").await;
    assert_eq!(set(&gateway, "203.0.113.2").await, "nochg 203.0.113.2");
    gateway.stop().await.unwrap();
    let state = stage.state().await;
    assert_eq!(state.addresses.v4, Some("203.0.113.2".parse().unwrap()), "written at the stop");
    assert_eq!(state.last_outcome.as_deref(), Some("unchanged"));
    assert!(state.last_seen >= state.last_update && state.last_update.is_some());
    assert_eq!(state.source, Some("127.0.0.1".parse().unwrap()));
    let history = stage.store.history(&name(HOME), 10).await.unwrap();
    let told: Vec<_> = history.iter().map(|event| (event.old.v4, event.new.v4)).collect();
    let address = |last: u8| Some([203, 0, 113, last].into());
    assert_eq!(told, [(address(1), address(2)), (None, address(1))], "newest first");

    let mut gateway = stage.gateway("").await;
    assert_eq!(set(&gateway, "203.0.113.3").await, "good 203.0.113.3");
    soon("what was seen is written", async || stage.state().await.addresses.v4 == address(3)).await;
    gateway.kill();
    assert!(stage.store.account("kept").await.unwrap().is_some());
}

async fn a_host_that_only_ever_reports_one_family_is_told_once(stage: Stage) {
    let mut gateway = stage.gateway("").await;
    let written = async |address: &str| {
        let answer = set(&gateway, address).await;
        assert!(answer.ends_with(address), "{answer}");
        let address = Some(address.parse().unwrap());
        let state = async || stage.store.state(&name(HOME)).await.unwrap();
        soon("it is written", async || state().await.is_some_and(|state| state.addresses.v6 == address)).await;
    };
    written("2001:db8::1").await;
    assert!(!gateway.log().contains("has ever been reported"), "the first report tells nothing");
    let told = "only IPv6 has ever been reported: if the host has both, see [http] ipv4_name";
    written("2001:db8::2").await;
    soon(told, async || gateway.log().contains(told)).await;
    written("2001:db8::3").await;
    written("2001:db8::4").await;
    gateway.stop().await.unwrap();
    let log = gateway.log();
    assert_eq!(log.matches("has ever been reported").count(), 1, "{log}");
    assert!(log.lines().any(|line| line.contains(told) && line.contains(HOME)), "{log}");

    let mut again = stage.gateway("").await;
    assert_eq!(set(&again, "203.0.113.1").await, "good 203.0.113.1");
    assert_eq!(set(&again, "203.0.113.1").await, "nochg 203.0.113.1");
    again.stop().await.unwrap();
    assert!(!again.log().contains("has ever been reported"), "both have");
}

async fn a_change_in_the_store_is_in_force_without_a_restart(stage: Stage) {
    let gateway = stage.gateway("").await;
    assert_eq!(set(&gateway, "203.0.113.1").await, "good 203.0.113.1");
    let home = name(HOME);
    stage.store.block(&home, Some("unpaid")).await.unwrap();
    soon("blocked", async || set(&gateway, "203.0.113.2").await == "abuse").await;
    stage.store.block(&home, None).await.unwrap();
    soon("unblocked", async || set(&gateway, "203.0.113.2").await != "abuse").await;

    let edit = HostEdit { families: Some(Families::V6), ..HostEdit::default() };
    stage.store.set_host(&home, &edit).await.unwrap();
    soon("IPv6 only", async || set(&gateway, "203.0.113.3").await == "badip").await;
    let edit = HostEdit { families: Some(Families::Both), ..HostEdit::default() };
    stage.store.set_host(&home, &edit).await.unwrap();

    stage.store.set_enabled("kept", false).await.unwrap();
    soon("disabled", async || set(&gateway, "203.0.113.4").await == "badauth").await;
    stage.store.set_enabled("kept", true).await.unwrap();
    soon("enabled", async || set(&gateway, "203.0.113.4").await.ends_with("203.0.113.4")).await;

    let other = PasswordDigest::parse(&digest("another-secret")).unwrap();
    stage.store.rotate("kept", &other, None).await.unwrap();
    soon("the old secret is gone", async || set(&gateway, "203.0.113.4").await == "badauth").await;

    let new = NewHost {
        name: name("new.dyn.example"),
        login: "kept".to_owned(),
        ttl: None,
        families: Families::Both,
        description: String::new(),
    };
    stage.store.add_host(&new, &[]).await.unwrap();
    let request = Request::get("/nic/update?hostname=new.dyn.example&myip=203.0.113.5").basic("kept", "another-secret");
    soon("a new host", async || request.clone().send(gateway.http()).await.unwrap().text().ends_with("203.0.113.5"))
        .await;
}

async fn a_token_opens_one_host_and_is_never_logged(stage: Stage) {
    let gateway = stage.gateway("").await;
    let ask = async |path: &str| Request::get(path).send(gateway.http()).await.unwrap();
    assert_eq!(ask("/update/some-token?myip=203.0.113.1").await.status, 401);
    stage.store.set_token(&name(HOME), &TokenDigest::of("some-token").0, None).await.unwrap();
    soon("the token", async || ask("/update/some-token?myip=203.0.113.1").await.text().ends_with("203.0.113.1")).await;
    assert_eq!(ask("/cpanelwebcall/some-token?ip=203.0.113.2").await.text(), "good 203.0.113.2");
    assert_eq!(
        ask("/update/some-token?hostname=declared.dyn.example&ipv4=203.0.113.3").await.text(),
        "good 203.0.113.3"
    );
    assert_eq!(stage.primary.addresses("declared.dyn.example").await.unwrap(), [] as [std::net::IpAddr; 0]);
    let unknown = ask("/update/some-other-token?myip=203.0.113.1").await;
    assert_eq!((unknown.status, unknown.text().as_str()), (401, "badauth"));
    assert_eq!(unknown.header("WWW-Authenticate"), None, "no challenge");
    assert_eq!(ask("/update/some-token").await.text(), "badip", "the caller's own, which is a loopback address");
    stage.store.revoke_tokens(&name(HOME)).await.unwrap();
    soon("revoked", async || ask("/update/some-token?myip=203.0.113.4").await.status == 401).await;
    let log = gateway.log();
    assert!(log.contains("/update/…") && log.contains(HOME), "{log}");
    assert!(!log.contains("some-token") && !log.contains("some-other-token"), "{log}");
}

async fn what_is_declared_and_kept_too_is_a_configuration_error(mut stage: Stage) {
    stage.config.grants = vec![HOME];
    let toml = format!("{}\n[store]\nurl = \"{}\"\n", stage.config.toml(), stage.url);
    let error = Gateway::builder(crate::stage::program()).config(&toml).start().await.expect_err("a clash");
    let text = error.to_string();
    assert!(text.contains("host home.dyn.example is declared in the file and kept in the store"), "{text}");
    assert!(text.contains("64"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sqlite_file_belongs_to_one_gateway_until_that_stops_or_dies() {
    let stage = Stage::sqlite().await;
    let mut one = stage.gateway("").await;
    let Location::Sqlite(file) = &stage.location else { panic!("a file") };
    let link = file.with_file_name("link.db");
    std::os::unix::fs::symlink(file, &link).unwrap();
    for path in [file, &link] {
        let toml = format!("{}\n[store]\nurl = \"sqlite:{}\"\n", stage.config.toml(), path.display());
        let error = Gateway::builder(crate::stage::program()).config(&toml).start().await.expect_err("a second one");
        let text = error.to_string();
        let served = format!("is served by another gateway already (process {})", one.pid().unwrap());
        assert!(text.contains(&served) && text.contains("stop that gateway"), "{text}");
    }
    assert_eq!(set(&one, "203.0.113.1").await, "good 203.0.113.1", "it goes on");
    one.kill();
    let mut next = stage.gateway("").await;
    assert_eq!(set(&next, "203.0.113.2").await, "good 203.0.113.2");
    next.stop().await.unwrap();
    let last = stage.gateway("").await;
    assert_eq!(set(&last, "203.0.113.2").await, "nochg 203.0.113.2");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_on_one_store_never_say_nochg_about_an_address_that_the_other_replaced() {
    let stage = Stage::postgres().await;
    let (one, other) = (stage.gateway("").await, stage.gateway("").await);
    for round in 0..20_u8 {
        let (a, b) = (format!("203.0.113.{}", 2 * round), format!("203.0.113.{}", 2 * round + 1));
        assert_eq!(set(&one, &a).await, format!("good {a}"));
        assert_eq!(set(&one, &a).await, format!("nochg {a}"));
        assert_eq!(set(&other, &b).await, format!("good {b}"), "the other one");
        assert_eq!(set(&one, &a).await, format!("good {a}"), "replaced meanwhile");
        assert_eq!(set(&other, &a).await, format!("good {a}"), "it remembers another address");
        assert_eq!(stage.primary.addresses(HOME).await.unwrap(), [a.parse::<std::net::IpAddr>().unwrap()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_away_hosts_that_were_seen_go_on_working() {
    let mut stage = Stage::postgres().await;
    let gateway = stage.gateway("").await;
    assert_eq!(set(&gateway, "203.0.113.1").await, "good 203.0.113.1");
    let ready = async || Request::get("/readyz").send(gateway.admin()).await.unwrap();
    assert_eq!(ready().await.text(), "ready\n");
    let unwritten = async || gateway.metric("dyngate_store_unwritten").await.unwrap();
    soon("that is written", async || unwritten().await == 0.0).await;
    stage.postgres.as_mut().unwrap().stop().await.unwrap();
    soon("it is said", async || ready().await.text().contains("store: ")).await;
    assert_eq!(ready().await.status, 200);
    assert_eq!(set(&gateway, "203.0.113.2").await, "good 203.0.113.2", "{}", gateway.log());
    let unseen = as_account(&gateway, "stranger", &format!("hostname={HOME}&myip=203.0.113.3")).await;
    assert_eq!(unseen, "911", "nobody knows whether he has an account");
    assert_eq!(unwritten().await, 2.0, "a row of the state and one of the history");
    stage.postgres.as_mut().unwrap().start_again().await.unwrap();
    soon("it is back", async || ready().await.text() == "ready\n").await;
    assert_eq!(as_account(&gateway, "stranger", &format!("hostname={HOME}&myip=203.0.113.3")).await, "badauth");
    let store = Store::open(&stage.location).await.unwrap();
    let v4 = Some([203, 0, 113, 2].into());
    soon("what was seen meanwhile is written", async || {
        store.state(&name(HOME)).await.unwrap().is_some_and(|state| state.addresses.v4 == v4)
    })
    .await;
    soon("nothing waits any longer", async || unwritten().await == 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_away_names_below_a_wildcard_that_were_seen_go_on_working() {
    let mut stage = Stage::postgres().await;
    stage.config.grants = vec!["*.office.dyn.example"];
    let gateway = stage.gateway("").await;
    let set = async |host: &str, address: &str| {
        as_account(&gateway, "router1", &format!("hostname={host}.office.dyn.example&myip={address}")).await
    };
    let ready = async || Request::get("/readyz").send(gateway.admin()).await.unwrap().text();
    assert_eq!(set("seen", "203.0.113.1").await, "good 203.0.113.1");
    stage.postgres.as_mut().unwrap().kill();
    soon("it is said", async || ready().await.contains("store: ")).await;
    assert_eq!(set("seen", "203.0.113.2").await, "good 203.0.113.2", "{}", gateway.log());
    assert_eq!(set("unseen", "203.0.113.3").await, "911", "nobody can count it");
    stage.postgres.as_mut().unwrap().start_again().await.unwrap();
    soon("it is back", async || ready().await == "ready\n").await;
    assert_eq!(set("unseen", "203.0.113.3").await, "good 203.0.113.3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_hangs_is_waited_for_by_nobody_past_his_deadline() {
    let mut stage = Stage::postgres().await;
    let gateway = stage.gateway("[engine]\ndeadline = \"1s\"").await;
    let ready = async || Request::get("/readyz").send(gateway.admin()).await.unwrap().text();
    let as_stranger = async || as_account(&gateway, "stranger", &format!("hostname={HOME}&myip=203.0.113.3")).await;
    assert_eq!(set(&gateway, "203.0.113.1").await, "good 203.0.113.1");
    stage.postgres.as_mut().unwrap().pause().unwrap();
    assert_eq!(as_stranger().await, "911", "nobody knows whether he has an account");
    // Its login may have to be looked up again, which hangs until it is noticed that the store is away.
    let mut answer = String::new();
    soon("served from memory", async || {
        answer = set(&gateway, "203.0.113.2").await;
        assert!(answer == "911" || answer == "good 203.0.113.2", "{answer}");
        answer != "911"
    })
    .await;
    soon("it is said", async || ready().await.contains("store: ")).await;
    stage.postgres.as_mut().unwrap().resume().unwrap();
    soon("it is back", async || as_stranger().await == "badauth").await;
    assert_eq!(set(&gateway, "203.0.113.4").await, "good 203.0.113.4");
    soon("nothing is deferred", async || ready().await == "ready\n").await;
    assert_eq!(stage.primary.addresses(HOME).await.unwrap(), [std::net::IpAddr::from([203, 0, 113, 4])]);
    assert_eq!(set(&gateway, "203.0.113.4").await, "nochg 203.0.113.4");
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_grace_a_store_that_is_away_is_not_ready() {
    let mut stage = Stage::postgres().await;
    let gateway = stage.gateway("grace = \"0s\"").await;
    assert_eq!(set(&gateway, "203.0.113.1").await, "good 203.0.113.1");
    stage.postgres.as_mut().unwrap().stop().await.unwrap();
    soon("not ready", async || Request::get("/readyz").send(gateway.admin()).await.unwrap().status == 503).await;
    assert_eq!(set(&gateway, "203.0.113.2").await, "911");
}

async fn the_first_chosen_password_is_not_told_from_an_unknown_login(mut stage: Stage) {
    let limits = "host = \"off\"\naccount = \"off\"\nsource = \"off\"\nfailed_logins = { burst = 1, per_minute = 1 }";
    stage.config.more = format!("[limits]\n{limits}\n");
    let gateway = stage.gateway("").await;
    let wrong = async |login: &str| as_account(&gateway, login, "").await;
    // Where a hash would be needed, the limit says so: whoever meets it has a chosen password, or works like one.
    let slow_strangers = async || {
        let mut slow = 0;
        for n in 0..60 {
            slow += u32::from(wrong(&format!("stranger{n}")).await == "911");
        }
        slow
    };
    assert_eq!(slow_strangers().await, 0, "all secrets are generated");
    let hash = crate::command_line::run(&["hash"], "correct horse").stdout.trim().to_owned();
    let secret = PasswordDigest::parse(&hash).unwrap();
    let chosen = NewAccount { login: "chosen".to_owned(), secret, max_hosts: 1, wildcards: Vec::new() };
    stage.store.add_account(&chosen, &[]).await.unwrap();
    soon("the account is in force", async || wrong("chosen").await == "911").await;
    soon("some unknown logins work like it", async || (1..60).contains(&slow_strangers().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_below_a_wildcard_that_are_not_counted_leave_nothing_while_the_primary_is_away() {
    let mut stage = Stage::sqlite().await;
    // Nobody listens there, and nothing was read of the zone since the start.
    stage.config.primaries = vec!["127.0.0.1:1".parse().unwrap()];
    stage.config.more = format!(
        "[[account]]\nlogin = \"few\"\nsecret = \"{}\"\nhosts = [\"*.dyn.example\"]\nmax_hosts = 1\n",
        digest(SECRET)
    );
    let mut gateway = stage.gateway("[engine]\ndeadline = \"200ms\"\n").await;
    let names: Vec<_> = (0..20).map(|n| format!("n{n}.dyn.example")).collect();
    let answers = as_account(&gateway, "few", &format!("hostname={}&myip=203.0.113.7", names.join(","))).await;
    let of = |word| answers.lines().filter(|answer| *answer == word).count();
    assert_eq!((of("911"), of("nohost")), (1, 19), "{answers}");
    assert_eq!(set(&gateway, "203.0.113.7").await, "911");
    assert_eq!(gateway.stop().await.unwrap().code(), Some(0));
    let noted = stage.store.states(&names.iter().map(|text| name(text)).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(noted.len(), 1, "{noted:?}");
    assert_eq!(stage.state().await.last_outcome.as_deref(), Some("unreachable"), "what was added by name is noted");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sqlite_file_is_served_by_one_gateway_until_that_ends() {
    let stage = Stage::sqlite().await;
    let mut first = stage.gateway("").await;
    let Location::Sqlite(file) = &stage.location else { panic!("{:?}", stage.location) };
    let folder = file.parent().unwrap();
    let link = folder.join("link.db");
    std::os::unix::fs::symlink("dyngate.db", &link).unwrap();
    let detour = format!("{}/../{}/dyngate.db", folder.display(), folder.file_name().unwrap().to_str().unwrap());
    for url in
        [format!("sqlite:{}", file.display()), format!("sqlite://{}", link.display()), format!("sqlite:{detour}")]
    {
        let toml = format!("{}\n[store]\nurl = \"{url}\"\n", stage.config.toml());
        let refused =
            Gateway::builder(crate::stage::program()).config(&toml).start().await.expect_err(&url).to_string();
        assert!(refused.contains(&format!("already (process {})", first.pid().unwrap())), "{refused}");
        assert!(refused.contains("exit status: 1") && refused.contains("stop that gateway"), "{refused}");
    }
    let config = first.folder().join("gateway.toml");
    let listed = crate::command_line::run(&["account", "list", "--config", config.to_str().unwrap()], "");
    assert!(listed.stdout.contains("kept"), "commands work beside it: {}", listed.stderr);
    assert_eq!(set(&first, "203.0.113.1").await, "good 203.0.113.1", "nobody was disturbed");

    first.kill();
    let mut second = stage.gateway("").await;
    assert_eq!(set(&second, "203.0.113.2").await, "good 203.0.113.2");
    assert_eq!(second.stop().await.unwrap().code(), Some(0));
    drop(stage.gateway("").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_sockets_of_systemd_a_gateway_waits_for_the_one_before_it() {
    let Some(activate) = crate::deploying::find("systemd-socket-activate") else {
        eprintln!("SKIPPED: systemd-socket-activate is not installed, succession was not tried");
        return;
    };
    let stage = Stage::sqlite().await;
    let mut first = stage.gateway("").await;
    assert_eq!(set(&first, "203.0.113.1").await, "good 203.0.113.1");
    let folder = TempDir::new().unwrap();
    let (file, socket) = (folder.path().join("gateway.toml"), folder.path().join("http.sock"));
    let toml = stage.config.toml().replace("listen = [\"127.0.0.1:0\"]", "listen = [\"systemd:http\"]");
    std::fs::write(&file, format!("{toml}\n[store]\nurl = \"{}\"\n", stage.url)).unwrap();
    let mut activate = std::process::Command::new(activate);
    activate.args(["-l", socket.to_str().unwrap(), "--fdname=http", "--"]).arg(crate::stage::program());
    activate.args(["serve", "--config"]).arg(&file);
    let mut second = crate::deploying::Running::start(activate, folder.path());
    let connect = async || tokio::net::UnixStream::connect(&socket).await.is_ok();
    second.until(|| async { connect().await }).await.unwrap();
    second.until(|| async { second_waits(folder.path()) }).await.unwrap();
    assert_eq!(set(&first, "203.0.113.2").await, "good 203.0.113.2", "the first one serves meanwhile");
    assert_eq!(first.stop().await.unwrap().code(), Some(0));
    let query = format!("http://localhost/nic/update?hostname={HOME}&myip=203.0.113.2");
    let mut curl = crate::deploying::command("curl");
    curl.args(["--silent", "--show-error", "--user", &format!("kept:{SECRET}"), "--unix-socket"])
        .arg(&socket)
        .arg(query);
    // Who came while nobody served is answered by the second one.
    assert_eq!(crate::deploying::run(&mut curl), "nochg 203.0.113.2", "{}", second.log());
}

/// Whether the log that [`crate::deploying::Running`] writes there says so.
fn second_waits(folder: &std::path::Path) -> bool {
    std::fs::read_to_string(folder.join("output.log")).is_ok_and(|log| log.contains("waiting for its end"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_the_store_is_told_until_it_is_written_again() {
    let test = "kept::a_full_disk_under_the_store_is_told_until_it_is_written_again";
    let inside = namespace::inside(test, "mkdir disk && mount -t tmpfs -o size=2m none disk");
    let Some(folder) = inside else { return };
    let (file, filler) = (folder.join("disk/dyngate.db"), folder.join("disk/filler"));
    let url = format!("sqlite:{}", file.display());
    let stage = Stage::on(Location::Sqlite(file), url, None, TempDir::new().unwrap()).await;
    let gateway = stage.gateway("").await;
    let ready = async || Request::get("/readyz").send(gateway.admin()).await.unwrap();
    let metric = async |name: &str| gateway.metric(name).await.unwrap();
    let mut last = 1_u8;
    let mut change = async || {
        last = last % 250 + 1;
        assert_eq!(set(&gateway, &format!("203.0.113.{last}")).await, format!("good 203.0.113.{last}"));
        last
    };
    change().await;
    soon("it is written", async || metric("dyngate_store_unwritten").await == 0.0).await;
    assert_eq!((metric("dyngate_store_up").await, ready().await.text().as_str()), (1.0, "ready\n"));

    assert!(std::fs::write(&filler, vec![0_u8; 4 << 20]).is_err(), "the disk is full");
    // The log may have room for a little.
    soon("it is told", async || {
        change().await;
        ready()
            .await
            .text()
            .contains("store: nothing is written, what is seen of hosts waits in memory: the store's disk is full")
    })
    .await;
    change().await;
    assert_eq!((metric("dyngate_store_up").await, ready().await.status), (0.0, 200));
    assert!(metric("dyngate_store_unwritten").await >= 1.0);
    let told = |what: &str| gateway.log().lines().filter(|line| line.contains(what)).count();
    assert_eq!((told("nothing is written to the store"), told("the store is away: ")), (1, 0), "{}", gateway.log());

    let last = change().await;
    namespace::run("rm disk/filler", &folder);
    soon("it is over", async || ready().await.text() == "ready\n").await;
    soon("all is written", async || metric("dyngate_store_unwritten").await == 0.0).await;
    assert_eq!((metric("dyngate_store_up").await, told("the store is written again")), (1.0, 1), "{}", gateway.log());
    assert_eq!(stage.state().await.addresses.v4, Some([203, 0, 113, last].into()));
}
