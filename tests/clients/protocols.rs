//! Every protocol of Debian's ddclient that can be pointed at the gateway and that it speaks.

use crate::program::{Program, Ran};
use crate::rounds::{Order, Row, Says, carry_out, ends, play};
use crate::stage::{LOGIN, SECRET, STRANGE, Stage};

const REFUSED: Says = ends(1, "FAILED:   updating {host}: authorization failed (HTTP/1.1 401");
/// An answer of 503 is not mentioned at all, and is tried again.
const SILENT: Says = ends(0, "");
const GOOD: Says = ends(0, "SUCCESS:  updating {host}: good: IP address set to {ip}");

const DYNDNS2: Row = Row {
    protocol: "dyndns2",
    dialect: "dyndns2",
    host: "dyndns2.dyn.example",
    strange: STRANGE,
    has_callers: false,
    has_ipv6: true,
    has_token: false,
    changed: GOOD,
    unchanged: ends(0, "WARNING:  updating {host}: nochg: No update required"),
    refused: REFUSED,
    unknown: Some(ends(1, "FAILED:   updating {host}: nohost: The hostname specified does not exist")),
    down: SILENT,
};

const FAMILY: [Row; 7] = [
    DYNDNS2,
    Row { protocol: "noip", host: "noip.dyn.example", ..DYNDNS2 },
    Row { protocol: "woima", host: "woima.dyn.example", ..DYNDNS2 },
    Row {
        protocol: "ovh",
        host: "ovh.dyn.example",
        unchanged: ends(0, "SUCCESS:  updating {host}: skipped: IP address was already set to {ip}."),
        refused: ends(1, "FAILED:   updating {host}: Server said: 'badauth'"),
        unknown: Some(ends(1, "FAILED:   updating {host}: Server said: 'nohost'")),
        // The one that reads the words of any status.
        down: ends(1, "FAILED:   updating {host}: Server said: '911'"),
        ..DYNDNS2
    },
    // It looks at the status alone, and takes `nohost` for done.
    Row {
        protocol: "googledomains",
        host: "googledomains.dyn.example",
        changed: SILENT,
        unchanged: SILENT,
        unknown: Some(SILENT),
        ..DYNDNS2
    },
    // It looks for "success", which nobody else does: what it asks for is done, and it does not believe it.
    Row {
        protocol: "changeip",
        host: "changeip.dyn.example",
        changed: ends(1, "FAILED:   updating {host}: Invalid reply."),
        unchanged: ends(1, "FAILED:   updating {host}: Invalid reply."),
        unknown: Some(ends(1, "FAILED:   updating {host}: Invalid reply.")),
        ..DYNDNS2
    },
    // It looks for JSON, which nobody else does: what it asks for is done, and it does not believe it.
    Row {
        protocol: "njalla",
        host: "njalla.dyn.example",
        has_ipv6: false,
        changed: ends(1, "FAILED:   Unknown response"),
        unchanged: ends(1, "FAILED:   Unknown response"),
        refused: ends(1, "FAILED:   Unknown response"),
        unknown: Some(ends(1, "FAILED:   Unknown response")),
        down: ends(1, "FAILED:   Unknown response"),
        ..DYNDNS2
    },
];

const OWN: [Row; 6] = [
    Row {
        protocol: "duckdns",
        dialect: "duckdns",
        host: "duckdns.dyn.example",
        unchanged: GOOD,
        refused: ends(1, "FAILED:   updating {host}: Server said: 'KO'"),
        unknown: Some(ends(1, "FAILED:   updating {host}: Server said: 'KO'")),
        ..DYNDNS2
    },
    Row {
        protocol: "freemyip",
        dialect: "freemyip",
        host: "freemyip.dyn.example",
        has_ipv6: false,
        has_callers: true,
        unchanged: GOOD,
        refused: ends(1, "FAILED:   updating {host}: Server said: 'ERROR'"),
        unknown: Some(ends(1, "FAILED:   updating {host}: Server said: 'ERROR'")),
        ..DYNDNS2
    },
    Row {
        protocol: "easydns",
        dialect: "easydns",
        host: "easydns.dyn.example",
        changed: ends(0, "SUCCESS:  updating {host}: NOERROR: IP address set to {ip}"),
        unchanged: ends(0, "SUCCESS:  updating {host}: NOERROR: IP address set to {ip}"),
        unknown: Some(ends(1, "FAILED:   updating {host}: NOACCESS: Authentication failed.")),
        ..DYNDNS2
    },
    Row {
        protocol: "zoneedit1",
        dialect: "zoneedit",
        host: "zoneedit1.dyn.example",
        changed: ends(0, "SUCCESS:  updating {host}: IP address set to {ip} (200: "),
        unchanged: ends(0, "SUCCESS:  updating {host}: IP address set to {ip} (201: "),
        unknown: Some(ends(1, "FAILED:   updating {host}: 709: ")),
        ..DYNDNS2
    },
    Row {
        protocol: "namecheap",
        dialect: "namecheap",
        host: "namecheap.dyn.example",
        // The service has IPv4 alone.
        has_ipv6: false,
        unchanged: GOOD,
        refused: ends(1, "FAILED:   updating {host}: Invalid reply."),
        unknown: Some(ends(1, "FAILED:   updating {host}: Invalid reply.")),
        ..DYNDNS2
    },
    Row {
        protocol: "dyndns1",
        dialect: "dyndns1",
        host: "dyndns1.dyn.example",
        changed: ends(0, "SUCCESS:  updating {host}: NOERROR: IP address set to {ip} ("),
        unchanged: ends(0, "SUCCESS:  updating {host}: NOERROR: IP address set to {ip} ("),
        unknown: Some(ends(1, "FAILED:   updating {host}: ")),
        ..DYNDNS2
    },
];

