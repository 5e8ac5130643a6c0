//! BIND: named as a plain child that touches nothing outside its scratch folder.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::{find, folder, write};
use crate::{Error, Kind, Right, Setup, Zone};

/// Writes named.conf and the zones; runs `named -g`, which stays in the foreground and logs to standard error.
pub(super) fn prepare(scratch: &Path, port: u16, setup: &Setup) -> Result<Command, Error> {
    let program = unconfined(find("named", "bind9")?, scratch)?;
    for name in ["zones", "keys"] {
        folder(&scratch.join(name))?;
    }
    for zone in &setup.zones {
        if zone.primary.is_none() {
            write(&scratch.join("zones").join(zone.file_name()), &zone.file())?;
            write(&scratch.join("zones").join(format!("public-{}", zone.file_name())), &zone.file())?;
        }
    }
    let file = scratch.join("named.conf");
    write(&file, &configuration(&program, scratch, port, setup))?;
    let mut command = Command::new(program);
    command.arg("-g").arg("-c").arg(&file).current_dir(scratch);
    Ok(command)
}

/// Debian's AppArmor profile ties /usr/sbin/named to its own folders; a copy elsewhere is not tied.
fn unconfined(program: PathBuf, scratch: &Path) -> Result<PathBuf, Error> {
    let profile = Path::new("/etc/apparmor.d/usr.sbin.named").exists();
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'));
    if !(profile && enabled) {
        return Ok(program);
    }
    let copy = scratch.join("named");
    fs::copy(&program, &copy).map_err(Error::io(format!("copy {}", program.display())))?;
    Ok(copy)
}

/// Several of BIND 9.18 would share one lock file; 9.20 has none, and takes the option for a mistake.
fn lock_file(program: &Path) -> &'static str {
    let said = Command::new(program).arg("-v").output().map(|output| output.stdout).unwrap_or_default();
    if String::from_utf8_lossy(&said).starts_with("BIND 9.18.") { "\tlock-file none;\n" } else { "" }
}

fn configuration(program: &Path, scratch: &Path, port: u16, setup: &Setup) -> String {
    let (scratch, lock_file) = (scratch.display(), lock_file(program));
    let mut text = format!(
        "controls {{ }};\n\
         options {{\n\
         \tdirectory \"{scratch}\";\n\
         \tmanaged-keys-directory \"{scratch}\";\n\
         \tkey-directory \"{scratch}/keys\";\n\
         \tpid-file none;\n\
         {lock_file}\
         \tsession-keyfile \"{scratch}/session.key\";\n\
         \tlisten-on port {port} {{ 127.0.0.1; }};\n\
         \tlisten-on-v6 {{ none; }};\n\
         \trecursion no;\n\
         \tdnssec-validation no;\n\
         \tnotify no;\n\
         \tallow-transfer {{ 127.0.0.0/8; }};\n"
    );
    for line in setup.options_of(Kind::Bind) {
        let _ = writeln!(text, "\t{line}");
    }
    text.push_str("};\n");
    for key in &setup.keys {
        let _ = writeln!(text, "key \"{}\" {{ algorithm {}; secret \"{}\"; }};", key.name, key.algorithm, key.secret);
    }
    if setup.views {
        let keys: String = setup.keys.iter().map(|key| format!(" key \"{}\";", key.name)).collect();
        let _ = writeln!(text, "view \"inside\" {{\n\tmatch-clients {{{keys} }};");
    }
    for zone in &setup.zones {
        let (name, file) = (&zone.name, zone.file_name());
        if let Some(primary) = zone.primary {
            let (address, port) = (primary.ip(), primary.port());
            let _ = writeln!(
                text,
                "zone \"{name}\" {{\n\ttype secondary;\n\tfile \"zones/{file}\";\n\t\
                 primaries {{ {address} port {port}; }};\n\tallow-update-forwarding {{ any; }};\n}};"
            );
            continue;
        }
        let _ = writeln!(text, "zone \"{name}\" {{\n\ttype primary;\n\tfile \"zones/{file}\";");
        if setup.signed {
            text.push_str("\tdnssec-policy default;\n\tinline-signing yes;\n");
        }
        if setup.allow_update {
            text.push_str(&rights(zone, setup));
        }
        text.push_str("};\n");
    }
    if setup.views {
        text.push_str("};\nview \"public\" {\n");
        for Zone { name, .. } in &setup.zones {
            let _ = writeln!(text, "zone \"{name}\" {{ type primary; file \"zones/public-{name}\"; }};");
        }
        text.push_str("};\n");
    }
    text
}

/// `allow-update` where every key may do everything, else `update-policy`: a zone takes only one of the two.
fn rights(zone: &Zone, setup: &Setup) -> String {
    if setup.rights.is_empty() {
        let keys: String = setup.keys.iter().map(|key| format!(" key \"{}\";", key.name)).collect();
        return format!("\tallow-update {{{keys} }};\n");
    }
    let mut text = "\tupdate-policy {\n".to_owned();
    for key in &setup.keys {
        let Some(rights) = setup.rights_of(key) else {
            let _ = writeln!(text, "\t\tgrant {} zonesub ANY;", key.name);
            continue;
        };
        for right in rights {
            let (rule, name) = match right {
                Right::Name(name) => ("name", name),
                Right::Below(name) => ("subdomain", name),
                Right::Type(rtype) => {
                    let _ = writeln!(text, "\t\tgrant {} zonesub {rtype};", key.name);
                    continue;
                }
            };
            if zone.holds(name) {
                let _ = writeln!(text, "\t\tgrant {} {rule} {name}. ANY;", key.name);
            }
        }
    }
    text.push_str("\t};\n");
    text
}
