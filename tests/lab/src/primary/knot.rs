//! Knot: knotd in the foreground with all its databases in the scratch folder.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::program::{find, folder, write};
use crate::{Error, Key, Kind, Right, Setup};

/// Writes knot.conf and the zones; knotd without `-d` stays in the foreground.
pub(super) fn prepare(scratch: &Path, port: u16, setup: &Setup) -> Result<Command, Error> {
    let program = find("knotd", "knot")?;
    for name in ["zones", "db"] {
        folder(&scratch.join(name))?;
    }
    for zone in setup.zones.iter().filter(|zone| zone.primary.is_none()) {
        write(&scratch.join("zones").join(format!("{}.zone", zone.file_name())), &zone.file())?;
    }
    let file = scratch.join("knot.conf");
    write(&file, &configuration(scratch, port, setup))?;
    let mut command = Command::new(program);
    command.arg("-c").arg(&file).current_dir(scratch);
    Ok(command)
}

fn configuration(scratch: &Path, port: u16, setup: &Setup) -> String {
    let scratch = scratch.display();
    let mut text = format!("server:\n    rundir: \"{scratch}\"\n    listen: 127.0.0.1@{port}\n");
    for line in setup.options_of(Kind::Knot) {
        let _ = writeln!(text, "    {line}");
    }
    // The journal's default size reserves 20 GiB of address space, too much for several servers on a small machine.
    let _ = write!(
        text,
        "control:\n    listen: \"{scratch}/knot.sock\"\n\
         log:\n  - target: stderr\n    any: info\n\
         database:\n    storage: \"{scratch}/db\"\n    journal-db-max-size: 512M\n"
    );
    text.push_str("key:\n");
    for Key { name, algorithm, secret } in &setup.keys {
        let _ = writeln!(text, "  - id: \"{name}\"\n    algorithm: {algorithm}\n    secret: \"{secret}\"");
    }
    let rules: Vec<_> =
        if setup.allow_update { setup.keys.iter().flat_map(|key| rules(key, setup)).collect() } else { vec![] };
    let mut names = vec!["transfer".to_owned()];
    text.push_str("acl:\n  - id: transfer\n    address: 127.0.0.0/8\n    action: transfer\n");
    for (number, rule) in rules.iter().enumerate() {
        let _ = write!(text, "  - id: update-{number}\n{rule}");
        names.push(format!("update-{number}"));
    }
    text.push_str("remote:\n");
    for zone in &setup.zones {
        if let Some(primary) = zone.primary {
            let _ = write!(text, "  - id: {}\n    address: {}@{}\n", zone.name, primary.ip(), primary.port());
        }
    }
    let signing = if setup.signed { "on" } else { "off" };
    let acl = names.join(", ");
    let _ = write!(
        text,
        "template:\n  - id: default\n    storage: \"{scratch}/zones\"\n    file: \"%s.zone\"\n    acl: [{acl}]\n    \
         dnssec-signing: {signing}\nzone:\n"
    );
    for zone in &setup.zones {
        let _ = writeln!(text, "  - domain: {}", zone.name);
        if zone.primary.is_some() {
            let _ = writeln!(text, "    master: {}", zone.name);
        }
    }
    text
}

/// The rules of one key: one for all names, or one for each way that its names match.
fn rules(key: &Key, setup: &Setup) -> Vec<String> {
    let rule = |rest: String| format!("    key: \"{}\"\n    action: update\n{rest}", key.name);
    let Some(rights) = setup.rights_of(key) else { return vec![rule(String::new())] };
    let (mut exact, mut below, mut types) = (vec![], vec![], vec![]);
    for right in rights {
        match right {
            Right::Name(name) => exact.push(format!("{name}.")),
            Right::Below(name) => below.push(format!("{name}.")),
            Right::Type(rtype) => types.push(rule(format!("    update-type: [{rtype}]\n"))),
        }
    }
    let of_names = [("equal", exact), ("sub-or-equal", below)].into_iter().filter(|(_, names)| !names.is_empty()).map(
        |(how, names)| {
            let names = names.join(", ");
            rule(format!("    update-owner: name\n    update-owner-match: {how}\n    update-owner-name: [{names}]\n"))
        },
    );
    of_names.chain(types).collect()
}
