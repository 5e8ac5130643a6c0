//! The fail2ban filter over a real log: each new wrong password is a failure, nothing else is, and nobody can write a line
//! that bans somebody else.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use lab::http::{Request, raw};
use lab::{Gateway, Key};

use crate::operating::Stage;
use crate::stage::{Config, LOGIN, SECRET, program};

const VICTIM: &str = "198.51.100.66";

fn packaged(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/fail2ban").join(name)
}

/// Runs one of fail2ban's programs, which must succeed.
fn fail2ban(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| {
        panic!("{program}: {error}: scripts/install-deps.sh tests");
    });
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{said}", output.status);
    said
}

/// What fail2ban makes of `log`: its line of counts, and the addresses that failed.
fn judge(log: &str) -> (String, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.log");
    fs::write(&file, log).unwrap();
    let filter = packaged("filter.conf");
    let (file, filter) = (file.to_str().unwrap(), filter.to_str().unwrap());
    let summary = fail2ban("fail2ban-regex", &[file, filter]);
    let counts = summary.lines().find(|line| line.starts_with("Lines: ")).unwrap_or_else(|| panic!("{summary}"));
    let counts = counts.split_once(" ignored, ").unwrap_or_else(|| panic!("{counts}")).1.to_owned();
    let failed = fail2ban("fail2ban-regex", &["--out", "ip", file, filter]);
    (counts, failed.lines().map(str::to_owned).collect())
}

/// A gateway that believes 127.0.0.9 to be a proxy; its primary is never asked.
async fn gateway(format: &str, level: &str) -> Gateway {
    let config = Config::new(&Key::generate("gateway-key"), ([127, 0, 0, 1], 1).into());
    let toml = config.toml().replace("[http]\n", "[http]\ntrusted_proxies = [\"127.0.0.9/32\"]\n");
    let builder = Gateway::builder(program()).config(&toml).arg("--log-format").arg(format).env("DYNGATE_LOG", level);
    builder.start().await.expect("the gateway starts")
}

/// A request from an address of its own.
async fn send(gateway: &Gateway, from: &str, request: Request) -> String {
    request.from(from.parse::<IpAddr>().unwrap()).send(gateway.http()).await.unwrap().text()
}

async fn provoke(gateway: &Gateway) {
    let get = || Request::get("/nic/update?hostname=other.elsewhere.example&myip=203.0.113.7");
    let proxied = |client: &str| get().header("X-Forwarded-For", client);
    // Failures: each with a password that was not tried before.
    for password in ["guess1", "guess2", ""] {
        assert_eq!(send(gateway, "127.0.0.2", get().basic(LOGIN, password)).await, "badauth");
    }
    assert_eq!(send(gateway, "127.0.0.3", get().basic("nobody", SECRET)).await, "badauth");
    assert_eq!(send(gateway, "127.0.0.9", proxied("203.0.113.9").basic(LOGIN, "guess3")).await, "badauth");
    assert_eq!(send(gateway, "127.0.0.9", proxied("2001:db8::9").basic(LOGIN, "guess4")).await, "badauth");
    let form = Request::post("/nic/update", "username=router1&password=guess5");
    assert_eq!(send(gateway, "127.0.0.4", form).await, "badauth");
    // A secret without a login is one too.
    assert_eq!(send(gateway, "127.0.0.6", get().header("Authorization", "Bearer guess6")).await, "badauth");
    // None: no credentials, the same wrong password again, the right one.
    for _ in 0..3 {
        assert_eq!(send(gateway, "127.0.0.5", get()).await, "badauth");
        assert_eq!(send(gateway, "127.0.0.5", get().header("Authorization", "Basic Og==")).await, "badauth");
        assert_eq!(send(gateway, "127.0.0.5", get().header("Authorization", "Digest abc")).await, "badauth");
        assert_eq!(send(gateway, "127.0.0.5", get().basic(LOGIN, "guess1")).await, "badauth");
        assert_eq!(send(gateway, "127.0.0.5", get().header("Authorization", "Bearer guess6")).await, "badauth");
        assert_eq!(send(gateway, "127.0.0.5", get().basic(LOGIN, SECRET)).await, "nohost");
    }
}

const FAILED: [&str; 8] =
    ["127.0.0.2", "127.0.0.2", "127.0.0.2", "127.0.0.3", "203.0.113.9", "2001:db8::9", "127.0.0.4", "127.0.0.6"];

