//! Transcripts of real clients, `tests/dialects/DIALECT/CLIENT.txt`, sent to the gateway in front of a real Knot. A client's
//! quirk is one more file.
//!
//! | line | meaning |
//! | --- | --- |
//! | `# text` | a comment: which client, what is special |
//! | `> text` | sent, with CRLF; `>` alone ends the head |
//! | `>> text` | sent as it is, at once, without a line end: a body, or a piece of a line |
//! | `< text` | the answer: status line, headers that must be there with this value, `<` alone, the body |
//! | `= closed` | the gateway closes the connection |
//! | `= NAME ADDRESS…` | what Knot serves for the name by now |
//! | `---` | a new connection |
//!
//! `{host}` and `{host2}` are names of the file's own, `{label}` is the first label of the one; `{gateway}` is the gateway's
//! address; `{login}`, `{password}` and `{basic}` (both in base64) are an account's, `{wrong}` is `{basic}` with another
//! password; `{token}` is the token of `{host}`, which the account does not have then, and `{basic-token}` both of them;
//! `{length}` is that of the next `>>` line. The body is exactly what is written, unless the transcript states a
//! Content-Length.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lab::Kind;
use lab::http::{Connection, Response};

use crate::command_line::run;
use crate::stage::{LOGIN, SECRET, Stage, folder};

/// One line of a transcript, its placeholders replaced.
#[derive(Debug, PartialEq)]
enum Line {
    Send(String),
    Expect(String),
    Closed,
    Serves { name: String, addresses: Vec<String> },
    NewConnection,
}

fn parse(text: &str, name: &str, gateway: &str, token: &str) -> Result<Vec<Line>, String> {
    let basic = |password: &str| STANDARD.encode(format!("{LOGIN}:{password}"));
    let placeholders = [
        ("{label}", name.to_owned()),
        ("{host}", format!("{name}.dyn.example")),
        ("{host2}", format!("{name}-2.dyn.example")),
        ("{gateway}", gateway.to_owned()),
        ("{login}", LOGIN.to_owned()),
        ("{password}", SECRET.to_owned()),
        ("{basic}", basic(SECRET)),
        ("{token}", token.to_owned()),
        ("{basic-token}", STANDARD.encode(format!("{name}.dyn.example:{token}"))),
        ("{label}", name.to_owned()),
        ("{wrong}", basic("an-old-password")),
    ];
    let text = placeholders.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let next_piece = || text.lines().skip(at).find_map(|line| line.strip_prefix(">> ")).unwrap_or_default();
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        lines.push(match mark {
            ">" => Line::Send(rest.replace("{length}", &next_piece().len().to_string()) + "\r\n"),
            ">>" => Line::Send(rest.to_owned()),
            "<" => Line::Expect(rest.to_owned()),
            "=" if rest == "closed" => Line::Closed,
            "=" => {
                let mut words = rest.split(' ').map(str::to_owned);
                Line::Serves { name: words.next().unwrap_or_default(), addresses: words.collect() }
            }
            "---" => Line::NewConnection,
            _ => return Err(format!("line {}: {line:?} begins with no mark", at + 1)),
        });
    }
    Ok(lines)
}

/// Plays one transcript; the first thing that is not as written.
async fn play(stage: &Stage, lines: Vec<Line>) -> Result<(), String> {
    let open = || async { Connection::open(stage.gateway.http(), None).await.map_err(|error| error.to_string()) };
    let mut connection = open().await?;
    let mut lines = lines.into_iter().peekable();
    while let Some(line) = lines.next() {
        match line {
            Line::Send(octets) => connection.write(octets.as_bytes()).await.map_err(|error| error.to_string())?,
            Line::Expect(first) => {
                let mut expected = vec![first];
                while let Some(Line::Expect(next)) = lines.next_if(|line| matches!(line, Line::Expect(_))) {
                    expected.push(next);
                }
                let answer = connection.read(false).await.map_err(|error| error.to_string())?;
                compare(&answer, &expected).map_err(|wrong| format!("{wrong}\nin {answer:?}"))?;
            }
            Line::Closed => {
                let rest = connection.closed(Duration::from_secs(60)).await.map_err(|error| error.to_string())?;
                if !rest.is_empty() {
                    return Err(format!("before the end: {:?}", String::from_utf8_lossy(&rest)));
                }
            }
            Line::Serves { name, addresses } => {
                let served = stage.served(&name).await;
                if served != addresses {
                    return Err(format!("Knot serves {served:?} for {name}, not {addresses:?}"));
                }
            }
            Line::NewConnection => connection = open().await?,
        }
    }
    Ok(())
}

