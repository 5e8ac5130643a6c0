//! A TSIG key is changed under load on real servers: both keys are known for a while, then the old one is not.

use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use lab::http::{Connection, Request};
use lab::load::read_back;
use lab::{Gateway, Key, Kind, Server, Setup, soon};
use rustix::process::{Pid, Signal, kill_process};

use super::reload;
use crate::stage::{Config, LOGIN, SECRET, ZONE};

const CLIENTS: u32 = 8;
const HOSTS: u32 = 25;

#[tokio::test(flavor = "multi_thread")]
async fn under_load_on_bind() {
    rotate(Kind::Bind, "named.conf").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_on_knot() {
    rotate(Kind::Knot, "knot.conf").await;
}

async fn rotate(kind: Kind, file: &str) {
    let (old, new) = (Key::generate("old-key"), Key::generate("new-key"));
    let primary = Server::start(kind, Setup::new().key(&old).key(&new).zone(ZONE)).await.unwrap();
    let gateway = Arc::new(Config::new(&old, primary.addr()).start().await);
    let (done, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let routers: Vec<_> = (0..CLIENTS)
        .map(|client| tokio::spawn(router(client, Arc::clone(&gateway), Arc::clone(&done), Arc::clone(&stop))))
        .collect();
    let more = async |count: u32| {
        let until = done.load(Ordering::Relaxed) + count;
        soon("the routers go on", async || {
            done.load(Ordering::Relaxed) >= until || routers.iter().any(tokio::task::JoinHandle::is_finished)
        })
        .await;
    };
    more(300).await;
    let said = reload(&gateway, &Config::new(&new, primary.addr()).toml()).await;
    assert_eq!(said["changed"], serde_json::json!(["zones: 1 changed", "keys: 1 added, 1 removed"]));
    more(300).await;
    // The old key goes: whoever still signed with it would be refused from now on.
    let conf = primary.folder().join(file);
    fs::write(&conf, fs::read_to_string(&conf).unwrap().replace("old-key", "gone-key")).unwrap();
    kill_process(Pid::from_raw(primary.pid().unwrap().cast_signed()).unwrap(), Signal::HUP).unwrap();
    let old_works = async || primary.edit_as(&old, &["update add old.dyn.example 60 A 192.0.2.1"]).await.is_ok();
    soon("the old key is refused", async || !old_works().await).await;
    more(300).await;
    stop.store(true, Ordering::Relaxed);
    let mut held = Vec::new();
    for router in routers {
        held.extend(router.await.expect("every answer was good, on one connection"));
    }
    assert!(done.load(Ordering::Relaxed) >= 900);
    read_back(primary.addr(), &held).await.unwrap();
    let log = gateway.log();
    assert!(!log.contains(" WARN ") && !log.contains(" ERROR "), "{log}");
}

/// Changes its hosts in turn on one connection until it is told to stop; what each of them holds then.
async fn router(
    client: u32,
    gateway: Arc<Gateway>,
    done: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
) -> Vec<(String, std::net::IpAddr)> {
    let mut connection = Connection::open(gateway.http(), None).await.unwrap();
    let mut held: Vec<_> =
        (0..HOSTS).map(|host| (format!("c{client}h{host}.dyn.example"), Ipv4Addr::UNSPECIFIED.into())).collect();
    for round in 1.. {
        for (host, address) in &mut held {
            *address =
                Ipv4Addr::new(203, 0, u8::try_from(round / 250).unwrap(), u8::try_from(round % 250 + 1).unwrap())
                    .into();
            let target = format!("/nic/update?hostname={host}&myip={address}");
            let answer = connection.send(&Request::get(&target).basic(LOGIN, SECRET)).await.unwrap();
            assert_eq!(answer.text(), format!("good {address}"), "{host}: {}", gateway.log());
            done.fetch_add(1, Ordering::Relaxed);
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    held
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_flight_is_verified_with_the_key_that_signed_it() {
    let (old, new) = (Key::generate("old-key"), Key::generate("new-key"));
    let mut primary = Server::start(Kind::Bind, Setup::new().key(&old).key(&new).zone(ZONE)).await.unwrap();
    let mut config = Config::new(&old, primary.addr());
    config.grants = vec!["h.dyn.example"];
    let gateway = config.start().await;
    config.key = new;
    let set = async |n: u8| crate::stage::update(&gateway, &format!("hostname=h.dyn.example&myip=203.0.113.{n}")).await;
    assert_eq!(set(1).await.text(), "good 203.0.113.1");
    primary.pause().await.unwrap();
    let sent = async || gateway.metric("dyngate_update_batch_hosts_count").await.unwrap();
    let before = sent().await;
    let meanwhile = async {
        soon("it is sent", async || sent().await > before).await;
        reload(&gateway, &config.toml()).await;
        primary.resume().unwrap();
    };
    let (answer, ()) = tokio::join!(set(2), meanwhile);
    assert_eq!(answer.text(), "good 203.0.113.2", "{}", gateway.log());
    assert_eq!(set(3).await.text(), "good 203.0.113.3");
    assert!(!gateway.log().contains("not believed"), "{}", gateway.log());
}
