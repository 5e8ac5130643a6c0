//! What stands in the journal and in JSON logs.

use std::process::{Command, Output};

use lab::http::Request;
use lab::{Gateway, Key, Kind, Server, Setup, soon};
use serde_json::Value;

use crate::stage::{Config, LOGIN, SECRET, ZONE, program, update};

async fn gateway(arguments: &[&str], journal: bool) -> Gateway {
    let config = Config::new(&Key::generate("k"), "127.0.0.1:1".parse().unwrap());
    let mut builder = Gateway::builder(program()).config(&config.toml());
    for argument in arguments {
        builder = builder.arg(argument);
    }
    if journal {
        builder = builder.env("JOURNAL_STREAM", "8:4711");
    }
    builder.start().await.unwrap()
}

/// Two hosts, one with a quote in it, and an agent with quotes.
async fn provoke(gateway: &Gateway) {
    let query = "/nic/update?hostname=a.dyn.example,b%22.elsewhere.example&myip=203.0.113.7";
    let request = Request::get(query).basic(LOGIN, SECRET).header("User-Agent", "a \"router\"");
    request.send(gateway.http()).await.unwrap();
    update(gateway, "hostname=c.elsewhere.example&myip=203.0.113.7").await;
    soon("a line of a warning", async || gateway.log().contains("WARN")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_the_journal_have_a_priority_and_no_second_time() {
    for arguments in [&[][..], &["--log-format", "json"]] {
        let gateway = gateway(arguments, true).await;
        provoke(&gateway).await;
        let log = gateway.log();
        for line in log.lines() {
            let (priority, rest) = line.split_at(3);
            let level = match priority {
                "<3>" => "ERROR",
                "<4>" => "WARN",
                "<6>" => "INFO",
                other => panic!("{other} in {log}"),
            };
            let begins = if arguments.is_empty() {
                rest.trim_start().starts_with(level)
            } else {
                rest.starts_with(&format!("{{\"level\":\"{level}\","))
            };
            assert!(begins && !line.contains("timestamp"), "{line}");
        }
        assert!(log.contains("<4>"), "{log}");
    }
    let without = gateway(&[], false).await.log();
    assert!(without.lines().all(|line| line.starts_with("20")), "{without}");
}

#[test]
fn the_last_words_of_a_start_that_fails_are_errors_of_the_journal() {
    let run = |journal: bool| -> Output {
        let mut command = Command::new(program());
        command.args(["serve", "--config", "/nonexistent/gateway.toml"]);
        if journal {
            command.env("JOURNAL_STREAM", "8:4711");
        }
        command.output().unwrap()
    };
    let said = |output: Output| String::from_utf8(output.stderr).unwrap();
    let told = said(run(true));
    assert!(told.lines().count() > 1 && told.lines().all(|line| line.starts_with("<3>")), "{told}");
    assert_eq!(told.replace("<3>", ""), said(run(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_lines_hold_plain_strings_and_arrays_for_several_hosts() {
    let gateway = gateway(&["--log-format", "json"], false).await;
    provoke(&gateway).await;
    let log = gateway.log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let requests: Vec<_> = lines.iter().filter(|line| line["target"] == "dyngate::access").collect();
    let [several, one] = requests[..] else { panic!("{log}") };
    assert_eq!(several["host"], serde_json::json!(["a.dyn.example", "b\".elsewhere.example"]), "{several}");
    for field in ["outcome", "reason", "rcode"] {
        assert_eq!(several[field].as_array().map(Vec::len), Some(2), "{field}: {several}");
        assert!(one[field].is_string(), "{field}: {one}");
    }
    assert_eq!((&one["host"], &one["path"]), (&"c.elsewhere.example".into(), &"/nic/update".into()));
    assert_eq!((&several["agent"], &several["login"]), (&"a \"router\"".into(), &LOGIN.into()));
    assert!(one["ms"].is_number() && one["timestamp"].is_string(), "{one}");
    for value in lines.iter().flat_map(|line| line.as_object().unwrap().values()) {
        assert!(!value.as_str().is_some_and(|text| text.starts_with('"')), "quotes within quotes: {value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrative_change_is_one_line_with_who_did_it() {
    let key = Key::generate("k");
    let primary = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
    let mut config = Config::new(&key, primary.addr());
    config.more = "[store]\nurl = \"sqlite:store.db\"\n".to_owned();
    let gateway = config.start().await;
    let file = gateway.folder().join("gateway.toml");
    let dyngate = |line: &str, sudo_user: Option<&str>| {
        let mut command = Command::new(program());
        command.args(line.split(' ')).arg("--config").arg(&file).env_remove("SUDO_USER");
        command.envs(sudo_user.map(|user| ("SUDO_USER", user)));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
    };
    let whoami = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let uid = rustix::process::getuid().as_raw();
    let user = format!("{} (uid {uid})", whoami.trim());
    let all = [
        ("account add alice", "account.add", "alice"),
        ("account grant alice *.alice.dyn.example", "account.grant", "alice: *.alice.dyn.example"),
        ("account disable alice", "account.disable", "alice"),
        ("host add h.dyn.example --account alice", "host.add", "h.dyn.example"),
        ("host block h.dyn.example --reason x", "host.block", "h.dyn.example"),
        ("host set h.dyn.example --ttl 30", "host.set", "h.dyn.example"),
        ("host remove h.dyn.example", "host.remove", "h.dyn.example"),
        ("account remove alice", "account.remove", "alice"),
    ];
    for (line, action, subject) in all {
        dyngate(line, None);
        let told = format!(
            " INFO dyngate::administration: administration action={action:?} subject={subject:?} by=\"command line: {user}\""
        );
        soon(&told, async || gateway.log().contains(&told)).await;
    }
    dyngate("account list", None);
    dyngate("account add bob", Some("carol"));
    let told = format!("subject=\"bob\" by=\"command line: carol as {user}\"");
    soon(&told, async || gateway.log().contains(&told)).await;
    let log = gateway.log();
    assert_eq!(log.matches("dyngate::administration").count(), all.len() + 1, "{log}");
}
