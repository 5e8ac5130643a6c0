//! Finding and running the programs of Debian's packages.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Error;

/// Looks for `program` on PATH and in the folders for system programs, which a user's PATH often lacks.
pub(crate) fn find(program: &str, package: &'static str) -> Result<PathBuf, Error> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .ok_or_else(|| Error::Missing { program: program.to_owned(), package })
}

/// Runs `command` to its end with `input`, and returns its standard output.
pub(crate) async fn run(mut command: Command, input: String) -> Result<String, Error> {
    let shown = show(&command);
    let failed = shown.clone();
    let run = move || {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that ends without reading all of it says why on standard error.
            let _ = stdin.write_all(input.as_bytes());
        }
        child.wait_with_output()
    };
    let output = tokio::task::spawn_blocking(run)
        .await
        .map_err(|error| Error::Protocol(format!("{failed}: {error}")))?
        .map_err(Error::io(shown.clone()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(text)
    } else {
        let output = format!("{}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
        Err(Error::Command { command: shown, output })
    }
}

/// The file name and the arguments of `command`, for error texts.
fn show(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    std::iter::once(name).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// Writes a file below a scratch folder.
pub(crate) fn write(file: &Path, text: &str) -> Result<(), Error> {
    fs::write(file, text).map_err(Error::io(format!("write {}", file.display())))
}

/// Makes a folder and those above it.
pub(crate) fn folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::io(format!("make {}", path.display())))
}