async fn once(stage: &Stage, row: &Row, order: Order<'_>) -> Ran {
    let Row { protocol, .. } = row;
    let Order { host, secret, address, .. } = order;
    let https = stage.gateway.https().expect("a TLS listener");
    let (server, more) = match *protocol {
        // One of them without TLS.
        "woima" => (stage.gateway.http(), "ssl=no"),
        "dyndns2" => (https, "ssl=yes\nscript=/v3/update"),
        "njalla" => (https, "ssl=yes\nusev4=ipv4\nipv4={address}"),
        _ => (https, "ssl=yes"),
    };
    // Namecheap's login is the domain.
    let login = if *protocol == "namecheap" { "dyn.example" } else { LOGIN };
    let authority = stage.authority();
    let more = more.replace("{address}", address);
    let text = format!(
        "protocol={protocol}\n{more}\nssl_ca_file={authority}\nserver={server}\nlogin={login}\npassword={secret}\n\
         use=ip, ip={address}\nmin-interval=0s\nmin-error-interval=0s\n{host}\n"
    );
    stage.write(&format!("{protocol}/ddclient.conf"), &text);
    let arguments = ["-foreground", "-daemon=0", "-force", "-file", "ddclient.conf", "-cache", "cache"];
    carry_out(Program::start("ddclient", &arguments, &stage.folder_of(protocol)), &order).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ddclients_protocols_of_the_family_of_dyndns2() {
    let mut stage = Stage::of_rows("127.0.0.1", (0, 0), &[], &FAMILY).await;
    play(&mut stage, &FAMILY, once).await;
}

/// One element for each host, in their order.
#[tokio::test(flavor = "multi_thread")]
async fn zoneedit1_tells_two_hosts_in_one_request_apart() {
    let rows = [
        Row { protocol: "zoneedit1", ..DYNDNS2 },
        Row { protocol: "zoneedit1", host: "second.dyn.example", ..DYNDNS2 },
    ];
    let stage = Stage::of_rows("127.0.0.1", (0, 0), &[], &rows).await;
    let order = |host, address| Order { host, secret: SECRET, address, until: None };
    let [first, second] = rows;
    let both = format!("{},{}", first.host, second.host);
    let ran = once(&stage, &first, order(&both, "203.0.113.7")).await;
    for host in [first.host, second.host] {
        ran.assert(0, &format!("SUCCESS:  updating {host}: IP address set to 203.0.113.7 (200: "));
        assert_eq!(stage.served(host).await, ["203.0.113.7"]);
    }
    // The second is another's: the first is changed nevertheless.
    let mixed = format!("{},{STRANGE}", first.host);
    let ran = once(&stage, &first, order(&mixed, "203.0.113.8")).await;
    ran.assert(1, &format!("SUCCESS:  updating {}: IP address set to 203.0.113.8 (200: ", first.host));
    ran.assert(1, &format!("FAILED:   updating {STRANGE}: 709: "));
    assert_eq!(stage.served(first.host).await, ["203.0.113.8"]);
    assert!(stage.served(STRANGE).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn ddclients_protocols_with_words_of_their_own() {
    let mut stage = Stage::of_rows("127.0.0.1", (0, 0), &[], &OWN).await;
    play(&mut stage, &OWN, once).await;
}
