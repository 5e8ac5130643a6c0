//! `/metrics` as scrapers and promtool read it.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lab::http::{Connection, Request};
use lab::{Gateway, Key, Kind, Server, Setup, soon};

use crate::deploying::find;
use crate::reload::reload;
use crate::stage::{Config, ZONE, update};
use crate::tls::Certificates;

/// A gateway that has all there is to measure.
async fn stage() -> (Server, Config, Gateway, Certificates) {
    let (key, certificates) = (Key::generate("k"), Certificates::new());
    let primary = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
    let mut config = Config::new(&key, primary.addr());
    let store = "[store]\nurl = \"sqlite:store.db\"\n";
    config.more = format!("{store}{}", certificates.section("[\"127.0.0.1:0\"]"));
    let gateway = config.start().await;
    assert_eq!(update(&gateway, "hostname=a.dyn.example&myip=203.0.113.1").await.text(), "good 203.0.113.1");
    (primary, config, gateway, certificates)
}

async fn page(gateway: &Gateway, accept: Option<&str>) -> (String, String) {
    let request = Request::get("/metrics");
    let request = accept.into_iter().fold(request, |request, accept| request.header("Accept", accept));
    let response = request.send(gateway.admin()).await.unwrap();
    assert_eq!(response.status, 200);
    (response.header("Content-Type").unwrap().to_owned(), response.text())
}

/// The value of the sample with this name and these labels.
fn value(page: &str, sample: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_to_say_about_the_older_format_and_scrapers_get_the_newer_one() {
    let (_primary, _, gateway, _) = stage().await;
    let (kind, newer) = page(&gateway, None).await;
    assert!(kind.starts_with("application/openmetrics-text;") && newer.ends_with("# EOF\n"), "{kind}");
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
    assert_eq!(page(&gateway, Some(prometheus)).await.0, kind);
    let (kind, older) = page(&gateway, Some("text/plain")).await;
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    assert!(!older.contains("# EOF") && !older.contains("# UNIT"), "{older}");
    assert!(older.contains("# TYPE dyngate_requests_total counter\n"), "{older}");
    let Some(promtool) = find("promtool") else {
        eprintln!("SKIPPED: promtool is not installed (package prometheus), nothing was linted");
        return;
    };
    let mut lint = Command::new(promtool);
    lint.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut lint = lint.spawn().unwrap();
    lint.stdin.take().unwrap().write_all(older.as_bytes()).unwrap();
    let output = lint.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}\n{older}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_the_store_the_certificate_the_connections_and_the_reloads_are_measured() {
    let (_primary, config, mut gateway, certificates) = stage().await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let first = page(&gateway, None).await.1;
    let of = |sample: &str| value(&first, sample).unwrap_or_else(|| panic!("{sample} is not in\n{first}"));
    assert!(of("process_cpu_seconds_total") > 0.0);
    assert!(of("process_resident_memory_bytes") > 1e6 && of("process_virtual_memory_bytes") > 1e6);
    assert!(of("process_open_fds") > 5.0 && of("process_max_fds") >= of("process_open_fds"));
    assert!(of("process_start_time_seconds") <= now && of("process_start_time_seconds") > now - 3600.0);
    assert_eq!(of(&format!("dyngate_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1.0);
    assert_eq!((of("dyngate_store_up"), of("dyngate_store_unwritten")), (1.0, of("dyngate_store_unwritten")));
    assert_eq!(of("dyngate_reloads_total"), 0.0);
    let days = (of("dyngate_certificate_expiry_timestamp_seconds") - now) / 86_400.0;
    assert!((days - 90.0).abs() < 0.1, "{days}");

    let now_of = async |sample: &str| value(&page(&gateway, None).await.1, sample).unwrap();
    let mut open = Vec::new();
    for address in [gateway.http(), gateway.http(), gateway.https().unwrap()] {
        open.push(Connection::open(address, None).await.unwrap());
    }
    soon("they are counted", async || now_of("dyngate_connections").await == 3.0).await;
    drop(open);
    soon("and are gone", async || now_of("dyngate_connections").await == 0.0).await;
    certificates.renew(Duration::from_secs(86_400 * 30));
    reload(&gateway, &config.toml()).await;
    let days = (now_of("dyngate_certificate_expiry_timestamp_seconds").await - now) / 86_400.0;
    assert!((days - 30.0).abs() < 0.1, "{days}");
    assert_eq!(now_of("dyngate_reloads_total").await, 1.0);
    gateway.write("gateway.toml", "[nonsense]\n").unwrap();
    gateway.reload().unwrap();
    crate::tls::until_logged(&gateway, "the one in force stays").await;
    let refused = page(&gateway, None).await.1;
    assert_eq!(value(&refused, "dyngate_reloads_total"), Some(1.0), "a refused one is none");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_measured() {
    let gateway = Config::new(&Key::generate("k"), "127.0.0.1:1".parse().unwrap()).start().await;
    let page = page(&gateway, None).await.1;
    for name in ["dyngate_store_up", "dyngate_certificate_expiry"] {
        assert!(!page.contains(name), "{name}\n{page}");
    }
}
