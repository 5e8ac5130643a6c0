//! Debian's inadyn with a `custom` provider for each of the other dialects: a URL of one's own, and the words that it looks for.
//! It sends Basic whatever the URL says.

use crate::inadyn::ARGUMENTS;
use crate::program::{Program, Ran};
use crate::rounds::{Order, Row, Says, carry_out, ends, goes_on, play};
use crate::stage::{LOGIN, STRANGE, Stage};

const DONE: Says = ends(0, "Updating cache for {host}");
const REFUSED: Says = ends(50, "[401 Unauthorized]");

const SPELLING: Row = Row {
    protocol: "ipv64",
    dialect: "dyndns2",
    host: "ipv64.dyn.example",
    strange: STRANGE,
    has_callers: false,
    has_ipv6: true,
    has_token: false,
    changed: DONE,
    unchanged: DONE,
    refused: REFUSED,
    unknown: Some(ends(48, "[200 OK] nohost")),
    down: goes_on("Will retry again in 600 sec"),
};

const FAMILY: [Row; 3] = [
    SPELLING,
    Row { protocol: "desec", host: "desec.dyn.example", has_ipv6: false, ..SPELLING },
    Row {
        protocol: "secret-url",
        dialect: "token",
        host: "secret-url.dyn.example",
        has_token: true,
        unknown: None,
        ..SPELLING
    },
];

const OWN: [Row; 7] = [
    Row {
        protocol: "duckdns",
        dialect: "duckdns",
        host: "duckdns.dyn.example",
        refused: ends(48, "[200 OK] KO"),
        unknown: Some(ends(48, "[200 OK] KO")),
        ..SPELLING
    },
    Row {
        protocol: "duckdns-path",
        dialect: "duckdns",
        host: "duckdns-path.dyn.example",
        refused: ends(48, "[200 OK] KO"),
        unknown: Some(ends(48, "[200 OK] KO")),
        ..SPELLING
    },
    Row {
        protocol: "dynv6",
        dialect: "dynv6",
        host: "dynv6.dyn.example",
        has_ipv6: false,
        unknown: Some(ends(48, "[404 Not Found] zone not found")),
        ..SPELLING
    },
    Row {
        protocol: "namecheap",
        dialect: "namecheap",
        host: "namecheap.dyn.example",
        has_ipv6: false,
        refused: ends(48, "<ErrCount>1</ErrCount>"),
        unknown: Some(ends(48, "<ErrCount>1</ErrCount>")),
        ..SPELLING
    },
    Row {
        protocol: "easydns",
        dialect: "easydns",
        host: "easydns.dyn.example",
        unknown: Some(ends(48, "[200 OK] NOACCESS")),
        ..SPELLING
    },
    Row {
        protocol: "zoneedit",
        dialect: "zoneedit",
        host: "zoneedit.dyn.example",
        unknown: Some(ends(48, "[200 OK] <ERROR CODE=\"709\"")),
        ..SPELLING
    },
    Row {
        protocol: "freedns",
        dialect: "freedns",
        host: "freedns.dyn.example",
        has_token: true,
        unknown: None,
        ..SPELLING
    },
];

async fn once(stage: &Stage, row: &Row, order: Order<'_>) -> Ran {
    let Order { host, secret, address, .. } = order;
    let (server, label) = (stage.gateway.http(), host.split('.').next().unwrap_or_default());
    // Where no login belongs to the secret, inadyn wants one nevertheless.
    let (username, path, responses) = match row.protocol {
        "ipv64" => ("none", "/nic/update?domain=%h&key=%p&ip=%i".to_owned(), ""),
        "desec" => (LOGIN, "/?hostname=%h&myipv4=%i&myipv6=preserve".to_owned(), ""),
        "secret-url" => ("none", format!("/update/{secret}?myip=%i"), ""),
        "duckdns" => ("none", "/update?domains=%h&token=%p&ip=%i".to_owned(), ""),
        "duckdns-path" => ("none", format!("/update/{label}/{secret}/%i"), ""),
        "dynv6" => ("none", "/api/update?hostname=%h&token=%p&ipv4=%i".to_owned(), "\"updated\", \"unchanged\""),
        "namecheap" => {
            let path = format!("/update?host={label}&domain=dyn.example&password=%p&ip=%i");
            ("none", path, "\"<ErrCount>0</ErrCount>\"")
        }
        "easydns" => (LOGIN, "/dyn/generic.php?hostname=%h&myip=%i".to_owned(), ""),
        "zoneedit" => (LOGIN, "/auth/dynamic.html?host=%h&dnsto=%i".to_owned(), "\"SUCCESS\""),
        "freedns" => ("none", format!("/u/{secret}/?address=%i"), "\"Updated\", \"No IP change detected\""),
        unknown => panic!("{unknown}"),
    };
    let responses = if responses.is_empty() { String::new() } else { format!("ddns-response = {{ {responses} }}\n") };
    let text = format!(
        "allow-ipv6 = true\n\
         custom dyngate {{\n\
             ssl = false\n\
             username = \"{username}\"\n\
             password = \"{secret}\"\n\
             hostname = {host}\n\
             ddns-server = \"{server}\"\n\
             ddns-path = \"{path}\"\n\
             {responses}\
             checkip-command = \"echo {address}\"\n\
         }}\n"
    );
    stage.write(&format!("{}/inadyn.conf", row.protocol), &text);
    let arguments = [&ARGUMENTS[..], &["--once", "--force"]].concat();
    carry_out(Program::start("inadyn", &arguments, &stage.folder_of(row.protocol)), &order).await
}

#[tokio::test(flavor = "multi_thread")]
async fn inadyn_custom_with_spellings_of_the_family_of_dyndns2() {
    let mut stage = Stage::of_rows("127.0.0.1", (0, 0), &[], &FAMILY).await;
    play(&mut stage, &FAMILY, once).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inadyn_custom_with_words_of_their_own() {
    let mut stage = Stage::of_rows("127.0.0.1", (0, 0), &[], &OWN).await;
    play(&mut stage, &OWN, once).await;
}
