//! Debian's ddupdate: its plugins for services whose dialect the gateway speaks, in a namespace where their names are the
//! gateway. Python's urllib sends credentials when it is asked for them, and closes each connection.

use crate::namespace::{IPV4, inside_with};
use crate::program::{Program, Ran, find, said};
use crate::rounds::{Order, Row, Says, carry_out, ends, play};
use crate::stage::{LOGIN, STRANGE, Stage};

const NAMES: [&str; 7] = [
    "domains.google.com",
    "dyn.dns.he.net",
    "dynupdate.no-ip.com",
    "dynv6.com",
    "nic.changeip.com",
    "www.duckdns.org",
    "www.dy.fi",
];

const DONE: Says = ends(0, "Update OK");

const NO_IP: Row = Row {
    protocol: "no-ip.com",
    dialect: "dyndns2",
    host: "noip.dyn.example",
    strange: STRANGE,
    has_callers: false,
    has_ipv6: false,
    has_token: false,
    changed: DONE,
    unchanged: DONE,
    refused: ends(4, "HTTP Error 401: Unauthorized"),
    // It looks at the status alone.
    unknown: Some(DONE),
    down: ends(4, "HTTP Error 503: Service Unavailable"),
};

const FAMILY: [Row; 5] = [
    NO_IP,
    Row {
        protocol: "dy.fi",
        host: "dyfi.dyn.example",
        has_callers: true,
        unknown: Some(ends(4, "Bad update reply: nohost")),
        ..NO_IP
    },
    // A POST without a body, and all of it in the query.
    Row {
        protocol: "domains.google.com",
        host: "google.dyn.example",
        unknown: Some(ends(4, "Bad server reply: nohost")),
        ..NO_IP
    },
    // It looks for "uccessful", which nobody else does: what it asks for is done, and it does not believe it.
    Row {
        protocol: "changeip.com",
        host: "changeip.dyn.example",
        changed: ends(4, "Bad update reply: good {ip}"),
        unchanged: ends(4, "Bad update reply: nochg {ip}"),
        unknown: Some(ends(4, "Bad update reply: nohost")),
        ..NO_IP
    },
    // A form with the host's name and its key.
    Row {
        protocol: "hurricane_electric",
        host: "he.dyn.example",
        unknown: Some(ends(0, "Server reply: nohost")),
        ..NO_IP
    },
];

const OWN: [Row; 2] = [
    Row {
        protocol: "duckdns.org",
        dialect: "duckdns",
        host: "duck.duckdns.org",
        strange: "strange.duckdns.org",
        refused: ends(4, "Update error, got: KO"),
        unknown: Some(ends(4, "Update error, got: KO")),
        ..NO_IP
    },
    // It wants `auto` for the family that it has no address of.
    Row {
        protocol: "dynv6.com",
        dialect: "dynv6",
        host: "home.dynv6.net",
        strange: "strange.dynv6.net",
        unknown: Some(ends(4, "HTTP Error 404: Not Found")),
        ..NO_IP
    },
];

async fn once(stage: &Stage, row: &Row, order: Order<'_>) -> Ran {
    let Order { host, secret, address, .. } = order;
    let service = row.protocol;
    let machine = match service {
        "no-ip.com" => "dynupdate.no-ip.com",
        "changeip.com" => "nic.changeip.com",
        "dy.fi" => "www.dy.fi",
        "duckdns.org" => "www.duckdns.org",
        "hurricane_electric" => host,
        _ => service,
    };
    stage.write(&format!("{service}/.netrc"), &format!("machine {machine} login {LOGIN} password {secret}\n"));
    let (certificates, given) = (format!("SSL_CERT_FILE={}", stage.authority()), format!("ip={address}"));
    let start = [&certificates, "ddupdate", "-f", "-l", "info", "-H", host, "-s", service, "-a"];
    let plugin = if row.has_callers { &["ip-disabled"][..] } else { &["hardcoded-ip", "-O", &given] };
    let arguments = [&start[..], plugin].concat();
    carry_out(Program::start("env", &arguments, &stage.folder_of(service)), &order).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ddupdates_plugins_of_the_family_of_dyndns2_where_namespaces_are_allowed() {
    run("ddupdate::ddupdates_plugins_of_the_family_of_dyndns2_where_namespaces_are_allowed", &FAMILY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ddupdates_plugins_with_words_of_their_own_where_namespaces_are_allowed() {
    run("ddupdate::ddupdates_plugins_with_words_of_their_own_where_namespaces_are_allowed", &OWN).await;
}

async fn run(test: &str, rows: &[Row]) {
    if find("ddupdate").is_none() {
        return said("SKIPPED", test, "ddupdate is not installed; scripts/install-deps.sh");
    }
    if inside_with(test, &NAMES).await {
        let mut stage = Stage::of_rows(IPV4, (80, 443), &NAMES, rows).await;
        play(&mut stage, rows, once).await;
    }
}
