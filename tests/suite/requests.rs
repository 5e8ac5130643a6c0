//! Requests as they come, good and bad: what is not understood is never taken for not said, each leaves a line and a count, and
//! what makes no difference makes none.

use std::time::Duration;

use lab::http::{Connection, Request, raw};
use lab::{Kind, digest, soon};

use crate::stage::{Config, LOGIN, SECRET, Stage, ZONE};

/// The caller's own address may be set here: wherever it is put in the place of another, the answer is `good 127.0.0.1`.
fn callers_own(config: &mut Config) {
    config.grants = vec!["home.dyn.example"];
    config.zone = "allow = [\"127.0.0.0/8\"]\n".to_owned();
}

async fn stage(more: &str) -> Stage {
    let config = |config: &mut Config| {
        callers_own(config);
        config.more = more.to_owned();
    };
    Stage::with(Kind::Knot, |setup| setup, &[], config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_is_never_taken_for_not_said() {
    let stage = stage("").await;
    let send = async |request: Request| {
        let answer = request.basic(LOGIN, SECRET).send(stage.gateway.http()).await.unwrap();
        (answer.status, answer.text())
    };
    let target = "/nic/update?hostname=home.dyn.example";
    let json = "{\"hostname\": \"home.dyn.example\", \"myip\": \"203.0.113.7\"}";
    let multipart = "--x\r\nContent-Disposition: form-data; name=\"myip\"\r\n\r\n203.0.113.7\r\n--x--\r\n";
    let bodies =
        [json, multipart, "203.0.113.7", "<myip>203.0.113.7</myip>", "myip: 203.0.113.7\n", "\u{feff}myip=203.0.113.7"];
    let mut refused = Vec::new();
    for method in ["GET", "POST"] {
        for path in [target, "/nic/update", "/nic/update?", "/v3/update/"] {
            refused.extend(bodies.map(|body| Request::new(method, path).body(body)));
        }
    }
    // Whatever it is called.
    refused.push(Request::post(target, json));
    refused.push(Request::post(target, multipart).header("Content-Type", "multipart/form-data; boundary=x"));
    for query in [
        "hostname=home.dyn.example&amp;myip=203.0.113.7",
        "hostname=home.dyn.example&wanip=203.0.113.7",
        "hostname=home.dyn.example&wanaddr=203.0.113.7",
        "hostname=home.dyn.example&myip[]=203.0.113.7",
        "hostname=home.dyn.example&myip=203.0.113.7&amp;myipv6=2001:db8::7",
        "hostname=home.dyn.example&myip=203.0.113.7&wanv6=2001:db8::7",
        "hostname=home.dyn.example&amp;hostname=office.dyn.example",
        "hostname=home.dyn.example&host=office.dyn.example",
        "hostname=home.dyn.example&amp;offline=YES",
        "hostname=home.dyn.example&203.0.113.7",
        "hostname=home.dyn.example&myip=203.0.113.7&myip=203.0.113.8",
        "hostname=home.dyn.example&myip=203.0.113.7&myipv4=preserve",
        "name=office.dyn.example&myip=203.0.113.7",
        "amp;hostname=office.dyn.example&myip=203.0.113.7",
    ] {
        refused.push(Request::get(&format!("/nic/update?{query}")));
        refused.push(Request::post("/nic/update", query));
        refused.push(Request::new("GET", "/nic/update").body(query));
    }
    for request in refused {
        assert_eq!(send(request.clone()).await, (400, "badip".to_owned()), "{request:?}");
    }
    assert!(stage.served("home.dyn.example").await.is_empty(), "nothing was set");
    let log = stage.gateway.log();
    for reason in [
        "the body is no form",
        "almost like myip,",
        "almost like hostname,",
        "an address stands under a name",
        "it says two things",
    ] {
        assert!(log.contains(reason), "{reason} is not in\n{log}");
    }

    // What is said in any of these ways is understood.
    for (request, answer) in [
        (Request::get(&format!("{target}&myip=203.0.113.1&myip6=2001:db8::1")), "good 203.0.113.1,2001:db8::1"),
        (Request::get(&format!("{target}&myip=203.0.113.2&myip=2001:db8::2")), "good 203.0.113.2,2001:db8::2"),
        (Request::new("GET", target).body("myip=203.0.113.3"), "good 203.0.113.3"),
        (Request::new("GET", "/nic/update").body("hostname=home.dyn.example&myip=203.0.113.4\r\n"), "good 203.0.113.4"),
        (Request::get("/nic/update?host=home.dyn.example&address=203.0.113.5"), "good 203.0.113.5"),
        (Request::get(&format!("{target}&hostname=other.dyn.example&myip=203.0.113.6")), "good 203.0.113.6\nnohost"),
        (Request::post(target, "hostname=other.dyn.example&myip=203.0.113.6"), "nochg 203.0.113.6\nnohost"),
        (Request::get(&format!("{target}&myip=203.0.113.7&ip6lanprefix=2001:db8:1::/64")), "good 203.0.113.7"),
        (Request::get(&format!("{target}&myip=203.0.113.8&offline=1")), "!donator"),
    ] {
        assert_eq!(send(request.clone()).await.1, answer, "{request:?}");
    }
    assert_eq!(stage.served("home.dyn.example").await, ["203.0.113.7", "2001:db8::2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_leaves_a_line_and_a_count() {
    let stage = stage("").await;
    let address = stage.gateway.http();
    let half_a_body = "POST /nic/update HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nmyip";
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(200));
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(70_000));
    // Sent first, as it takes its time: a body, and a head, that never come.
    let mut silent = Vec::new();
    for octets in [half_a_body, "GET /nic/update HTTP/1.1\r\nHost"] {
        let mut connection = Connection::open(address, None).await.unwrap();
        connection.write(octets.as_bytes()).await.unwrap();
        silent.push(connection);
    }
    for (request, outcome, path) in [
        (Request::get("/nowhere/a-secret-token"), "404", "/…/…"),
        (Request::get("/"), "404", "/"),
        (Request::new("DELETE", "/nic/update"), "405", "/nic/update"),
        (Request::new("DELETE", "/update/a-secret-token"), "405", "/update/…"),
        (Request::post("/nic/update", vec![b'x'; 17_000]), "413", "/nic/update"),
        (Request::get(&format!("/nic/update?{}", "y".repeat(9000))), "414", "/nic/update"),
        (Request::get("/nic/update").header("X-Much", &"y".repeat(17_000)), "431", "/nic/update"),
    ] {
        let answer = request.send(address).await.unwrap();
        assert_eq!(answer.status.to_string(), outcome, "{path}");
        let line = format!("outcome=\"{outcome}\"");
        let log = stage.gateway.log();
        assert!(
            log.lines().any(|logged| logged.contains(&line) && logged.contains(&format!("path=\"{path}\""))),
            "{log}"
        );
    }
    for (octets, answer) in [
        ("GET\r\n\r\n", "400"),
        ("\0\0\0\0\r\n\r\n", "400"),
        ("GET /nic/update?hostname=a b HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/9.9\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nX: a\r\n folded: b\r\n\r\n", "400"),
        ("\u{16}\u{3}\u{1}\r\n\r\n", "400"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""),
        (&many, "431"),
        (&long, "431"),
    ] {
        let answered = String::from_utf8_lossy(&raw(address, octets.as_bytes()).await.unwrap_or_default()).into_owned();
        // What is long may be cut off before the answer is read.
        assert!(answered.split(' ').nth(1).is_none_or(|status| status == answer), "{answered}");
    }
    // Half of a head, and half of a body, whose client goes.
    for octets in ["GET /nic/update HTTP/1.1\r\nHo", "GET /myip HTTP/1.1\r\n\r\nGET /my", half_a_body] {
        let mut gone = tokio::net::TcpStream::connect(address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut gone, octets.as_bytes()).await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut gone).await.unwrap();
        tokio::io::AsyncReadExt::read_to_end(&mut gone, &mut Vec::new()).await.unwrap();
    }
    // Nobody asked for anything here.
    for idle in 0..3 {
        let mut connection = Connection::open(address, None).await.unwrap();
        if idle > 0 {
            assert_eq!(connection.send(&Request::get("/myip")).await.unwrap().status, 200);
        }
    }
    assert_eq!(Request::get("/checkip").send(address).await.unwrap().status, 200);
    for mut connection in silent {
        let answer = connection.closed(Duration::from_secs(60)).await.unwrap();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
    }
    for (labels, count) in [
        ("dialect=\"none\",outcome=\"404\"", 2),
        ("dialect=\"none\",outcome=\"405\"", 2),
        ("dialect=\"none\",outcome=\"408\"", 2),
        ("dialect=\"none\",outcome=\"413\"", 1),
        ("dialect=\"none\",outcome=\"414\"", 1),
        ("dialect=\"none\",outcome=\"431\"", 3),
        ("dialect=\"none\",outcome=\"400\"", 10),
        ("dialect=\"myip\",outcome=\"answered\"", 3),
        ("dialect=\"checkip\",outcome=\"answered\"", 1),
    ] {
        let metric = format!("dyngate_requests_total{{{labels}}}");
        let counted = async || stage.gateway.metric(&metric).await.unwrap();
        soon(&metric, async || counted().await >= f64::from(count)).await;
        assert_eq!(counted().await, f64::from(count), "{labels}\n{}", stage.gateway.log());
        let outcome = format!(" outcome={} ", labels.rsplit('=').next().unwrap());
        if labels.contains("none") {
            let log = stage.gateway.log();
            let lines = log.lines().filter(|line| line.contains("source=127.0.0.1 ") && line.contains(&outcome));
            assert_eq!(lines.count(), count as usize, "{outcome}\n{log}");
        }
    }
    let log = stage.gateway.log();
    assert!(!log.contains("a-secret-token"), "{log}");
    assert_eq!(log.matches("outcome=\"answered\"").count(), 4, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_before_its_answer_leaves_a_line_and_a_count_too() {
    let mut stage = stage("[engine]\ndeadline = \"2s\"\n").await;
    assert_eq!(stage.set("home.dyn.example", "203.0.113.1").await, "good 203.0.113.1");
    stage.primary.pause().await.unwrap();
    let mut connection = Connection::open(stage.gateway.http(), None).await.unwrap();
    let request = Request::get("/nic/update?hostname=home.dyn.example&myip=203.0.113.2").basic(LOGIN, SECRET);
    connection.write(&request.octets(stage.gateway.http())).await.unwrap();
    soon("it is pending", async || stage.gateway.metric("dyngate_pending_changes").await.unwrap() >= 1.0).await;
    drop(connection);
    let metric = "dyngate_requests_total{dialect=\"dyndns2\",outcome=\"unreachable\"}";
    soon("it is counted", async || stage.gateway.metric(metric).await.unwrap() >= 1.0).await;
    soon("it is logged", async || stage.gateway.log().contains("outcome=\"unreachable\"")).await;
    stage.primary.resume().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_dialect_answers_passes_the_source_limit_and_does_not_fill_the_log() {
    let stage = stage("[limits]\nsource = { burst = 6, per_minute = 1 }\n").await;
    let address = stage.gateway.http();
    for expected in [404, 405, 414, 404] {
        let request = match expected {
            404 => Request::get("/nowhere"),
            405 => Request::new("PUT", "/nic/update"),
            _ => Request::get(&format!("/{}", "y".repeat(9000))),
        };
        assert_eq!(request.send(address).await.unwrap().status, expected);
    }
    for _ in 0..2 {
        let unreadable = raw(address, b"GET\r\n\r\n").await.unwrap();
        assert!(unreadable.starts_with(b"HTTP/1.1 400 "), "{}", unreadable.escape_ascii());
    }
    soon("both are counted", async || {
        stage.gateway.metric("dyngate_requests_total{dialect=\"none\",outcome=\"400\"}").await.unwrap() >= 2.0
    })
    .await;
    for request in [Request::get("/nowhere"), Request::new("PUT", "/nic/update"), Request::get("/myip")] {
        let refused = request.basic(LOGIN, SECRET).send(address).await.unwrap();
        assert_eq!((refused.status, refused.text().as_str()), (503, "911"));
        assert!(refused.header("Retry-After").is_some());
    }
    let metric = "dyngate_requests_total{dialect=\"none\",outcome=\"too_fast\"}";
    assert_eq!(stage.gateway.metric(metric).await.unwrap(), 2.0);
    let mut connection = Connection::open(address, None).await.unwrap();
    let began = tokio::time::Instant::now();
    let mut sent = 0;
    while sent < 300 || !stage.gateway.log().contains("not shown one by one") {
        assert_eq!(connection.send(&Request::get("/nowhere")).await.unwrap().status, 503);
        assert!(began.elapsed().as_secs() < 60, "no line sums up: {}", stage.gateway.log());
        sent += 1;
    }
    let lines = stage.gateway.log().lines().filter(|line| line.contains("dyngate::access: request")).count();
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap() + 3;
    assert!(lines <= 20 * seconds, "{lines} lines in less than {seconds} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn head_looks_at_the_credentials_alone() {
    let stage = stage("").await;
    let target = "/nic/update?hostname=home.dyn.example&myip=203.0.113.7";
    let head = async |request: Request| {
        let mut connection = Connection::open(stage.gateway.http(), None).await.unwrap();
        let answer = connection.send(&request).await.unwrap();
        // The connection is in step: what follows is an answer, no body.
        assert_eq!(connection.send(&Request::get("/myip")).await.unwrap().text(), "127.0.0.1\n");
        answer
    };
    let right = head(Request::new("HEAD", target).basic(LOGIN, SECRET)).await;
    assert_eq!((right.status, right.header("Content-Length")), (200, Some("0")));
    for wrong in [Request::new("HEAD", target), Request::new("HEAD", target).basic(LOGIN, "wrong")] {
        let refused = head(wrong).await;
        assert_eq!((refused.status, refused.header("WWW-Authenticate").is_some()), (401, true));
    }
    let same = async |path: &str| {
        let got = Request::get(path).send(stage.gateway.http()).await.unwrap();
        let headed = head(Request::new("HEAD", path)).await;
        assert_eq!(
            (headed.status, headed.header("Content-Length")),
            (got.status, got.header("Content-Length")),
            "{path}"
        );
    };
    for path in ["/checkip", "/myip", "/nowhere"] {
        same(path).await;
    }
    assert!(stage.served("home.dyn.example").await.is_empty(), "nothing was changed");
    let answered = "dyngate_requests_total{dialect=\"dyndns2\",outcome=\"answered\"}";
    assert_eq!(stage.gateway.metric(answered).await.unwrap(), 1.0);
    let put = Request::new("PUT", target).send(stage.gateway.http()).await.unwrap();
    assert_eq!((put.status, put.header("Allow")), (405, Some("GET, HEAD, POST")));
}

#[tokio::test(flavor = "multi_thread")]
async fn slashes_and_blanks_that_mean_nothing_make_no_difference() {
    let stage = stage("").await;
    let query = "hostname=home.dyn.example&myip=203.0.113.7";
    assert_eq!(stage.get(query).await.text(), "good 203.0.113.7");
    for path in [
        "/nic/update/",
        "//nic//update//",
        "/v3/update/",
        "/v2/update",
        "/dyndns/update/",
        "/update",
        "/update/",
        "//update//",
    ] {
        let answer =
            Request::get(&format!("{path}?{query}")).basic(LOGIN, SECRET).send(stage.gateway.http()).await.unwrap();
        assert_eq!(answer.text(), "nochg 203.0.113.7", "{path}");
    }
    for (path, body) in [("/myip/", "127.0.0.1\n"), ("//myip", "127.0.0.1\n")] {
        assert_eq!(Request::get(path).send(stage.gateway.http()).await.unwrap().text(), body);
    }
    let octets = Request::get(&format!("/nic/update?{query}")).basic(LOGIN, SECRET).octets(stage.gateway.http());
    let text = String::from_utf8(octets).unwrap();
    let send = async |octets: String| {
        let mut connection = Connection::open(stage.gateway.http(), None).await.unwrap();
        connection.write(octets.as_bytes()).await.unwrap();
        connection.read(false).await.unwrap()
    };
    for blanks in [text.replacen("GET ", "GET   ", 1), text.replacen(" HTTP/1.1", "  HTTP/1.1", 1)] {
        assert_eq!(send(blanks).await.text(), "nochg 203.0.113.7");
    }
    // RFC 9112 section 5.2: a folded header is refused, and the answer says so.
    for wrong in [text.replacen("Basic ", "Basic\r\n ", 1), text.replacen("hostname=home", "hostname=my home", 1)] {
        let refused = send(wrong).await;
        let words = "this cannot be read: no header may go on in a second line, and no path may hold a blank";
        assert_eq!((refused.status, refused.text().as_str()), (400, words));
        assert_eq!(refused.header("Content-Type"), Some("text/plain"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_basic_header_without_an_account_gives_way_to_the_query() {
    let other = format!("[[account]]\nlogin = \"other\"\nsecret = \"{}\"\nhosts = [\"other.{ZONE}\"]\n", digest("x"));
    let stage = stage(&other).await;
    let target = "/nic/update?hostname=home.dyn.example&myip=203.0.113.7";
    let right = format!("{target}&username={LOGIN}&password={SECRET}");
    let ask = async |request: Request| request.send(stage.gateway.http()).await.unwrap().text();
    assert_eq!(ask(Request::get(&right)).await, "good 203.0.113.7");
    for login in ["", "none", "None", "nobody", "home.dyn.example", LOGIN] {
        let password = if login == LOGIN { SECRET } else { "x" };
        assert_eq!(ask(Request::get(&right).basic(login, password)).await, "nochg 203.0.113.7", "{login:?}");
    }
    for (why, request) in [
        ("it wins", Request::get(&right).basic(LOGIN, "wrong")),
        (
            "that of the query is wrong",
            Request::get(&format!("{target}&username={LOGIN}&password=wrong")).basic("none", "x"),
        ),
        ("neither is an account", Request::get(&format!("{target}&username=nobody&password=x")).basic("none2", "x")),
        ("there is no other", Request::get(target).basic("none", SECRET)),
        ("nothing stands beside it", Request::get(&format!("{target}&username={LOGIN}")).basic("nobody", SECRET)),
    ] {
        assert_eq!(ask(request).await, "badauth", "{why}");
    }
    assert_eq!(ask(Request::get(&right).basic("other", "x")).await, "nohost", "an account's wins");
}