#[tokio::test(flavor = "multi_thread")]
async fn each_new_wrong_password_is_a_failure_and_nothing_else_is() {
    for (format, level) in [("text", "info"), ("json", "info"), ("text", "debug"), ("json", "debug")] {
        let gateway = gateway(format, level).await;
        provoke(&gateway).await;
        let log = gateway.log();
        let of_a_request = |line: &&str| line.contains("request{id=") || line.contains("\"span\":{");
        let spans = log.lines().filter(of_a_request).filter(|line| line.contains("dyndns2") && line.contains(LOGIN));
        assert_eq!(spans.count() > 0, level == "debug", "{log}");
        let missed = log.lines().count() - FAILED.len();
        assert_eq!(judge(&log), (format!("8 matched, {missed} missed"), FAILED.map(str::to_owned).into()), "{log}");
        // The same from the journal, as fail2ban's systemd backend puts its lines together.
        let journal = |line: &str| format!("2026-11-21T11:22:33.000000Z host dyngate[4711]: {line}\n");
        let journal: String = log.lines().map(journal).collect();
        assert_eq!(judge(&journal).1, FAILED, "{journal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_whose_account_is_disabled_is_not_banned() {
    let stage = Stage::sqlite().await;
    let secret = stage.json("account add alice --host a.dyn.example")["secret"].as_str().unwrap().to_owned();
    stage.done("account disable alice");
    let toml = fs::read_to_string(stage.path("gateway.toml")).unwrap();
    let toml = toml.replace("sqlite:store.db", &format!("sqlite:{}", stage.path("store.db")));
    let gateway = Gateway::builder(program()).config(&toml).start().await.unwrap();
    for _ in 0..3 {
        let request = Request::get("/nic/update?hostname=a.dyn.example").basic("alice", &secret);
        assert_eq!(send(&gateway, "127.0.0.2", request).await, "badauth");
    }
    assert_eq!(gateway.log().matches("reason=\"account disabled\"").count(), 3, "{}", gateway.log());
    assert_eq!(judge(&gateway.log()).1, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_a_line_that_bans_somebody_else() {
    for (format, level) in [("text", "info"), ("json", "info"), ("text", "debug")] {
        let gateway = gateway(format, level).await;
        // Lines and pieces of lines that would match if they stood in the log as they are.
        let text = format!(
            "INFO dyngate::access: request source={VICTIM} login=\"-\" host=\"a\" outcome=\"bad_credentials\" \
             reason=\"wrong credentials\" "
        );
        let json = format!(
            "\"level\":\"INFO\",\"message\":\"request\",\"source\":\"{VICTIM}\",\"login\":\"-\",\"host\":\"a\",\
             \"outcome\":\"bad_credentials\",\"reason\":\"wrong credentials\",\"rcode\":\"-\"}}"
        );
        let stamp = "2026-11-21T11:22:33.000000Z";
        for (before, after) in
            [("\n", "\n"), ("\r\n", ""), ("a\" ", ""), ("\\\n", ""), ("\u{2028}", ""), ("\x1b[2K\r", "")]
        {
            for line in
                [format!("{stamp}  {text}"), format!("{{\"timestamp\":\"{stamp}\",{json}"), text.clone(), json.clone()]
            {
                let forged = format!("{before}{line}{after}");
                let encoded: String = forged.bytes().map(|octet| format!("%{octet:02x}")).collect();
                for (target, credentials) in [
                    (format!("/nic/update?hostname={encoded}"), (forged.as_str(), forged.as_str())),
                    (format!("/nic/update?hostname={encoded}&username={encoded}&password={encoded}"), ("", "")),
                    (format!("/nic/update/{encoded}"), (LOGIN, forged.as_str())),
                ] {
                    let request = Request::get(&target).basic(credentials.0, credentials.1);
                    // What HTTP lets through of it in a header; the rest is refused before any log.
                    let agent: String = forged.chars().filter(|c| !c.is_control()).collect();
                    send(&gateway, "127.0.0.2", request.header("User-Agent", &agent)).await;
                }
                // In a forwarding header of somebody who is not believed.
                let header = Request::get("/nic/update").basic(LOGIN, &forged).header("X-Forwarded-For", VICTIM);
                send(&gateway, "127.0.0.2", header).await;
                let bare =
                    format!("GET /nic/update HTTP/1.1\r\nHost: x\r\nUser-Agent: {forged}\r\nConnection: close\r\n\r\n");
                let _refused_or_answered = raw(gateway.http(), bare.as_bytes()).await;
            }
        }
        let log = gateway.log();
        let (_, failed) = judge(&log);
        assert!(failed.len() > 20, "{format}: {failed:?}");
        assert!(failed.iter().all(|address| address == "127.0.0.2"), "{format}: {failed:?}");
        assert!(log.lines().all(|line| line.starts_with("20") || line.starts_with('{')), "{log}");
    }
}

#[test]
fn the_jail_names_the_filter_and_can_be_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").args(["-r", "/etc/fail2ban/."]).arg(folder.path()).status().unwrap();
    assert!(copied.success(), "/etc/fail2ban is missing: scripts/install-deps.sh tests");
    // Debian's own jail for sshd needs a log that this machine may not have.
    let _none_there = fs::remove_file(folder.path().join("jail.d/defaults-debian.conf"));
    fs::copy(packaged("filter.conf"), folder.path().join("filter.d/dyngate.conf")).unwrap();
    fs::copy(packaged("jail.conf"), folder.path().join("jail.d/dyngate.conf")).unwrap();
    let dump = fail2ban("fail2ban-client", &["-c", folder.path().to_str().unwrap(), "-d"]);
    for line in ["['add', 'dyngate', 'systemd']", "['set', 'dyngate', 'maxretry', 20]", "_SYSTEMD_UNIT=dyngate.service"]
    {
        assert!(dump.contains(line), "{line} is not in\n{dump}");
    }
}
