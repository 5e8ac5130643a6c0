//! The providers that are built into Debian's inadyn, in a namespace where their names are the gateway: each that speaks one
//! of its dialects.

use crate::inadyn::ARGUMENTS;
use crate::namespace::{IPV4, inside_with};
use crate::program::{Program, Ran};
use crate::rounds::{Order, Row, Says, carry_out, ends, goes_on, play};
use crate::stage::{LOGIN, STRANGE, Stage};

/// Where the providers of the rows send their requests.
const NAMES: [&str; 21] = [
    "api.cp.easydns.com",
    "api.dynu.com",
    "carol.selfhost.de",
    "ddnss.de",
    "www.ddnss.de",
    "dns.loopia.se",
    "domains.google.com",
    "dyn.dns.he.net",
    "dynamic.zoneedit.com",
    "dyndns.strato.com",
    "dynupdate.no-ip.com",
    "dynupdate.noip.com",
    "freemyip.com",
    "ipv4.dynv6.com",
    "ipv4.nsupdate.info",
    "members.3322.org",
    "members.dyndns.org",
    "nic.changeip.com",
    "update.spdyn.de",
    "updates.dnsomatic.com",
    "www.duckdns.org",
];

const DONE: Says = ends(0, "Updating cache for {host}");
const COMES_BACK: Says = goes_on("Will retry again in 600 sec");

const DYNDNS: Row = Row {
    protocol: "default@dyndns.org",
    dialect: "dyndns2",
    host: "dyndns.dyn.example",
    strange: STRANGE,
    has_callers: false,
    has_ipv6: false,
    has_token: false,
    changed: DONE,
    unchanged: DONE,
    refused: ends(50, "[401 Unauthorized] badauth"),
    unknown: Some(ends(0, "[200 OK] nohost")),
    down: COMES_BACK,
};

const FAMILY: [Row; 15] = [
    DYNDNS,
    Row { protocol: "default@noip.com", host: "noip.dyn.example", ..DYNDNS },
    Row { protocol: "default@no-ip.com", host: "no-ip.dyn.example", ..DYNDNS },
    Row { protocol: "default@dnsomatic.com", host: "dnsomatic.dyn.example", ..DYNDNS },
    Row { protocol: "default@dynu.com", host: "dynu.dyn.example", ..DYNDNS },
    Row { protocol: "default@domains.google.com", host: "google.dyn.example", ..DYNDNS },
    Row { protocol: "ipv4@nsupdate.info", host: "nsupdate.dyn.example", ..DYNDNS },
    Row { protocol: "default@spdyn.de", host: "spdyn.dyn.example", ..DYNDNS },
    Row { protocol: "dyndns@3322.org", host: "3322.dyn.example", ..DYNDNS },
    Row { protocol: "default@selfhost.de", host: "selfhost.dyn.example", ..DYNDNS },
    Row { protocol: "default@strato.com", host: "strato.dyn.example", ..DYNDNS },
    Row { protocol: "default@changeip.com", host: "changeip.dyn.example", ..DYNDNS },
    Row { protocol: "default@loopia.com", host: "loopia.dyn.example", ..DYNDNS },
    // The host is the login, and its token the password.
    Row {
        protocol: "dyndns@he.net",
        host: "he.dyn.example",
        has_token: true,
        unknown: Some(ends(50, "[401 Unauthorized] badauth")),
        ..DYNDNS
    },
    // It looks for "Updated": what it asks for is done, and it does not believe it.
    Row {
        protocol: "default@ddnss.de",
        host: "ddnss.dyn.example",
        has_callers: true,
        changed: ends(48, "[200 OK] good"),
        unchanged: ends(48, "[200 OK] nochg"),
        unknown: Some(ends(48, "[200 OK] nohost")),
        ..DYNDNS
    },
];

const OWN: [Row; 5] = [
    Row {
        protocol: "default@duckdns.org",
        dialect: "duckdns",
        host: "duck.duckdns.org",
        strange: "strange.duckdns.org",
        refused: ends(48, "[200 OK] KO"),
        unknown: Some(ends(48, "[200 OK] KO")),
        ..DYNDNS
    },
    Row {
        protocol: "default@freemyip.com",
        dialect: "freemyip",
        host: "freemyip.dyn.example",
        has_callers: true,
        refused: ends(48, "[200 OK] ERROR"),
        unknown: Some(ends(48, "[200 OK] ERROR")),
        ..DYNDNS
    },
    // Its default@dynv6.com asks for the caller's IPv6 address over IPv4, and gets none.
    Row {
        protocol: "default@ipv4.dynv6.com",
        dialect: "dynv6",
        host: "home.dynv6.net",
        strange: "strange.dynv6.net",
        has_callers: true,
        refused: ends(50, "[401 Unauthorized] unauthorized"),
        unknown: Some(ends(48, "[404 Not Found] zone not found")),
        ..DYNDNS
    },
    Row {
        protocol: "default@easydns.com",
        dialect: "easydns",
        host: "easydns.dyn.example",
        refused: ends(50, "[401 Unauthorized] NOACCESS"),
        unknown: Some(ends(48, "[200 OK] NOACCESS")),
        ..DYNDNS
    },
    Row {
        protocol: "default@zoneedit.com",
        dialect: "zoneedit",
        host: "zoneedit.dyn.example",
        refused: ends(50, "[401 Unauthorized] <ERROR CODE=\"708\""),
        unknown: Some(ends(48, "[200 OK] <ERROR CODE=\"709\"")),
        ..DYNDNS
    },
];

async fn once(stage: &Stage, row: &Row, order: Order<'_>) -> Ran {
    let Order { host, secret, address, .. } = order;
    let (provider, authority) = (row.protocol, stage.authority());
    // A token is the user or the password, as each of them has it.
    let (username, password) = match provider {
        "default@duckdns.org" | "default@ipv4.dynv6.com" => (secret, "unused"),
        "default@freemyip.com" => ("unused", secret),
        "dyndns@he.net" => (host, secret),
        _ => (LOGIN, secret),
    };
    let text = format!(
        "ca-trust-file = \"{authority}\"\n\
         provider {provider} {{\n\
             username = \"{username}\"\n\
             password = \"{password}\"\n\
             hostname = {host}\n\
             checkip-command = \"cat address\"\n\
         }}\n"
    );
    stage.write(&format!("{provider}/inadyn.conf"), &text);
    stage.write(&format!("{provider}/address"), &format!("{address}\n"));
    let arguments = [&ARGUMENTS[..], &["--once", "--force"]].concat();
    carry_out(Program::start("inadyn", &arguments, &stage.folder_of(provider)), &order).await
}

#[tokio::test(flavor = "multi_thread")]
async fn inadyns_providers_of_the_family_of_dyndns2_where_namespaces_are_allowed() {
    let test = "builtin::inadyns_providers_of_the_family_of_dyndns2_where_namespaces_are_allowed";
    if inside_with(test, &NAMES).await {
        let mut stage = Stage::of_rows(IPV4, (80, 443), &NAMES, &FAMILY).await;
        play(&mut stage, &FAMILY, once).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inadyns_providers_with_words_of_their_own_where_namespaces_are_allowed() {
    let test = "builtin::inadyns_providers_with_words_of_their_own_where_namespaces_are_allowed";
    if inside_with(test, &NAMES).await {
        let mut stage = Stage::of_rows(IPV4, (80, 443), &NAMES, &OWN).await;
        play(&mut stage, &OWN, once).await;
    }
}
