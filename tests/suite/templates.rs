//! The URL templates of OpenWrt's services, `tests/dialects/openwrt/templates.tsv`, sent to the gateway in front of a real Knot.
//! A template is served where the record is right, the answer holds what OpenWrt looks for, and neither is so with a wrong secret.

use std::fs;
use std::path::Path;

use dyngate::config::Location;
use dyngate::model::{Families, Hostname, PasswordDigest, TokenDigest};
use dyngate::store::{NewAccount, NewHost, Store};
use lab::http::Request;
use lab::{Gateway, Key, Kind, Server, Setup, digest};
use tempfile::TempDir;

use crate::stage::{Config, ZONE, program};

const HOST: &str = "home.dyn.example";
const LOGIN: &str = "openwrt";
const SECRET: &str = "mzxw-6ytb-mzxw-6ytb-mzxw-6ytb-mzxw-6ytb";
const TOKEN: &str = "n5xg-k3df-nzzs-a5dp-mnuw-42lo-ovzx-i4dp";
const WRONG: &str = "aaaa-bbbb-cccc-dddd-eeee-ffff-gggg-hhhh";

/// Who asks, in the order of trying: each pair may be written where a template has a login and a secret.
const MODES: [(&str, &str); 3] = [(LOGIN, SECRET), (HOST, TOKEN), (LOGIN, TOKEN)];

/// A line of the file.
struct Template {
    service: String,
    is_v6: bool,
    basic: String,
    target: String,
    pattern: String,
    /// Why it is not served.
    unserved: String,
}

fn templates() -> Vec<Template> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialects/openwrt/templates.tsv");
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let template = |line: &str| {
        let fields: Vec<_> = line.split('\t').map(str::to_owned).collect();
        let [service, family, basic, target, pattern, unserved] = fields.try_into().unwrap();
        assert!(family == "ipv4" || family == "ipv6", "{line}");
        Template { service, is_v6: family == "ipv6", basic, target, pattern, unserved }
    };
    lines.map(template).collect()
}

struct Stage {
    primary: Server,
    gateway: Gateway,
    _folder: TempDir,
}

impl Stage {
    /// An account of the store with one host, which has a token; behind a proxy, so that a request comes from any address.
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("dyngate.db");
        let key = Key::generate("gateway-key");
        let primary = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
        let store = Store::open(&Location::Sqlite(file.clone())).await.unwrap();
        let secret = PasswordDigest::parse(&digest(SECRET)).unwrap();
        let account = NewAccount { login: LOGIN.to_owned(), secret, max_hosts: 0, wildcards: Vec::new() };
        let name = Hostname::parse(HOST).unwrap();
        let host = NewHost {
            name: name.clone(),
            login: LOGIN.to_owned(),
            ttl: None,
            families: Families::Both,
            description: String::new(),
        };
        store.add_account(&account, &[host]).await.unwrap();
        store.set_token(&name, &TokenDigest::of(TOKEN).0, None).await.unwrap();
        store.close().await;
        let mut config = Config::new(&key, primary.addr());
        config.grants = vec!["declared.dyn.example"];
        config.more = format!("[store]\nurl = \"sqlite:{}\"\n", file.display());
        let toml = config.toml().replacen("[http]\n", "[http]\ntrusted_proxies = [\"127.0.0.0/8\"]\n", 1);
        let gateway = Gateway::builder(program()).config(&toml).start().await.expect("the gateway starts");
        Self { primary, gateway, _folder: folder }
    }

    /// Sends it as OpenWrt would. The answer, and whether its pattern is in there (no pattern: whether that is no error).
    async fn send(&self, template: &Template, (login, secret): (&str, &str), address: &str) -> (String, bool) {
        let fill = |text: &str| {
            let text = text.replace("{login}", login).replace("{secret}", secret);
            text.replace("{host}", HOST).replace("{address}", address)
        };
        let request = Request::get(&fill(&template.target)).header("X-Forwarded-For", address);
        let request = match fill(&template.basic).split_once(':') {
            Some((login, secret)) => request.basic(login, secret),
            None => request,
        };
        let answer = request.send(self.gateway.http()).await.expect("the gateway answers");
        let text = answer.text().to_lowercase();
        let pattern = template.pattern.to_lowercase();
        let is_done = match pattern.as_str() {
            "" => answer.status == 200,
            pattern => pattern.split('|').any(|word| text.contains(word)),
        };
        (text, is_done)
    }

    async fn holds(&self, address: &str) -> bool {
        let address: std::net::IpAddr = address.parse().unwrap();
        self.primary.addresses(HOST).await.expect("Knot answers").contains(&address)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openwrts_templates_work_as_they_are() {
    let stage = Stage::new().await;
    let templates = templates();
    let mut served = 0;
    let mut wrong = Vec::new();
    // No address holds a word that somebody looks for.
    let mut numbers = (2..100).cycle();
    for template in &templates {
        let mut address = || {
            let number = numbers.next().unwrap_or_default();
            if template.is_v6 {
                format!("2001:0db8:0000:0000:0000:0000:0000:{number:04x}")
            } else {
                format!("203.0.113.{number}")
            }
        };
        let mut is_served = false;
        for mode in MODES {
            let (right, other) = (address(), address());
            let (text, is_done) = stage.send(template, mode, &right).await;
            is_served = is_done && stage.holds(&right).await;
            if is_served {
                let (refusal, is_done) = stage.send(template, (mode.0, WRONG), &other).await;
                // Without a pattern nobody looks, and Namecheap says 200 to all.
                let is_told = if template.pattern.is_empty() { refusal != text } else { !is_done };
                is_served = is_told && !stage.holds(&other).await;
                break;
            }
        }
        served += usize::from(is_served);
        let name = format!("{} {}", template.service, template.target);
        match (is_served, template.unserved.as_str()) {
            (true, "") => {}
            (true, reason) => wrong.push(format!("{name} is served, and the file says that it is not: {reason}")),
            (false, "") => wrong.push(format!("{name} is not served")),
            (false, _) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!((templates.len(), served), (118, 108));
    let log = stage.gateway.log();
    for secret in [SECRET, TOKEN, WRONG] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
}
