//! docs/OPERATING.md shows a session that really happened. `DYNGATE_WRITE_DOCS=1 cargo test --test suite documented`
//! writes it anew.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lab::{Gateway, Key, Kind, Postgres, Server, Setup};
use tempfile::TempDir;

use crate::stage::{ZONE, program};

/// What secrets and tokens are written as, in the order of their appearance.
const EXAMPLES: [&str; 4] = [
    "mzxw-6ytb-oi2x-g5dp-nrxw-k3tf-ojsx-g2lp",
    "n5xg-k3df-nzzs-a5dp-mnuw-42lo-ovzx-i4dp",
    "pfxx-k4tt-mvrx-ezlu-orxw-wzlo-nfxg-c3db",
    "orsx-g5dj-nztq-a3dp-mnuw-42lo-ovzx-k4tf",
];

/// Changes of commands are in force after so long.
const IN_FORCE: Duration = Duration::from_secs(2);

enum Step {
    /// Text between the blocks.
    Say(&'static str),
    /// A command, as it stands in the text.
    Run(&'static str),
    /// What the reader does anyhow.
    Wait,
}

use Step::{Run, Say, Wait};

const SESSION: &[Step] = &[
    Say("\
# Operating: accounts and hosts that live

What stands in `gateway.toml` is declared: it is shown by the commands below, and changed in the file alone. Accounts and
hosts of the **store** are added, changed and removed while gateways run, by these commands; every gateway on the store
follows within 2 s. The store is an SQLite file or a PostgreSQL database:

```toml
[store]
url = \"sqlite:/var/lib/dyngate/dyngate.db\"
```

What follows is a session. A test runs it, from the first command to the last, and compares what is printed; only secrets,
ports and times are written evenly here. `--config FILE` names the configuration, as everywhere, and `--json` prints the same
for scripts. Exit code: 0 done; 64 it cannot be so, and the text says what would be right; 1 the store or the primary does
not serve now, and the same command may work later. No command asks back. Commands that only read never make, migrate or change
a store: where there is none yet, or one of an older version, they say so and end with 1. Each change is a line in the log of each gateway
that runs on the store, with who made it: the Unix user of the command, and who became that with sudo.

## A customer and three hosts
"),
    Run("dyngate account add alice"),
    Run("dyngate host add home.dyn.example --account alice --description 'Fibre, ground floor'"),
    Run("dyngate host add cabin.dyn.example --account alice --ttl 300"),
    Run("dyngate host add boat.dyn.example --account alice"),
    Run("dyngate account show alice"),
    Say("
The secret is shown this once: the store keeps a digest. `--password-stdin` takes a password that was chosen elsewhere, and
keeps its argon2id hash. `dyngate account add alice --host home.dyn.example` adds account and host at once, and
`dyngate account grant alice '*.alice.dyn.example'` grants everything below a name.

Before a name is given away, a primary of its zone is asked. A name at a CNAME record or below a delegation is refused, since
its address would never be served. So is a name that has addresses already, until `--adopt` says that they may be replaced. If
no primary answers, nothing is added: nobody could tell then, and a host that is taken over by accident is worse than one
that comes an hour later. Wildcards can be granted all the same.

## A URL for a device that knows no password

`dyngate client-config home.dyn.example --for url` prints the whole URL, with the gateway's address in it.
"),
    Run("dyngate host token home.dyn.example"),
    Wait,
    Run("curl 'http://127.0.0.1:8245/update/n5xg-k3df-nzzs-a5dp-mnuw-42lo-ovzx-i4dp?myip=203.0.113.7'"),
    Run("curl -u alice:mzxw-6ytb-oi2x-g5dp-nrxw-k3tf-ojsx-g2lp \\\n  'http://127.0.0.1:8245/nic/update?hostname=cabin.dyn.example&myip=203.0.113.8'"),
    Say("
## What a host points to, and when its router last called
"),
    Wait,
    Run("dyngate host show home.dyn.example"),
    Run("dyngate host list"),
    Say("
`last update` is when the address changed, `last seen` when the router called, whatever became of it. Both are written at most a
second late, and never keep a router waiting.

Names that a router brought into being below a wildcard follow at the end of the list, with `wildcard` for their state. They have
no settings of their own until they are granted by name.

`dyngate host set home.dyn.example --families ipv6` forbids a family: its record leaves the zone as after `host remove`, through the
running gateway or at its next start, and the command says which.

## A new URL without a gap

The old one goes on serving for as long as `--keep-old` says; without it, it is dead at once. `dyngate account rotate` does
the same for an account's secret.
"),
    Run("dyngate host token home.dyn.example --keep-old 1h"),
    Wait,
    Run("curl 'http://127.0.0.1:8245/update/n5xg-k3df-nzzs-a5dp-mnuw-42lo-ovzx-i4dp?myip=203.0.113.9'"),
    Run("curl 'http://127.0.0.1:8245/update/pfxx-k4tt-mvrx-ezlu-orxw-wzlo-nfxg-c3db?myip=203.0.113.9'"),
    Say("
## Hosts behind a router

A host may follow another: it takes the IPv6 prefix that the other one's router reports, with bits of its own. One request moves all
that follow, in one UPDATE for each zone. [CONFIG.md](CONFIG.md#followers) says which ids serve, and what a router is to send.
"),
    Run("dyngate host set boat.dyn.example --follow home.dyn.example --interface-id ::10"),
    Wait,
    Run("curl -u alice:mzxw-6ytb-oi2x-g5dp-nrxw-k3tf-ojsx-g2lp \\\n  'http://127.0.0.1:8245/nic/update?hostname=home.dyn.example&myip=203.0.113.9&ip6lanprefix=2001:db8:1:2300::/56'"),
    Wait,
    Run("dyngate host show boat.dyn.example"),
    Run("dyngate host set home.dyn.example --follow cabin.dyn.example --interface-id ::1; echo $?"),
    Say("
`--follow ''` ends it, and so does a new account, or the end, of one of the two.

## Blocking
"),
    Wait,
    Run("dyngate host block home.dyn.example --reason 'abuse report 4711'"),
    Wait,
    Run("curl 'http://127.0.0.1:8245/update/pfxx-k4tt-mvrx-ezlu-orxw-wzlo-nfxg-c3db?myip=203.0.113.10'"),
    Wait,
    Run("dyngate host unblock home.dyn.example --json"),
    Wait,
    Run("curl 'http://127.0.0.1:8245/update/pfxx-k4tt-mvrx-ezlu-orxw-wzlo-nfxg-c3db?myip=203.0.113.10'"),
    Wait,
    Run("dyngate host history home.dyn.example"),
    Say("
## Giving a host to another account

Its records, settings and history stay as they are, but it follows no host and none follows it; its old URLs are taken back, for
its former account knows them.
"),
    Run("dyngate account add bob"),
    Run("dyngate host move boat.dyn.example --to bob"),
    Say("
## Removing

A running gateway takes the records out of the zone; where none runs, or its primary is down, that waits until it can be
done, and the command says so. `--keep-records` leaves them. The same holds for `host add --address`.
`dyngate account remove` removes an account with all its hosts.
"),
    Run("dyngate host remove cabin.dyn.example"),
    Run("dyngate host remove nowhere.dyn.example; echo $?"),
    Say("
## When the primary was away

Routers are answered `911` then, and what they ask for is kept for an hour (`[engine] defer`), the newest of each host. The log says once for each
zone that changes are pending, and once, when the primary is back, how many were done, how many were dropped, and how long it took; a line for each that was
dropped says why. `dyngate_deferred_changes` counts them meanwhile, and `/readyz` names them:

```text
zone dyn.example: 127.0.0.1:53: Connection refused (os error 111)
zone dyn.example: 17 changes are pending
```

Nothing is to be done. A host's history shows such a change at the moment when the primary took it, with the source and the agent of the router that asked
for it. A host that is blocked or removed before then is left alone.

A row of the store that somebody's hand or a failing disk spoiled stops nothing else: its account or its host is answered `911`, the
log and each list name it, and an export leaves it out. `dyngate account remove` or `dyngate host remove` takes it away, to be added anew.

## Moving to PostgreSQL

An export holds accounts, hosts, tokens and what was last seen, as JSON lines of one moment, secrets as digests. Its file is readable by
its owner alone, and is written whole or not at all; it is also the way to make a backup. An import is applied whole or not at
all: a line that is wrong, and a name that is there already, is named. `gateway-2.toml` here is the same configuration with
`url = \"postgres://…\"`.
"),
    Run("dyngate export dyngate.jsonl"),
    Run("dyngate import dyngate.jsonl --config gateway-2.toml"),
    Say("
Several gateways may share a PostgreSQL. Two of them run now, on the ports 8247 and 8248. What one has written, the other knows,
and what a command changes is in force in both within 2 s:
"),
    Run("curl 'http://127.0.0.1:8247/update/pfxx-k4tt-mvrx-ezlu-orxw-wzlo-nfxg-c3db?myip=203.0.113.11'"),
    Run("curl 'http://127.0.0.1:8248/update/pfxx-k4tt-mvrx-ezlu-orxw-wzlo-nfxg-c3db?myip=203.0.113.11'"),
    Run("dyngate host token home.dyn.example --revoke --config gateway-2.toml"),
    Wait,
    Run("curl 'http://127.0.0.1:8247/update/pfxx-k4tt-mvrx-ezlu-orxw-wzlo-nfxg-c3db?myip=203.0.113.12'"),
    Run("curl 'http://127.0.0.1:8248/update/pfxx-k4tt-mvrx-ezlu-orxw-wzlo-nfxg-c3db?myip=203.0.113.12'"),
];

struct Session {
    folder: TempDir,
    secrets: Vec<String>,
    /// As written, and as it is.
    ports: Vec<(String, String)>,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_docs_show_a_session_as_it_goes() {
    let key = Key::generate("gateway-key");
    let setup = Setup::new().key(&key).zone(ZONE);
    let (primary, postgres) = tokio::join!(Server::start(Kind::Knot, setup), Postgres::start());
    let (primary, postgres) = (primary.expect("Knot starts"), postgres.expect("a PostgreSQL"));
    let mut session = Session { folder: TempDir::new().unwrap(), secrets: Vec::new(), ports: Vec::new() };
    let toml = |url: &str| {
        format!(
            "{}\n[[zone]]\nname = \"{ZONE}\"\nkey = \"{}\"\nprimaries = [\"{}\"]\n\n[store]\nurl = \"{url}\"\n\n\
             [http]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n",
            key.toml(),
            key.name,
            primary.addr(),
        )
    };
    let file = format!("sqlite:{}", session.folder.path().join("dyngate.db").display());
    // As a router: one name of its own, nothing but the answer.
    let router = "user-agent = \"router/1.0\"\nsilent\nwrite-out = \"\\n\"\n";
    fs::write(session.folder.path().join(".curlrc"), router).unwrap();
    fs::write(session.folder.path().join("gateway.toml"), toml(&file)).unwrap();
    fs::write(session.folder.path().join("gateway-2.toml"), toml(&postgres.url())).unwrap();
    let gateway = session.gateway("8245", &toml(&file)).await;

    let mut text = String::new();
    let mut is_open = false;
    let mut others = Vec::new();
    for step in SESSION {
        match step {
            Say(words) => {
                text.push_str(if is_open { "```\n" } else { "" });
                is_open = false;
                text.push_str(words);
            }
            Run(command) => {
                if command.contains("8247") && others.is_empty() {
                    others.push(session.gateway("8247", &toml(&postgres.url())).await);
                    others.push(session.gateway("8248", &toml(&postgres.url())).await);
                }
                text.push_str(if is_open { "" } else { "\n```console\n" });
                is_open = true;
                text.push_str(&session.run(command).await);
            }
            Wait => tokio::time::sleep(IN_FORCE).await,
        }
    }
    text.push_str("```\n");
    let home = primary.addresses("home.dyn.example").await.unwrap();
    assert_eq!(home, ["203.0.113.11".parse::<std::net::IpAddr>().unwrap()], "the zone holds what the session says");
    let is_gone = primary.addresses("cabin.dyn.example").await.unwrap().is_empty();
    assert_eq!(is_gone, text.contains("its records: gone from the zone"), "the command told the truth");
    drop((gateway, others));

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/OPERATING.md");
    if std::env::var_os("DYNGATE_WRITE_DOCS").is_some() {
        fs::write(&file, &text).unwrap();
    }
    let documented = fs::read_to_string(&file).unwrap();
    for (line, (shown, printed)) in documented.lines().zip(text.lines()).enumerate() {
        assert_eq!(shown, printed, "docs/OPERATING.md line {}", line + 1);
    }
    assert_eq!(documented, text);
}

impl Session {
    async fn gateway(&mut self, port: &str, toml: &str) -> Gateway {
        let gateway = Gateway::builder(program()).config(toml).start().await.expect("the gateway starts");
        self.ports.push((format!("127.0.0.1:{port}"), gateway.http().to_string()));
        gateway
    }

    /// The command and what it prints, as they are written.
    async fn run(&mut self, written: &str) -> String {
        let mut command = written.to_owned();
        for (example, real) in EXAMPLES.iter().zip(&self.secrets) {
            command = command.replace(example, real);
        }
        for (written, real) in &self.ports {
            command = command.replace(written, real);
        }
        let folders = format!("{}:{}", program().parent().unwrap().display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec 2>&1; {command}")]).current_dir(self.folder.path());
        shell.env("PATH", folders).env("DYNGATE_CONFIG", "gateway.toml").env("CURL_HOME", self.folder.path());
        let output = tokio::task::spawn_blocking(move || shell.output().unwrap()).await.unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{command}: {printed}");
        format!("$ {written}\n{}", self.even(&printed))
    }

    /// Secrets, times and ages written evenly.
    fn even(&mut self, printed: &str) -> String {
        for secret in secrets(printed) {
            if !self.secrets.contains(&secret) {
                self.secrets.push(secret);
            }
        }
        let mut text = printed.to_owned();
        for (example, real) in EXAMPLES.iter().zip(&self.secrets) {
            text = text.replace(real, example);
        }
        text.lines().map(|line| format!("{}\n", times(&ages(line)))).collect()
    }
}

/// Eight groups of four, with `-` between.
fn secrets(text: &str) -> Vec<String> {
    let is_secret = |text: &&str| {
        let groups: Vec<_> = text.split('-').collect();
        let is_group = |group: &&str| group.len() == 4 && group.bytes().all(|c| matches!(c, b'a'..=b'z' | b'2'..=b'7'));
        groups.len() == 8 && groups.iter().all(is_group)
    };
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).filter(is_secret).map(str::to_owned).collect()
}

/// A moment becomes one of the same length.
fn times(line: &str) -> String {
    const MOMENT: &str = "2026-11-21T10:50:30";
    let is_moment = |text: &str| {
        text.bytes().zip(MOMENT.bytes()).all(|(a, b)| if b.is_ascii_digit() { a.is_ascii_digit() } else { a == b })
    };
    let mut text = line.to_owned();
    for at in 0..line.len().saturating_sub(MOMENT.len()) {
        if text.get(at..at + MOMENT.len()).is_some_and(is_moment) {
            text.replace_range(at..at + MOMENT.len(), MOMENT);
            let rest = at + MOMENT.len();
            if text.get(rest..=rest) == Some(".") {
                text.replace_range(rest + 1..rest + 4, "000");
            }
        }
    }
    text
}

/// An age becomes "just now", and what follows in a table stays where it is.
fn ages(line: &str) -> String {
    const NOW: &str = "just now";
    let mut text = line.to_owned();
    for unit in [" s ago", " min ago"] {
        while let Some(at) = text.find(unit) {
            let start = text[..at].rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
            let mut end = at + unit.len();
            while end - start < NOW.len() && text[end..].starts_with("   ") {
                end += 1;
            }
            text.replace_range(start..end, NOW);
        }
    }
    text
}
