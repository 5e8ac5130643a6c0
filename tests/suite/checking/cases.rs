//! The broken set-ups, each with a real server where a server plays a part.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use lab::{Key, Kind, Right, Server, Setup, faketime};
use tempfile::TempDir;

use super::Check;
use crate::stage::{Config, ZONE};
use crate::tls::Certificates;

const REVERSE: &str = "113.0.203.in-addr.arpa";

fn key() -> Key {
    Key::generate("gateway-key")
}

async fn start(kind: Kind, setup: Setup) -> Server {
    Server::start(kind, setup).await.expect("the server starts")
}

/// A check against one server with the zone, and a configuration that grants two hosts.
async fn one(kind: Kind, setup: impl FnOnce(&Key) -> Setup, config: impl FnOnce(&mut Config)) -> Check {
    let key = key();
    let server = start(kind, setup(&key)).await;
    let mut written = Config::new(&key, server.addr());
    written.grants = vec!["home.dyn.example", "*.office.dyn.example"];
    config(&mut written);
    Check::new(&written, vec![server])
}

fn served(key: &Key) -> Setup {
    Setup::new().zone(ZONE).key(key)
}

pub(super) async fn all_well(kind: Kind) -> Check {
    one(kind, served, |_| {}).await
}

pub(super) async fn signed(kind: Kind) -> Check {
    one(kind, |key| served(key).signed(), |_| {}).await
}

pub(super) async fn unreachable() -> Check {
    let mut check = all_well(Kind::Knot).await;
    check.servers[0].stop().await.unwrap();
    check
}

pub(super) async fn no_answer(kind: Kind) -> Check {
    let mut check = one(kind, served, |config| config.more = "[engine]\ndeadline = \"1s\"".to_owned()).await;
    check.servers[0].pause().await.unwrap();
    check
}

pub(super) async fn unknown_key(kind: Kind) -> Check {
    one(kind, |_| Setup::new().zone(ZONE), |_| {}).await
}

pub(super) async fn wrong_algorithm(kind: Kind) -> Check {
    one(kind, |key| served(&Key::new(&key.name, "hmac-sha512", &key.secret)), |_| {}).await
}

pub(super) async fn wrong_secret(kind: Kind) -> Check {
    one(kind, |key| served(&Key::generate(&key.name)), |_| {}).await
}

pub(super) async fn clock(kind: Kind, offset: i64) -> Check {
    all_well(kind).await.env(faketime(offset).unwrap())
}

pub(super) async fn zone_not_served(kind: Kind) -> Check {
    one(kind, |key| Setup::new().zone("other.example").key(key), |_| {}).await
}

pub(super) async fn parent_served(kind: Kind) -> Check {
    one(kind, |key| Setup::new().zone("example").key(key), |_| {}).await
}

pub(super) async fn no_queries() -> Check {
    let setup = |key: &Key| served(key).option(Kind::Bind, "allow-query { !key gateway-key; any; };");
    one(Kind::Bind, setup, |_| {}).await
}

pub(super) async fn may_not_update(kind: Kind) -> Check {
    one(kind, |key| served(key).allow_update(false), |_| {}).await
}

pub(super) async fn may_not_update_names(kind: Kind) -> Check {
    let rights = [Right::Below("office.dyn.example".to_owned())];
    one(kind, |key| served(key).restrict(key, &rights), |_| {}).await
}

pub(super) async fn may_update_other_names(kind: Kind) -> Check {
    let rights = [Right::Below("elsewhere.dyn.example".to_owned())];
    one(kind, |key| served(key).restrict(key, &rights), |_| {}).await
}

pub(super) async fn may_not_update_from_here() -> Check {
    let setup = |key: &Key| served(key).option(Kind::PowerDnsSqlite, "allow-dnsupdate-from=192.0.2.0/24");
    one(Kind::PowerDnsSqlite, setup, |_| {}).await
}

pub(super) async fn check_names() -> Check {
    one(Kind::Bind, served, |config| config.grants = vec!["home.dyn.example", "_x.dyn.example"]).await
}

pub(super) async fn hidden(kind: Kind) -> Check {
    let lines = ["home IN CNAME www.example.net.", "office IN NS ns.example.net.", "old IN DNAME new.example."];
    one(
        kind,
        |key| Setup::new().zone_with(ZONE, &lines).key(key),
        |config| config.grants.extend(["ns1.dyn.example", "cam.old.dyn.example"]),
    )
    .await
}

/// A secondary that forwards, with its primary behind it.
pub(super) async fn forwards(kind: Kind) -> Check {
    let key = key();
    let primary = start(Kind::Bind, served(&key)).await;
    let secondary = start(kind, Setup::new().secondary(ZONE, primary.addr()).key(&key)).await;
    let mut config = Config::new(&key, secondary.addr());
    config.more = "[engine]\ndeadline = \"2s\"".to_owned();
    Check::new(&config, vec![secondary, primary]).arg("--write")
}

const DAY: Duration = Duration::from_secs(86_400);

