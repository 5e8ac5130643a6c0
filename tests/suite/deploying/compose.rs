//! The parts of docker-compose.yml without Docker: prepare.sh, try.sh, Knot with its knot.conf, the gateways' configurations.
//! The whole of it is tests/docker's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use dyngate::config::Config;
use lab::http::Request;
use lab::{Gateway, query};

use super::{Running, address, command, find, run, swap};
use crate::stage::program;

const PORT: u16 = 15353;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/compose")
}

/// prepare.sh with `secrets` in place of the volume and a group of our own, then what try.sh says of it.
fn prepare(secrets: &Path) -> String {
    let sbin = find("keymgr").expect("scripts/install-deps.sh").parent().unwrap().to_owned();
    let path = std::env::var("PATH").unwrap();
    let group = rustix::process::getgid().as_raw().to_string();
    let mut script = Command::new("sh");
    script.arg(folder().join("prepare.sh")).arg(secrets).arg(group);
    run(script.env("PATH", format!("{path}:{}", sbin.display())).env("DYNGATE_LIMITS", "off"));
    let mut script = Command::new("sh");
    script.arg(folder().join("try.sh")).arg(secrets);
    let published = [("HTTP", "8245"), ("ADMIN", "127.0.0.1:8246"), ("DNS", "127.0.0.1:5353")];
    run(script.envs(published.map(|(name, value)| (format!("DYNGATE_{name}"), value))))
}

async fn knotd(conf: &Path, scratch: &Path) -> Result<Running, lab::Error> {
    let mut knotd = command("knotd");
    knotd.arg("-c").arg(conf);
    let mut knotd = Running::start(knotd, scratch);
    let listen = fs::read_to_string(scratch.join("listen")).unwrap().parse().unwrap();
    knotd
        .until(|| async move { query(listen, "dyn.example", "SOA").await.is_ok_and(|answer| answer.authoritative) })
        .await?;
    Ok(knotd)
}

#[tokio::test(flavor = "multi_thread")]
async fn knot_and_gateway_of_the_compose_file_work_together() {
    let scratch = tempfile::tempdir().unwrap();
    let secrets = scratch.path().join("secrets");
    fs::create_dir(&secrets).unwrap();
    let said = prepare(&secrets);
    let read = |name: &str| fs::read_to_string(secrets.join(name)).unwrap();
    let (key, secret) = (read("gateway-key.key"), read("router1.secret"));
    assert!(said.contains(&format!("login router1, secret {secret}\n")), "{said}");
    assert!(
        said.contains("\ndig +short -p 5353 home.dyn.example @127.0.0.1\ncurl http://127.0.0.1:8246/readyz\n"),
        "{said}"
    );
    assert_eq!(prepare(&secrets), said, "what is there stays");
    assert_eq!((read("gateway-key.key"), read("router1.secret")), (key.clone(), secret.clone()));

    let here = scratch.path().display();
    let conf_file = scratch.path().join("knot.conf");
    let started = lab::elsewhere(async || {
        let listen = address();
        fs::write(scratch.path().join("listen"), format!("{listen}:{PORT}")).unwrap();
        let mut conf = fs::read_to_string(folder().join("knot.conf")).unwrap();
        for (from, to) in [
            ("[ 0.0.0.0@53, \"::@53\" ]", format!("{listen}@{PORT}")),
            ("rundir: /tmp", format!("rundir: {here}")),
            // The journal's default size reserves 20 GiB of address space.
            ("storage: /var/lib/knot", format!("storage: {here}\n    journal-db-max-size: 512M")),
            (" /secrets/", format!(" {}/", secrets.display())),
            (" /compose/", format!(" {}/", folder().display())),
        ] {
            conf = swap(&conf, from, &to);
        }
        fs::write(&conf_file, conf).unwrap();
        run(command("knotc").arg("-c").arg(&conf_file).arg("conf-check"));
        Ok((knotd(&conf_file, scratch.path()).await?, listen))
    });
    let (knot, listen) = started.await.unwrap();

    let toml = read("gateway.toml");
    let toml = swap(&toml, "[\"knot\"]", &format!("[\"{listen}:{PORT}\"]"));
    let toml = swap(&toml, "\"0.0.0.0:8245\", \"[::]:8245\"", "\"127.0.0.1:0\"");
    let toml = swap(&toml, "0.0.0.0:8246", "127.0.0.1:0");
    let toml = swap(&toml, "/var/lib/dyngate/", &format!("{here}/"));
    let gateway = Gateway::builder(program()).config(&toml).file("gateway-key.key", &key).start().await.unwrap();
    let (_, target) = said.split_once("http://127.0.0.1:8245").expect("a line to try");
    let update = Request::get(target.split_once('\'').unwrap().0).basic("router1", &secret);
    let answer = update.send(gateway.http()).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "good 198.51.100.7"), "{}", gateway.log());

    drop(knot);
    let _knot = knotd(&conf_file, scratch.path()).await.unwrap();
    let kept = query((listen, PORT).into(), "home.dyn.example", "A").await.unwrap().addresses();
    assert_eq!(kept, ["198.51.100.7".parse::<std::net::IpAddr>().unwrap()], "the journal outlives the server");
}

#[test]
fn the_configurations_of_the_other_profiles_load() {
    let scratch = tempfile::tempdir().unwrap();
    prepare(scratch.path());
    for (file, words) in
        [("bind.toml", "\"bind\""), ("powerdns.toml", "\"powerdns\""), ("cluster.toml", "proxy_protocol = true")]
    {
        let file = scratch.path().join(file);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(words) && text.contains("source = \"off\""), "{text}");
        Config::load(&file).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    }
    run(command("named-checkconf").arg("-z").arg(named(scratch.path())));
}

/// named.conf with `secrets` in place of the volume, and the zone from where bind.sh copies it.
fn named(secrets: &Path) -> PathBuf {
    let mut text = fs::read_to_string(folder().join("named.conf")).unwrap();
    for (from, to) in [
        ("/secrets/", format!("{}/", secrets.display())),
        ("\"/var/lib/bind\"", format!("{:?}", secrets)),
        ("/var/lib/bind/dyn.example.zone", folder().join("example.zone").display().to_string()),
    ] {
        text = swap(&text, from, &to);
    }
    let file = secrets.join("named.conf");
    fs::write(&file, text).unwrap();
    file
}
