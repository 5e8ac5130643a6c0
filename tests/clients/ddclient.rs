//! Debian's ddclient, with the configuration of docs/CLIENTS.md: exit codes, log, cache, and a daemon through an outage.

use std::fmt::Write as _;
use std::time::Duration;

use rustix::process::Signal;

use crate::program::{Program, Ran};
use crate::stage::{HOME, LOGIN, OFFICE, SECRET, STRANGE, Stage, nudge};

const ADDRESS: &str = "use=cmd, cmd='cat address'";
/// A change or a retry need not wait; the defaults are 30 seconds and 5 minutes.
const AT_ONCE: &str = "min-interval=0s\nmin-error-interval=0s";

fn configure(stage: &Stage, password: &str, address: &str, hosts: &str) {
    let server = stage.gateway.http();
    let text = format!(
        "protocol=dyndns2\nssl=no\nserver={server}\nlogin={LOGIN}\npassword={password}\n{address}\n{AT_ONCE}\n{hosts}\n"
    );
    stage.write("ddclient.conf", &text);
}

const ARGUMENTS: [&str; 5] = ["-foreground", "-file", "ddclient.conf", "-cache", "cache"];

async fn once(stage: &Stage, more: &[&str]) -> Ran {
    stage.run("ddclient", &[&ARGUMENTS[..], &["-daemon=0"], more].concat()).await
}

