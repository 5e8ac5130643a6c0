//! What attackers must not get, and what others must not feel of it; docs/ATTACKS.md has the figures.

use std::net::{IpAddr, Ipv6Addr};

use lab::http::{Connection, Request};
use lab::{Gateway, Key, Kind, Server, Setup};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::stage::{Config, LOGIN, SECRET, ZONE};

const PASSWORD: &str = "correct horse";
/// A failed login comes back in a minute: none does while a test runs.
const LIMITS: &str = "source = { burst = 100000, per_minute = 1000 }\nfailed_logins = { burst = 3, per_minute = 1 }";

/// Behind a proxy that is trusted, so that requests come from wherever a test says.
struct Stage {
    gateway: Gateway,
    primary: Server,
}

impl Stage {
    /// `router1` with a generated secret and all names, `person` and `friend` with a chosen password and a host each.
    async fn new(limits: &str) -> Self {
        let key = Key::generate("gateway-key");
        let setup = Setup::new().key(&key).zone_with(ZONE, &["sub NS ns.elsewhere.example."]);
        let primary = Server::start(Kind::Bind, setup).await.unwrap();
        let mut config = Config::new(&key, primary.addr());
        let hash = crate::command_line::run(&["hash"], PASSWORD).stdout.trim().to_owned();
        let person = |login| {
            format!(
                "[[account]]\nlogin = \"{login}\"\nsecret = \"{hash}\"\nhosts = [\"{login}.{ZONE}\", \"*.{login}.{ZONE}\"]\n"
            )
        };
        config.more = format!("{}{}[limits]\n{limits}\n", person("person"), person("friend"));
        let behind_proxy = "listen = [\"127.0.0.1:0\"]\ntrusted_proxies = [\"127.0.0.0/8\"]\n[admin]";
        let toml = config.toml().replacen("listen = [\"127.0.0.1:0\"]\n[admin]", behind_proxy, 1);
        assert!(toml.contains("trusted_proxies"));
        let gateway = Gateway::builder(crate::stage::program()).config(&toml).start().await.unwrap();
        Self { gateway, primary }
    }

    async fn connection(&self) -> Connection {
        Connection::open(self.gateway.http(), None).await.unwrap()
    }
}

async fn update(
    connection: &mut Connection,
    source: impl Into<IpAddr>,
    (login, password): (&str, &str),
    host: &str,
    address: &str,
) -> String {
    let target = format!("/nic/update?hostname={host}.{ZONE}&myip={address}");
    let source: IpAddr = source.into();
    let request = Request::get(&target).basic(login, password).header("X-Forwarded-For", &source.to_string());
    connection.send(&request).await.unwrap().text()
}

