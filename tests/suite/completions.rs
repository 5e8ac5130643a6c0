//! `dyngate completions` in real shells: bash always; zsh and fish where they are installed.

use std::path::Path;
use std::process::Command;

use crate::command_line::run;
use crate::stage::program;

/// The script of a shell, in a file.
fn script(shell: &str, folder: &Path) -> String {
    let output = run(&["completions", shell], "");
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{shell}");
    let file = folder.join(shell);
    std::fs::write(&file, output.stdout).unwrap();
    file.to_str().unwrap().to_owned()
}

/// What a shell prints; `None` and a loud line where it is not installed.
fn shell(name: &str, arguments: &[&str]) -> Option<String> {
    let output = match Command::new(name).args(arguments).env("TERM", "dumb").output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("SKIPPED: {name} is not installed, its completions were not tried");
            return None;
        }
        Err(error) => panic!("{name}: {error}"),
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{name}: {}\n{stderr}", output.status);
    Some(String::from_utf8(output.stdout).unwrap())
}

/// What bash offers for the last of `words`, asked as its line editor asks: through the registered function.
fn bash(script: &str, words: &[&str]) -> Vec<String> {
    let ask = r#"
        source "$1"; shift
        read -ra registered <<<"$(complete -p dyngate)"
        while [[ ${registered[0]} != -F ]]; do registered=("${registered[@]:1}"); done
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
        "${registered[1]}" dyngate "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let arguments = [&["--norc", "-c", ask, "bash", script, "dyngate"][..], words].concat();
    let said = shell("bash", &arguments).expect("bash runs this project's scripts");
    said.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    let folder = tempfile::tempdir().unwrap();
    let script = script("bash", folder.path());
    for (words, offered) in [
        (&["cl"][..], &["client-config"][..]),
        (&["serve", "--re"], &["--ready-file"]),
        (&["serve", "--log-format", ""], &["text", "json"]),
        (&["client-config", "home.dyn.example", "--for", "op"], &["openwrt", "opnsense"]),
        (&["completions", "z"], &["zsh"]),
        (&["check", "--nonsense"], &[]),
    ] {
        assert_eq!(bash(&script, words), offered, "{words:?}");
    }
    let commands = bash(&script, &[""]);
    for command in ["serve", "check", "demo", "hash", "completions", "man"] {
        assert!(commands.iter().any(|offered| offered == command), "{command} in {commands:?}");
    }
}

#[test]
fn fish_completes_where_installed() {
    let folder = tempfile::tempdir().unwrap();
    let script = script("fish", folder.path());
    let ask = |line: &str| {
        let home = format!("HOME={}", folder.path().display());
        let command = format!("source {script}; complete -C '{line}'");
        shell("fish", &["--version"])?;
        shell("env", &[&home, "fish", "--no-config", "-c", &command])
    };
    let Some(devices) = ask("dyngate client-config --for op") else { return };
    assert!(devices.contains("openwrt") && devices.contains("opnsense"), "{devices}");
    assert!(ask("dyngate ser").unwrap().starts_with("serve"));
}

#[test]
fn zsh_takes_the_script_where_installed() {
    let folder = tempfile::tempdir().unwrap();
    let script = script("zsh", folder.path());
    let take = format!("autoload -Uz compinit; compinit -D -u; source {script}; print $_comps[dyngate]");
    let Some(registered) = shell("zsh", &["-f", "-c", &take]) else { return };
    assert_eq!(registered.trim(), "_dyngate");
}

#[test]
fn the_other_shells_have_scripts_too() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["elvish", "powershell"] {
        let text = std::fs::read_to_string(script(shell, folder.path())).unwrap();
        assert!(text.contains("client-config") && text.contains("ready-file"), "{shell}");
    }
    assert_eq!(run(&["completions", "csh"], "").code, Some(64));
}

#[test]
fn a_reader_that_is_gone_is_an_error_and_no_panic() {
    let pipe = format!("'{}' completions bash 2>&1 >&3 | cat", program().display());
    let said = shell("bash", &["-c", &format!("exec 3>/dev/full; {pipe}")]).unwrap();
    assert!(said.starts_with("dyngate: cannot write the script: "), "{said}");
}
