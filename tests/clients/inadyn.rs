//! Debian's inadyn with the `custom` provider of docs/CLIENTS.md: exit codes, log, cache, and a daemon through an outage.

use std::fs;
use std::time::Duration;

use lab::soon;
use rustix::process::Signal;

use crate::program::{Program, Ran};
use crate::stage::{HOME, LOGIN, OFFICE, SECRET, STRANGE, Stage, nudge};

/// It stays in the foreground, and writes in its folder alone.
pub(crate) const ARGUMENTS: [&str; 5] =
    ["--foreground", "--no-pidfile", "--config=inadyn.conf", "--cache-dir=.", "--loglevel=notice"];

fn configure(stage: &Stage, password: &str, hosts: &str) {
    let server = stage.gateway.http();
    let text = format!(
        "allow-ipv6 = true\n\
         custom dyngate {{\n\
             ssl = false\n\
             username = \"{LOGIN}\"\n\
             password = \"{password}\"\n\
             hostname = {{ {hosts} }}\n\
             ddns-server = \"{server}\"\n\
             ddns-path = \"/nic/update?hostname=%h&myip=%i\"\n\
             checkip-command = \"cat address\"\n\
         }}\n"
    );
    stage.write("inadyn.conf", &text);
}

async fn once(stage: &Stage, more: &[&str]) -> Ran {
    stage.run("inadyn", &[&ARGUMENTS[..], &["--once"], more].concat()).await
}

fn cached(stage: &Stage, host: &str) -> String {
    stage.read(&format!("{host}.cache"))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_host_is_set_kept_and_changed() {
    let stage = Stage::new().await;
    configure(&stage, SECRET, HOME);
    stage.write("address", "203.0.113.7\n");
    once(&stage, &[]).await.assert(0, "Updating cache for home.dyn.example");
    assert_eq!(
        (stage.served(HOME).await, cached(&stage, HOME)),
        (vec!["203.0.113.7".to_owned()], "203.0.113.7".to_owned())
    );
    // The cache holds it: no request.
    assert_eq!(once(&stage, &[]).await.code, Some(0));
    assert_eq!((stage.count("changed").await, stage.count("unchanged").await), (1.0, 0.0));
    once(&stage, &["--force"]).await.assert(0, "Update forced for alias home.dyn.example, new IP# 203.0.113.7");
    assert_eq!(stage.count("unchanged").await, 1.0);
    stage.write("address", "203.0.113.8\n");
    once(&stage, &[]).await.assert(0, "Update needed for alias home.dyn.example, new IP# 203.0.113.8");
    assert_eq!(stage.served(HOME).await, ["203.0.113.8"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_are_two_requests_and_the_first_failure_ends_them() {
    let stage = Stage::new().await;
    stage.write("address", "203.0.113.7\n");
    configure(&stage, SECRET, &format!("{HOME}, {OFFICE}"));
    let both = once(&stage, &[]).await;
    for host in [HOME, OFFICE] {
        both.assert(0, &format!("Updating cache for {host}"));
        assert_eq!(stage.served(host).await, ["203.0.113.7"]);
    }
    assert_eq!(stage.gateway.log().matches(" request ").count(), 2, "{}", stage.gateway.log());
    stage.write("address", "203.0.113.8\n");
    configure(&stage, SECRET, &format!("{STRANGE}, {HOME}"));
    once(&stage, &[]).await.assert(48, "[200 OK] nohost");
    assert_eq!(stage.served(HOME).await, ["203.0.113.7"], "its turn never came");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ipv6_address_stands_beside_the_ipv4_one() {
    let stage = Stage::new().await;
    configure(&stage, SECRET, HOME);
    for (address, served) in [("203.0.113.7", &["203.0.113.7"][..]), ("2001:db8::7", &["203.0.113.7", "2001:db8::7"])] {
        stage.write("address", address);
        once(&stage, &[]).await.assert(0, "Updating cache for home.dyn.example");
        assert_eq!(stage.served(HOME).await, served);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nohost_badauth_and_badip_end_it() {
    let stage = Stage::new().await;
    stage.write("address", "203.0.113.7\n");
    configure(&stage, SECRET, STRANGE);
    let nohost = once(&stage, &[]).await;
    nohost.assert(48, "[200 OK] nohost");
    nohost.assert(48, "Error code 48: DDNS server response not OK");
    configure(&stage, "wrong", HOME);
    let badauth = once(&stage, &[]).await;
    badauth.assert(50, "[401 Unauthorized] badauth");
    badauth.assert(50, "Error code 50: Authentication failure");
    configure(&stage, SECRET, HOME);
    stage.write("address", "192.168.1.1\n");
    once(&stage, &[]).await.assert(48, "[400 Bad Request] badip");
    assert!(stage.served(HOME).await.is_empty() && !fs::exists(stage.folder().join("home.dyn.example.cache")).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_goes_through_change_outage_and_recovery() {
    let mut stage = Stage::new().await;
    configure(&stage, SECRET, HOME);
    stage.write("address", "203.0.113.7\n");
    let mut daemon = Program::start("inadyn", &ARGUMENTS, stage.folder());
    soon("the first update", async || cached(&stage, HOME) == "203.0.113.7").await;
    // SIGUSR2: look at the address now. One that comes while it is at work would break off its request.
    stage.write("address", "203.0.113.8\n");
    nudge("the change", || daemon.signal(Signal::USR2), async || cached(&stage, HOME) == "203.0.113.8").await;
    assert_eq!(stage.served(HOME).await, ["203.0.113.8"]);
    stage.begin_outage().await;
    stage.write("address", "203.0.113.9\n");
    let log = daemon.log();
    let written = || fs::read_to_string(&log).unwrap();
    nudge("the outage", || daemon.signal(Signal::USR2), async || written().contains("Will retry again in 600 sec"))
        .await;
    assert!(written().contains("[503 Service Unavailable] 911"), "{}", written());
    assert_eq!(cached(&stage, HOME), "203.0.113.8");
    stage.end_outage().await;
    nudge("the recovery", || daemon.signal(Signal::USR2), async || cached(&stage, HOME) == "203.0.113.9").await;
    assert_eq!(stage.served(HOME).await, ["203.0.113.9"]);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended(Duration::from_secs(60)).await.code, Some(0));
}