/// An address in a /48 that no other number has.
fn place(number: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits((0x2001_u128 << 112) | (u128::from(number) << 80) | 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_that_one_source_sends_at_once_at_many_logins_count_one_by_one() {
    let hash = crate::command_line::run(&["hash"], PASSWORD).stdout.trim().to_owned();
    let many: String = (0..20)
        .map(|n| format!("[[account]]\nlogin = \"many{n}\"\nsecret = \"{hash}\"\nhosts = [\"many{n}.{ZONE}\"]\n"))
        .collect();
    let stage = Stage::new(&format!("{LIMITS}\n{many}")).await;
    let mut guesses = tokio::task::JoinSet::new();
    for n in 0..20 {
        let mut connection = stage.connection().await;
        guesses.spawn(async move {
            let guess = (format!("many{n}"), format!("guess{n}"));
            update(&mut connection, place(1), (&guess.0, &guess.1), "person", "203.0.113.66").await
        });
    }
    let mut answers = guesses.join_all().await;
    answers.sort_unstable();
    let hashed = answers.iter().filter(|answer| *answer == "badauth").count();
    assert!((1..=3).contains(&hashed), "failed_logins lets three through: {answers:?}");
    assert!(answers.iter().all(|answer| answer == "badauth" || answer == "911"), "{answers:?}");
    let mut connection = stage.connection().await;
    let right = ("many7", PASSWORD);
    assert_eq!(update(&mut connection, place(2), right, "many7", "203.0.113.7").await, "good 203.0.113.7");
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_from_all_over_a_48_count_together() {
    let hash = crate::command_line::run(&["hash"], PASSWORD).stdout.trim().to_owned();
    let many: String = (0..100)
        .map(|n| format!("[[account]]\nlogin = \"many{n}\"\nsecret = \"{hash}\"\nhosts = [\"many{n}.{ZONE}\"]\n"))
        .collect();
    let failed = "failed_logins = { burst = 2, per_minute = 1 }";
    let stage = Stage::new(&format!("source = \"off\"\n{failed}\n{many}")).await;
    let mut connection = stage.connection().await;
    let mut hashed = 0;
    for n in 0..300_u32 {
        // A /64 of its own for each, and three of them in a /56 at most.
        let source = Ipv6Addr::from_bits(place(1).to_bits() | (u128::from(n * 100) << 64));
        let guess = (&*format!("many{}", n % 100), &*format!("guess{n}"));
        hashed += u32::from(update(&mut connection, source, guess, "person", "203.0.113.66").await == "badauth");
    }
    assert!((32..40).contains(&hashed), "16 times two of one network, and what came back meanwhile: {hashed}");
    let right = ("many99", PASSWORD);
    assert_eq!(update(&mut connection, place(2), right, "many99", "203.0.113.7").await, "good 203.0.113.7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_login_from_a_new_place_is_served_during_a_flood_of_guesses() {
    let stage = Stage::new(LIMITS).await;
    let mut connection = stage.connection().await;
    let right = ("person", PASSWORD);
    assert_eq!(update(&mut connection, place(0), right, "person", "203.0.113.1").await, "good 203.0.113.1");
    let (mut hashed, mut refused) = (0, 0);
    for n in 1..=300 {
        match update(&mut connection, place(n), ("person", &format!("guess{n}")), "person", "203.0.113.66")
            .await
            .as_str()
        {
            "badauth" => hashed += 1,
            "911" => refused += 1,
            other => panic!("a guess was answered {other}"),
        }
        if n % 50 == 0 {
            let address = format!("203.0.113.{n}", n = n / 50 + 1);
            let answer = update(&mut connection, place(n + 1000), right, "person", &address).await;
            assert_eq!(answer, format!("good {address}"), "known, from a place that is new");
        }
    }
    assert!((3..10).contains(&hashed) && refused > 290, "{hashed} guesses were looked at, {refused} were not");
    let served: Vec<_> = stage.primary.addresses("person.dyn.example").await.unwrap();
    assert_eq!(served, ["203.0.113.7".parse::<IpAddr>().unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_password_locks_out_neither_neighbours_nor_the_new_password() {
    let stage = Stage::new(LIMITS).await;
    let mut connection = stage.connection().await;
    let shared = place(0);
    for _ in 0..200 {
        let old = update(&mut connection, shared, ("person", "the old password"), "person", "203.0.113.66").await;
        assert_eq!(old, "badauth", "it is told each time, from memory");
    }
    for login in ["friend", "person"] {
        let new = update(&mut connection, shared, (login, PASSWORD), login, "203.0.113.1").await;
        assert_eq!(new, "good 203.0.113.1", "{login} was never seen before");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_floods_gets_its_share_and_another_its_own() {
    let stage = Stage::new("source = { burst = 10, per_minute = 1 }").await;
    let mut connection = stage.connection().await;
    for (width, most) in [(64, 10), (56, 40), (48, 160)] {
        let mut passed = 0;
        for n in 0..most + 100 {
            // Spread over all of the network, so that nothing narrower is met first.
            let suffix = u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) & (u128::MAX >> width);
            let source = Ipv6Addr::from_bits((place(width).to_bits() & !(u128::MAX >> width)) | suffix);
            let answer = update(&mut connection, source, ("nobody", "x"), "person", "203.0.113.66").await;
            passed += u32::from(answer == "badauth");
        }
        assert!((most..most + 5).contains(&passed), "a /{width}: {passed}");
    }
    assert_eq!(update(&mut connection, place(9), (LOGIN, SECRET), "a", "203.0.113.1").await, "good 203.0.113.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_name_in_every_request_stops_nobody_elses_changes() {
    let off = "host = \"off\"\naccount = \"off\"\nsource = \"off\"";
    let stage = Stage::new(off).await;
    let bad = async {
        let mut connection = stage.connection().await;
        for n in 0..200 {
            let host = format!("bad{}.sub", n % 20);
            let answer = update(&mut connection, place(1), (LOGIN, SECRET), &host, &format!("198.51.100.{n}")).await;
            assert!(["nohost", "911"].contains(&answer.as_str()), "{answer}");
        }
    };
    let good = async {
        let mut connection = stage.connection().await;
        for n in 0..100 {
            let (host, address) = (format!("h{n}.friend"), format!("203.0.113.{n}"));
            let answer = update(&mut connection, place(2), ("friend", PASSWORD), &host, &address).await;
            assert_eq!(answer, format!("good {address}"), "{}", stage.gateway.log());
        }
    };
    tokio::join!(bad, good);
    assert_eq!(stage.primary.addresses("h99.friend.dyn.example").await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_changes_all_the_time_is_slowed_and_nobody_else() {
    let stage = Stage::new("host = { burst = 5, per_minute = 1 }\naccount = \"off\"\nsource = \"off\"").await;
    let mut connection = stage.connection().await;
    let mut answers = vec![];
    for n in 0..20 {
        answers.push(update(&mut connection, place(1), (LOGIN, SECRET), "busy", &format!("198.51.100.{n}")).await);
    }
    assert_eq!(answers.iter().filter(|answer| answer.starts_with("good")).count(), 5, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| *answer == "911").count(), 15, "{answers:?}");
    assert_eq!(update(&mut connection, place(1), (LOGIN, SECRET), "calm", "203.0.113.1").await, "good 203.0.113.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_of_a_request_whose_body_never_comes_take_little_more_than_their_octets() {
    let stage = Stage::new("source = \"off\"").await;
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", stage.gateway.pid().unwrap())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = resident();
    let head = format!(
        "POST /nic/update?{} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        "a&".repeat(3900)
    );
    let mut held = Vec::new();
    for _ in 0..300 {
        let mut stream = tokio::net::TcpStream::connect(stage.gateway.http()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        held.push(stream);
    }
    for stream in &mut held {
        let mut told = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
        stream.read_exact(&mut told).await.unwrap();
        assert!(told.starts_with(b"HTTP/1.1 100 "), "it waits for the body now");
    }
    let each = resident().saturating_sub(before) / 300;
    assert!(each < 128, "{each} KiB for each, where a connection may buffer 64");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_past_the_source_limit_does_not_fill_the_log() {
    let stage = Stage::new("source = { burst = 5, per_minute = 1 }").await;
    let mut connection = stage.connection().await;
    let began = tokio::time::Instant::now();
    let stranger = ("nobody", "guess");
    let mut sent = 0;
    while sent < 500 || !stage.gateway.log().contains("not shown one by one") {
        let answer = update(&mut connection, place(1), stranger, "person", "203.0.113.66").await;
        assert_eq!(answer == "911", sent >= 5, "{answer} to {sent}");
        assert!(began.elapsed().as_secs() < 60, "no line sums up: {}", stage.gateway.log());
        sent += 1;
    }
    let lines = stage.gateway.log().lines().filter(|line| line.contains("source limit\"")).count();
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap() + 2;
    assert!((1..=20 * seconds).contains(&lines), "{lines} lines in less than {seconds} s");
    let counted = stage.gateway.metric("dyngate_rate_limited_total{limit=\"source\"}").await.unwrap();
    assert_eq!(counted, f64::from(sent - 5), "all are counted");
    assert_eq!(update(&mut connection, place(2), stranger, "person", "203.0.113.66").await, "badauth");
}
