//! GNU Wget and curl as routers' scripts call them: OpenWrt's own command lines, exit codes and answers.

use crate::program::Ran;
use crate::stage::{HOME, LOGIN, SECRET, STRANGE, Stage};

/// The address of an update with the credentials in it, as OpenWrt writes it.
fn url(stage: &Stage, password: &str, host: &str, address: &str) -> String {
    let server = stage.gateway.http();
    format!("http://{LOGIN}:{password}@{server}/nic/update?hostname={host}&myip={address}")
}

async fn wget(stage: &Stage, url: &str) -> Ran {
    stage.run("wget", &["--no-config", "--no-hsts", "-nv", "-t", "1", "-O", "answer", url]).await
}

async fn curl(stage: &Stage, arguments: &[&str], url: &str) -> Ran {
    stage.run("curl", &[&["-q", "-RsS", "-o", "answer"], arguments, &[url]].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn wget_is_challenged_first_and_that_is_no_failed_login() {
    let stage = Stage::new().await;
    for (address, word) in [("203.0.113.7", "good"), ("203.0.113.7", "nochg"), ("2001:0db8:0:0:0:0:0:7", "good")] {
        let ran = wget(&stage, &url(&stage, SECRET, HOME, address)).await;
        assert_eq!((ran.code, stage.read("answer")), (Some(0), format!("{word} {address}")), "{ran:?}");
    }
    assert_eq!(stage.served(HOME).await, ["203.0.113.7", "2001:db8::7"]);
    assert_eq!(stage.count("bad_credentials").await, 3.0, "each update asks without credentials first");
    assert_eq!(stage.gateway.metric("dyngate_auth_failures_total").await.unwrap(), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn wget_tells_by_its_exit_code() {
    let mut stage = Stage::new().await;
    let nohost = wget(&stage, &url(&stage, SECRET, STRANGE, "203.0.113.7")).await;
    assert_eq!((nohost.code, stage.read("answer").as_str()), (Some(0), "nohost"));
    let badauth = wget(&stage, &url(&stage, "wrong", HOME, "203.0.113.7")).await;
    badauth.assert(6, "Username/Password Authentication Failed.");
    wget(&stage, &url(&stage, SECRET, HOME, "192.168.1.1")).await.assert(8, "ERROR 400: Bad Request.");
    stage.begin_outage().await;
    let down = wget(&stage, &url(&stage, SECRET, HOME, "203.0.113.7")).await;
    down.assert(8, "ERROR 503: Service Unavailable.");
    stage.end_outage().await;
    assert_eq!(wget(&stage, &url(&stage, SECRET, HOME, "203.0.113.7")).await.code, Some(0));
    assert_eq!(
        (stage.read("answer").as_str(), stage.served(HOME).await),
        ("good 203.0.113.7", vec!["203.0.113.7".to_owned()])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_sends_its_credentials_at_once_and_reads_the_words() {
    let mut stage = Stage::new().await;
    for (password, host, address, answer) in [
        (SECRET, HOME, "203.0.113.7", "good 203.0.113.7"),
        (SECRET, HOME, "203.0.113.7", "nochg 203.0.113.7"),
        (SECRET, STRANGE, "203.0.113.7", "nohost"),
        ("wrong", HOME, "203.0.113.7", "badauth"),
        (SECRET, HOME, "10.0.0.1", "badip"),
    ] {
        let ran = curl(&stage, &[], &url(&stage, password, host, address)).await;
        assert_eq!((ran.code, stage.read("answer").as_str()), (Some(0), answer), "{ran:?}");
    }
    assert_eq!(stage.count("bad_credentials").await, 1.0, "only the wrong password");
    curl(&stage, &["-f"], &url(&stage, SECRET, HOME, "10.0.0.1")).await.assert(22, "error: 400");
    stage.begin_outage().await;
    let change = url(&stage, SECRET, HOME, "203.0.113.8");
    assert_eq!((curl(&stage, &[], &change).await.code, stage.read("answer").as_str()), (Some(0), "911"));
    curl(&stage, &["-f"], &change).await.assert(22, "The requested URL returned error: 503");
    stage.end_outage().await;
    // A form by POST, as some of No-IP's users send it.
    let (login, form) = (format!("{LOGIN}:{SECRET}"), format!("hostname={HOME}&myip=203.0.113.8"));
    assert_eq!(curl(&stage, &["-f", "-u", &login, "-d", &form], &stage.url()).await.code, Some(0));
    assert_eq!(
        (stage.read("answer").as_str(), stage.served(HOME).await),
        ("good 203.0.113.8", vec!["203.0.113.8".to_owned()])
    );
    curl(&stage, &["-f"], &url(&stage, "wrong", HOME, "203.0.113.8")).await.assert(22, "error: 401");
}
