//! Hosts behind a router: one request with its prefix moves all of them, at real primaries.

use dyngate::config::Location;
use dyngate::model::{Families, Hostname, PasswordDigest};
use dyngate::store::{HostEdit, NewAccount, NewHost, Store};
use lab::http::Request;
use lab::{Gateway, Key, Kind, Postgres, Server, Setup, digest, soon};
use tempfile::TempDir;

use crate::stage::{Config, SECRET, Stage, ZONE, on_bind_and_knot, program};

on_bind_and_knot!(
    a_fritz_box_moves_the_servers_behind_it_in_one_update,
    who_cannot_move_stays_and_the_others_do,
    what_is_no_prefix_moves_nobody,
    a_prefix_alone_leaves_the_router_where_it_is,
    a_follower_in_another_zone_travels_by_itself,
    what_was_pending_of_followers_is_done_after_an_outage_and_a_restart,
);

const OWN: &str = "myip=203.0.113.7&myipv6=2001:db8:ffff::1";

/// `[[host]]` of one that follows the router.
fn follower(name: &str, id: &str) -> String {
    format!("[[host]]\nname = \"{name}\"\nfollow = \"router.dyn.example\"\ninterface_id = \"{id}\"\n")
}

fn behind_a_router(config: &mut Config) {
    config.grants = vec!["router.dyn.example", "tv.dyn.example"];
    config.more = [("nas", "::10"), ("cam", "0:0:0:3::20"), ("tv", "::30")]
        .map(|(host, id)| follower(&format!("{host}.dyn.example"), id))
        .concat();
}

async fn stage(kind: Kind, lines: &[&str], config: impl FnOnce(&mut Config)) -> Stage {
    Stage::with(kind, |setup| setup, lines, config).await
}

async fn updates(gateway: &Gateway) -> f64 {
    gateway.metric("dyngate_updates_total").await.unwrap_or_default()
}

async fn served(stage: &Stage) -> [String; 4] {
    let mut all = [const { String::new() }; 4];
    for (served, host) in all.iter_mut().zip(["router", "nas", "cam", "tv"]) {
        *served = stage.served(&format!("{host}.dyn.example")).await.join(" ");
    }
    all
}

/// What the router says of itself and of its network.
async fn report(stage: &Stage, rest: &str) -> String {
    stage.get(&format!("hostname=router.dyn.example&{rest}")).await.text()
}

async fn a_fritz_box_moves_the_servers_behind_it_in_one_update(kind: Kind) {
    let stage = stage(kind, &["nas 60 IN AAAA 2001:db8:9::10"], behind_a_router).await;
    let router = "203.0.113.7 2001:db8:ffff::1";
    let good = "good 203.0.113.7,2001:db8:ffff::1";
    // It resolves its name, and compares both addresses with its own.
    for (prefix, count, [nas, cam, tv]) in [
        ("2001:db8:1:23ff::/56", 1.0, ["2001:db8:1:2300::10", "2001:db8:1:2303::20", "2001:db8:1:2300::30"]),
        ("2001:db8:2:4567::/59", 2.0, ["2001:db8:2:4560::10", "2001:db8:2:4563::20", "2001:db8:2:4560::30"]),
    ] {
        assert_eq!(report(&stage, &format!("{OWN}&ip6lanprefix={prefix}")).await, good);
        assert_eq!(served(&stage).await, [router, nas, cam, tv], "the old ones are gone");
        assert_eq!(updates(&stage.gateway).await, count, "one message for all of them");
        let again = report(&stage, &format!("{OWN}&ip6lanprefix={prefix}")).await;
        assert_eq!(again, good.replace("good", "nochg"));
        assert_eq!(updates(&stage.gateway).await, count);
    }
    assert!(!stage.gateway.log().contains("stays as it is"), "{}", stage.gateway.log());
}

async fn who_cannot_move_stays_and_the_others_do(kind: Kind) {
    let stage = stage(kind, &[], behind_a_router).await;
    report(&stage, &format!("{OWN}&ip6lanprefix=2001:db8:1:2300::/56")).await;
    // Its subnet does not fit into a /64; bits of a host may be set in what a router says.
    let said = report(&stage, &format!("{OWN}&ip6lanprefix=2001:db8:3:1:aaaa::1/64")).await;
    assert_eq!(said, "good 203.0.113.7,2001:db8:ffff::1");
    let [_, nas, cam, tv] = served(&stage).await;
    assert_eq!([nas, cam, tv], ["2001:db8:3:1::10", "2001:db8:1:2303::20", "2001:db8:3:1::30"]);
    let log = stage.gateway.log();
    assert!(log.contains("its interface id overlaps the prefix") && log.contains("cam.dyn.example"), "{log}");

    // Nobody reaches a unique local address from outside.
    let said = report(&stage, &format!("{OWN}&ip6lanprefix=fd00:1:2:3::/64")).await;
    assert_eq!(said, "nochg 203.0.113.7,2001:db8:ffff::1", "the router is where it was");
    assert!(stage.gateway.log().contains("fd00:1:2:3::10 is refused here"));
    assert_eq!(report(&stage, "ip6lanprefix=fd00:1:2:3::/64").await, "badip");
    let [_, nas, _, tv] = served(&stage).await;
    assert_eq!([nas, tv], ["2001:db8:3:1::10", "2001:db8:3:1::30"]);
}