/// The files alone: a certificate that is valid for so long, with what `spoil` does to it and its key.
fn certificate(valid: Duration, spoil: impl FnOnce(&Certificates)) -> Check {
    let certificates = Certificates::new();
    certificates.renew(valid);
    spoil(&certificates);
    let mut config = Config::new(&key(), ([127, 0, 0, 1], 53).into());
    config.more = certificates.section("[\"127.0.0.1:0\"]");
    Check::new(&config, Vec::new()).certificates(certificates).arg("--offline")
}

pub(super) async fn certificate_expires() -> Check {
    certificate(10 * DAY, |_| {})
}

pub(super) async fn certificate_expired() -> Check {
    certificate(90 * DAY, |_| {}).env(faketime(200 * 86_400).unwrap())
}

/// It is issued 100 days back.
pub(super) async fn certificate_not_yet_valid() -> Check {
    certificate(90 * DAY, |_| {}).env(faketime(-200 * 86_400).unwrap())
}

pub(super) async fn certificate_mismatch() -> Check {
    certificate(90 * DAY, |certificates| certificates.put("privkey.pem", &certificates.issue(90 * DAY).1))
}

pub(super) async fn certificate_missing() -> Check {
    certificate(90 * DAY, |certificates| fs::remove_file(certificates.path("fullchain.pem")).unwrap())
}

pub(super) async fn certificate_not_read() -> Check {
    certificate(90 * DAY, |certificates| crate::unreadable::fifo(&certificates.path("fullchain.pem")))
}

pub(super) async fn exposed_private_key() -> Check {
    certificate(90 * DAY, |certificates| {
        fs::set_permissions(certificates.path("privkey.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    })
}

pub(super) async fn exposed_secret() -> Check {
    all_well(Kind::Knot).await.mode(0o644)
}

/// A zone within the zone on the same server, and no delegation to it.
pub(super) async fn zone_within(kind: Kind) -> Check {
    one(kind, |key| served(key).zone("office.dyn.example"), |_| {}).await
}

/// The same with its delegation.
pub(super) async fn delegated_to_itself(kind: Kind) -> Check {
    let lines = ["office IN NS ns1.office"];
    one(kind, |key| Setup::new().zone_with(ZONE, &lines).zone("office.dyn.example").key(key), |_| {}).await
}

/// A PowerDNS whose policy answers so; for what it refuses, the server says NOERROR.
pub(super) async fn policy(kind: Kind, returns: &str) -> Check {
    let folder = TempDir::new().unwrap();
    let script = folder.path().join("policy.lua");
    fs::write(&script, format!("function updatepolicy(input)\n    return {returns}\nend\n")).unwrap();
    let line = format!("lua-dnsupdate-policy-script={}", script.display());
    one(kind, |key| served(key).option(kind, &line), |_| {}).await.folder(folder)
}

pub(super) async fn other_view() -> Check {
    one(Kind::Bind, |key| served(key).views(), |_| {}).await
}

pub(super) async fn one_family(kind: Kind) -> Check {
    let rights = [Right::Type("A")];
    one(kind, |key| served(key).restrict(key, &rights), |_| {}).await
}

/// A host with mail servers and PTR records, and the reverse zone for these.
fn with_mail_and_pointers(config: &mut Config) {
    let primary = config.primaries[0];
    config.more = format!(
        "[[host]]\nname = \"home.dyn.example\"\nmx = [\"mail.dyn.example\"]\nptr = true\nwildcard = true\n\
         [[zone]]\nname = \"{REVERSE}\"\nkey = \"gateway-key\"\nprimaries = [\"{primary}\"]\n"
    );
}

pub(super) async fn mail_and_pointers(kind: Kind) -> Check {
    one(kind, |key| served(key).zone(REVERSE), with_mail_and_pointers).await
}

pub(super) async fn may_not_set(kind: Kind) -> Check {
    let rights = [Right::Type("A"), Right::Type("AAAA")];
    one(kind, |key| served(key).zone(REVERSE).restrict(key, &rights), with_mail_and_pointers).await
}

pub(super) async fn may_not_set_pointers(kind: Kind) -> Check {
    let rights = [Right::Below(ZONE.to_owned())];
    one(kind, |key| served(key).zone(REVERSE).restrict(key, &rights), with_mail_and_pointers).await
}

pub(super) async fn no_challenges(kind: Kind) -> Check {
    // Knot goes by one of its rules for a whole message.
    let rights = match kind {
        Kind::Knot => [Right::Name("home.dyn.example".to_owned()), Right::Below("office.dyn.example".to_owned())],
        _ => [Right::Type("A"), Right::Type("AAAA")],
    };
    let on = |config: &mut Config| config.more = "[acme]\ndns01 = true\n".to_owned();
    one(kind, |key| served(key).restrict(key, &rights), on).await
}

pub(super) async fn frozen() -> Check {
    let check = all_well(Kind::Knot).await;
    let socket = check.servers[0].folder().join("knot.sock");
    let freeze = std::process::Command::new("knotc").arg("-s").arg(socket).args(["-b", "zone-freeze", ZONE]).output();
    let freeze = freeze.unwrap();
    assert!(freeze.status.success(), "{}", String::from_utf8_lossy(&freeze.stderr));
    check
}
