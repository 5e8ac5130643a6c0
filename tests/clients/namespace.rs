//! A test in a network and mount namespace of its own, where well-known names and public addresses are this machine's.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::program::{Program, Ran, said};

/// The addresses of the loopback interface in there; what connects to one of them comes from it too.
pub(crate) const IPV4: &str = "203.0.113.9";
pub(crate) const IPV6: &str = "2001:db8::9";
/// It has the IPv6 address only.
pub(crate) const IPV6_NAME: &str = "six.example.net";

const INSIDE: &str = "DYNGATE_TEST_INSIDE";
const LIMIT: Duration = Duration::from_secs(240);

/// Brings the interface up, puts our hosts in place of /etc/hosts, and goes on with the rest of its arguments.
const PREPARE: &str = "set -e; ip link set lo up; ip address add \"$1/32\" dev lo; \
    ip address add \"$2/128\" dev lo nodad; mount --bind hosts /etc/hosts; shift 2; exec \"$@\"";

/// Root may make namespaces; anybody else needs one of users first, in which they are root. Whatever is started in there
/// ends with the first process.
const WAYS: [&[&str]; 2] = [
    &["--net", "--mount", "--pid", "--fork", "--kill-child"],
    &["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child"],
];

/// Whether the caller, the test of this name, is to do its work: it is run again inside, and there the answer is yes.
/// Outside all is said and done when this returns.
pub(crate) async fn inside(test: &str) -> bool {
    inside_with(test, &["members.dyndns.org", "checkip.dyndns.com", "gateway.example"]).await
}

/// As [`inside`], where these names are this machine's IPv4 address.
pub(crate) async fn inside_with(test: &str, names: &[&str]) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let folder = TempDir::with_prefix("dyngate-namespace-").expect("a folder");
    let hosts = format!("127.0.0.1 localhost\n{IPV4} {}\n{IPV6} {IPV6_NAME}\n", names.join(" "));
    std::fs::write(folder.path().join("hosts"), hosts).expect("a file is written");
    let mut why = String::new();
    for way in WAYS {
        match run(way, &["true"], folder.path()).await {
            Ok(Ran { code: Some(0), .. }) => {
                again(way, test, folder.path()).await;
                return false;
            }
            Ok(ran) => why.push_str(&ran.output.trim().replace('\n', "; ")),
            Err(missing) => why = missing,
        }
        why.push_str(" | ");
    }
    said("SKIPPED", test, &format!("no namespaces here: {}", why.trim_end_matches(" | ")));
    false
}

async fn again(way: &[&str], test: &str, folder: &Path) {
    let own = std::env::current_exe().expect("the path of this test");
    let own = own.to_str().expect("a path in UTF-8");
    // A folder of its own: the laboratory's locks on ports belong to the user outside.
    let mut command = vec!["env".to_owned(), format!("{INSIDE}=1"), format!("TMPDIR={}", folder.display())];
    for name in ["DYNGATE_BIN", "RUST_BACKTRACE"] {
        command.extend(std::env::var(name).map(|value| format!("{name}={value}")));
    }
    command.extend([own, "--exact", test, "--nocapture"].map(str::to_owned));
    let command: Vec<_> = command.iter().map(String::as_str).collect();
    let ran = run(way, &command, folder).await.expect("it ran a moment ago");
    assert!(ran.code == Some(0) && ran.output.contains("1 passed"), "{:?}\n{}", ran.code, ran.output);
    said("RAN", test, "in a namespace");
}

async fn run(way: &[&str], command: &[&str], folder: &Path) -> Result<Ran, String> {
    let prepare = ["sh", "-c", PREPARE, "sh", IPV4, IPV6];
    for program in ["unshare", "ip", "mount"] {
        if crate::program::find(program).is_none() {
            return Err(format!("{program} is not installed"));
        }
    }
    Ok(Program::start("unshare", &[way, &prepare, command].concat(), folder).ended(LIMIT).await)
}
