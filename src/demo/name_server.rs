//! Knot or BIND as a child: found on this machine, with a fresh zone and key in a scratch folder, on a free port of
//! 127.0.0.1.

use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{DemoError, HOST, KEY, ZONE};

/// The servers that serve for a demonstration, the preferred one first: Debian's AppArmor ties BIND to folders of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DemoServer {
    Knot,
    Bind,
}

impl fmt::Display for DemoServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Knot => "Knot DNS",
            Self::Bind => "BIND",
        })
    }
}

impl DemoServer {
    fn program(self) -> &'static str {
        match self {
            Self::Knot => "knotd",
            Self::Bind => "named",
        }
    }

    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Knot => "knot.conf",
            Self::Bind => "named.conf",
        }
    }

    /// What keeps it in the foreground, with its log on standard error.
    pub(super) fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Knot => &["-c", "knot.conf"],
            Self::Bind => &["-g", "-c", "named.conf"],
        }
    }

    /// The key file, as `keymgr -t` and `tsig-keygen` print it; the gateway reads both.
    pub(super) fn key(self, secret: &str) -> String {
        match self {
            Self::Knot => format!("key:\n  - id: {KEY}\n    algorithm: hmac-sha256\n    secret: {secret}\n"),
            Self::Bind => format!("key \"{KEY}\" {{\n\talgorithm hmac-sha256;\n\tsecret \"{secret}\";\n}};\n"),
        }
    }

    /// What `program`, which is one of these, reads.
    pub(super) fn configuration(self, program: &Path, scratch: &Path, port: u16) -> String {
        let scratch = scratch.display();
        match self {
            // The journal's default size reserves 20 GiB of address space.
            Self::Knot => format!(
                "include: \"{scratch}/gateway.key\"\n\
                 server:\n    rundir: \"{scratch}\"\n    listen: 127.0.0.1@{port}\n\
                 control:\n    listen: \"{scratch}/knot.sock\"\n\
                 log:\n  - target: stderr\n    any: info\n\
                 database:\n    storage: \"{scratch}\"\n    journal-db-max-size: 16M\n\
                 acl:\n  - id: gateway\n    key: {KEY}\n    action: update\n    update-type: [ A, AAAA ]\n\
                 zone:\n  - domain: {ZONE}\n    storage: \"{scratch}\"\n    file: zone\n    acl: gateway\n"
            ),
            Self::Bind => format!(
                "include \"{scratch}/gateway.key\";\n\
                 controls {{ }};\n\
                 options {{\n\
                 \tdirectory \"{scratch}\";\n\
                 \tmanaged-keys-directory \"{scratch}\";\n\
                 \tpid-file none;\n\
                 {}\
                 \tsession-keyfile \"{scratch}/session.key\";\n\
                 \tlisten-on port {port} {{ 127.0.0.1; }};\n\
                 \tlisten-on-v6 {{ none; }};\n\
                 \trecursion no;\n\
                 \tdnssec-validation no;\n\
                 \tnotify no;\n\
                 }};\n\
                 zone \"{ZONE}\" {{\n\
                 \ttype primary;\n\
                 \tfile \"zone\";\n\
                 \tupdate-policy {{ grant {KEY} zonesub A AAAA; }};\n\
                 }};\n",
                lock_file(program)
            ),
        }
    }
}

/// BIND 9.18 would share its lock file with a server of this machine; 9.20 has none, and takes the option for a mistake.
fn lock_file(program: &Path) -> &'static str {
    let said = Command::new(program).arg("-v").output().map(|output| output.stdout).unwrap_or_default();
    if String::from_utf8_lossy(&said).starts_with("BIND 9.18.") { "\tlock-file none;\n" } else { "" }
}

/// A zone in which only [`HOST`] is missing.
pub(super) fn zone_file() -> String {
    debug_assert!(HOST.ends_with(ZONE), "the host is in the zone");
    format!(
        "$ORIGIN {ZONE}.\n$TTL 3600\n@ IN SOA ns1 hostmaster 1 3600 600 86400 60\n@ IN NS ns1\nns1 IN A 127.0.0.1\n"
    )
}

#[derive(Debug, Clone)]
pub(super) struct Installed {
    pub(super) software: DemoServer,
    pub(super) program: PathBuf,
}

impl Installed {
    pub(super) fn find(folders: &[PathBuf]) -> Result<Self, DemoError> {
        let found = [DemoServer::Knot, DemoServer::Bind].into_iter().find_map(|software| {
            let places = folders.iter().map(|folder| folder.join(software.program()));
            let program =
                places.into_iter().find_map(|place| place.canonicalize().ok().filter(|file| file.is_file()))?;
            Some(Self { software, program })
        });
        found.ok_or_else(|| DemoError::Missing(folders.to_vec()))
    }

    /// The program to start: where AppArmor has a profile for it, a copy in `scratch`, which the profile does not meet.
    pub(super) fn unconfined(&self, scratch: &Path) -> io::Result<PathBuf> {
        let profile = self.program.to_string_lossy().trim_start_matches('/').replace('/', ".");
        let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
        if !(enabled.is_ok_and(|text| text.starts_with('Y')) && Path::new("/etc/apparmor.d").join(profile).exists()) {
            return Ok(self.program.clone());
        }
        let copy = scratch.join(self.software.program());
        fs::copy(&self.program, &copy)?;
        Ok(copy)
    }
}

/// PATH, and the folders of system programs, which a user's PATH often lacks.
pub(super) fn usual_folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).collect()
}

/// A port of 127.0.0.1 that is free for UDP and for TCP at this moment.
pub(super) fn free_port() -> io::Result<SocketAddr> {
    let mut last = io::ErrorKind::AddrInUse.into();
    for _ in 0..20 {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = tcp.local_addr()?;
        match UdpSocket::bind(address) {
            Ok(_) => return Ok(address),
            Err(error) => last = error,
        }
    }
    Err(last)
}
