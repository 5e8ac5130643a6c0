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

/// The gateway's names in there: one of both families, and one of each.
const NAME: &str = "ddns.example.net";
const NAME4: &str = "ipv4.ddns.example.net";
const NAME6: &str = "ipv6.ddns.example.net";

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
    // Not in the name of a variable.
    match line.split_once("_PASSWORD=") {
        Some((name, value)) => format!("{name}_PASSWORD={}", value.replace("PASSWORD", SECRET)),
        None => line.replace("PASSWORD", SECRET),
    }
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

    let lines = scene.printed("three.dyn.example", "wget", &at);
    assert_eq!(scene.client(&["sh", "-c", &lines.replace("wget -6", ": wget -6")]).await, "good 127.0.0.1");
    assert_eq!(scene.served("three.dyn.example").await, ["127.0.0.1"]);

    // The commands of EdgeOS and VyOS become a ddclient.conf on the router.
    for device in ["edgeos", "vyos"] {
        let host = format!("{device}.dyn.example");
        let commands = scene.printed(&host, device, &at);
        let value = |key: &str| {
            let mut lines = commands.lines().filter_map(|line| line.strip_prefix("set ")?.rsplit_once(' '));
            let (_, value) = lines.rfind(|(left, _)| left.ends_with(key)).unwrap();
            value.to_owned()
        };
        let login = if device == "edgeos" { value(" login") } else { value(" username") };
        let conf = format!(
            "ssl=no\nuse=web, web={url}/checkip\nprotocol={}\nserver={}\nlogin={login}\npassword={}\n{}\n",
            value(" protocol"),
            value(" server"),
            value(" password"),
            value(" host-name")
        );
        let said = scene.ddclient(&conf).await;
        assert!(said.contains(&format!("SUCCESS:  updating {host}: good")), "{said}");
    }

    // The firmware runs the script with the address, and hears of it by a command.
    let script =
        scene.printed("merlin.dyn.example", "asuswrt", &at).replace("/sbin/ddns_custom_updated", "echo updated");
    let script = scene.private("ddns-start", &script);
    assert_eq!(scene.client(&["sh", &script, "203.0.113.1"]).await, "updated 1\n");
    assert_eq!(scene.client(&["sh", &script, "nonsense"]).await, "updated 0\n");
    assert_eq!(scene.served("merlin.dyn.example").await, ["203.0.113.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn printed_configurations_work_with_dyndnsc_and_ddns_where_installed() {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/pypi");
    let [dyndnsc, ddns] = ["dyndnsc", "ddns"].map(|program| modules.join("bin").join(program));
    if !dyndnsc.is_file() || !ddns.is_file() {
        eprintln!("SKIPPED: dyndnsc, ddns: not installed; scripts/install-clients.sh");
        return;
    }
    eprintln!("RAN: dyndnsc, ddns: from target/clients");
    let scene = Scene::new("\"127.0.0.1:0\"", "allow = [\"127.0.0.0/8\"]").await;
    let url = format!("http://{}", scene.gateway.http());
    let at = ["--url", &url, "--families", "ipv4"];
    let python = format!("PYTHONPATH={}", modules.display());
    let ini = scene.private("dyndnsc.ini", &scene.printed("dyndnsc.dyn.example", "dyndnsc", &at));
    scene.client(&["env", &python, dyndnsc.to_str().unwrap(), "-c", &ini]).await;
    assert_eq!(scene.served("dyndnsc.dyn.example").await, ["127.0.0.1"]);

    let lines = scene.printed("ddns.dyn.example", "ddns", &at);
    let lines = lines.replace("\nddns ", &format!("\n{} ", ddns.display()));
    scene.client(&["env", &python, "PYTHONIOENCODING=utf-8", "sh", "-c", &lines]).await;
    assert_eq!(scene.served("ddns.dyn.example").await, ["127.0.0.1"]);
}