fn compare(answer: &Response, expected: &[String]) -> Result<(), String> {
    let head = expected.iter().position(String::is_empty).unwrap_or(expected.len());
    let (head, body) = expected.split_at(head);
    let status = head.first().map_or("", String::as_str);
    if !status.starts_with(&format!("{} {} ", answer.version, answer.status)) {
        return Err(format!("not {status:?}"));
    }
    for line in head.iter().skip(1) {
        let (name, value) = line.split_once(": ").ok_or_else(|| format!("no header: {line:?}"))?;
        if answer.header(name) != Some(value) {
            return Err(format!("not {line:?}"));
        }
    }
    let body = body.get(1..).unwrap_or_default().join("\n");
    let text = answer.text();
    let states_length = head.iter().any(|line| line.starts_with("Content-Length: "));
    let came = if states_length { text.trim_end() } else { &text };
    if came == body { Ok(()) } else { Err(format!("not {body:?}")) }
}

fn transcripts() -> Vec<PathBuf> {
    let list = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialects");
    let mut found: Vec<_> = list(&folder).iter().flat_map(|dialect| list(dialect)).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    found.sort();
    found
}

/// The token of a host of the store, whose account has no other.
fn token(stage: &Stage, host: &str) -> String {
    let config = stage.gateway.folder().join("gateway.toml");
    let done = |arguments: &[&str]| {
        let output = run(&[arguments, &["--json", "--config", config.to_str().unwrap()]].concat(), "");
        assert_eq!(output.code, Some(0), "{arguments:?}: {}", output.stderr);
        serde_json::from_str::<serde_json::Value>(&output.stdout).unwrap()
    };
    done(&["account", "add", &format!("owner-of-{host}"), "--host", host]);
    done(&["host", "token", host])["path"].as_str().unwrap().strip_prefix("/update/").unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_is_answered_as_its_transcript_says() {
    let store = folder();
    let config = |config: &mut crate::stage::Config| {
        // The caller's own address is loopback here.
        config.zone = "allow = [\"127.0.0.0/8\"]\n".to_owned();
        let _ = write!(
            config.more,
            "[acme]\ndns01 = true\n[store]\nurl = \"sqlite:{}\"\n",
            store.path().join("store.db").display()
        );
    };
    let stage = Stage::with(Kind::Knot, |setup| setup, &[], config).await;
    let gateway = stage.gateway.http().to_string();
    let (mut names, mut wrong) = (Vec::new(), Vec::new());
    for path in transcripts() {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# "), "{} does not say which client it is", path.display());
        assert!(!names.contains(&name), "two transcripts would share the host name {name}.dyn.example");
        let token = if text.contains("token}") { token(&stage, &format!("{name}.dyn.example")) } else { String::new() };
        let played = match parse(&text, &name, &gateway, &token) {
            Ok(lines) => play(&stage, lines).await,
            Err(wrong) => Err(wrong),
        };
        names.push(name);
        if let Err(why) = played {
            wrong.push(format!("{}: {why}", path.display()));
        }
    }
    assert!(names.len() > 20, "the transcripts were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(!stage.gateway.log().contains(SECRET), "a password is in the log");
}

#[test]
fn a_transcript_that_is_not_true_is_noticed() {
    let answer = |body: &str| Response {
        version: "HTTP/1.1".to_owned(),
        status: 200,
        headers: vec![("Content-Length".to_owned(), body.len().to_string())],
        body: body.into(),
    };
    let says = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>();
    assert_eq!(compare(&answer("good"), &says(&["HTTP/1.1 200 OK", "", "good"])), Ok(()));
    assert_eq!(compare(&answer("a\nb"), &says(&["HTTP/1.1 200 OK", "", "a", "b"])), Ok(()));
    for lines in [
        &["HTTP/1.0 200 OK", "", "good"][..],
        &["HTTP/1.1 401 Unauthorized", "", "good"],
        &["HTTP/1.1 200 OK", "X-A: b", "", "good"],
        &["HTTP/1.1 200 OK", "", "goo"],
        &["HTTP/1.1 200 OK", "", "good", "x"],
        &["HTTP/1.1 200 OK"],
        &["good"],
    ] {
        assert!(compare(&answer("good"), &says(lines)).is_err(), "{lines:?}");
    }
    assert!(parse("good 203.0.113.5", "x", "y", "z").is_err());
    let sent = [Line::Send("Content-Length: 2\r\n".to_owned()), Line::Send("ab".to_owned())];
    assert_eq!(parse("> Content-Length: {length}\n>> ab", "x", "y", "z").unwrap(), sent);
}
