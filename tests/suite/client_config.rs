//! `dyngate client-config`: its errors, and what it prints, fed to the real clients in front of a real Knot.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use lab::http::Request;
use lab::{Gateway, Key, Kind, Server, Setup};
use tempfile::TempDir;

use crate::command_line::{self, run};
use crate::stage::{Config, LOGIN, SECRET, ZONE, program};

/// The addresses of the loopback interface in the namespace: public ones, since inadyn reports no others.
const IPV4: &str = "203.0.113.9";
const IPV6: &str = "2001:db8::9";

/// Knot, the gateway, its configuration in a file, and a folder for the clients.
struct Scene {
    primary: Server,
    gateway: Gateway,
    config: String,
    folder: TempDir,
}

impl Scene {
    async fn new(listen: &str, zone: &str) -> Self {
        let key = Key::generate("gateway-key");
        let primary = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
        let config = Config { zone: zone.to_owned(), ..Config::new(&key, primary.addr()) };
        let toml = config.toml().replace("[http]\nlisten = [\"127.0.0.1:0\"]", &format!("[http]\nlisten = [{listen}]"));
        let gateway = Gateway::builder(program()).config(&toml).start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        fs::write(&file, toml).unwrap();
        Self { primary, gateway, config: file.to_str().unwrap().to_owned(), folder }
    }

    /// The text for a device, the account's secret filled in as it says.
    fn printed(&self, host: &str, device: &str, more: &[&str]) -> String {
        let arguments = [&["client-config", host, "--for", device, "--config", &self.config], more].concat();
        let printed = run(&arguments, "");
        assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
        assert!(printed.stdout.contains("PASSWORD"), "{}", printed.stdout);
        printed.stdout.lines().map(|line| filled(line) + "\n").collect()
    }

    async fn served(&self, host: &str) -> Vec<String> {
        self.primary.addresses(host).await.unwrap().iter().map(ToString::to_string).collect()
    }

    /// Runs a client in its folder to a good end; all that it wrote.
    async fn client(&self, command: &[&str]) -> String {
        let mut client = Command::new(command[0]);
        client.args(&command[1..]).current_dir(self.folder.path()).env_clear().env("HOME", self.folder.path());
        client.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
        let ran = tokio::task::spawn_blocking(move || client.output()).await.unwrap();
        let Output { status, stdout, stderr } =
            ran.unwrap_or_else(|error| panic!("{}: {error}: scripts/install-deps.sh tests", command[0]));
        let all = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{command:?}: {status}\n{all}");
        all
    }

    /// One run of ddclient with this configuration.
    async fn ddclient(&self, text: &str) -> String {
        let file = self.private("ddclient.conf", text);
        // A cache of its own for each run.
        let cache = tempfile::tempdir_in(self.folder.path()).unwrap().keep().join("cache");
        let cache = cache.to_str().unwrap();
        self.client(&["ddclient", "-daemon=0", "-foreground", "-file", &file, "-cache", cache]).await
    }

    /// One run of inadyn with this configuration.
    async fn inadyn(&self, text: &str) -> String {
        let file = format!("--config={}", self.private("inadyn.conf", text));
        let once =
            ["inadyn", "--once", "--force", "--foreground", "--no-pidfile", "--cache-dir=.", "--loglevel=notice"];
        self.client(&[&once[..], &[&file]].concat()).await
    }

    fn private(&self, name: &str, text: &str) -> String {
        let file = self.folder.path().join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        file.to_str().unwrap().to_owned()
    }
}

/// A line with the secret in place of the placeholder, unless it is a comment; the device's own placeholders stay.
fn filled(line: &str) -> String {
    if line.starts_with("# ") || line.contains("[PASSWORD]") || line.contains("__PASSWORD__") {
        return line.to_owned();
    }
    line.replace("PASSWORD", SECRET)
}

