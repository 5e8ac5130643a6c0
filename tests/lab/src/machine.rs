//! What a measurement was made on: the machine and the versions of the name servers.

use std::process::Command;
use std::{fs, thread};

/// Cores, memory and kernel.
#[must_use]
pub fn machine() -> String {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_prefix(':').map(str::trim));
        line.unwrap_or("unknown").to_owned()
    };
    let cores = thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kib: f64 = field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or_default();
    let (cpu, kernel) = (field("/proc/cpuinfo", "model name"), said("uname", &["-sr"]));
    format!("{cores} cores of {cpu}, {:.0} GiB, {kernel}", kib / 1024.0 / 1024.0)
}

/// The versions of the name servers.
#[must_use]
pub fn servers() -> String {
    let versions = [said("named", &["-v"]), said("knotd", &["--version"]), said("pdns_server", &["--version"])];
    // BIND adds its branch, PowerDNS puts the time before and the copyright behind.
    let short = |version: String| {
        let version = version.split(" (C)").next().unwrap_or_default().split(" (Ext").next().unwrap_or_default();
        version.find("PowerDNS").map_or(version, |at| &version[at..]).to_owned()
    };
    versions.map(short).join("; ")
}

/// The first line that a program says.
#[must_use]
pub fn said(program: &str, arguments: &[&str]) -> String {
    let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program).args(arguments).env("PATH", path).output();
    let Ok(output) = output else { return format!("{program} is not here") };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}