async fn what_is_no_prefix_moves_nobody(kind: Kind) {
    let stage = stage(kind, &[], behind_a_router).await;
    for prefix in ["2001:db8:1:2300::/65", "2001:db8::/15", "2001:db8::/129", "192.0.2.0/24", "2001:db8:1::5", "x"] {
        assert_eq!(report(&stage, &format!("{OWN}&ip6lanprefix={prefix}")).await, "badip", "{prefix}");
    }
    assert_eq!(updates(&stage.gateway).await, 0.0, "half of a request is not done");
    for nothing in ["", "%3Cip6lanprefix%3E", "::", "::/0", "no"] {
        let said = report(&stage, &format!("{OWN}&ip6lanprefix={nothing}")).await;
        assert!(said.ends_with(" 203.0.113.7,2001:db8:ffff::1"), "{nothing}: {said}");
    }
    let [_, nas, cam, tv] = served(&stage).await;
    assert_eq!([nas, cam, tv], ["", "", ""]);
    let foreign = stage.get("hostname=nas.dyn.example&myipv6=2001:db8:1::1").await.text();
    assert_eq!(foreign, "nohost", "it moves with the router, and is granted to nobody");
}

async fn a_prefix_alone_leaves_the_router_where_it_is(kind: Kind) {
    let stage = stage(kind, &[], |config| {
        behind_a_router(config);
        let program = "[[host]]\nname = \"pc.dyn.example\"\ninterface_id = \"::5\"\n";
        let of_address = follower("phone.dyn.example", "::40").replace("router", "pc") + "prefix_from = \"address\"\n";
        config.more += &(program.to_owned() + &of_address);
        config.grants.extend(["pc.dyn.example", "own.dyn.example"]);
    })
    .await;
    assert_eq!(report(&stage, "myipv6=2001:db8:ffff:1:2:3:4:5").await, "good 2001:db8:ffff:1:2:3:4:5");
    let said = report(&stage, "ip6lanprefix=2001:db8:1:2300::/56").await;
    assert!(said.starts_with("good"), "{said}");
    let router = "2001:db8:ffff:1:2:3:4:5";
    assert_eq!(served(&stage).await, [router, "2001:db8:1:2300::10", "2001:db8:1:2303::20", "2001:db8:1:2300::30"]);
    assert!(report(&stage, "ip6lanprefix=2001:db8:1:2300::/56").await.starts_with("nochg"));

    // In the place of its address: its own bits move into the network, and so do those that follow.
    let said = report(&stage, "myipv6=2001:db8:2::/48").await;
    assert!(said.starts_with("good"), "{said}");
    let moved = ["2001:db8:2:1:2:3:4:5", "2001:db8:2::10", "2001:db8:2:3::20", "2001:db8:2::30"];
    assert_eq!(served(&stage).await, moved);
    assert_eq!(stage.get("hostname=own.dyn.example&myipv6=2001:db8:2::/48").await.text(), "badip", "it has none");

    // A host with an id of its own, and one that follows the address of a machine in its network.
    let said = stage.get("hostname=pc.dyn.example&myip=192.0.2.9&ip6lanprefix=2001:db8:7::/64").await.text();
    assert!(said.starts_with("good 192.0.2.9"), "{said}");
    assert_eq!(stage.served("pc.dyn.example").await, ["192.0.2.9", "2001:db8:7::5"]);
    assert_eq!(stage.served("phone.dyn.example").await, ["2001:db8:7::40"]);
    stage.get("hostname=pc.dyn.example&myipv6=2001:db8:8::5").await;
    assert_eq!(stage.served("phone.dyn.example").await, ["2001:db8:8::40"]);

    // An id in the request itself.
    let said = stage.get("hostname=own.dyn.example&ipv6=::99&ipv6prefix=2001:db8:7:7700::/56").await.text();
    assert!(said.starts_with("good"), "{said}");
    assert_eq!(stage.served("own.dyn.example").await, ["2001:db8:7:7700::99"]);

    // Who follows may be updated by itself: the last one counts.
    assert_eq!(stage.get("hostname=tv.dyn.example&myipv6=2001:db8:5::1").await.text(), "good 2001:db8:5::1");
    assert_eq!(stage.served("tv.dyn.example").await, ["2001:db8:5::1"]);
    assert!(report(&stage, "ip6lanprefix=2001:db8:2::/48").await.starts_with("good"));
    assert_eq!(stage.served("tv.dyn.example").await, ["2001:db8:2::30"]);
}