/// The value of a UCI option in the section `at`, counted from 0.
fn option(sections: &str, at: usize, key: &str) -> String {
    let lines = sections.split("config service").nth(at + 1).unwrap().lines();
    let value = lines.filter_map(|line| line.trim().strip_prefix(&format!("option {key} '"))).next();
    value.unwrap_or_else(|| panic!("no {key} in {sections}")).trim_end_matches('\'').to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_of_openwrt_takes_success_for_success_and_no_refusal() {
    let scene = Scene::new("\"127.0.0.1:0\"", "").await;
    let url = format!("http://{}", scene.gateway.http());
    let folder = scene.folder.path().display().to_string();
    let script = scene.printed("three.dyn.example", "openwrt", &["--url", &url]);
    // The router's files, in a folder of our own.
    fs::create_dir_all(scene.folder.path().join("etc/config")).unwrap();
    let script =
        script.replace(" /usr/share", &format!(" {folder}/usr/share")).replace(">/usr/", &format!(">{folder}/usr/"));
    let script = script.replace("/etc/config", &format!("{folder}/etc/config")).replace("/etc/init.d/ddns", "echo");
    assert_eq!(scene.client(&["sh", "-e", "-c", &script]).await, "restart\n");
    let service = fs::read_to_string(scene.folder.path().join("usr/share/ddns/custom/dyngate.json")).unwrap();
    assert_eq!(service, include_str!("../../packaging/openwrt/dyngate.json"));
    let service: serde_json::Value = serde_json::from_str(&service).unwrap();
    let sections = fs::read_to_string(scene.folder.path().join("etc/config/ddns")).unwrap();
    let addresses = [IPV4, "2001:0db8:0000:0000:0000:0000:0000:0009"];
    for (at, (family, address)) in ["ipv4", "ipv6"].iter().zip(addresses).enumerate() {
        assert_eq!(
            (option(&sections, at, "service_name"), service["name"].as_str()),
            ("dyngate".to_owned(), Some("dyngate"))
        );
        assert_eq!(option(&sections, at, "use_ipv6"), at.to_string());
        let accepted = service[family]["answer"].as_str().unwrap();
        let template = service[family]["url"].as_str().unwrap();
        let filled = |password: &str, host: &str| {
            let url = template.replace("[PARAMOPT]", &option(&sections, at, "param_opt")).replace("[IP]", address);
            let url = url.replace("[USERNAME]", &option(&sections, at, "username")).replace("[PASSWORD]", password);
            url.replace("[DOMAIN]", host)
        };
        let right = option(&sections, at, "password");
        let host = option(&sections, at, "domain");
        for (password, host, is_success) in
            [(right.as_str(), host.as_str(), true), ("wrong", &host, false), (&right, "other.example", false)]
        {
            // In curl mode the exit code is 0 whatever comes; the script greps the answer.
            let command = format!(
                "curl -RsS -o answer --noproxy '*' '{}'; grep -i -E '{accepted}' answer || echo no",
                filled(password, host)
            );
            let said = scene.client(&["sh", "-c", &command]).await;
            assert_eq!(said != "no\n", is_success, "{password} {host}: {said}");
        }
        let wget = ["wget", "--no-config", "--no-hsts", "-q", "-t", "1", "-O", "-", &filled(&right, &host)];
        assert_eq!(scene.client(&wget).await, format!("nochg {address}"));
    }
    assert_eq!(scene.served("three.dyn.example").await, [IPV4, IPV6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_forms_make_of_their_placeholders_is_understood() {
    let scene = Scene::new("\"127.0.0.1:0\"", "").await;
    let address = scene.gateway.http();
    let url = format!("http://{address}");
    for (device, placeholders) in [
        (
            "fritzbox",
            &[
                ("<domain>", "HOST"),
                ("<ipaddr>", "203.0.113.1"),
                ("<ip6addr>", "2001:db8::1"),
                ("<ip6lanprefix>", "2001:db8:0:100::/56"),
            ][..],
        ),
        ("fritzbox", &[("<domain>", "HOST"), ("<ipaddr>", "203.0.113.1"), ("<ip6addr>", ""), ("<ip6lanprefix>", "")]),
        ("hpe", &[("<h>", "HOST"), ("<a>", "203.0.113.1")]),
        ("huawei", &[("<h>", "HOST"), ("<a>", "203.0.113.1"), (" username router1 password a-generated-secret", "")]),
        ("cisco", &[("<h>", "HOST"), ("<a>", "203.0.113.1")]),
        ("ddns-go", &[("#{domain}", "HOST"), ("#{ip}", "203.0.113.1")]),
        ("qnap", &[("%HOST%", "HOST"), ("%IP%", "203.0.113.1"), ("%USER%", LOGIN), ("%PASS%", SECRET)]),
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
        let request = if ["synology", "qnap"].contains(&device) { request } else { request.basic(LOGIN, SECRET) };
        if ["cisco", "ddns-go"].contains(&device) {
            assert!(line.contains(&format!("{LOGIN}:{SECRET}@{address}")), "{line}");
        }
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

#[tokio::test(flavor = "multi_thread")]
async fn what_programs_read_as_json_says_what_they_need() {
    let scene = Scene::new("\"127.0.0.1:0\"", "allow = [\"127.0.0.0/8\"]").await;
    let address = scene.gateway.http();
    let text = scene.printed("qdm12.dyn.example", "ddns-updater", &["--url", &format!("https://{address}")]);
    let json: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let config: serde_json::Value = serde_json::from_str(&json).unwrap();
    for (setting, (version, sent)) in
        config["settings"].as_array().unwrap().iter().zip([("ipv4", IPV4), ("ipv6", IPV6)])
    {
        assert_eq!((setting["provider"].as_str(), setting["ip_version"].as_str()), (Some("custom"), Some(version)));
        let (login, target) = setting["url"].as_str().unwrap().split_once(&format!("@{address}")).unwrap();
        assert_eq!(login, format!("https://{LOGIN}:{SECRET}"));
        let key = setting[&format!("{version}key")].as_str().unwrap();
        let request = Request::get(&format!("{target}&{key}={sent}")).basic(LOGIN, SECRET);
        assert_eq!(request.send(address).await.unwrap().text(), format!("good {sent}"));
        assert_eq!(setting["success_regex"], "^(good|nochg)( |$)");
    }
    assert_eq!(scene.served("qdm12.dyn.example").await, [IPV4, IPV6]);

    // It puts the host behind the URL and states no address.
    let form = scene.printed("ddwrt.dyn.example", "dd-wrt", &["--url", &format!("http://{address}")]);
    let value = |label: &str| form.lines().find_map(|line| line.strip_prefix(label)).unwrap().trim();
    assert_eq!(value("DYNDNS Server"), address.to_string());
    let request = Request::get(&format!("{}ddwrt.dyn.example", value("URL"))).basic(value("User Name"), SECRET);
    assert_eq!(request.send(address).await.unwrap().text(), "good 127.0.0.1");
}

/// A gateway whose name has A and AAAA records: the case in which programs report one family and are content.
#[tokio::test(flavor = "multi_thread")]
async fn both_families_arrive_by_names_of_one_family_where_namespaces_are_allowed() {
    if !inside("client_config::both_families_arrive_by_names_of_one_family_where_namespaces_are_allowed") {
        return;
    }
    let listen =
        format!("\"{IPV4}:8245\", \"[{IPV6}]:8245\"]\nipv4_name = \"{NAME4}\"\nipv6_name = \"{NAME6}\"\nproxies = [");
    let scene = Scene::new(&listen.replace("proxies", "trusted_proxies"), "").await;
    let url = format!("http://{NAME}:8245");
    let printed = |host: &str, device: &str, more: &[&str]| {
        scene.printed(host, device, &[&["--url", &url], more].concat()).replace("eth0", "lo")
    };
    for device in ["ddclient", "inadyn", "curl", "wget"] {
        let host = format!("{device}.dyn.example");
        let text = printed(&host, device, &["--families", "ipv4"]);
        match device {
            "ddclient" => scene.ddclient(&text).await,
            "inadyn" => scene.inadyn(&text).await,
            _ => scene.client(&["sh", "-c", &text]).await,
        };
        assert_eq!(scene.served(&host).await, [IPV4], "{text}");
    }
    for device in ["inadyn", "curl", "wget"] {
        let host = format!("{device}.dyn.example");
        let text = printed(&host, device, &[]);
        match device {
            "inadyn" => scene.inadyn(&uncommented(&text)).await,
            _ => scene.client(&["sh", "-c", &text]).await,
        };
        assert_eq!(scene.served(&host).await, [IPV4, IPV6], "{text}");
    }
    // Without them this is what happens, and inadyn is content.
    let without = fs::read_to_string(&scene.config).unwrap().replace("ipv4_name", "# 4").replace("ipv6_name", "# 6");
    let without = scene.private("without.toml", &without);
    let output =
        run(&["client-config", "without.dyn.example", "--for", "inadyn", "--url", &url, "--config", &without], "");
    assert!(output.stdout.contains("as ipv4_name of [http]"), "{}", output.stdout);
    let text: String = output.stdout.replace("eth0", "lo").lines().map(|line| filled(line) + "\n").collect();
    scene.inadyn(&uncommented(&text)).await;
    assert_eq!(scene.served("without.dyn.example").await, [IPV6], "{}", output.stdout);

    let check = |config: &str| {
        let output = run(&["check", "--json", "--config", config], "");
        let report: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
        let codes = report["findings"].as_array().unwrap().iter();
        let codes: Vec<_> = codes.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect();
        (output.code, codes.into_iter().filter(|code| code.starts_with("gateway_name")).collect::<Vec<_>>())
    };
    assert_eq!(check(&scene.config).1, [""; 0]);
    let swapped = fs::read_to_string(&scene.config).unwrap().replace(NAME4, NAME).replace(NAME6, "nobody.example.net");
    let swapped = check(&scene.private("swapped.toml", &swapped));
    assert_eq!(swapped, (Some(2), vec!["gateway_name_family".to_owned(), "gateway_name_unknown".to_owned()]));
}

/// Whether this is the run inside a network namespace with public addresses; outside, it makes that run and says so.
fn inside(test: &str) -> bool {
    const INSIDE: &str = "DYNGATE_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let prepare = format!(
        "ip link set lo up && ip address add {IPV4}/32 dev lo && ip address add {IPV6}/128 dev lo nodad && \
         mount --bind \"$TMPDIR/hosts\" /etc/hosts && exec \"$@\""
    );
    let unshare = |way: &[&str], command: &[&str], folder: &Path| {
        let mut unshare = Command::new("unshare");
        unshare
            .args(["--net", "--mount", "--pid", "--fork", "--kill-child"])
            .args(way)
            .args(["sh", "-c", &prepare, "sh"]);
        // A folder of its own: the laboratory's locks on ports belong to the user outside.
        unshare.args(command).env(INSIDE, "1").env("TMPDIR", folder).output()
    };
    let folder = tempfile::tempdir().unwrap();
    let hosts = format!("127.0.0.1 localhost\n{IPV4} {NAME} {NAME4}\n{IPV6} {NAME} {NAME6}\n");
    fs::write(folder.path().join("hosts"), hosts).unwrap();
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

    // The same token in FreeDNS' words, without which Home Assistant takes every answer for success.
    let printed = done(&["client-config", "url.dyn.example", "--for", "home-assistant", "--url", &gateway]);
    let line = printed.lines().find_map(|line| line.trim().strip_prefix("url: ")).unwrap();
    let url: String = serde_json::from_str(line).unwrap();
    let answer = scene.client(&["curl", "-sS", &url.replace("TOKEN", token)]).await;
    assert_eq!(answer, "No IP change detected for url.dyn.example with IP 127.0.0.1, skipping update");
    assert!(scene.client(&["curl", "-sS", &url]).await.starts_with("ERROR"), "an unknown one");
}

/// What certificate authorities look for, and what a program that was told so sends.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_for_certificates_reaches_the_challenge_of_its_host() {
    let scene = Scene::new("\"127.0.0.1:0\"", "[acme]\ndns01 = true").await;
    let gateway = scene.gateway.http();
    let served = async |host: &str| {
        let answer = scene.primary.query(&format!("_acme-challenge.{host}"), "TXT").await.unwrap();
        answer.data(lab::RecordType::TXT).iter().map(|data| data.trim_matches('"').to_owned()).collect::<Vec<_>>()
    };
    let target = |url: &str| url.strip_prefix(&format!("http://{gateway}")).unwrap().to_owned();
    let value = "v".repeat(43);
    for (device, prefix) in [("lego", "HTTPREQ"), ("acme.sh", "ACMEPROXY"), ("traefik", "HTTPREQ")] {
        let host = format!("{device}.dyn.example");
        let text = scene.printed(&host, device, &["--url", &format!("http://{gateway}")]);
        // The shell reads what is exported.
        let exports: String =
            text.lines().filter(|line| line.contains(prefix)).map(|line| format!("{line}\n")).collect();
        let show = format!("{exports}echo ${prefix}_ENDPOINT ${prefix}_USERNAME ${prefix}_PASSWORD");
        let shown = scene.client(&["sh", "-c", &show]).await;
        let [endpoint, login, password] = shown.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{shown}") };
        let body = format!("{{\"fqdn\": \"_acme-challenge.{host}.\", \"value\": \"{value}\"}}");
        for (call, left) in [("present", vec![value.clone()]), ("cleanup", vec![])] {
            let request = Request::post(&format!("{}/{call}", target(endpoint)), body.clone()).basic(login, password);
            let answer = request.send(gateway).await.unwrap();
            assert_eq!((answer.status, served(&host).await), (200, left), "{device} {call}: {}", answer.text());
        }
    }
    let update = async |api: &str, account: &serde_json::Value| {
        let text = |key: &str| account[key].as_str().unwrap().to_owned();
        let body = format!("{{\"subdomain\": \"{}\", \"txt\": \"{value}\"}}", text("subdomain"));
        let request = Request::post(&format!("{}/update", target(api)), body);
        let request = request.header("X-Api-User", &text("username")).header("X-Api-Key", &text("password"));
        request.send(gateway).await.unwrap().status
    };
    let caddyfile = scene.printed("caddy.dyn.example", "caddy", &["--url", &format!("http://{gateway}")]);
    let word =
        |key: &str| caddyfile.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap().trim().trim_matches('"');
    let account = serde_json::json!({
        "username": word("username"), "password": word("password"), "subdomain": word("subdomain"),
    });
    assert_eq!((update(word("server_url"), &account).await, served("caddy.dyn.example").await.len()), (200, 1));

    let folder = scene.folder.path().display().to_string();
    let script = scene.printed("certbot.dyn.example", "certbot", &["--url", &format!("http://{gateway}")]);
    let script = script.replace("/etc/letsencrypt", &folder).replace("\ncertbot", "\necho");
    let command = scene.client(&["sh", "-e", "-c", &script]).await;
    assert!(command.contains("-d certbot.dyn.example"), "{command}");
    let ini = fs::read_to_string(scene.folder.path().join("dyngate.ini")).unwrap();
    let value_of = |key: &str| ini.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim_start_matches(" = ");
    let file = value_of("dns_acmedns_registration_file");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o77, 0);
    let accounts: serde_json::Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let account = &accounts["certbot.dyn.example"];
    assert_eq!(account["fulldomain"], "_acme-challenge.certbot.dyn.example");
    assert_eq!(
        (update(value_of("dns_acmedns_api_url"), account).await, served("certbot.dyn.example").await.len()),
        (200, 1)
    );
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
