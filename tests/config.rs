//! The configuration file as an operator meets it: the example, the defaults, and what every mistake says.

#![expect(clippy::unwrap_used, reason = "a test fails where what it builds on is missing")]

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dyngate::config::{Config, Errors, ForwardingHeader, Listener, Location, Primary};
use dyngate::model::{Algorithm, PasswordDigest};
use proptest::prelude::*;

const EXAMPLE: &str = include_str!("../gateway.toml.example");

/// The least that is valid.
const LEAST: &str = r#"
[[key]]
name = "gateway-key"
algorithm = "hmac-sha256"
secret = "c2VjcmV0"

[[zone]]
name = "dyn.example"
primaries = ["127.0.0.1"]
key = "gateway-key"
"#;

fn parse(text: &str) -> Result<Config, Errors> {
    Config::parse(text, Path::new("gateway.toml"))
}

/// The errors of a file in tests/config, without the folder.
fn errors_of(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let errors = Config::load(&folder.join(name)).unwrap_err();
    errors.to_string().replace(&format!("{}/", folder.display()), "")
}

/// Compares with tests/config/NAME.snap; INSTA_UPDATE=always writes it.
fn assert_golden(name: &str, errors: &str) {
    insta::with_settings!({ snapshot_path => "config", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, errors);
    });
}