async fn a_follower_in_another_zone_travels_by_itself(kind: Kind) {
    let key = Key::generate("gateway-key");
    let setup = Setup::new().key(&key).zone(ZONE).zone("lan.example");
    let primary = Server::start(kind, setup).await.unwrap();
    let mut config = Config::new(&key, primary.addr());
    behind_a_router(&mut config);
    config.more += &follower("nas.lan.example", "::10");
    config.more += &format!(
        "[[zone]]\nname = \"lan.example\"\nkey = \"gateway-key\"\nprimaries = [\"{}\"]\nttl = 300\n",
        primary.addr()
    );
    let stage = Stage { gateway: config.start().await, primary };
    let said = report(&stage, &format!("{OWN}&ip6lanprefix=2001:db8:1:2300::/56")).await;
    assert_eq!(said, "good 203.0.113.7,2001:db8:ffff::1");
    assert_eq!(stage.served("nas.lan.example").await, ["2001:db8:1:2300::10"]);
    assert_eq!(stage.served("nas.dyn.example").await, ["2001:db8:1:2300::10"]);
    for zone in [ZONE, "lan.example"] {
        let metric = format!("dyngate_updates_total{{zone=\"{zone}\"");
        assert_eq!(stage.gateway.metric(&metric).await.unwrap(), 1.0, "{zone}");
    }
}

// ---- With a store: the follower is another account's.

struct Kept {
    primary: Server,
    config: Config,
    store: Store,
    url: String,
    _postgres: Option<Postgres>,
    _folder: TempDir,
}

fn name(host: &str) -> Hostname {
    Hostname::parse(&format!("{host}.dyn.example")).unwrap()
}

impl Kept {
    async fn new(kind: Kind, location: Location, url: String, postgres: Option<Postgres>, folder: TempDir) -> Self {
        let key = Key::generate("gateway-key");
        let primary = Server::start(kind, Setup::new().key(&key).zone(ZONE)).await.unwrap();
        let mut config = Config::new(&key, primary.addr());
        config.grants = vec![];
        let store = Store::open(&location).await.unwrap();
        for (login, hosts) in [("kept", &["router", "tv"][..]), ("other", &["nas"])] {
            let account = NewAccount {
                login: login.to_owned(),
                secret: PasswordDigest::parse(&digest(&format!("{SECRET}-{login}"))).unwrap(),
                max_hosts: 3,
                wildcards: Vec::new(),
            };
            let host = |host: &&str| NewHost {
                name: name(host),
                login: login.to_owned(),
                ttl: None,
                families: Families::Both,
                description: String::new(),
            };
            store.add_account(&account, &hosts.iter().map(host).collect::<Vec<_>>()).await.unwrap();
        }
        for (host, id) in [("nas", "::10"), ("tv", "::30")] {
            let edit = HostEdit {
                follow: Some(Some(name("router"))),
                interface_id: Some(id.parse().ok()),
                ..HostEdit::default()
            };
            store.set_host(&name(host), &edit).await.unwrap();
        }
        Self { primary, config, store, url, _postgres: postgres, _folder: folder }
    }

    async fn sqlite(kind: Kind) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("dyngate.db");
        let url = format!("sqlite:{}", file.display());
        Self::new(kind, Location::Sqlite(file), url, None, folder).await
    }

    async fn postgres(kind: Kind) -> Self {
        let postgres = Postgres::start().await.unwrap();
        let url = postgres.url();
        Self::new(kind, Location::Postgres(url.clone().into()), url, Some(postgres), TempDir::new().unwrap()).await
    }

    async fn gateway(&self) -> Gateway {
        let toml = format!("{}\n[store]\nurl = \"{}\"\n[engine]\ndeadline = \"1s\"\n", self.config.toml(), self.url);
        Gateway::builder(program()).config(&toml).start().await.expect("the gateway starts")
    }

    async fn report(&self, gateway: &Gateway, prefix: &str) -> String {
        let path = format!("/nic/update?hostname=router.dyn.example&{OWN}&ip6lanprefix={prefix}");
        let request = Request::get(&path).basic("kept", &format!("{SECRET}-kept"));
        request.send(gateway.http()).await.expect("the gateway answers").text()
    }

    async fn served(&self, host: &str) -> String {
        let addresses = self.primary.addresses(name(host).as_str()).await.expect("the primary answers");
        addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    /// How many followers are to be moved.
    async fn pending(&self) -> usize {
        self.store.pending().of(&["nas", "tv"].map(name)).await.unwrap().len()
    }

    async fn outcome(&self, host: &str) -> Option<String> {
        self.store.state(&name(host)).await.unwrap()?.last_outcome
    }
}

