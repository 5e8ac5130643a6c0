//! What is no dyndns2, in front of a real primary: a change, none, a wrong secret, an unknown host, an outage and the return.

use lab::http::Request;
use lab::{Kind, RecordType, soon};

use crate::stage::{Config, LOGIN, SECRET, Stage, on_bind_and_knot, update};

on_bind_and_knot!(
    each_dialect_tells_the_truth_in_its_own_words,
    a_challenge_comes_by_he_net_and_by_duckdns,
    addresses_leave_a_host_that_may_be_offline_and_no_other,
);

const HOST: &str = "home.dyn.example";
const WRONG: &str = "Another-Secret";

/// A dialect: its request, in which `{secret}`, `{label}` and `{address}` are replaced, and what it answers. `{address}` in an
/// answer is the same.
struct Spoken {
    target: &'static str,
    basic: bool,
    changed: &'static str,
    unchanged: &'static str,
    wrong: (u16, &'static str),
    /// `None` where the secret is the host.
    unknown: Option<(u16, &'static str)>,
    away: &'static str,
}

const NAMECHEAP: (&str, &str) = (
    "<?xml version=\"1.0\" encoding=\"utf-8\"?><interface-response><Command>SETDNSHOST</Command>",
    "</interface-response>",
);

#[rustfmt::skip]
const DIALECTS: [Spoken; 11] = [
    Spoken {
        target: "/update?domains={label}&token={secret}&ip={address}", basic: false,
        changed: "OK", unchanged: "OK", wrong: (200, "KO"), unknown: Some((200, "KO")), away: "KO",
    },
    Spoken {
        target: "/update?domains={label}.dyn.example&token={secret}&ip={address}&verbose=true", basic: false,
        changed: "OK\n{address}\n\nUPDATED", unchanged: "OK\n{address}\n\nNOCHANGE", wrong: (200, "KO"),
        unknown: Some((200, "KO")), away: "KO",
    },
    Spoken {
        target: "/update/{label}/{secret}/{address}", basic: false,
        changed: "OK", unchanged: "OK", wrong: (200, "KO"), unknown: Some((200, "KO")), away: "KO",
    },
    Spoken {
        target: "/api/update?zone={label}.dyn.example&token={secret}&ipv4={address}", basic: false,
        changed: "addresses updated", unchanged: "addresses unchanged", wrong: (401, "unauthorized"),
        unknown: Some((404, "zone not found")), away: "try again later",
    },
    Spoken {
        target: "/u/{secret}/?address={address}", basic: false,
        changed: "Updated home.dyn.example to {address} in 0.1 seconds",
        unchanged: "No IP change detected for home.dyn.example with IP {address}, skipping update",
        wrong: (401, "ERROR: Unable to locate this record"), unknown: None, away: "ERROR: Temporary failure",
    },
    Spoken {
        target: "/dynamic/update.php?{secret}&address={address}", basic: false,
        changed: "Updated home.dyn.example to {address} in 0.1 seconds",
        unchanged: "ERROR: Address {address} has not changed.", wrong: (401, "ERROR: Unable to locate this record"),
        unknown: None, away: "ERROR: Temporary failure",
    },
    Spoken {
        target: "/update?token={secret}&domain={label}.dyn.example&myip={address}", basic: false,
        changed: "OK", unchanged: "OK", wrong: (200, "ERROR"), unknown: Some((200, "ERROR")), away: "ERROR",
    },
    Spoken {
        target: "/update?host={label}&domain=dyn.example&password={secret}&ip={address}", basic: false,
        changed: "<IP>{address}</IP><ErrCount>0</ErrCount><ResponseCount>0</ResponseCount><Done>true</Done>",
        unchanged: "<IP>{address}</IP><ErrCount>0</ErrCount><ResponseCount>0</ResponseCount><Done>true</Done>",
        wrong: (200, "<ErrCount>1</ErrCount><errors><Err1>bad credentials</Err1></errors>"),
        unknown: Some((200, "<ErrCount>1</ErrCount><errors><Err1>not your host</Err1></errors>")),
        away: "<ErrCount>1</ErrCount><errors><Err1>primary unreachable</Err1></errors>",
    },
    Spoken {
        target: "/dyn/generic.php?hostname={label}.dyn.example&myip={address}", basic: true,
        changed: "NOERROR OK", unchanged: "NOERROR OK", wrong: (401, "NOACCESS"), unknown: Some((200, "NOACCESS")),
        away: "NOSERVICE",
    },
    Spoken {
        target: "/auth/dynamic.html?host={label}.dyn.example&dnsto={address}", basic: true,
        changed: "<SUCCESS CODE=\"200\" TEXT=\"updated\" IP=\"{address}\">",
        unchanged: "<SUCCESS CODE=\"201\" TEXT=\"not changed\" IP=\"{address}\">",
        wrong: (401, "<ERROR CODE=\"708\" TEXT=\"bad credentials\">"),
        unknown: Some((200, "<ERROR CODE=\"709\" TEXT=\"not your host\">")),
        away: "<ERROR CODE=\"700\" TEXT=\"primary unreachable\">",
    },
    Spoken {
        target: "/nic/dyndns?action=edit&started=1&host_id={label}.dyn.example&myip={address}", basic: true,
        changed: "<TITLE>changed</TITLE>\nreturn code: NOERROR\nerror code: NOERROR",
        unchanged: "<TITLE>unchanged</TITLE>\nreturn code: NOERROR\nerror code: NOERROR",
        wrong: (401, "<TITLE>bad credentials</TITLE>\nreturn code: NOACCESS\nerror code: NOACCESS"),
        unknown: Some((200, "<TITLE>not your host</TITLE>\nreturn code: NOACCESS\nerror code: NOACCESS")),
        away: "<TITLE>primary unreachable</TITLE>\nreturn code: NOSERVICE\nerror code: NOSERVICE",
    },
];

impl Spoken {
    fn request(&self, secret: &str, label: &str, address: &str) -> Request {
        let target = self.target.replace("{secret}", secret).replace("{label}", label).replace("{address}", address);
        if self.basic { Request::get(&target).basic(LOGIN, secret) } else { Request::get(&target) }
    }

    /// The status and the body, of namecheap what is within.
    async fn hears(&self, stage: &Stage, secret: &str, label: &str, address: &str) -> (u16, String) {
        let answer = self.request(secret, label, address).send(stage.gateway.http()).await.unwrap();
        let text = answer.text();
        let within = text.strip_prefix(NAMECHEAP.0).and_then(|text| text.strip_suffix(NAMECHEAP.1));
        (answer.status, within.unwrap_or(&text).to_owned())
    }
}

async fn each_dialect_tells_the_truth_in_its_own_words(kind: Kind) {
    let config = |config: &mut Config| {
        config.grants = vec![HOST];
    };
    let mut stage = Stage::with(kind, |setup| setup, &[], config).await;
    for (number, dialect) in DIALECTS.iter().enumerate() {
        let address = format!("203.0.113.{}", number + 1);
        let said = |text: &str| (200, text.replace("{address}", &address));
        let target = dialect.target;
        assert_eq!(dialect.hears(&stage, SECRET, "home", &address).await, said(dialect.changed), "{target}");
        assert_eq!(stage.served(HOST).await, [address.as_str()], "{target}");
        assert_eq!(dialect.hears(&stage, SECRET, "home", &address).await, said(dialect.unchanged), "{target}");
        let owned = |(status, text): (u16, &str)| (status, text.to_owned());
        assert_eq!(dialect.hears(&stage, WRONG, "home", "203.0.113.99").await, owned(dialect.wrong), "{target}");
        if let Some(unknown) = dialect.unknown {
            let heard = dialect.hears(&stage, SECRET, "strange", "203.0.113.99").await;
            assert_eq!(heard, owned(unknown), "{target}");
        }
        assert_eq!(stage.served(HOST).await, [address], "{target}");
    }
    stage.primary.stop().await.unwrap();
    // At once, since each waits for its deadline.
    let gateway = stage.gateway.http();
    let asking = DIALECTS.iter().map(|dialect| {
        let request = dialect.request(SECRET, "home", "203.0.113.100");
        (dialect, tokio::spawn(async move { request.send(gateway).await }))
    });
    for (dialect, answer) in asking.collect::<Vec<_>>() {
        let answer = answer.await.unwrap().unwrap();
        assert!(answer.status == 503 && answer.text().contains(dialect.away), "{}: {answer:?}", dialect.target);
        assert!(answer.header("Retry-After").is_some(), "{}: {answer:?}", dialect.target);
    }
    stage.primary.start_again().await.unwrap();
    for (number, dialect) in DIALECTS.iter().enumerate() {
        let address = format!("203.0.113.{}", number + 101);
        let done = [dialect.changed, dialect.unchanged].map(|text| text.replace("{address}", &address));
        soon(dialect.target, async || {
            let (status, text) = dialect.hears(&stage, SECRET, "home", &address).await;
            status == 200 && done.contains(&text)
        })
        .await;
        assert_eq!(stage.served(HOST).await, [address], "{}", dialect.target);
    }
    let log = stage.gateway.log();
    for secret in [SECRET, WRONG] {
        assert!(!log.to_lowercase().contains(&secret.to_lowercase()), "{secret} in {log}");
    }
    for shown in ["path=\"/u/…\"", "path=\"/update/…\"", "path=\"/dynamic/update.php\""] {
        assert!(log.contains(shown), "{shown} in {log}");
    }
}

async fn a_challenge_comes_by_he_net_and_by_duckdns(kind: Kind) {
    let config = |config: &mut Config| {
        config.grants = vec![HOST];
        config.more = "[acme]\ndns01 = true\n".to_owned();
    };
    let mut stage = Stage::with(kind, |setup| setup, &[], config).await;
    assert_eq!(update(&stage.gateway, &format!("hostname={HOST}&myip=203.0.113.7")).await.status, 200);
    let [first, second] = ["a".repeat(43), "b".repeat(43)];
    let he = async |stage: &Stage, host: &str, secret: &str, txt: &str| {
        let form = format!("hostname={host}&password={secret}&txt={txt}");
        let answer = Request::post("/nic/update", form).send(stage.gateway.http()).await.unwrap();
        (answer.status, answer.text())
    };
    let said = |status: u16, text: &str| (status, text.to_owned());
    let at_host = format!("_acme-challenge.{HOST}");
    for (txt, served) in [(&first, vec![&first]), (&first, vec![&first]), (&second, vec![&first, &second])] {
        assert_eq!(he(&stage, &at_host, SECRET, txt).await, said(200, &format!("good {txt}")));
        assert_eq!(challenges(&stage).await, served.into_iter().cloned().collect::<Vec<_>>());
    }
    assert_eq!(he(&stage, &at_host, WRONG, &first).await, said(401, "badauth"));
    assert_eq!(he(&stage, "_acme-challenge.strange.dyn.example", SECRET, &first).await, said(200, "nohost"));
    assert_eq!(he(&stage, &at_host, SECRET, "no-challenge").await, said(200, "badtxt"));
    assert_eq!(he(&stage, &at_host, SECRET, ".").await, said(200, "good ."));
    assert!(challenges(&stage).await.is_empty());

    let duckdns = format!("/update?domains=home&token={SECRET}");
    for (more, words, served) in [
        (format!("&txt={first}"), "OK".to_owned(), Some(&first)),
        (format!("&txt={first}&verbose=true"), format!("OK\n{first}\nNOCHANGE"), Some(&first)),
        ("&txt=no-challenge".to_owned(), "KO".to_owned(), Some(&first)),
        ("&txt=&clear=true".to_owned(), "OK".to_owned(), None),
    ] {
        assert_eq!(ask(&stage, &format!("{duckdns}{more}")).await, (200, words), "{more}");
        assert_eq!(challenges(&stage).await, served.into_iter().cloned().collect::<Vec<_>>(), "{more}");
    }
    assert_eq!(stage.served(HOST).await, ["203.0.113.7"], "addresses stay");

    stage.primary.stop().await.unwrap();
    assert_eq!(he(&stage, &at_host, SECRET, &first).await, said(503, "911"));
    assert_eq!(ask(&stage, &format!("{duckdns}&txt={first}")).await, said(503, "KO"));
    stage.primary.start_again().await.unwrap();
    soon("HE.net", async || he(&stage, &at_host, SECRET, &first).await == said(200, &format!("good {first}"))).await;
    assert_eq!(challenges(&stage).await, [first]);
}

/// The values at the host's challenge.
async fn challenges(stage: &Stage) -> Vec<String> {
    let answer = stage.primary.query(&format!("_acme-challenge.{HOST}"), "TXT").await.unwrap();
    let mut values: Vec<_> =
        answer.data(RecordType::TXT).iter().map(|data| data.trim_matches('"').to_owned()).collect();
    values.sort();
    values
}

async fn addresses_leave_a_host_that_may_be_offline_and_no_other(kind: Kind) {
    let config = |config: &mut Config| {
        config.grants = vec![HOST, "always.dyn.example"];
        config.more = format!("[[host]]\nname = \"{HOST}\"\noffline = true\n[dialects]\nempty_deletes = true\n");
    };
    let mut stage = Stage::with(kind, |setup| setup, &[], config).await;
    let (v4, v6) = ("203.0.113.7", "2001:db8::7");
    for (target, left, [done, again], refused) in [
        (
            "/update?domains={label}&token={secret}&clear=true&verbose=true",
            vec![],
            ["OK\n\n\nUPDATED", "OK\n\n\nNOCHANGE"],
            (200, "KO"),
        ),
        (
            "/api/update?zone={label}.dyn.example&token={secret}&ipv4=-",
            vec![v6],
            ["addresses updated", "addresses unchanged"],
            (403, "forbidden"),
        ),
        (
            "/nic/delete?hostname={label}.dyn.example&token={secret}&myip=2001:db8::99",
            vec![v4],
            ["deleted AAAA"; 2],
            (200, "!donator"),
        ),
        (
            "/update?hostname={label}.dyn.example&token={secret}&myipv4=203.0.113.7&myipv6=",
            vec![v4],
            ["good 203.0.113.7", "nochg 203.0.113.7"],
            (200, "!donator"),
        ),
    ] {
        let target = |label: &str| target.replace("{secret}", SECRET).replace("{label}", label);
        for host in [HOST, "always.dyn.example"] {
            assert_eq!(update(&stage.gateway, &format!("hostname={host}&myip={v4},{v6}")).await.status, 200);
        }
        assert_eq!(ask(&stage, &target("home")).await, (200, done.to_owned()));
        assert_eq!(stage.served(HOST).await, left, "{}", target("home"));
        assert_eq!(ask(&stage, &target("home")).await, (200, again.to_owned()));
        assert_eq!(ask(&stage, &target("always")).await, (refused.0, refused.1.to_owned()));
        assert_eq!(stage.served("always.dyn.example").await, [v4, v6], "{}", target("always"));
    }
    stage.primary.stop().await.unwrap();
    let target = format!("/update?domains=home&token={SECRET}&clear=true");
    assert_eq!(ask(&stage, &target).await, (503, "KO".to_owned()));
    stage.primary.start_again().await.unwrap();
    soon("clear", async || ask(&stage, &target).await == (200, "OK".to_owned())).await;
    assert!(stage.served(HOST).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_is_the_only_host_that_it_begins_or_one_of_the_default_zone() {
    let config = |config: &mut Config| {
        config.grants =
            vec![HOST, "only.office.dyn.example", "two.dyn.example", "two.office.dyn.example", "*.users.dyn.example"];
        config.more = "[dialects]\ndefault_zone = \"users.dyn.example\"\n".to_owned();
    };
    let stage = Stage::with(Kind::Knot, |setup| setup, &[], config).await;
    for (label, named) in [
        ("home", Some(HOST)),
        ("ONLY", Some("only.office.dyn.example")),
        ("only.duckdns.org", Some("only.office.dyn.example")),
        ("new", Some("new.users.dyn.example")),
        ("two", None),
        ("two.office.dyn.example", Some("two.office.dyn.example")),
        ("elsewhere.example", None),
    ] {
        let target = format!("/update?domains={label}&token={SECRET}&ip=203.0.113.7");
        let answer = Request::get(&target).send(stage.gateway.http()).await.unwrap();
        assert_eq!(answer.text(), if named.is_some() { "OK" } else { "KO" }, "{label}");
        if let Some(name) = named {
            assert_eq!(stage.served(name).await, ["203.0.113.7"], "{label}");
        }
    }
    assert!(stage.served("two.dyn.example").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialect_that_is_off_is_none_until_a_reload_and_leaves_its_path_to_the_next() {
    let config =
        |config: &mut Config| config.more = "[dialects]\noff = [\"duckdns\", \"freedns\", \"token\"]\n".to_owned();
    let mut stage = Stage::with(Kind::Knot, |setup| setup, &[], config).await;
    let freedns = format!("/u/{SECRET}?address=203.0.113.7&hostname={HOST}");
    let duckdns = format!("/update?domains={HOST}&token={SECRET}&ip=203.0.113.7");
    let in_path = format!("/update/{HOST}/{SECRET}/203.0.113.7");
    assert_eq!(ask(&stage, &freedns).await.0, 404);
    assert_eq!(ask(&stage, &in_path).await.0, 404);
    assert_eq!(ask(&stage, &duckdns).await, (200, "good 203.0.113.7".to_owned()));
    assert!(!stage.gateway.log().contains(SECRET), "{}", stage.gateway.log());
    let written = std::fs::read_to_string(stage.gateway.folder().join("gateway.toml")).unwrap();
    stage.gateway.write("gateway.toml", &written.replace("\noff = [", "\n# [")).unwrap();
    stage.gateway.reload().unwrap();
    let unchanged = format!("No IP change detected for {HOST} with IP 203.0.113.7, skipping update");
    soon("FreeDNS", async || ask(&stage, &freedns).await == (200, unchanged.clone())).await;
    assert_eq!(ask(&stage, &duckdns).await, (200, "OK".to_owned()));
    assert_eq!(ask(&stage, &in_path).await, (200, "OK".to_owned()));
}

async fn ask(stage: &Stage, target: &str) -> (u16, String) {
    let answer = Request::get(target).send(stage.gateway.http()).await.unwrap();
    (answer.status, answer.text())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_too_often_hears_it_in_the_dialect_of_his_query() {
    let config = |config: &mut Config| {
        config.more = "[limits]\nsource = { burst = 1, per_minute = 1 }\nhost = \"off\"\n".to_owned();
    };
    let stage = Stage::with(Kind::Knot, |setup| setup, &[], config).await;
    assert_eq!(update(&stage.gateway, &format!("hostname={HOST}&myip=203.0.113.7")).await.status, 200);
    for (target, words) in [
        ("/nic/update?hostname=a.b&myip=203.0.113.7", "911"),
        ("/nic/update?hostname=a.b&txt=x", "interval"),
        ("/update?hostname=a.b", "911"),
        ("/update?domains=a&token=b", "KO"),
        ("/update/a/b", "KO"),
        ("/update/a", "911"),
        ("/api/update", "try again later"),
        ("/u/a", "ERROR: Too fast"),
        ("/dyn/generic.php", "TOOSOON"),
    ] {
        let answer = Request::get(target).send(stage.gateway.http()).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (503, words), "{target}");
        assert!(answer.header("Retry-After").is_some(), "{target}");
    }
}