/// The configuration with its commented lines in force, as the comment says: those without a blank behind the `#`.
fn uncommented(text: &str) -> String {
    let bare = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') || rest.starts_with("    ") => filled(rest),
        _ => line.to_owned(),
    };
    text.lines().map(|line| bare(line) + "\n").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn printed_configurations_work_with_ddclient_curl_and_wget() {
    let scene = Scene::new("\"127.0.0.1:0\"", "allow = [\"127.0.0.0/8\"]").await;
    let url = format!("http://{}", scene.gateway.http());
    let at = ["--url", &url];
    let text = scene.printed("one.dyn.example", "ddclient", &at);
    let said = scene.ddclient(&text).await;
    assert!(said.contains("SUCCESS:  updating one.dyn.example: good: IP address set to 127.0.0.1"), "{said}");
    assert_eq!(scene.served("one.dyn.example").await, ["127.0.0.1"]);

    let lines = scene.printed("two.dyn.example", "curl", &at);
    assert_eq!(scene.client(&["sh", "-c", &lines]).await, "good 127.0.0.1\n");
    assert_eq!(scene.served("two.dyn.example").await, ["127.0.0.1"]);

    // What OpenWrt's script makes of its template, and the command that it runs.
    let section = scene.printed("three.dyn.example", "openwrt", &at);
    let templates: Vec<_> =
        section.lines().filter_map(|line| line.trim().strip_prefix("option update_url '")).collect();
    assert_eq!(templates.len(), 2);
    for (template, address) in templates.iter().zip([IPV4, "2001:0db8:0000:0000:0000:0000:0000:0009"]) {
        let url = template.trim_end_matches('\'').replace("[USERNAME]", LOGIN).replace("[PASSWORD]", SECRET);
        let url = url.replace("[DOMAIN]", "three.dyn.example").replace("[IP]", address);
        let said = scene.client(&["wget", "--no-config", "--no-hsts", "-q", "-t", "1", "-O", "-", &url]).await;
        assert_eq!(said, format!("good {address}"));
    }
    assert_eq!(scene.served("three.dyn.example").await, [IPV4, IPV6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_forms_make_of_their_placeholders_is_understood() {
    let scene = Scene::new("\"127.0.0.1:0\"", "").await;
    let address = scene.gateway.http();
    let url = format!("http://{address}");
    for (device, placeholders) in [
        ("fritzbox", &[("<domain>", "HOST"), ("<ipaddr>", "203.0.113.1"), ("<ip6addr>", "2001:db8::1")][..]),
        ("fritzbox", &[("<domain>", "HOST"), ("<ipaddr>", "203.0.113.1"), ("<ip6addr>", "")]),
        ("pfsense", &[("%IP%", "203.0.113.1")]),
        ("unifi", &[("%h", "HOST"), ("%i", "203.0.113.1")]),
        (
            "synology",
            &[("__HOSTNAME__", "HOST"), ("__MYIP__", "203.0.113.1"), ("__USERNAME__", LOGIN), ("__PASSWORD__", SECRET)],
        ),
        ("mikrotik", &[("\\?", "?"), ("\" . $list)", "203.0.113.1,2001:db8::1")]),
    ] {
        let host = format!("{device}.dyn.example");
        let text = scene.printed(&host, device, &["--url", &url]);
        let line = text.lines().find(|line| line.contains("/nic/update")).unwrap();
        let (_, target) = line.split_once(&address.to_string()).unwrap();
        let target = placeholders.iter().fold(target.to_owned(), |target, (placeholder, value)| {
            assert!(target.contains(placeholder), "{placeholder} in {target}");
            target.replace(placeholder, value)
        });
        let target = target.replace("HOST", &host);
        let request = Request::get(&target);
        let request = if device == "synology" { request } else { request.basic(LOGIN, SECRET) };
        let answer = request.send(address).await.unwrap().text();
        assert!(
            answer.starts_with("good 203.0.113.1") || answer == "nochg 203.0.113.1",
            "{device}: {target}: {answer}"
        );
        assert_eq!(scene.served(&host).await[0], "203.0.113.1");
        if device == "pfsense" {
            let (_, accepted) = text.split_once("\nResult Match").unwrap();
            let accepted = accepted.lines().next().unwrap().trim().replace("%IP%", "203.0.113.1");
            assert!(accepted.split('|').any(|one| one == answer), "{answer} in {accepted}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_families_work_with_ddclient_inadyn_and_curl_where_namespaces_are_allowed() {
    if !inside("client_config::both_families_work_with_ddclient_inadyn_and_curl_where_namespaces_are_allowed") {
        return;
    }
    let scene = Scene::new(&format!("\"{IPV4}:8245\", \"[{IPV6}]:8245\""), "").await;
    // Without --url: the address that it listens on is public.
    let printed = |host: &str, device: &str, more: &[&str]| scene.printed(host, device, more).replace("eth0", "lo");
    for (family, address) in [("ipv4", IPV4), ("ipv6", IPV6)] {
        let host = format!("ddclient-{family}.dyn.example");
        let said = scene.ddclient(&printed(&host, "ddclient", &["--families", family])).await;
        assert!(said.contains(&format!("updating {host}: good: IP address set to {address}")), "{said}");
        assert_eq!(scene.served(&host).await, [address]);

        let host = format!("inadyn-{family}.dyn.example");
        let said = scene.inadyn(&printed(&host, "inadyn", &["--families", family])).await;
        assert!(said.contains(&format!("new IP# {address}")), "{said}");
        assert_eq!(scene.served(&host).await, [address]);

        let host = format!("curl-{family}.dyn.example");
        let url = if family == "ipv4" { format!("http://{IPV4}:8245") } else { format!("http://[{IPV6}]:8245") };
        let said = scene.client(&["sh", "-c", &printed(&host, "curl", &["--url", &url])]).await;
        assert_eq!((said, scene.served(&host).await), (format!("good {address}\n"), vec![address.to_owned()]));
    }
    let both = uncommented(&printed("both.dyn.example", "inadyn", &[]));
    scene.inadyn(&both).await;
    assert_eq!(scene.served("both.dyn.example").await, [IPV4, IPV6], "{both}");
}

/// Whether this is the run inside a network namespace with public addresses; outside, it makes that run and says so.
fn inside(test: &str) -> bool {
    const INSIDE: &str = "DYNGATE_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let prepare = format!(
        "ip link set lo up && ip address add {IPV4}/32 dev lo && ip address add {IPV6}/128 dev lo nodad && exec \"$@\""
    );
    let unshare = |way: &[&str], command: &[&str], folder: &Path| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "--pid", "--fork", "--kill-child"]).args(way).args(["sh", "-c", &prepare, "sh"]);
        // A folder of its own: the laboratory's locks on ports belong to the user outside.
        unshare.args(command).env(INSIDE, "1").env("TMPDIR", folder).output()
    };
    let folder = tempfile::tempdir().unwrap();
    let own = std::env::current_exe().unwrap();
    let ways: [&[&str]; 2] = [&[], &["--user", "--map-root-user"]];
    for way in ways {
        if unshare(way, &["true"], folder.path()).is_ok_and(|output| output.status.success()) {
            let command = [own.to_str().unwrap(), "--exact", test, "--nocapture"];
            let Output { status, stdout, stderr } = unshare(way, &command, folder.path()).unwrap();
            let stdout = String::from_utf8_lossy(&stdout);
            let good = status.success() && stdout.contains("1 passed");
            assert!(good, "{status}\n{stdout}\n{}", String::from_utf8_lossy(&stderr));
            eprintln!("RAN: {test}: in a namespace");
            return false;
        }
    }
    eprintln!("SKIPPED: {test}: no namespaces here (unshare --net)");
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_printed_url_works_with_the_token_of_its_host() {
    let store = tempfile::tempdir().unwrap();
    let zone = format!("allow = [\"127.0.0.0/8\"]\n[store]\nurl = \"sqlite:{}/store.db\"", store.path().display());
    let scene = Scene::new("\"127.0.0.1:0\"", &zone).await;
    let done = |words: &[&str]| {
        let output = run(&[words, &["--config", &scene.config]].concat(), "");
        assert_eq!(output.code, Some(0), "{words:?}: {}", output.stderr);
        output.stdout
    };
    done(&["account", "add", "alice", "--host", "url.dyn.example"]);
    let gateway = format!("http://{}", scene.gateway.http());
    let printed = done(&["client-config", "url.dyn.example", "--for", "url", "--url", &gateway]);
    assert!(
        printed.contains("as account alice") && printed.contains("`dyngate host token url.dyn.example`"),
        "{printed}"
    );
    let handed: serde_json::Value =
        serde_json::from_str(&done(&["host", "token", "url.dyn.example", "--json"])).unwrap();
    let token = handed["path"].as_str().unwrap().strip_prefix("/update/").unwrap();
    let line = printed.lines().find(|line| !line.starts_with('#')).unwrap().replace("TOKEN", token);
    assert_eq!(scene.client(&["curl", "-sS", &line]).await, "good 127.0.0.1");
    assert_eq!(scene.served("url.dyn.example").await, ["127.0.0.1"]);
}

#[test]
fn what_is_wrong_is_64_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let key = Key::generate("k");
    let more =
        format!("[[account]]\nlogin = \"other\"\nsecret = \"{}\"\nhosts = [\"*.dyn.example\"]", lab::digest("x"));
    fs::write(&file, Config { more, ..Config::new(&key, "127.0.0.1:53".parse().unwrap()) }.toml()).unwrap();
    let file = file.to_str().unwrap();
    let said = |arguments: &[&str]| -> command_line::Output {
        run(&[&["client-config", "--for", "curl", "--config", file], arguments].concat(), "")
    };
    for (arguments, words) in [
        (&["home.dyn.example"][..], &["several accounts", "router1, other", "--login"][..]),
        (&["home.dyn.example", "--login", "nobody"], &["no account \"nobody\"", "router1, other"]),
        (&["home.elsewhere.example"], &["no [[zone]] holds", "dyn.example"]),
        (&["home", "--login", "other"], &["not a host name", "home.dyn.example"]),
        (&["dyn.example", "--login", "other"], &["may not update", "[[account]]"]),
        (&["home.dyn.example", "--login", "other", "--url", "http://a:b@c"], &["--url", "without"]),
        (&["home.dyn.example", "--families", "ipv5"], &["ipv4", "ipv6"]),
        (&[], &["<HOST>"]),
    ] {
        let output = said(arguments);
        assert_eq!((output.code, output.stdout.as_str()), (Some(64), ""), "{arguments:?}");
        for word in words {
            assert!(output.stderr.contains(word), "{word} in {}", output.stderr);
        }
    }
    assert!(!said(&["home.dyn.example", "--url", "http://a:secret@c"]).stderr.contains("secret"));
    let output = run(&["client-config", "home.dyn.example", "--for", "url", "--config", file], "");
    assert_eq!((output.code, output.stdout.as_str()), (Some(64), ""), "{}", output.stderr);
    assert!(output.stderr.contains("no host of the store"), "{}", output.stderr);
    assert!(output.stderr.contains("dyngate host add home.dyn.example"), "{}", output.stderr);
    let closed = fs::read_to_string(file).unwrap() + "[store]\nurl = \"sqlite:/nonexistent/store.db\"\n";
    let unreadable = folder.path().join("unreadable.toml");
    fs::write(&unreadable, closed).unwrap();
    let output =
        run(&["client-config", "home.dyn.example", "--for", "curl", "--config", unreadable.to_str().unwrap()], "");
    assert_eq!((output.code, output.stdout.as_str()), (Some(1), ""), "{}", output.stderr);
    let good = said(&["home.dyn.example", "--login", "other"]);
    assert_eq!(good.code, Some(0), "{}", good.stderr);
    assert!(
        good.stdout.contains("https://ddns.example.net/nic/update") && good.stdout.contains("Replace ddns.example.net")
    );
}