fn errors_in(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// A folder with a configuration of one key and one zone; `key` is the body of the `[[key]]`.
fn folder_with(key: &str, files: &[(&str, &[u8])]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let path = folder.path().join("gateway.toml");
    let zone = "[[zone]]\nname = \"dyn.example\"\nprimaries = [\"127.0.0.1\"]\nkey = \"named\"\n";
    fs::write(&path, format!("[[key]]\n{key}\n{zone}")).unwrap();
    (folder, path)
}

#[test]
fn every_wrong_value_is_told_in_one_run() {
    assert_golden("mistakes", &errors_of("mistakes.toml"));
}

#[test]
fn every_broken_reference_is_told_in_one_run() {
    assert_golden("references", &errors_of("references.toml"));
}

#[test]
fn the_first_broken_syntax_is_told_and_mended() {
    let texts = include_str!("config/syntax.toml").split("# ---\n");
    let told: Vec<_> = texts.map(|text| format!("{text}=> {}\n", errors_in(text))).collect();
    assert_golden("syntax", &told.join("\n"));
}

#[test]
fn no_error_tells_a_secret() {
    let syntax = include_str!("config/syntax.toml").split("# ---\n").map(errors_in).collect::<String>();
    let [mistakes, references] = ["mistakes.toml", "references.toml"].map(errors_of);
    for (name, errors) in [("mistakes.toml", mistakes), ("references.toml", references), ("syntax.toml", syntax)] {
        for secret in ["sw0rdfish", "hunter2", "c2VjcmV0", "N9qo8uLO", "K7gNU3sd", "c29tZXNh"] {
            assert!(!errors.contains(secret), "{name} tells {secret}");
        }
    }
}

#[test]
fn problems_stand_in_the_order_of_the_file() {
    let errors = parse(include_str!("config/mistakes.toml")).unwrap_err();
    let lines: Vec<usize> = errors
        .problems()
        .iter()
        .filter(|problem| problem.path == Path::new("gateway.toml"))
        .map(|problem| problem.position.unwrap().line)
        .collect();
    assert!(lines.len() > 40 && lines.is_sorted(), "{lines:?}");
}

#[test]
fn the_example_is_valid_and_shows_the_defaults() {
    let shown = parse(EXAMPLE).unwrap();
    let default = parse(LEAST).unwrap();
    let sections = |config: &Config| {
        format!("{:?}{:?}{:?}{:?}{:?}", config.http, config.admin, config.engine, config.limits, config.refuse)
    };
    assert_eq!(sections(&shown), sections(&default));
    assert_eq!(shown.zones[0].ttl, default.zones[0].ttl);
    assert_eq!(shown.zones[0].source, default.zones[0].source);
    assert!(matches!(&shown.store.location, Location::Sqlite(path) if path.ends_with("dyngate.db")));
    assert_eq!((shown.store.grace, shown.store.history), (default.store.grace, default.store.history));
    assert_eq!(shown.acme, default.acme);
    assert!(shown.http.tls.is_none() && EXAMPLE.contains("# [http.tls]"), "its files are not there by default");
}

#[test]
fn the_example_and_the_reference_name_every_key() {
    let reference = include_str!("../docs/CONFIG.md");
    let sections = "[http]\n[http.tls]\n[admin]\n[[key]]\n[[zone]]\n[[account]]\n[[host]]\n[engine]\n[limits]\n[addresses]\n[store]\n[acme]\n";
    let strange = sections.replace('\n', "\nxyzzyxyzzy = 1\n") + "\n[limits.host]\nxyzzyxyzzy = 1\n";
    let errors = parse(&strange).unwrap_err();
    let known: Vec<_> =
        errors.problems().iter().filter_map(|problem| problem.help.split_once("known here: ")).collect();
    assert_eq!(known.len(), 13);
    for key in known.iter().flat_map(|(_, keys)| keys.split(", ")) {
        let begins = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{key} = "));
        let inline = format!("{key} = 1");
        assert!(EXAMPLE.lines().any(begins) || EXAMPLE.contains(&inline), "the example lacks {key}");
        assert!(reference.contains(&format!("`{key}`")), "the reference lacks {key}");
    }
}

#[test]
fn every_example_of_the_reference_is_valid() {
    let reference = include_str!("../docs/CONFIG.md");
    let examples: Vec<&str> =
        reference.split("```toml\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0)).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let whole = if example.contains("[[zone]]") { example.to_owned() } else { format!("{LEAST}\n{example}") };
        if let Err(errors) = parse(&whole) {
            panic!("{example}\n{errors}");
        }
    }
}

#[test]
fn the_configuration_of_the_readme_is_valid() {
    let readme = include_str!("../README.md");
    let (_, rest) = readme.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let key = "key \"gateway-key\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0\";\n};\n";
    fs::write(folder.path().join("gateway-key.key"), key).unwrap();
    fs::write(folder.path().join("gateway.toml"), example).unwrap();
    if let Err(errors) = Config::load(&folder.path().join("gateway.toml")) {
        panic!("{errors}");
    }
}

fn plain(address: &str) -> Listener {
    Listener::from(address.parse::<SocketAddr>().unwrap())
}

#[test]
fn listeners_of_every_kind() {
    let config = parse(&format!(
        r#"{LEAST}
        [http]
        listen = ["[::]:80", "unix:http.sock", "systemd:http", {{ address = "0.0.0.0:80", proxy_protocol = true }}]
        trusted_proxies = ["unix", "192.0.2.0/24"]
        connections_per_source = "off"
        [http.tls]
        listen = ["0.0.0.0:443", {{ address = "unix:/run/dyngate/tls.sock" }}]
        certificate = "fullchain.pem"
        private_key = "/etc/ssl/private/key.pem"
        "#
    ))
    .unwrap();
    let shown = |listeners: &[Listener]| -> Vec<_> {
        listeners.iter().map(|listener| (listener.endpoint.to_string(), listener.proxy_protocol)).collect()
    };
    let owned = |(text, proxy): (&str, bool)| (text.to_owned(), proxy);
    let expected =
        [("[::]:80", false), ("unix:http.sock", false), ("systemd:http", false), ("0.0.0.0:80", true)].map(owned);
    assert_eq!(shown(&config.http.listen), expected);
    let tls = config.http.tls.unwrap();
    assert_eq!(shown(&tls.listen), [("0.0.0.0:443", false), ("unix:/run/dyngate/tls.sock", false)].map(owned));
    assert_eq!((tls.certificate, tls.private_key), ("fullchain.pem".into(), "/etc/ssl/private/key.pem".into()));
    assert!(config.http.trusts_unix && config.http.trusted_proxies.len() == 1);
    assert_eq!(config.http.connections_per_source, None);
    let tls = "[http.tls]\nlisten = [\"[::]:443\"]\ncertificate = \"c\"\nprivate_key = \"k\"";
    assert!(parse(&format!("{LEAST}[http]\nlisten = []\n{tls}")).unwrap().http.listen.is_empty(), "TLS alone");
}

#[test]
fn a_listener_for_proxies_needs_a_proxy_that_is_trusted() {
    let listen = "[http]\nlisten = [{ address = \"127.0.0.1:80\", proxy_protocol = true }]\n";
    let errors = errors_in(&format!("{LEAST}{listen}"));
    assert!(errors.contains("only trusted proxies may speak the PROXY protocol, and none is named"), "{errors}");
    assert!(parse(&format!("{LEAST}{listen}trusted_proxies = [\"unix\"]\n")).is_ok());
}

#[test]
fn what_is_left_out_has_the_defaults_of_the_contract() {
    let config = parse(LEAST).unwrap();
    assert_eq!(config.http.listen, [plain("127.0.0.1:8245")]);
    assert!(config.http.trusted_proxies.is_empty() && !config.http.trusts_unix && config.http.tls.is_none());
    assert_eq!(config.http.connections_per_source, Some(256));
    assert_eq!(config.http.client_address_header, ForwardingHeader::XForwardedFor);
    assert_eq!(config.admin.listen, "127.0.0.1:8246".parse().unwrap());
    assert_eq!(config.engine.deadline, Duration::from_secs(5));
    assert_eq!(config.engine.verify_interval, Duration::from_secs(60));
    assert_eq!(config.engine.defer, Some(Duration::from_secs(3600)));
    let limits = [config.limits.host, config.limits.account, config.limits.source, config.limits.failed_logins];
    assert_eq!(config.limits.repeats, None);
    let limits = limits.map(|limit| limit.map(|quota| (quota.burst.get(), quota.per_minute.get())));
    assert_eq!(limits, [Some((10, 6)), Some((60, 60)), Some((120, 120)), Some((10, 2))]);
    assert_eq!(config.refuse.len(), 16);
    let zone = &config.zones[0];
    assert_eq!(zone.primaries, [Primary { host: "127.0.0.1".into(), port: 53 }]);
    assert_eq!((zone.ttl, zone.allow.len(), zone.protect.len(), zone.source), (60, 0, 0, None));
    assert_eq!((zone.key.algorithm, zone.key.expose()), (Algorithm::HmacSha256, b"secret".as_slice()));
    assert!(config.accounts.is_empty() && config.hosts.is_empty());
}

#[test]
fn what_is_written_is_what_is_meant() {
    let config = parse(
        r#"
        http.listen = ["127.0.0.1:0", "127.0.0.1:0", "[::1]:80"]
        http.client_address_header = "Forwarded"
        admin.listen = "127.0.0.1:0"
        engine = { deadline = "100ms", verify_interval = "0s", defer = "off" }
        limits.host = "off"
        limits.source = { burst = 1, per_minute = 4294967295 }
        addresses.refuse = []
        [[key]]
        name = "K."
        algorithm = "HMAC-SHA512"
        secret = "c2VjcmV0"
        [[zone]]
        name = "Dyn.Example."
        primaries = ["[2001:db8::53]", "ns1.example:5353"]
        key = "k"
        ttl = 0
        allow = ["10.0.0.0/8"]
        protect = ["www", "a.b.dyn.example"]
        source = "::"
        [[zone]]
        name = "office.dyn.example"
        primaries = ["192.0.2.53"]
        key = "k"
        source = "192.0.2.1"
        [[account]]
        login = "Müller"
        secret = "$sha256$K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols="
        hosts = ["Home.dyn.example.", "_a.dyn.example", "*.dyn.example", "*.office.dyn.example", "dyn.example"]
        [[account]]
        login = "idle"
        secret = "$sha256$K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols="
        hosts = []
        max_hosts = 1
        [[host]]
        name = "HOME.dyn.example"
        [[host]]
        name = "a.office.dyn.example"
        ttl = 2147483647
        "#,
    )
    .unwrap();
    assert_eq!(config.http.listen.len(), 3);
    assert_eq!(config.http.client_address_header, ForwardingHeader::Forwarded);
    assert_eq!(config.engine.deadline, Duration::from_millis(100));
    assert!(config.engine.defer.is_none());
    assert!(config.engine.verify_interval.is_zero() && config.limits.host.is_none() && config.refuse.is_empty());
    let [outer, inner] = config.zones.as_slice() else { panic!("two zones") };
    assert_eq!((outer.name.as_str(), outer.key.name.as_str(), outer.ttl), ("dyn.example", "k", 0));
    let primaries: Vec<_> = outer.primaries.iter().map(|primary| (primary.host.as_str(), primary.port)).collect();
    assert_eq!(primaries, [("2001:db8::53", 53), ("ns1.example", 5353)]);
    let protect: Vec<_> = outer.protect.iter().map(|name| name.as_str()).collect();
    assert_eq!(protect, ["www.dyn.example", "a.b.dyn.example"]);
    assert_eq!((outer.source, inner.source), (None, Some(IpAddr::from([192, 0, 2, 1]))));
    let account = &config.accounts[0];
    let exact: Vec<_> = account.hosts.iter().map(|name| name.as_str()).collect();
    let wildcards: Vec<_> = account.wildcards.iter().map(|name| name.as_str()).collect();
    assert_eq!(exact, ["home.dyn.example", "_a.dyn.example", "dyn.example"]);
    assert_eq!(wildcards, ["dyn.example", "office.dyn.example"]);
    assert!(matches!(account.secret, PasswordDigest::Sha256(_)));
    assert_eq!((account.login.as_str(), account.max_hosts, config.accounts[1].max_hosts), ("Müller", 100, 1));
    assert_eq!((config.hosts[0].ttl, config.hosts[1].ttl), (None, Some(2_147_483_647)));
}

#[test]
fn keys_come_from_files_beside_the_configuration() {
    let named = b"key \"named\" { algorithm hmac-sha384; secret \"c2VjcmV0\"; };";
    let knot = b"# hmac-sha384:named:c2VjcmV0\nkey:\n  - id: named\n    algorithm: hmac-sha384\n    secret: c2VjcmV0\n";
    for (key, content) in [
        ("file = \"k\"", named.as_slice()),
        ("file = \"./k\"\nname = \"Named.\"\nalgorithm = \"hmac-sha384\"", named.as_slice()),
        ("file = \"k\"", knot.as_slice()),
        ("secret_file = \"k\"\nname = \"named\"\nalgorithm = \"hmac-sha384\"", b" c2Vj\ncmV0 \n".as_slice()),
    ] {
        let (_folder, path) = folder_with(key, &[("k", content)]);
        let key = &Config::load(&path).unwrap().zones[0].key;
        assert_eq!((key.name.as_str(), key.algorithm), ("named", Algorithm::HmacSha384));
        assert_eq!(key.expose(), b"secret");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_one_problem_that_names_it() {
    let large = vec![b'a'; 64 * 1024 + 1];
    for (content, says) in [
        (b"".as_slice(), "/k:1:1: there is no key in this file"),
        (b"key \xff", "gateway.toml:2:8: \"k\" is not UTF-8 text at line 1, column 5"),
        (&large, "gateway.toml:2:8: \"k\" is larger than 64 KiB"),
    ] {
        let (_folder, path) = folder_with("file = \"k\"", &[("k", content)]);
        let errors = Config::load(&path).unwrap_err();
        assert_eq!(errors.problems().len(), 1, "{errors}");
        assert!(errors.to_string().contains(says), "{errors}");
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_one_problem() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.toml");
    let says = || {
        let errors = Config::load(&path).unwrap_err();
        assert_eq!((errors.problems().len(), errors.problems()[0].position), (1, None));
        errors.problems()[0].message.clone()
    };
    assert!(says().starts_with("cannot be read: No such file"));
    fs::write(&path, b"# \xc3\xb6\n# \xff").unwrap();
    assert_eq!(says(), "is not UTF-8 text at line 2, column 3");
    fs::write(&path, vec![b'\n'; 16 * 1024 * 1024 + 1]).unwrap();
    assert_eq!(says(), "is larger than 16 MiB");
}

#[test]
fn a_file_without_a_zone_is_an_error_and_a_broken_line_is_not_taken_for_one() {
    assert_eq!(
        errors_in(""),
        "gateway.toml:1:1: there is no [[zone]], so nothing can be updated\n  add a [[zone]] and its [[key]]"
    );
    let (rest, _zone) = LEAST.split_once("[[zone]]").unwrap();
    let errors = parse(&format!("{rest}[[host]]\nname = \"home.dyn.example\"")).unwrap_err();
    assert_eq!(errors.problems().len(), 1, "{errors}");
    let broken = errors_in("[[zone]\n");
    assert!(!broken.contains("there is no"), "{broken}");
}

#[test]
fn a_single_bracket_is_explained_and_nothing_follows_from_it() {
    let errors = errors_in(&LEAST.replace("[[zone]]", "[zone]"));
    assert_eq!(
        errors,
        "gateway.toml:7:1: [[zone]] may be repeated, and so has two brackets on each side\n  begin each one with a line [[zone]]"
    );
    let errors = errors_in(&format!("{LEAST}[[http]]\n"));
    assert!(errors.contains("11:1: [http] may stand only once"), "{errors}");
}

#[test]
fn no_more_than_64_follow_one() {
    let host = |number| {
        format!("[[host]]\nname = \"h{number}.dyn.example\"\nfollow = \"home.dyn.example\"\ninterface_id = \"::10\"\n")
    };
    let leader = "[[host]]\nname = \"home.dyn.example\"\n";
    let many = |count| format!("{LEAST}{leader}{}", (0..count).map(host).collect::<String>());
    assert!(parse(&many(64)).is_ok());
    let errors = parse(&many(65)).unwrap_err();
    let told: Vec<_> = errors.problems().iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(told, ["more than 64 hosts follow \"home.dyn.example\""]);
}

#[test]
fn dialects_are_named_as_in_the_table_and_a_name_without_a_zone_is_of_one_of_ours() {
    let config = parse(&format!(
        "{LEAST}[dialects]\ndefault_zone = \"users.dyn.example.\"\noff = [\"duckdns\", \"token\"]\nempty_deletes = true\n"
    ));
    let dialects = config.unwrap().dialects;
    assert_eq!(dialects.default_zone.unwrap().as_str(), "users.dyn.example");
    assert_eq!((dialects.off, dialects.empty_deletes), (vec!["duckdns", "token"], true));
    assert_eq!(parse(LEAST).unwrap().default_zone().unwrap().as_str(), "dyn.example", "the only one");
    let reverse =
        "[[zone]]\nname = \"0/25.113.0.203.in-addr.arpa\"\nprimaries = [\"127.0.0.1\"]\nkey = \"gateway-key\"\n";
    let with_reverse = parse(&format!("{LEAST}{reverse}")).unwrap();
    assert_eq!(with_reverse.default_zone().unwrap().as_str(), "dyn.example", "hosts are in no reverse zone");
    for (wrong, told) in [
        (
            "off = [\"duckdn\"]",
            "\"duckdn\" is no dialect, and stands in `off` in [dialects]\n  did you mean \"duckdns\"? known dialects: acme-dns, acme-dns-health, acme-dns-register, checkip, duckdns, ",
        ),
        ("off = [\"token\", \"token\"]", "dialect \"token\""),
        ("off = \"token\"", "`off` in [dialects] must be a list of strings, and here is a string"),
        ("empty_deletes = \"yes\"", "`empty_deletes` in [dialects] must be true or false, and here is a string"),
        ("default_zone = \"dyn.elsewhere\"", "no [[zone]] holds \"dyn.elsewhere\""),
        ("default_zone = \"..\"", "\"..\" is not the name of a zone"),
    ] {
        let errors = errors_in(&format!("{LEAST}[dialects]\n{wrong}\n"));
        assert!(errors.contains(told), "{told}:\n{errors}");
    }
}

#[test]
fn what_a_later_version_serves_is_not_taken_for_a_slip() {
    let later = "[web]\n[acme]\ndirectory = \"https://ca.example/directory\"\n[[token]]\n[http.tls]\nlisten = [\"[::]:443\"]\nacme = [\"x.example\"]\n\
                 [[host]]\nname = \"home.dyn.example\"\ncertificate = true\n";
    let errors = parse(&format!("{LEAST}{later}")).unwrap_err();
    let told: Vec<_> = errors.problems().iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        told,
        [
            "[web] is not in this version",
            "`directory` in [acme] is not in this version",
            "[[token]] is not in this version",
            "[http.tls] has no `certificate`",
            "[http.tls] has no `private_key`",
            "`acme` in [http.tls] is not in this version",
            "`certificate` in [[host]] is not in this version",
        ]
    );
}

#[test]
fn a_value_of_a_wrong_type_is_told_without_its_text_and_once() {
    for (wrong, told) in [
        (
            "[[account]]\nsecret = 12345678\n",
            "`secret` in [[account]] must be a string in quotes, and here is an integer",
        ),
        (
            "[[account]]\nsecret = ['hunter2, expected x']\n",
            "`secret` in [[account]] must be a string in quotes, and here is a list",
        ),
        (
            "[[account]]\nhosts = 'hunter2, expected x'\n",
            "`hosts` in [[account]] must be a list of strings, and here is a string",
        ),
        (
            "[[account]]\nhosts = [{ hunter2 = 1 }]\n",
            "`hosts` in [[account]] must be a list of strings, and here is a table",
        ),
        (
            "[[account]]\nlogin = 2026-11-29\n",
            "`login` in [[account]] must be a string in quotes, and here is a date or time",
        ),
        ("[store]\nurl = { hunter2 = 1 }\n", "`url` in [store] must be a string in quotes, and here is a table"),
        ("[http]\nlisten = [2026-11-29]\n", "`listen` in [http] must be a list of strings, and here is a date or time"),
        ("[http]\nlisten = [[\"127.0.0.1:80\"]]\n", "`listen` in [http] must be a list of strings, and here is a list"),
        ("[http]\nconnections_per_source = true\n", "`connections_per_source` in [http] cannot be true or false"),
        ("[[host]]\nttl = 99999999999999999999\n", "`ttl` in [[host]] is not an integer from 0 to 2147483647"),
        ("[engine]\ndeadline.x = 1\n", "`deadline` in [engine] must be a string in quotes, and here is a table"),
        ("[limits]\nhost = 5\n", "`host` in [limits] cannot be an integer"),
        ("[limits.host]\nburst = 1.5\n", "`burst` in [limits] host is not an integer from 1 to 4294967295"),
        ("[http]\ntls = 5\n", "[http.tls] is a section, and here is a single value"),
        ("[http]\ntls = [{ listen = [] }]\n", "[http.tls] may stand only once, and here is a list"),
        ("[[zone]]\nprimaries = [5]\n", "`primaries` in [[zone]] must be a list of strings, and here is an integer"),
    ] {
        let errors = errors_in(&format!("{LEAST}{wrong}"));
        assert_eq!(errors.matches(told).count(), 1, "{told}:\n{errors}");
        let key = told.split('`').nth(1).unwrap_or("tls");
        assert!(!errors.contains(&format!("has no `{key}`")) && !errors.contains("is empty"), "{errors}");
        assert!(!errors.contains("hunter2") && !errors.contains("12345678"), "{errors}");
    }
}

#[test]
fn a_section_with_more_mistakes_than_anyone_reads_is_told_to_an_end() {
    let text: String = (0..5000).map(|number| format!("key{number} = 1\n")).collect();
    let errors = parse(&format!("[engine]\n{text}")).unwrap_err();
    assert_eq!(errors.problems().len(), 101);
    assert_eq!(errors.problems()[0].message, "more is wrong with [engine] than is told here");
}

#[test]
fn a_hundred_thousand_accounts_are_read() {
    use std::fmt::Write as _;
    let mut text = LEAST.to_owned();
    for number in 0..100_000 {
        let secret = "$sha256$K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=";
        writeln!(text, "[[account]]\nlogin='{number}'\nsecret='{secret}'\nhosts=['h{number}.dyn.example']").unwrap();
    }
    assert!(text.len() < 16 * 1024 * 1024);
    assert_eq!(parse(&text).unwrap().accounts.len(), 100_000);
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn no_octets_make_the_parser_panic(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&String::from_utf8_lossy(&octets));
    }

    #[test]
    fn no_soup_of_its_own_words_makes_the_parser_panic(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "[", "]", "[[", "]]", "{", "}", "=", ",", ".", "\n", "\n", "\"", "'", "\"\"\"", "#", "1", "true", "ö", " ",
                "http", "http.tls", "tls", "key", "proxy_protocol", "\"unix:x\"", "\"systemd:x\"", "zone", "account", "host", "limits", "listen", "name", "secret", "hosts", "store",
                "\"off\"", "\"5s\"", "\"dyn.example\"", "\"*.dyn.example\"", "\"127.0.0.1:53\"", "\n[[zone]]\n", "\n[http]\n",
            ]),
            0..40,
        )
    ) {
        let _ = parse(&words.concat());
    }

    #[test]
    fn no_slip_in_the_example_makes_the_parser_panic(
        at in 0usize..6000, length in 0usize..12, put in "[ -~\nö]{0,3}",
    ) {
        let mut text = EXAMPLE.to_owned();
        let boundary = |at: usize| text.floor_char_boundary(at.min(text.len()));
        let range = boundary(at)..boundary(at + length);
        text.replace_range(range, &put);
        if let Err(errors) = parse(&text) {
            let errors = errors.to_string();
            prop_assert!(!errors.is_empty());
            for secret in ["Rirg41wK", "Vh35FPuO", "ZXhhbXBs", "IG1ha2Ug"] {
                prop_assert!(!errors.contains(secret), "{}", errors);
            }
        }
    }
}
