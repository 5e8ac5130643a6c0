//! Clients from PyPI and npm, where scripts/install-clients.sh has put them; else each test says SKIPPED.

use std::path::Path;
use std::time::Duration;

use lab::{Kind, Server, Setup, soon};

use crate::program::{Program, Ran, find, said};
use crate::rounds::{Order, Row, Says, carry_out, ends, play};
use crate::stage::{HOME, LOGIN, SECRET, STRANGE, Stage, ZONE};

/// The program in target/clients, or the word that it was not run.
pub(crate) fn installed(program: &str) -> Option<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients").join(program);
    let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
    if !file.is_file() {
        said("SKIPPED", &name, "not installed; scripts/install-clients.sh");
        return None;
    }
    said("RAN", &name, "from target/clients");
    Some(file.to_str().expect("a path in UTF-8").to_owned())
}

/// Where a script of PyPI finds the modules that lie beside it.
pub(crate) fn modules(script: &str) -> String {
    let modules = Path::new(script).ancestors().nth(2).expect("bin/ lies beside the modules");
    format!("PYTHONPATH={}", modules.display())
}

async fn python(stage: &Stage, script: &str, arguments: &[&str]) -> Ran {
    stage.run("env", &[&[modules(script).as_str(), "PYTHONIOENCODING=utf-8", script], arguments].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn noipy_where_installed() {
    let Some(script) = installed("pypi/bin/noipy") else { return };
    let mut stage = Stage::new().await;
    let url = stage.url();
    let noipy = async |stage: &Stage, password: &str, host: &str, address: &str| {
        python(stage, &script, &["--url", &url, "-u", LOGIN, "-p", password, "-n", host, address]).await
    };
    let good = "SUCCESS: DNS hostname IP (203.0.113.7) successfully updated.";
    noipy(&stage, SECRET, HOME, "203.0.113.7").await.assert(0, good);
    assert_eq!(stage.served(HOME).await, ["203.0.113.7"]);
    let nochg = "SUCCESS: IP address (203.0.113.7) is up to date, nothing was changed.";
    noipy(&stage, SECRET, HOME, "203.0.113.7").await.assert(0, nochg);
    // Its exit code is 0 whatever the answer; its words are right.
    noipy(&stage, SECRET, STRANGE, "203.0.113.7").await.assert(0, "ERROR: Hostname specified does not exist");
    noipy(&stage, "wrong", HOME, "203.0.113.7").await.assert(0, "ERROR: Invalid username or password (badauth).");
    stage.begin_outage().await;
    noipy(&stage, SECRET, HOME, "203.0.113.8").await.assert(0, "ERROR: Problem on server side. Retry update");
    stage.end_outage().await;
    noipy(&stage, SECRET, HOME, "203.0.113.8").await.assert(0, "(203.0.113.8) successfully updated.");
    assert_eq!(stage.served(HOME).await, ["203.0.113.8"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ddns_where_installed() {
    let Some(script) = installed("pypi/bin/ddns") else { return };
    let mut stage = Stage::new().await;
    let endpoint = format!("http://{}", stage.gateway.http());
    let ddns = async |stage: &Stage, password: &str, family: u8, host: &str| {
        let (domains, rule) = (format!("--ipv{family}"), format!("--index{family}"));
        let arguments = ["--dns=noip", "--endpoint", &endpoint, "--id", LOGIN, "--token", password, "--cache", "cache"];
        python(stage, &script, &[&arguments[..], &[&domains, host, &rule, "shell:cat address"]].concat()).await
    };
    stage.write("address", "203.0.113.7\n");
    ddns(&stage, SECRET, 4, HOME).await.assert(0, "set home.dyn.example[IPv4]: 203.0.113.7 successfully.");
    assert_eq!(ddns(&stage, SECRET, 4, HOME).await.code, Some(0));
    assert_eq!(stage.count("unchanged").await, 0.0, "its cache holds it");
    stage.write("address", "2001:db8::7\n");
    ddns(&stage, SECRET, 6, HOME).await.assert(0, "set home.dyn.example[IPv6]: 2001:db8::7 successfully.");
    assert_eq!(stage.served(HOME).await, ["203.0.113.7", "2001:db8::7"]);
    stage.write("address", "203.0.113.8\n");
    ddns(&stage, SECRET, 4, STRANGE).await.assert(1, "Hostname strange.dyn.example does not exist");
    ddns(&stage, "wrong", 4, HOME).await.assert(1, "Failed to update A record for home.dyn.example");
    // It tries three times in one run.
    stage.begin_outage().await;
    let (script, modules) = (script.as_str(), modules(&script));
    let mut arguments = vec![modules.as_str(), "PYTHONIOENCODING=utf-8", script, "--dns=noip", "--endpoint", &endpoint];
    arguments.extend(["--id", LOGIN, "--token", SECRET, "--ipv4", HOME, "--index4", "shell:cat address"]);
    let running = Program::start("env", &arguments, stage.folder());
    soon("it tries again", async || running.output().contains("HTTP 503 error, retrying in")).await;
    stage.end_outage().await;
    let ran = running.ended(Duration::from_secs(60)).await;
    ran.assert(0, "set home.dyn.example[IPv4]: 203.0.113.8 successfully.");
    assert_eq!(stage.served(HOME).await, ["203.0.113.8", "2001:db8::7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ddns_client_where_installed() {
    if find("node").is_none() {
        return said("SKIPPED", "ddns-client", "no node on PATH");
    }
    let Some(script) = installed("npm/node_modules/.bin/ddns-client") else { return };
    let mut stage = Stage::new().await;
    // It looks the name up first, and gives up where there is none; this server is not in the outage.
    let lines = ["home 60 A 192.0.2.1", "strange 60 A 192.0.2.1"];
    let resolver = Server::start(Kind::Knot, Setup::new().zone_with(ZONE, &lines)).await.unwrap();
    let (url, servers) = (stage.url(), resolver.addr().to_string());
    let update = |stage: &Stage, password: &str, host: &str, address: &str| {
        let start = ["update", host, "-u", LOGIN, "-p", password, "-a", address];
        let places = ["--update-url", &url, "--dns-servers", &servers];
        Program::start("node", &[&[script.as_str()], &start[..], &places].concat(), stage.folder())
    };
    let limit = Duration::from_secs(60);
    update(&stage, SECRET, HOME, "203.0.113.7").ended(limit).await.assert(0, "good 203.0.113.7");
    assert_eq!(stage.served(HOME).await, ["203.0.113.7"]);
    update(&stage, SECRET, HOME, "192.0.2.1").ended(limit).await.assert(0, "");
    assert_eq!(stage.served(HOME).await, ["203.0.113.7"], "the DNS held that already, as far as it knows");
    update(&stage, SECRET, STRANGE, "203.0.113.7").ended(limit).await.assert(1, "Error: nohost");
    // It does not end before we close the idle connection, ten seconds later.
    let refused = update(&stage, "wrong", HOME, "203.0.113.8");
    soon("badauth", async || refused.output().contains("Error: 401 Unauthorized")).await;
    stage.begin_outage().await;
    let down = update(&stage, SECRET, HOME, "203.0.113.8");
    soon("911", async || down.output().contains("Error: 503 Service Unavailable")).await;
    stage.end_outage().await;
    update(&stage, SECRET, HOME, "203.0.113.8").ended(limit).await.assert(0, "good 203.0.113.8");
    assert_eq!(stage.served(HOME).await, ["203.0.113.8"]);
}

/// dyndnsc ends with 0 whatever becomes of it; what it was told stands in its log.
const DYNDNSC: Row = Row {
    protocol: "dyndns2",
    dialect: "dyndns2",
    host: "dyndnsc.dyn.example",
    strange: STRANGE,
    has_callers: false,
    has_ipv6: true,
    has_token: false,
    changed: ends(0, "status 200, good {ip}"),
    unchanged: ends(0, "status 200, nochg {ip}"),
    refused: ends(0, "status 401, badauth"),
    unknown: Some(ends(0, "status 200, nohost")),
    down: ends(0, "status 503, 911"),
};

async fn dyndnsc(script: &str, stage: &Stage, row: &Row, order: Order<'_>) -> Ran {
    let Order { host, secret, address, .. } = order;
    let (updater, server) = (row.protocol, stage.gateway.http());
    let (path, credentials) = match updater {
        "duckdns" => ("/update", format!("updater-token = {secret}")),
        _ => ("/nic/update", format!("updater-userid = {LOGIN}\nupdater-password = {secret}")),
    };
    let text = format!(
        "[dyndnsc]\nconfigs = router\n[router]\nupdater = {updater}\nupdater-hostname = {host}\n{credentials}\n\
         updater-url = http://{server}{path}\ndetector = command\ndetector-command = echo {address}\n"
    );
    stage.write(&format!("{updater}/dyndnsc.ini"), &text);
    // It asks the DNS first what the host has, and no server outside knows of it.
    let (modules, no_wait) = (modules(script), "RES_OPTIONS=attempts:1 timeout:1");
    let arguments = [modules.as_str(), no_wait, script, "-vvv", "-c", "dyndnsc.ini"];
    carry_out(Program::start("env", &arguments, &stage.folder_of(updater)), &order).await
}

#[tokio::test(flavor = "multi_thread")]
async fn dyndnsc_where_installed() {
    let Some(script) = installed("pypi/bin/dyndnsc") else { return };
    let rows = [
        DYNDNSC,
        // It sends the first label alone.
        Row {
            protocol: "duckdns",
            dialect: "duckdns",
            host: "duck.dyn.example",
            changed: ends(0, "status 200, OK"),
            unchanged: ends(0, "status 200, OK"),
            refused: ends(0, "status 200, KO"),
            unknown: Some(ends(0, "status 200, KO")),
            down: ends(0, "status 503, KO"),
            ..DYNDNSC
        },
    ];
    let mut stage = Stage::of_rows("127.0.0.1", (0, 0), &[], &rows).await;
    play(&mut stage, &rows, async |stage, row, order| dyndnsc(&script, stage, row, order).await).await;
}

const FAILED: Says = ends(1, "Failed to update A record for {host}");

/// ddns of PyPI tries three times where it gets 503.
const CALLBACK: Row = Row {
    protocol: "callback",
    dialect: "dyndns2",
    host: "callback.dyn.example",
    strange: STRANGE,
    has_callers: false,
    has_ipv6: false,
    has_token: false,
    changed: ends(0, "set {host}[IPv4]: {ip} successfully."),
    unchanged: ends(0, "set {host}[IPv4]: {ip} successfully."),
    refused: FAILED,
    // It looks at the status alone.
    unknown: Some(ends(0, "set {host}[IPv4]: {ip} successfully.")),
    down: FAILED,
};

async fn ddns(script: &str, stage: &Stage, row: &Row, order: Order<'_>) -> Ran {
    let Order { host, secret, address, .. } = order;
    let server = stage.gateway.http();
    let url =
        format!("--id=http://{server}/nic/update?hostname=__DOMAIN__&myip=__IP__&username={LOGIN}&password={secret}");
    let (endpoint, token) = (format!("--endpoint=http://{server}"), format!("--token={secret}"));
    let places = if row.protocol == "he" { vec![endpoint.as_str(), &token] } else { vec![url.as_str()] };
    let (modules, service, rule) =
        (modules(script), format!("--dns={}", row.protocol), format!("shell:echo {address}"));
    let start = [modules.as_str(), "PYTHONIOENCODING=utf-8", script, &service, "--no-cache"];
    let arguments = [&start[..], &places, &["--ipv4", host, "--index4", &rule]].concat();
    carry_out(Program::start("env", &arguments, &stage.folder_of(row.protocol)), &order).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ddns_with_other_services_where_installed() {
    let Some(script) = installed("pypi/bin/ddns") else { return };
    let rows = [
        CALLBACK,
        // A form with the host's name and its key.
        Row { protocol: "he", host: "he.dyn.example", unknown: Some(FAILED), ..CALLBACK },
    ];
    let mut stage = Stage::of_rows("127.0.0.1", (0, 0), &[], &rows).await;
    play(&mut stage, &rows, async |stage, row, order| ddns(&script, stage, row, order).await).await;
}