async fn what_was_pending_of_followers_is_done_after_an_outage_and_a_restart(kind: Kind) {
    let mut stage = Kept::sqlite(kind).await;
    let mut gateway = stage.gateway().await;
    assert_eq!(stage.report(&gateway, "2001:db8:1::/64").await, "good 203.0.113.7,2001:db8:ffff::1");
    assert_eq!([stage.served("nas").await, stage.served("tv").await], ["2001:db8:1::10", "2001:db8:1::30"]);
    soon("what became of it is kept", async || stage.outcome("nas").await.as_deref() == Some("changed")).await;
    let state = stage.store.state(&name("nas")).await.unwrap().unwrap();
    assert_eq!(state.addresses.v6, "2001:db8:1::10".parse().ok());

    stage.primary.stop().await.unwrap();
    assert_eq!(stage.report(&gateway, "2001:db8:2::/64").await, "911");
    soon("all are kept", async || stage.pending().await == 2).await;
    gateway.stop().await.unwrap();
    let gateway = stage.gateway().await;
    // Whose right it was no longer has it.
    let alone = HostEdit { follow: Some(None), ..HostEdit::default() };
    stage.store.set_host(&name("nas"), &alone).await.unwrap();
    stage.primary.start_again().await.unwrap();
    soon("what follows still is moved", async || stage.served("tv").await == "2001:db8:2::30").await;
    soon("nothing is left", async || stage.pending().await == 0).await;
    assert_eq!(stage.served("nas").await, "2001:db8:1::10", "another account's, which follows no longer");
    assert!(gateway.log().contains("a pending change is dropped"), "{}", gateway.log());

    let again = HostEdit { follow: Some(Some(name("router"))), ..HostEdit::default() };
    stage.store.set_host(&name("nas"), &again).await.unwrap();
    soon("the gateway has heard of it", async || {
        stage.report(&gateway, "2001:db8:3::/64").await;
        stage.served("nas").await == "2001:db8:3::10"
    })
    .await;
    stage.primary.stop().await.unwrap();
    assert_eq!(stage.report(&gateway, "2001:db8:4::/64").await, "911");
    soon("all are kept", async || stage.pending().await == 2).await;
    stage.primary.start_again().await.unwrap();
    soon("another account's follower is moved", async || stage.served("nas").await == "2001:db8:4::10").await;
    soon("and the other one", async || stage.served("tv").await == "2001:db8:4::30").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_share_a_store_move_followers_too() {
    let mut stage = Kept::postgres(Kind::Knot).await;
    let (one, other) = (stage.gateway().await, stage.gateway().await);
    let good = "good 203.0.113.7,2001:db8:ffff::1";
    assert_eq!(stage.report(&one, "2001:db8:1::/64").await, good);
    assert_eq!(stage.report(&other, "2001:db8:1::/64").await, good.replace("good", "nochg"));
    assert_eq!(stage.report(&other, "2001:db8:2::/64").await, good);
    assert_eq!(stage.report(&one, "2001:db8:1::/64").await, good, "nobody's memory says nochg");
    assert_eq!([stage.served("nas").await, stage.served("tv").await], ["2001:db8:1::10", "2001:db8:1::30"]);
    stage.primary.stop().await.unwrap();
    assert_eq!(stage.report(&one, "2001:db8:3::/64").await, "911");
    soon("all are kept", async || stage.pending().await == 2).await;
    stage.primary.start_again().await.unwrap();
    soon("all are moved", async || {
        [stage.served("nas").await, stage.served("tv").await] == ["2001:db8:3::10", "2001:db8:3::30"]
    })
    .await;
    soon("nothing is left", async || stage.pending().await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leads_by_a_wildcard_alone_moves_nobody_elses_host() {
    let config = |config: &mut Config| {
        behind_a_router(config);
        config.grants = vec!["*.dyn.example"];
        config.zone = "protect = [\"cam.dyn.example\"]\n".to_owned();
        let theirs = format!("[[account]]\nlogin = \"other\"\nsecret = \"{}\"\n", digest("another-secret"));
        config
            .more
            .push_str(&format!("[[host]]\nname = \"router.dyn.example\"\n{theirs}hosts = [\"tv.dyn.example\"]\n"));
    };
    let stage = stage(Kind::Knot, &[], config).await;
    let said = report(&stage, &format!("{OWN}&ip6lanprefix=2001:db8:1:2300::/56")).await;
    assert_eq!(said, "good 203.0.113.7,2001:db8:ffff::1");
    let [_, nas, cam, tv] = served(&stage).await;
    assert_eq!([nas.as_str(), &cam, &tv], ["2001:db8:1:2300::10", "", ""], "another's, and a protected one");
}
