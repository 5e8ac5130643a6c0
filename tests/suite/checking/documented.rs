//! docs/TROUBLESHOOTING.md shows what `check` really prints. `DYNGATE_WRITE_DOCS=1 cargo test --test suite documented`
//! writes it anew.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::pin::Pin;

use lab::{Kind, Server};

use super::{Check, cases};

const INTRODUCTION: &str = "\
# Troubleshooting

`dyngate check --config FILE` opens the store as a gateway would, but only to read; asks every primary of every zone, with the
zone's key, about the names of file and store (20 000 of the store at most); and says what to mend. It changes nothing, unless
`--write` is given: then it adds, reads back and removes a TXT record at `_dyngate-check` in each zone, and addresses of
documentation at up to eight granted names that nobody uses, which shows whether a policy drops what the server acknowledges.
It may run beside the gateway, as the gateway's user or as root, who does not notice a file that the gateway's user may not read.
Exit code: 0 all well (warnings do not count), 2 something found, 64 the configuration is wrong. `--json` prints the same for
programs.

What follows are set-ups that were broken on purpose, and what `check` printed. A test runs them all against BIND 9.18,
Knot DNS 3.2 and PowerDNS 4.7, another (`make test-debian13`) against BIND 9.20, Knot DNS 3.4 and PowerDNS 4.9, and both
compare; only addresses, paths, times and versions are written evenly here.

At the gateway, the log names the same causes: each failed UPDATE is one line with the primary's answer and what to do.
A change that the primary acknowledged and does not serve has one too: another zone there lies over the name (its router
gets `nohost`), or a policy of the primary dropped it (`dnserr`), as PowerDNS' `lua-dnsupdate-policy-script` does.

What a client is told is in the log's `outcome` and `reason`, a line a request:

| a device says | look for | it is |
| --- | --- | --- |
| 404, 405 | `outcome=\"404\"` and its `path`, in which `…` stands for words that no served path has | the URL in the device; [CLIENTS.md](CLIENTS.md) has the right ones |
| 400 without `badip` | `outcome=\"400\"`, `path=\"-\"` | it sends no HTTP (TLS to the plain port, say), a header in two lines, or a blank in the URL |
| `badip` though an address is given | `outcome=\"bad_address\"` | a parameter that is called otherwise, `&amp;` in the URL, a body of JSON: `reason` says which; or a refused address |
| nothing | no line at all | it did not get here: address, port, firewall, or a TLS handshake, which `DYNGATE_LOG=dyngate=debug` shows |
";

type Case = (&'static str, &'static str, Pin<Box<dyn Future<Output = Check>>>);

