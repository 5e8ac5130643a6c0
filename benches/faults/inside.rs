//! The run in namespaces of its own: whatever it mounts, starts or breaks there ends with it, also by SIGKILL.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::sleep;

use crate::Failure;

const INSIDE: &str = "DYNGATE_CHAOS_INSIDE";

/// Root may make namespaces; anybody else needs one of users first, in which they are root.
const WAYS: [&[&str]; 2] = [
    &["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"],
    &["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"],
];

/// Where this process finds itself.
pub(crate) enum Place {
    Inside,
    /// There are no namespaces here, for this reason.
    Outside(String),
    /// Another one has done all inside, and ended so.
    Done(ExitCode),
}

/// Runs this program again inside, where that is possible and not done yet.
pub(crate) async fn enter(arguments: &[String]) -> Result<Place, Failure> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(Place::Inside);
    }
    let folder = TempDir::with_prefix("dyngate-chaos-")?;
    // Whoever a server becomes, PostgreSQL for example, must find the way to their own folder.
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let mut why = vec![];
    for way in WAYS {
        let tried = Command::new("unshare").args(way).args(["ip", "link", "set", "lo", "up"]).output();
        match tried {
            Ok(output) if output.status.success() => {
                let mut command = Command::new("unshare");
                command.args(way).args(["sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]);
                command.arg(std::env::current_exe()?).args(arguments).stdin(Stdio::null());
                // A folder of its own: the laboratory's locks on ports belong to the network outside.
                command.env(INSIDE, "1").env("TMPDIR", folder.path());
                return wait(command).await.map(Place::Done);
            }
            Ok(output) => why.push(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")),
            Err(error) => why.push(format!("unshare: {error}")),
        }
    }
    Ok(Place::Outside(why.join(" | ")))
}

/// Waits for its end. Where this is dropped before, it is killed, and all that it started with it.
async fn wait(mut command: Command) -> Result<ExitCode, Failure> {
    struct Killed(std::process::Child);
    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    let mut child = Killed(command.spawn()?);
    loop {
        if let Some(status) = child.0.try_wait()? {
            if let Some(signal) = status.signal() {
                return Err(format!("it ended by signal {signal}").into());
            }
            return Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        sleep(Duration::from_millis(50)).await;
    }
}