/// What the cache says of a host: `status=good` and the like.
fn cached(stage: &Stage, host: &str, what: &str) -> bool {
    let cache = stage.read("cache");
    let line = cache.lines().find(|line| line.ends_with(&format!(" {host}"))).unwrap_or_default();
    line.split([',', ' ']).any(|entry| entry == what)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_host_is_set_kept_and_changed() {
    let stage = Stage::new().await;
    configure(&stage, SECRET, ADDRESS, HOME);
    stage.write("address", "203.0.113.7\n");
    once(&stage, &[]).await.assert(0, "SUCCESS:  updating home.dyn.example: good: IP address set to 203.0.113.7");
    assert_eq!(stage.served(HOME).await, ["203.0.113.7"]);
    assert!(cached(&stage, HOME, "status=good") && cached(&stage, HOME, "ip=203.0.113.7"), "{}", stage.read("cache"));
    // The cache holds it: no request.
    assert_eq!(once(&stage, &[]).await.code, Some(0));
    assert_eq!((stage.count("changed").await, stage.count("unchanged").await), (1.0, 0.0));
    once(&stage, &["-force"]).await.assert(0, "WARNING:  updating home.dyn.example: nochg: No update required");
    stage.write("address", "203.0.113.8\n");
    once(&stage, &[]).await.assert(0, "good: IP address set to 203.0.113.8");
    assert_eq!(stage.served(HOME).await, ["203.0.113.8"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_in_one_request_are_told_apart() {
    let stage = Stage::new().await;
    stage.write("address", "203.0.113.7\n");
    configure(&stage, SECRET, ADDRESS, &format!("{HOME},{OFFICE}"));
    let both = once(&stage, &[]).await;
    for host in [HOME, OFFICE] {
        both.assert(0, &format!("SUCCESS:  updating {host}: good: IP address set to 203.0.113.7"));
        assert_eq!(stage.served(host).await, ["203.0.113.7"]);
    }
    // The second is another's: the first is changed nevertheless.
    stage.write("address", "203.0.113.8\n");
    configure(&stage, SECRET, ADDRESS, &format!("{HOME},{STRANGE}"));
    let mixed = once(&stage, &[]).await;
    mixed.assert(1, "SUCCESS:  updating home.dyn.example: good: IP address set to 203.0.113.8");
    mixed.assert(1, "FAILED:   updating strange.dyn.example: nohost:");
    assert!(cached(&stage, HOME, "status=good") && cached(&stage, STRANGE, "status=nohost"), "{}", stage.read("cache"));
    assert_eq!(stage.served(HOME).await, ["203.0.113.8"]);
    assert!(stage.served(STRANGE).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ipv6_address_stands_beside_the_ipv4_one() {
    let stage = Stage::new().await;
    configure(&stage, SECRET, ADDRESS, HOME);
    for (address, served) in [("203.0.113.7", &["203.0.113.7"][..]), ("2001:db8::7", &["203.0.113.7", "2001:db8::7"])] {
        stage.write("address", address);
        once(&stage, &[]).await.assert(0, &format!("good: IP address set to {address}"));
        assert_eq!(stage.served(HOME).await, served);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nohost_badauth_and_badip_are_failures() {
    let stage = Stage::new().await;
    stage.write("address", "203.0.113.7\n");
    configure(&stage, SECRET, ADDRESS, STRANGE);
    once(&stage, &[]).await.assert(1, "FAILED:   updating strange.dyn.example: nohost: The hostname specified");
    assert!(cached(&stage, STRANGE, "status=nohost"), "{}", stage.read("cache"));
    configure(&stage, "wrong", ADDRESS, HOME);
    once(&stage, &[]).await.assert(1, "FAILED:   updating home.dyn.example: authorization failed (HTTP/1.1 401");
    assert_eq!(stage.count("bad_credentials").await, 1.0);
    // An answer of 400 is not mentioned at all; only the cache tells.
    configure(&stage, SECRET, ADDRESS, HOME);
    stage.write("address", "192.168.1.1\n");
    let private = once(&stage, &[]).await;
    assert!(private.code == Some(0) && private.output.is_empty(), "{private:?}");
    assert!(cached(&stage, HOME, "status=noconnect"), "{}", stage.read("cache"));
    assert_eq!(stage.count("bad_address").await, 1.0);
    assert!(stage.served(HOME).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_silent_and_the_next_run_recovers() {
    let mut stage = Stage::new().await;
    configure(&stage, SECRET, ADDRESS, HOME);
    stage.write("address", "203.0.113.7\n");
    stage.begin_outage().await;
    let down = once(&stage, &[]).await;
    assert!(down.code == Some(0) && !down.output.contains("SUCCESS"), "{down:?}");
    assert!(cached(&stage, HOME, "status=noconnect"), "{}", stage.read("cache"));
    assert_eq!(stage.count("unreachable").await, 1.0);
    stage.end_outage().await;
    once(&stage, &[]).await.assert(0, "good: IP address set to 203.0.113.7");
    assert_eq!(stage.served(HOME).await, ["203.0.113.7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_use_ip_a_failed_attempt_is_not_repeated_until_forced() {
    let mut stage = Stage::new().await;
    configure(&stage, SECRET, "use=ip, ip=203.0.113.7", HOME);
    stage.begin_outage().await;
    assert_eq!(once(&stage, &[]).await.code, Some(0));
    assert!(cached(&stage, HOME, "ip=203.0.113.7"), "as if it were done: {}", stage.read("cache"));
    stage.end_outage().await;
    assert_eq!(once(&stage, &[]).await.code, Some(0));
    assert!(stage.served(HOME).await.is_empty());
    once(&stage, &["-force"]).await.assert(0, "good: IP address set to 203.0.113.7");
    assert_eq!(stage.served(HOME).await, ["203.0.113.7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_goes_through_change_outage_and_recovery() {
    let mut stage = Stage::new().await;
    configure(&stage, SECRET, ADDRESS, &format!("{HOME},{OFFICE}"));
    stage.write("address", "203.0.113.7\n");
    let mut arguments = ARGUMENTS.to_vec();
    arguments.push("-daemon=60");
    let mut daemon = Program::start("ddclient", &arguments, stage.folder());
    // It rests a minute at least between two rounds; SIGHUP begins the next one.
    let mut round = async |stage: &Stage, status: &str| {
        // While it is at work a signal would break off its request. Its title says that it sleeps, and goes on saying so
        // until the request begins: one signal, and time for it.
        let wake = || {
            if daemon.title().contains("sleeping") {
                daemon.signal(Signal::HUP);
            }
        };
        let is_there =
            async || [HOME, OFFICE].iter().all(|host| status.split(',').all(|entry| cached(stage, host, entry)));
        nudge(&format!("{status}, cache: {}", stage.read("cache")), wake, is_there).await;
    };
    round(&stage, "status=good,ip=203.0.113.7").await;
    stage.write("address", "203.0.113.8\n");
    round(&stage, "status=good,ip=203.0.113.8").await;
    assert_eq!(stage.served(HOME).await, ["203.0.113.8"]);
    stage.begin_outage().await;
    stage.write("address", "203.0.113.9\n");
    round(&stage, "status=noconnect,ip=203.0.113.8").await;
    stage.end_outage().await;
    round(&stage, "status=good,ip=203.0.113.9").await;
    for host in [HOME, OFFICE] {
        assert_eq!(stage.served(host).await, ["203.0.113.9"]);
    }
    daemon.signal(Signal::TERM);
    let mut expected = String::new();
    for address in ["203.0.113.7", "203.0.113.8", "203.0.113.9"] {
        for host in [HOME, OFFICE] {
            writeln!(expected, "SUCCESS:  updating {host}: good: IP address set to {address}").unwrap();
        }
    }
    daemon.ended(Duration::from_secs(60)).await.assert(0, &expected);
}