fn documented() -> Vec<Case> {
    vec![
        ("All is well", "Nothing to do.", Box::pin(cases::all_well(Kind::Bind))),
        (
            "Nobody listens",
            "The name server is stopped, listens elsewhere, or a firewall is between.",
            Box::pin(cases::unreachable()),
        ),
        (
            "It listens and says nothing",
            "The name server hangs, or something else holds the port.",
            Box::pin(cases::no_answer(Kind::Knot)),
        ),
        ("The key is not known (Knot)", "", Box::pin(cases::unknown_key(Kind::Knot))),
        (
            "The key has another algorithm (BIND)",
            "No server tells a wrong algorithm from an unknown key.",
            Box::pin(cases::wrong_algorithm(Kind::Bind)),
        ),
        ("The secret differs (BIND)", "", Box::pin(cases::wrong_secret(Kind::Bind))),
        (
            "The key or its secret is wrong (PowerDNS)",
            "PowerDNS has one answer for both.",
            Box::pin(cases::wrong_secret(Kind::PowerDnsSqlite)),
        ),
        (
            "The clocks are apart (PowerDNS)",
            "PowerDNS does not say so; `check` finds out by asking with a wider fudge.",
            Box::pin(cases::clock(Kind::PowerDnsSqlite, 900)),
        ),
        ("The clocks drift (BIND)", "It works, and not for long.", Box::pin(cases::clock(Kind::Bind, -100))),
        ("The zone is not there (BIND)", "", Box::pin(cases::zone_not_served(Kind::Bind))),
        ("It is a part of the zone above (Knot)", "", Box::pin(cases::parent_served(Kind::Knot))),
        (
            "No right to update, or a secondary (BIND)",
            "BIND answers both with REFUSED.",
            Box::pin(cases::may_not_update(Kind::Bind)),
        ),
        (
            "No right to update (PowerDNS)",
            "A signed REFUSED of PowerDNS has three meanings; each has its line.",
            Box::pin(cases::may_not_update(Kind::PowerDnsSqlite)),
        ),
        ("No right to one of the names (Knot)", "", Box::pin(cases::may_not_update_names(Kind::Knot))),
        (
            "A name that BIND takes no address for",
            "`check-names` is on for primaries by default.",
            Box::pin(cases::check_names()),
        ),
        (
            "Names that would never be served",
            "BIND and Knot take such changes and answer NOERROR. dyngate does not say `good` for them.",
            Box::pin(cases::hidden(Kind::Bind)),
        ),
        (
            "Names in a zone of their own (BIND)",
            "Nothing in the outer zone says so: each server acknowledges the change, and answers from the inner zone.",
            Box::pin(cases::zone_within(Kind::Bind)),
        ),
        (
            "The key may set one family alone (Knot)",
            "A router that sends both addresses gets `dnserr`.",
            Box::pin(cases::one_family(Kind::Knot)),
        ),
        (
            "The key may set addresses alone (BIND)",
            "`mx` and `ptr` of a `[[host]]` need MX and PTR; PTR in the reverse zone.",
            Box::pin(cases::may_not_set(Kind::Bind)),
        ),
        (
            "The key may set no challenge (BIND)",
            "With `[acme] dns01 = true`: whoever wants a certificate gets `dnserr`, in the words of its dialect.",
            Box::pin(cases::no_challenges(Kind::Bind)),
        ),
        (
            "The zone is frozen (Knot)",
            "Knot says otherwise where a right is missing; BIND answers REFUSED to both.",
            Box::pin(cases::frozen()),
        ),
        (
            "A policy drops the change (PowerDNS, with --write)",
            "PowerDNS answers NOERROR for what its policy denies.",
            Box::pin(async { cases::policy(Kind::PowerDnsSqlite, "input:getQType() == 16").await.arg("--write") }),
        ),
        (
            "Others see another view (BIND, with --write)",
            "Not a fault by itself: the question comes from this machine, whose view need not be the public's. A server that\nanswers \
             nobody without the key, a hidden primary, is none.",
            Box::pin(async { cases::other_view().await.arg("--write") }),
        ),
        ("Queries are refused (BIND)", "", Box::pin(cases::no_queries())),
        (
            "A secondary that forwards (PowerDNS, with --write)",
            "Forwarding is on by default there. It cannot be told from a primary without a change.",
            Box::pin(cases::forwards(Kind::PowerDnsSqlite)),
        ),
        ("A secret that everybody may read", "", Box::pin(cases::exposed_secret())),
        (
            "The certificate ends soon",
            "A warning from 14 days before on: programs that renew do it sooner.",
            Box::pin(cases::certificate_expires()),
        ),
        (
            "The certificate has expired",
            "A gateway does not start with it; one that runs keeps the certificate that it has.",
            Box::pin(cases::certificate_expired()),
        ),
        (
            "The certificate is not valid yet",
            "More often than not the clock is wrong.",
            Box::pin(cases::certificate_not_yet_valid()),
        ),
        (
            "Certificate and private key do not belong together",
            "Only one of the two files was replaced.",
            Box::pin(cases::certificate_mismatch()),
        ),
        ("There is no certificate, or it cannot be read", "", Box::pin(cases::certificate_missing())),
        (
            "A file that is not read in time",
            "It is a pipe, or on a server that is away. What runs goes on with what it has, and stops when told to.",
            Box::pin(cases::certificate_not_read()),
        ),
        ("A private key that everybody may read", "", Box::pin(cases::exposed_private_key())),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_docs_show_what_check_prints() {
    let mut text = INTRODUCTION.to_owned();
    for (title, what, case) in documented() {
        let check = case.await;
        let arguments: String = check.arguments.iter().map(|argument| format!(" {argument}")).collect();
        let (code, stdout, path) = check.run(&[]).await;
        let _ = write!(text, "\n## {title}\n\n");
        if !what.is_empty() {
            let _ = write!(text, "{what}\n\n");
        }
        let printed = even(&stdout, &path, &check);
        let code = code.unwrap();
        let _ = write!(text, "```console\n$ dyngate check{arguments}; echo $?\n{printed}{code}\n```\n");
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/TROUBLESHOOTING.md");
    if std::env::var_os("DYNGATE_WRITE_DOCS").is_some() {
        fs::write(&file, &text).unwrap();
    }
    let documented = fs::read_to_string(&file).unwrap();
    for (line, (shown, printed)) in documented.lines().zip(text.lines()).enumerate() {
        assert_eq!(shown, printed, "docs/TROUBLESHOOTING.md line {}", line + 1);
    }
    assert_eq!(documented, text);
}

/// `stdout` with the addresses, paths, versions and times that differ from run to run written evenly.
fn even(stdout: &str, path: &str, check: &Check) -> String {
    let mut text = stdout.replace(path, "/etc/dyngate/gateway.toml");
    if let Some(addr) = check.servers.first().map(Server::addr) {
        text = text.replace(&addr.to_string(), "127.0.0.1:53");
        for (before, after) in
            [("listen-on port ", " {"), ("@", "\n"), ("local-port=", "\n"), ("server 127.0.0.1 ", "\\n")]
        {
            text = text.replace(&format!("{before}{}{after}", addr.port()), &format!("{before}53{after}"));
        }
    }
    if let Some(certificates) = &check.certificates {
        text = text.replace(&certificates.path("").display().to_string(), "/etc/dyngate/");
    }
    let text: String = text.lines().map(|line| format!("{}\n", seconds(&moments(line)))).collect();
    align(&text)
}

/// Moments in UTC: the last one of a line, and any before it.
fn moments(line: &str) -> String {
    let (before, last) = ("2026-11-21T10:50:30Z", "2026-12-01T10:50:30Z");
    let is_moment = |word: &&str| {
        let shape = |(octet, like): (u8, u8)| octet == like || octet.is_ascii_digit() && like.is_ascii_digit();
        word.len() == last.len() && word.bytes().zip(last.bytes()).all(shape)
    };
    // As text they sort as in time.
    let moments: Vec<_> = line.split([' ', ',', ';']).filter(is_moment).collect();
    let latest = moments.iter().max().copied().unwrap_or_default();
    let even = |text: String, moment: &&str| text.replace(*moment, if *moment == latest { last } else { before });
    moments.iter().fold(line.to_owned(), even)
}

/// A clock is read to a second or two, and a change comes back when it does.
fn seconds(line: &str) -> String {
    let mut words: Vec<_> = line.split(' ').map(str::to_owned).collect();
    for at in 0..words.len().saturating_sub(2) {
        if words[at + 1] == "s" && ["ahead", "behind"].contains(&words[at + 2].as_str()) {
            let number: i64 = words[at].parse().unwrap();
            words[at] = ((number + 5) / 10 * 10).to_string();
        }
    }
    words.join(" ")
}

/// The table with the servers' versions cut to what this project is tested with.
fn align(text: &str) -> String {
    let known = [("BIND 9.", "BIND 9.18"), ("Knot DNS 3.", "Knot DNS 3.2"), ("PowerDNS Auth", "PowerDNS 4.7")];
    let mut rows = Vec::new();
    for line in text.lines().skip_while(|line| !line.starts_with("ZONE ")).take_while(|line| !line.is_empty()) {
        let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        let cells =
            cells.map(|cell| known.iter().find(|(start, _)| cell.starts_with(start)).map_or(cell, |(_, name)| name));
        rows.push((line, cells.collect::<Vec<_>>()));
    }
    let width = |column: usize| rows.iter().map(|(_, cells)| cells[column].len()).max().unwrap_or(0);
    let (a, b, c) = if rows.is_empty() { (0, 0, 0) } else { (width(0), width(1), width(2)) };
    rows.iter().fold(text.to_owned(), |text, (line, cells)| {
        text.replace(line, &format!("{:a$}  {:b$}  {:c$}  {}", cells[0], cells[1], cells[2], cells[3]))
    })
}
