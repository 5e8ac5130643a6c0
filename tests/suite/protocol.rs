//! The contract of dyndns2 over HTTP: outcomes, order, headers, bounds, and what real clients need.

use std::net::IpAddr;

use lab::http::{Connection, Request, Response, raw};
use lab::{Gateway, Key, Kind, Server, Setup, soon};

use crate::stage::{Config, LOGIN, SECRET, Stage, ZONE, update};

fn assert_answer(response: &Response, status: u16, body: &str, reason: &str) {
    assert_eq!((response.status, response.text().as_str()), (status, body));
    assert_eq!(response.header("X-Dyngate-Reason"), Some(reason));
    assert_eq!(response.header("Content-Length"), Some(body.len().to_string().as_str()));
    assert_eq!(response.header("Content-Type"), Some("text/plain"));
    assert_eq!(response.header("Transfer-Encoding"), None);
}

async fn stage() -> Stage {
    Stage::with(
        Kind::Knot,
        |setup| setup,
        &[],
        |config| {
            config.grants = vec!["home.dyn.example", "*.office.dyn.example", "a_b.dyn.example"];
            config.zone = "allow = [\"10.1.0.0/16\"]\nprotect = [\"mail.office.dyn.example\"]\n".to_owned();
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_outcome_has_its_row() {
    let stage = stage().await;
    let long_label = format!("{}.office.dyn.example", "x".repeat(64));
    let long_name = format!("{}office.dyn.example", "x.".repeat(120));
    let many = vec!["home.dyn.example"; 21].join(",");
    let twenty = vec!["home.dyn.example"; 20].join(",");
    for (query, status, body, reason) in [
        ("hostname=home.dyn.example&myip=203.0.113.7", 200, "good 203.0.113.7", "changed"),
        ("hostname=home.dyn.example&myip=203.0.113.7", 200, "nochg 203.0.113.7", "unchanged"),
        ("HOSTNAME=home.dyn.example&MyIP=203.0.113.7&system=statdns&url=x", 200, "nochg 203.0.113.7", "unchanged"),
        ("hostname=home.dyn.example&myip=::ffff:203.0.113.7", 200, "nochg ::ffff:203.0.113.7", "unchanged"),
        (
            "hostname=home.dyn.example&myip=203.0.113.7&offline=NO&wildcard=OFF&mx=&backmx=NO",
            200,
            "nochg 203.0.113.7",
            "unchanged",
        ),
        ("hostname=home.dyn.example&myip=203.0.113.7&wildcard=NOCHG&mx=NOCHG", 200, "nochg 203.0.113.7", "unchanged"),
        ("hostname=a_b.dyn.example&myip=203.0.113.7", 200, "good 203.0.113.7", "changed"),
        ("hostname=home.dyn.example&myip=10.1.2.3", 200, "good 10.1.2.3", "changed"),
        ("myip=203.0.113.7", 200, "notfqdn", "not a host name"),
        ("hostname=&myip=203.0.113.7", 200, "notfqdn", "not a host name"),
        ("hostname=home&myip=203.0.113.7", 200, "notfqdn", "not a host name"),
        ("hostname=h%C3%B6me.office.dyn.example&myip=203.0.113.7", 200, "notfqdn", "not a host name"),
        ("hostname=h%FFme.office.dyn.example&myip=203.0.113.7", 200, "notfqdn", "not a host name"),
        ("hostname=%zz.office.dyn.example&myip=203.0.113.7", 200, "notfqdn", "not a host name"),
        ("hostname=a..office.dyn.example&myip=203.0.113.7", 200, "notfqdn", "not a host name"),
        (&format!("hostname={long_label}&myip=203.0.113.7"), 200, "notfqdn", "not a host name"),
        (&format!("hostname={long_name}&myip=203.0.113.7"), 200, "notfqdn", "not a host name"),
        ("hostname=x_y.office.dyn.example&myip=203.0.113.7", 200, "notfqdn", "not a host name"),
        ("hostname=other.dyn.example&myip=203.0.113.7", 200, "nohost", "not your host"),
        ("hostname=office.dyn.example&myip=203.0.113.7", 200, "nohost", "not your host"),
        ("hostname=*.office.dyn.example&myip=203.0.113.7", 200, "nohost", "not your host"),
        ("hostname=mail.office.dyn.example&myip=203.0.113.7", 200, "nohost", "not your host"),
        ("hostname=home.elsewhere.example&myip=203.0.113.7", 200, "nohost", "not your host"),
        (&format!("hostname={many}&myip=203.0.113.7"), 200, "numhost", "too many hosts"),
        ("hostname=home.dyn.example&myip=203.0.113.7&offline=YES", 200, "!donator", "not allowed"),
        ("hostname=other.dyn.example&myip=203.0.113.7&offline=YES", 200, "nohost", "not your host"),
        ("hostname=home.dyn.example&myip=192.168.1.1", 400, "badip", "bad address"),
        ("hostname=home.dyn.example&myip=fe80::1", 400, "badip", "bad address"),
        // Not empty, though it looks so: the caller's own address is not meant.
        ("hostname=home.dyn.example&myip=%C2%A0", 400, "badip", "bad address"),
        ("hostname=home.dyn.example&myip=::ffff:10.0.0.1", 400, "badip", "bad address"),
        ("hostname=home.dyn.example&myip=1.1.1.1domain2.example.com", 400, "badip", "bad address"),
        ("hostname=home.dyn.example&myip=203.0.113.7,203.0.113.8", 400, "badip", "bad address"),
        ("hostname=home.dyn.example&myip=fe80::1%25eth0", 400, "badip", "bad address"),
        ("hostname=home.dyn.example&myip=203.0.113.7:80", 400, "badip", "bad address"),
        // Our own address is loopback here, and loopback is refused: never put in a bad one's place.
        ("hostname=home.dyn.example", 400, "badip", "bad address"),
        ("hostname=home.dyn.example&myip=", 400, "badip", "bad address"),
    ] {
        let response = stage.get(query).await;
        assert_eq!((response.status, response.text().as_str()), (status, body), "{query}");
        assert_answer(&response, status, body, reason);
    }
    let all = stage.get(&format!("hostname={twenty}&myip=203.0.113.9")).await;
    assert_eq!((all.status, all.text()), (200, vec!["good 203.0.113.9"; 20].join("\n")), "one change, twenty lines");
    let mixed = stage.get("hostname=home.dyn.example,nope.dyn.example,x..y&myip=203.0.113.10").await;
    assert_answer(&mixed, 200, "good 203.0.113.10\nnohost\nnotfqdn", "changed, not your host, not a host name");
    let refused = stage.get("hostname=home.dyn.example,nope.dyn.example&myip=127.0.0.1").await;
    assert_eq!((refused.status, refused.text().as_str()), (200, "badip\nnohost"), "each zone refuses for itself");
    for request in [
        Request::get("//nic//update?hostname=home.dyn.example&myip=203.0.113.10"),
        Request::get("/v3/update?hostname=home.dyn.example&myip=203.0.113.10"),
        Request::post("/nic/update", "hostname=home.dyn.example&myip=203.0.113.10"),
        Request::post("/nic/update?hostname=home.dyn.example", "myip=203.0.113.10"),
        Request::post("/nic/update?hostname=home.dyn.example&myip=203.0.113.10", ""),
    ] {
        let response = request.clone().basic(LOGIN, SECRET).send(stage.gateway.http()).await.unwrap();
        assert_answer(&response, 200, "nochg 203.0.113.10", "unchanged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_paths_and_bounds() {
    let stage = stage().await;
    let send = |request: Request| {
        let addr = stage.gateway.http();
        async move { request.basic(LOGIN, SECRET).send(addr).await.unwrap() }
    };
    let method = send(Request::new("DELETE", "/nic/update")).await;
    assert_eq!((method.status, method.text().as_str()), (405, "badagent"));
    assert_eq!(send(Request::new("PUT", "/nowhere")).await.status, 405, "the method comes before the path");
    assert_eq!(send(Request::get("/")).await.status, 404);
    assert_eq!(send(Request::get("/metrics")).await.status, 404, "never on the public listener");
    let long = format!("/nic/update?hostname=home.dyn.example&myip=203.0.113.7&x={}", "y".repeat(8 * 1024));
    assert_eq!(send(Request::get(&long)).await.status, 414);
    let absolute = format!("http://{}/nic/update", "e".repeat(9000));
    assert_eq!(send(Request::get(&absolute)).await.status, 414);
    let heavy = Request::get("/nic/update").header("X-Much", &"y".repeat(17 * 1024));
    assert_eq!(send(heavy).await.status, 431);
    assert_eq!(send(Request::post("/nic/update", vec![b'x'; 17 * 1024])).await.status, 413);
    let chunk = format!("{:x}\r\n{}\r\n", 1024, "x".repeat(1024));
    let chunked = format!(
        "POST /nic/update HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        chunk.repeat(20)
    );
    let answer = String::from_utf8_lossy(&raw(stage.gateway.http(), chunked.as_bytes()).await.unwrap()).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"[..],
        b"GET\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET /nic/update HTTP/9.9\r\n\r\n",
    ] {
        let answer = raw(stage.gateway.http(), garbage).await.unwrap();
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.contains(" 400 ") || text.contains(" 505 "), "{text}");
    }
    assert_eq!(update(&stage.gateway, "hostname=home.dyn.example&myip=203.0.113.7").await.text(), "good 203.0.113.7");
    assert!(!stage.gateway.log().contains("panic"), "{}", stage.gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn old_clients_are_answered_as_they_need_it() {
    let stage = stage().await;
    let target = "/nic/update?hostname=home.dyn.example&myip=203.0.113.7";
    // inadyn: HTTP/1.0, waits for the end of the connection.
    let old = Request::get(target).basic(LOGIN, SECRET).http10();
    let mut connection = Connection::open(stage.gateway.http(), None).await.unwrap();
    let response = connection.send(&old).await.unwrap();
    assert_answer(&response, 200, "good 203.0.113.7", "changed");
    connection.closed(std::time::Duration::from_secs(60)).await.expect("an HTTP/1.0 connection is closed");
    // The same with keep-alive asked for, which would leave inadyn waiting for ever.
    let octets = String::from_utf8(old.octets(stage.gateway.http())).unwrap();
    let asking = octets.replacen("\r\n", "\r\nConnection: keep-alive\r\n", 1);
    let answer = String::from_utf8(raw(stage.gateway.http(), asking.as_bytes()).await.unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nnochg 203.0.113.7"), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    // A client may close its half and still wait.
    let half_closed = raw(stage.gateway.http(), &old.octets(stage.gateway.http())).await.unwrap();
    assert!(half_closed.ends_with(b"nochg 203.0.113.7"));
    // ez-ipupdate: in many pieces, a trailing `&`, Host last, and it looks for `\nw` in the headers.
    let request = format!(
        "GET /nic/update?system=statdns&hostname=home.dyn.example&myip=203.0.113.8&wildcard=OFF&mx=&offline=no& HTTP/1.0\r\n\
         Authorization: {}\r\nUser-Agent: ez-update-3.0\r\nHost: x\r\n\r\n",
        octets.lines().find_map(|line| line.strip_prefix("Authorization: ")).unwrap(),
    );
    let mut connection = Connection::open(stage.gateway.http(), None).await.unwrap();
    for piece in request.as_bytes().chunks(7) {
        connection.write(piece).await.unwrap();
    }
    assert_eq!(connection.read(false).await.unwrap().text(), "good 203.0.113.8");
    assert!(
        answer.lines().skip(1).all(|line| !line.starts_with(|c: char| c.is_ascii_lowercase() && c != 'n')),
        "{answer}"
    );
    // Keep-alive on HTTP/1.1, and Wget's first request without credentials on the same connection.
    let mut connection = Connection::open(stage.gateway.http(), None).await.unwrap();
    let challenge = connection.send(&Request::get(target)).await.unwrap();
    assert_answer(&challenge, 401, "badauth", "bad credentials");
    let answered = connection.send(&Request::get(target).basic(LOGIN, SECRET)).await.unwrap();
    assert_answer(&answered, 200, "good 203.0.113.7", "changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_configured_header_of_a_trusted_proxy_names_the_client() {
    let key = Key::generate("gateway-key");
    let primary = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
    let mut config = Config::new(&key, primary.addr());
    config.grants = vec!["home.dyn.example"];
    let toml = config.toml().replace("[http]\n", "[http]\ntrusted_proxies = [\"127.0.0.2/32\"]\n");
    let gateway = Gateway::builder(crate::stage::program()).config(&toml).start().await.unwrap();
    let get = |source: &str, name: &'static str, value: &'static str| {
        let source: IpAddr = source.parse().unwrap();
        let request = Request::get("/nic/update?hostname=home.dyn.example").basic(LOGIN, SECRET).header(name, value);
        let addr = gateway.http();
        async move { request.from(source).send(addr).await.unwrap().text() }
    };
    assert_eq!(get("127.0.0.2", "X-Forwarded-For", "198.51.100.66, 203.0.113.7").await, "good 203.0.113.7");
    assert_eq!(get("127.0.0.2", "X-Forwarded-For", "2001:db8::7").await, "good 2001:db8::7");
    assert_eq!(get("127.0.0.1", "X-Forwarded-For", "203.0.113.8").await, "badip", "nobody else is believed");
    assert_eq!(get("127.0.0.2", "Forwarded", "for=203.0.113.8").await, "badip", "nor another header");
    assert_eq!(get("127.0.0.2", "X-Forwarded-For", "203.0.113.8, unknown").await, "badip");
    assert!(gateway.log().contains("source=203.0.113.7"), "{}", gateway.log());
    // The caller's own address, as clients parse it.
    let check = |path: &'static str, value: &'static str| {
        let source: IpAddr = "127.0.0.2".parse().unwrap();
        let request = Request::get(path).header("X-Forwarded-For", value).from(source);
        let addr = gateway.http();
        async move { request.send(addr).await.unwrap() }
    };
    for path in ["/nic/checkip", "/checkip", "//nic//checkip"] {
        let page = check(path, "2001:DB8:0::7").await;
        assert_eq!(
            (page.status, page.header("Content-Type"), page.header("Cache-Control")),
            (200, Some("text/html"), Some("no-cache"))
        );
        assert_eq!(
            page.text(),
            "<html><head><title>Current IP Check</title></head><body>Current IP Address: 2001:db8::7</body></html>\r\n"
        );
    }
    let bare = check("/myip", "203.0.113.7").await;
    assert_eq!((bare.header("Content-Type"), bare.text().as_str()), (Some("text/plain"), "203.0.113.7\n"));
    assert_eq!(check("/checkip", "unknown").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_count_as_they_say() {
    let limits = "[limits]\nhost = { burst = 2, per_minute = 1 }\naccount = { burst = 10, per_minute = 1 }\n\
                  source = { burst = 14, per_minute = 1 }\nfailed_logins = \"off\"\n";
    let stage = Stage::with(Kind::Knot, |setup| setup, &[], |config| config.more = limits.to_owned()).await;
    assert_eq!(stage.set("a.dyn.example", "203.0.113.1").await, "good 203.0.113.1");
    assert_eq!(stage.set("a.dyn.example", "203.0.113.2").await, "good 203.0.113.2");
    let limited = stage.get("hostname=a.dyn.example&myip=203.0.113.3").await;
    assert_answer(&limited, 503, "911", "too fast");
    assert!((1..=60).contains(&limited.header("Retry-After").unwrap().parse::<u32>().unwrap()));
    assert_eq!(
        stage.set("a.dyn.example", "203.0.113.2").await,
        "nochg 203.0.113.2",
        "an answer from memory never meets it"
    );
    assert_eq!(stage.set("b.dyn.example", "203.0.113.3").await, "good 203.0.113.3");
    let hosts = "hostname=c.dyn.example,d.dyn.example,e.dyn.example,f.dyn.example,g.dyn.example&myip=203.0.113.4";
    assert_eq!(stage.get(hosts).await.status, 200, "ten hosts have been named by now");
    let account = stage.get("hostname=h.dyn.example&myip=203.0.113.4").await;
    assert_answer(&account, 503, "911", "too fast");
    for _ in 0..10 {
        stage.get("hostname=h.dyn.example&myip=203.0.113.4").await;
    }
    let anonymous = Request::get("/nic/update").send(stage.gateway.http()).await.unwrap();
    assert_answer(&anonymous, 503, "911", "too fast");
    let elsewhere = Request::get("/nic/update").from("127.0.0.9".parse::<IpAddr>().unwrap());
    assert_eq!(elsewhere.send(stage.gateway.http()).await.unwrap().text(), "badauth", "another source");
    for limit in ["host", "account", "source"] {
        let metric = format!("dyngate_rate_limited_total{{limit=\"{limit}\"}}");
        assert!(stage.gateway.metric(&metric).await.unwrap() >= 1.0, "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_are_on_the_admin_listener() {
    let stage = stage().await;
    stage.set("home.dyn.example", "203.0.113.7").await;
    stage.set("home.dyn.example", "203.0.113.7").await;
    let get = |path: &'static str| {
        let addr = stage.gateway.admin();
        async move { Request::get(path).send(addr).await.unwrap() }
    };
    assert_eq!(get("/healthz").await.text(), "ok\n");
    assert_eq!(get("/readyz").await.text(), "ready\n");
    assert_eq!(get("/nic/update").await.status, 404);
    let metrics = stage.gateway.metrics().await.unwrap();
    for line in [
        "dyngate_requests_total{dialect=\"dyndns2\",outcome=\"changed\"} 1",
        "dyngate_requests_total{dialect=\"dyndns2\",outcome=\"unchanged\"} 1",
        "dyngate_requests_total{dialect=\"dyndns2\",outcome=\"refused\"} 0",
        "dyngate_request_duration_seconds_count{dialect=\"dyndns2\"} 2",
        "dyngate_updates_total{zone=\"dyn.example\",rcode=\"NOERROR\"} 1",
        "dyngate_update_batch_hosts_sum{zone=\"dyn.example\"} 1.0",
        "dyngate_update_duration_seconds_count{zone=\"dyn.example\"} 1",
        "dyngate_pending_changes{zone=\"dyn.example\"} 0",
        "dyngate_auth_failures_total 0",
        "dyngate_rate_limited_total{limit=\"failed_logins\"} 0",
        "# EOF",
    ] {
        assert!(metrics.contains(&format!("{line}\n")), "{line} is not in\n{metrics}");
    }
    assert!(metrics.contains("dyngate_primary_up{zone=\"dyn.example\",primary=\"127.0.0.1:"), "{metrics}");
    let log = stage.gateway.log();
    let access = log.lines().find(|line| line.contains("outcome=\"changed\"")).expect(&log);
    for field in ["source=127.0.0.1", "login=\"router1\"", "home.dyn.example", "rcode=\"NOERROR\"", "ms="] {
        assert!(access.contains(field), "{field} in {access}");
    }
    assert!(!log.contains(SECRET));
}

#[tokio::test(flavor = "multi_thread")]
async fn max_hosts_bounds_what_a_wildcard_brings_into_being() {
    let stage = Stage::with(Kind::Knot, |setup| setup, &[], |_| {}).await;
    let mut gateway = stage.gateway;
    gateway.stop().await.unwrap();
    let written = std::fs::read_to_string(gateway.folder().join("gateway.toml")).unwrap();
    gateway.write("gateway.toml", &written.replace("max_hosts = 10000", "max_hosts = 2")).unwrap();
    gateway.start_again().await.unwrap();
    for (host, body) in
        [("a", "good 203.0.113.7"), ("b", "good 203.0.113.7"), ("c", "nohost"), ("a", "nochg 203.0.113.7")]
    {
        assert_eq!(update(&gateway, &format!("hostname={host}.dyn.example&myip=203.0.113.7")).await.text(), body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_what_is_in_flight() {
    let mut stage = stage().await;
    assert_eq!(stage.set("home.dyn.example", "203.0.113.1").await, "good 203.0.113.1");
    stage.primary.pause().await.unwrap();
    let (response, ()) = tokio::join!(update(&stage.gateway, "hostname=home.dyn.example&myip=203.0.113.7"), async {
        soon("it is pending", async || stage.gateway.metric("dyngate_pending_changes").await.unwrap() >= 1.0).await;
        let pid = stage.gateway.pid().unwrap().to_string();
        std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        soon("it stops", async || stage.gateway.log().contains("stopping")).await;
    });
    // The primary was asleep: the answer is 911 by the deadline, not a cut connection.
    assert_eq!(response.text(), "911");
    stage.primary.resume().unwrap();
    assert_eq!(stage.gateway.wait(std::time::Duration::from_secs(60)).await.unwrap().code(), Some(0));
}
