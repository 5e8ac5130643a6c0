//! GNU Wget and curl as routers' scripts call them: OpenWrt's own command lines, exit codes and answers.

use crate::program::{Program, Ran};
use crate::rounds::{Order, Row, Says, carry_out, ends, play};
use crate::stage::{HOME, LOGIN, SECRET, STRANGE, Stage};

/// The address of an update with the credentials in it, as OpenWrt writes it.
fn url(stage: &Stage, password: &str, host: &str, address: &str) -> String {
    let server = stage.gateway.http();
    format!("http://{LOGIN}:{password}@{server}/nic/update?hostname={host}&myip={address}")
}

async fn wget(stage: &Stage, url: &str) -> Ran {
    stage.run("wget", &["--no-config", "--no-hsts", "-nv", "-t", "1", "-O", "answer", url]).await
}

async fn curl(stage: &Stage, arguments: &[&str], url: &str) -> Ran {
    stage.run("curl", &[&["-q", "-RsS", "-o", "answer"], arguments, &[url]].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn wget_is_challenged_first_and_that_is_no_failed_login() {
    let stage = Stage::new().await;
    for (address, word) in [("203.0.113.7", "good"), ("203.0.113.7", "nochg"), ("2001:0db8:0:0:0:0:0:7", "good")] {
        let ran = wget(&stage, &url(&stage, SECRET, HOME, address)).await;
        assert_eq!((ran.code, stage.read("answer")), (Some(0), format!("{word} {address}")), "{ran:?}");
    }
    assert_eq!(stage.served(HOME).await, ["203.0.113.7", "2001:db8::7"]);
    assert_eq!(stage.count("bad_credentials").await, 3.0, "each update asks without credentials first");
    assert_eq!(stage.gateway.metric("dyngate_auth_failures_total").await.unwrap(), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn wget_tells_by_its_exit_code() {
    let mut stage = Stage::new().await;
    let nohost = wget(&stage, &url(&stage, SECRET, STRANGE, "203.0.113.7")).await;
    assert_eq!((nohost.code, stage.read("answer").as_str()), (Some(0), "nohost"));
    let badauth = wget(&stage, &url(&stage, "wrong", HOME, "203.0.113.7")).await;
    badauth.assert(6, "Username/Password Authentication Failed.");
    wget(&stage, &url(&stage, SECRET, HOME, "192.168.1.1")).await.assert(8, "ERROR 400: Bad Request.");
    stage.begin_outage().await;
    let down = wget(&stage, &url(&stage, SECRET, HOME, "203.0.113.7")).await;
    down.assert(8, "ERROR 503: Service Unavailable.");
    stage.end_outage().await;
    assert_eq!(wget(&stage, &url(&stage, SECRET, HOME, "203.0.113.7")).await.code, Some(0));
    assert_eq!(
        (stage.read("answer").as_str(), stage.served(HOME).await),
        ("good 203.0.113.7", vec!["203.0.113.7".to_owned()])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_sends_its_credentials_at_once_and_reads_the_words() {
    let mut stage = Stage::new().await;
    for (password, host, address, answer) in [
        (SECRET, HOME, "203.0.113.7", "good 203.0.113.7"),
        (SECRET, HOME, "203.0.113.7", "nochg 203.0.113.7"),
        (SECRET, STRANGE, "203.0.113.7", "nohost"),
        ("wrong", HOME, "203.0.113.7", "badauth"),
        (SECRET, HOME, "10.0.0.1", "badip"),
    ] {
        let ran = curl(&stage, &[], &url(&stage, password, host, address)).await;
        assert_eq!((ran.code, stage.read("answer").as_str()), (Some(0), answer), "{ran:?}");
    }
    assert_eq!(stage.count("bad_credentials").await, 1.0, "only the wrong password");
    curl(&stage, &["-f"], &url(&stage, SECRET, HOME, "10.0.0.1")).await.assert(22, "error: 400");
    stage.begin_outage().await;
    let change = url(&stage, SECRET, HOME, "203.0.113.8");
    assert_eq!((curl(&stage, &[], &change).await.code, stage.read("answer").as_str()), (Some(0), "911"));
    curl(&stage, &["-f"], &change).await.assert(22, "The requested URL returned error: 503");
    stage.end_outage().await;
    // A form by POST, as some of No-IP's users send it.
    let (login, form) = (format!("{LOGIN}:{SECRET}"), format!("hostname={HOME}&myip=203.0.113.8"));
    assert_eq!(curl(&stage, &["-f", "-u", &login, "-d", &form], &stage.url()).await.code, Some(0));
    assert_eq!(
        (stage.read("answer").as_str(), stage.served(HOME).await),
        ("good 203.0.113.8", vec!["203.0.113.8".to_owned()])
    );
    curl(&stage, &["-f"], &url(&stage, "wrong", HOME, "203.0.113.8")).await.assert(22, "error: 401");
}

const NOERROR: Says = ends(0, "NOERROR OK");
const OK: Says = ends(0, "OK");
const KO: Says = ends(0, "KO");

/// wget with its credentials in the URL: first it asks without them, and goes on over the same connection.
const EASYDNS: Row = Row {
    protocol: "wget-easydns",
    dialect: "easydns",
    host: "wget-easydns.dyn.example",
    strange: STRANGE,
    has_callers: false,
    has_ipv6: true,
    has_token: false,
    changed: NOERROR,
    unchanged: NOERROR,
    refused: ends(6, "Username/Password Authentication Failed."),
    unknown: Some(ends(0, "NOACCESS")),
    down: ends(8, "ERROR 503: Service Unavailable."),
};

/// curl without `-f` does not mind the status.
const BEARER: Row = Row {
    protocol: "curl-bearer",
    dialect: "dyndns2",
    host: "curl-bearer.dyn.example",
    changed: ends(0, "good {ip}"),
    unchanged: ends(0, "nochg {ip}"),
    refused: ends(0, "badauth"),
    unknown: Some(ends(0, "nohost")),
    down: ends(0, "911"),
    ..EASYDNS
};

const ROWS: [Row; 8] = [
    EASYDNS,
    Row {
        protocol: "wget-zoneedit",
        dialect: "zoneedit",
        host: "wget-zoneedit.dyn.example",
        changed: ends(0, "<SUCCESS CODE=\"200\""),
        unchanged: ends(0, "<SUCCESS CODE=\"201\""),
        unknown: Some(ends(0, "<ERROR CODE=\"709\"")),
        ..EASYDNS
    },
    Row {
        protocol: "wget-dyndns1",
        dialect: "dyndns1",
        host: "wget-dyndns1.dyn.example",
        changed: ends(0, "return code: NOERROR"),
        unchanged: ends(0, "return code: NOERROR"),
        unknown: Some(ends(0, "return code: ")),
        ..EASYDNS
    },
    Row {
        protocol: "wget-duckdns",
        dialect: "duckdns",
        host: "wget-duckdns.dyn.example",
        changed: OK,
        unchanged: OK,
        refused: KO,
        unknown: Some(KO),
        ..EASYDNS
    },
    BEARER,
    Row { protocol: "curl-token", host: "curl-token.dyn.example", ..BEARER },
    Row { protocol: "curl-form", host: "curl-form.dyn.example", has_token: true, ..BEARER },
    Row {
        protocol: "curl-freedns",
        dialect: "freedns-v1",
        host: "curl-freedns.dyn.example",
        has_token: true,
        changed: ends(0, "Updated {host} to {ip} in"),
        unchanged: ends(0, "ERROR: Address {ip} has not changed."),
        refused: ends(0, "ERROR: Unable to locate this record"),
        unknown: None,
        down: ends(0, "ERROR: Temporary failure"),
        ..BEARER
    },
];

async fn transfer(stage: &Stage, row: &Row, order: Order<'_>) -> Ran {
    let Order { host, secret, address, .. } = order;
    let server = stage.gateway.http();
    let (addressed, asked) = (format!("http://{server}"), format!("http://{LOGIN}:{secret}@{server}"));
    let nic = format!("{addressed}/nic/update?hostname={host}&myip={address}");
    let (header, data): (String, String);
    let (more, url) = match row.protocol {
        "wget-easydns" => (vec![], format!("{asked}/dyn/generic.php?hostname={host}&myip={address}")),
        "wget-zoneedit" => (vec![], format!("{asked}/auth/dynamic.html?host={host}&dnsto={address}")),
        "wget-dyndns1" => {
            (vec![], format!("{asked}/nic/dyndns?action=edit&started=1&hostname=YES&host_id={host}&myip={address}"))
        }
        "wget-duckdns" => (vec![], format!("{addressed}/update?domains={host}&token={secret}&ip={address}")),
        "curl-bearer" => {
            header = format!("Authorization: Bearer {secret}");
            (vec!["-H", header.as_str()], nic)
        }
        "curl-token" => {
            header = format!("Authorization: Token {secret}");
            (vec!["-H", header.as_str()], nic)
        }
        "curl-form" => {
            data = format!("hostname={host}&password={secret}&myip={address}");
            (vec!["-d", data.as_str()], format!("{addressed}/nic/update"))
        }
        "curl-freedns" => (vec![], format!("{addressed}/dynamic/update.php?{secret}&address={address}")),
        unknown => panic!("{unknown}"),
    };
    let (program, start) = match row.protocol.starts_with("wget") {
        true => ("wget", &["--no-config", "--no-hsts", "-nv", "-t", "1", "-O", "-"][..]),
        false => ("curl", &["-q", "-sS"][..]),
    };
    let arguments = [start, &more, &[url.as_str()]].concat();
    carry_out(Program::start(program, &arguments, &stage.folder_of(row.protocol)), &order).await
}

#[tokio::test(flavor = "multi_thread")]
async fn wget_and_curl_in_other_dialects() {
    let mut stage = Stage::of_rows("127.0.0.1", (0, 0), &[], &ROWS).await;
    play(&mut stage, &ROWS, transfer).await;
}
