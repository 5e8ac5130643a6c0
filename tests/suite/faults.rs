//! What a real primary cannot be made to do: the scripted fake. The word is never `good` without a verified answer.

use std::net::Ipv4Addr;
use std::time::Duration;

use lab::fake::{Action, FakePrimary, Memory, Received};
use lab::http::Response;
use lab::{Gateway, Key, Kind, ResponseCode, Server, Setup, soon, steppable_clock};

use crate::stage::{Config, ZONE, update};

const HOST: &str = "home.dyn.example";

struct Stage {
    fake: FakePrimary,
    gateway: Gateway,
}

/// A gateway in front of a fake that does `script` to UPDATEs with records, and answers everything else.
async fn stage(script: impl FnMut(&Received) -> Action + Send + 'static) -> Stage {
    let key = Key::generate("gateway-key");
    let fake = FakePrimary::start(&key, only_changes(script)).await.unwrap();
    let mut config = Config::new(&key, fake.addr());
    config.grants = vec![HOST, "a.dyn.example", "b.dyn.example"];
    config.more = "[engine]\ndeadline = \"1s\"\nverify_interval = \"60s\"\n".to_owned();
    Stage { gateway: config.start().await, fake }
}

fn only_changes(
    mut script: impl FnMut(&Received) -> Action + Send + 'static,
) -> impl FnMut(&Received) -> Action + Send + 'static {
    let mut memory = Memory::default();
    move |received| match (memory.answer(received), received.owners.is_empty()) {
        (_, false) => script(received),
        (truly, true) => truly,
    }
}

impl Stage {
    async fn set(&self, last: u8) -> Response {
        self.set_host(HOST, last).await
    }

    async fn set_host(&self, host: &str, last: u8) -> Response {
        update(&self.gateway, &format!("hostname={host}&myip={}", Ipv4Addr::new(203, 0, 113, last))).await
    }

    fn changes(&self) -> usize {
        self.fake.received().iter().filter(|received| !received.owners.is_empty()).count()
    }

    async fn updates(&self, rcode: &str) -> f64 {
        let metric = format!("dyngate_updates_total{{zone=\"dyn.example\",rcode=\"{rcode}\"}}");
        self.gateway.metric(&metric).await.unwrap_or(0.0)
    }
}

fn is_911(response: &Response) {
    assert_eq!((response.status, response.text().as_str()), (503, "911"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_octet_by_octet_is_an_answer() {
    let stage = stage(|_| Action::Bytewise(ResponseCode::NoError)).await;
    assert_eq!(stage.set(7).await.text(), "good 203.0.113.7");
    assert_eq!(stage.set(7).await.text(), "nochg 203.0.113.7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_opened_again_and_the_message_signed_anew() {
    let mut first = true;
    let stage =
        stage(
            move |_| {
                if std::mem::take(&mut first) { Action::Truncated } else { Action::Answer(ResponseCode::NoError) }
            },
        )
        .await;
    assert_eq!(stage.set(7).await.text(), "good 203.0.113.7");
    assert_eq!(stage.changes(), 2);
    assert!(stage.fake.received().iter().all(|received| received.verified));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_true_answer_is_never_good() {
    for action in [
        Action::Unsigned(ResponseCode::NoError),
        Action::WrongId(ResponseCode::NoError),
        Action::WrongMac,
        Action::Garbage(vec![0xff; 64]),
        Action::Frame(vec![0; 3]),
        Action::Frame([&[0x12, 0x34, 0xa8, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], &[0; 20]].concat()),
        Action::Silent,
        Action::Drop,
        Action::Truncated,
    ] {
        let tried = format!("{action:?}");
        let stage = stage(move |_| action.clone()).await;
        let response = stage.set(7).await;
        assert_eq!((response.status, response.text().as_str()), (503, "911"), "{tried}");
        assert_eq!(response.header("X-Dyngate-Reason"), Some("primary unreachable"), "{tried}");
        assert!(stage.changes() <= 40, "{tried}: {} messages in one second", stage.changes());
        // The gateway is well, and so is the next word once the primary is.
        stage.fake.script(only_changes(|_| Action::Answer(ResponseCode::NoError)));
        stage.fake.close_connections().await;
        assert_eq!(stage.set(8).await.text(), "good 203.0.113.8", "{tried}: {}", stage.gateway.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_true_answer_may_follow_a_false_one() {
    let stage =
        stage(|_| Action::All(vec![Action::Unsigned(ResponseCode::NoError), Action::Answer(ResponseCode::NoError)]))
            .await;
    assert_eq!(stage.set(7).await.text(), "good 203.0.113.7");
    // It is counted once the caller has its answer.
    soon("it is counted", async || stage.updates("NOERROR").await >= 1.0).await;
    assert_eq!(stage.updates("unsigned").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_update_is_counted_once() {
    for (action, rcode) in [
        (Action::Unsigned(ResponseCode::NoError), "unsigned"),
        (Action::Silent, "timeout"),
        (Action::Answer(ResponseCode::YXRRSet), "YXRRSET"),
        (Action::Unsigned(ResponseCode::NotImp), "NOTIMP"),
    ] {
        let stage = stage(move |_| action.clone()).await;
        stage.set(7).await;
        soon(rcode, async || stage.updates(rcode).await >= 1.0).await;
        for metric in
            ["dyngate_updates_total", "dyngate_update_duration_seconds_count", "dyngate_update_batch_hosts_count"]
        {
            assert_eq!(stage.gateway.metric(metric).await.unwrap(), 1.0, "{metric} for {rcode}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_cuts_every_connection_is_not_up() {
    let stage = stage(|_| Action::Drop).await;
    is_911(&stage.set(7).await);
    assert_eq!(stage.gateway.metric("dyngate_primary_up").await.unwrap(), 0.0);
    let ready = lab::http::Request::get("/readyz").send(stage.gateway.admin()).await.unwrap();
    assert!(ready.status == 200 && ready.text().contains("zone dyn.example: "), "{}", ready.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_dropped_message_does_not_lock_its_name_for_ever() {
    let mut dropped = false;
    let stage = stage(move |received| {
        if !dropped && received.owners.iter().any(|owner| owner == "a.dyn.example") {
            dropped = true;
            return Action::Silent;
        }
        Action::Answer(ResponseCode::NoError)
    })
    .await;
    is_911(&stage.set_host("a.dyn.example", 7).await);
    // Others are answered all the time.
    for last in 0..100 {
        assert!(stage.set_host("b.dyn.example", last).await.text().starts_with("good"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(stage.set_host("a.dyn.example", 8).await.text(), "good 203.0.113.8");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsigned_error_is_an_error() {
    for (action, word) in [
        (Action::Unsigned(ResponseCode::ServFail), "911"),
        (Action::Unsigned(ResponseCode::NotAuth), "dnserr"),
        (Action::Unsigned(ResponseCode::NotZone), "dnserr"),
        (Action::Answer(ResponseCode::NotImp), "dnserr"),
        (Action::Answer(ResponseCode::YXRRSet), "nohost"),
        (Action::BadSig, "dnserr"),
        (Action::BadTime(900), "911"),
    ] {
        let tried = format!("{action:?}");
        let stage = stage(move |_| action.clone()).await;
        assert_eq!(stage.set(7).await.text(), word, "{tried}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_is_remembered_and_the_name_stays_locked_until_it_comes() {
    let mut first = true;
    let stage = stage(move |_| {
        let late = Action::AnswerAfter(Duration::from_millis(1500), ResponseCode::NoError);
        if std::mem::take(&mut first) { late } else { Action::Answer(ResponseCode::NoError) }
    })
    .await;
    is_911(&stage.set(7).await);
    soon("the timeout is counted", async || stage.updates("timeout").await >= 1.0).await;
    // Waits behind the late answer, which then shows that nothing is left to do: it was a change that travelled.
    assert_eq!(stage.set(7).await.text(), "good 203.0.113.7");
    assert_eq!(stage.set(7).await.text(), "nochg 203.0.113.7");
    assert!(stage.fake.connections() <= 2, "one for changes, one for questions");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_steps_while_a_message_travels_costs_no_answer() {
    let key = Key::generate("gateway-key");
    let late = |_: &Received| Action::AnswerAfter(Duration::from_millis(500), ResponseCode::NoError);
    let fake = FakePrimary::start(&key, only_changes(late)).await.unwrap();
    let mut config = Config::new(&key, fake.addr());
    config.grants = vec![HOST];
    let folder = tempfile::TempDir::new().unwrap();
    let step = |by: &str| {
        std::fs::write(folder.path().join("new"), by).unwrap();
        std::fs::rename(folder.path().join("new"), folder.path().join("offset")).unwrap();
    };
    step("+0");
    let clock = steppable_clock(&folder.path().join("offset")).unwrap();
    let gateway = Gateway::builder(crate::stage::program()).config(&config.toml()).envs(clock).start().await.unwrap();
    let stage = Stage { fake, gateway };
    // A name's first change is read back besides, which clocks that are an hour apart do not allow.
    assert_eq!(stage.set(6).await.text(), "good 203.0.113.6");
    let (answer, ()) = tokio::join!(stage.set(7), async {
        soon("it travels", async || stage.changes() > 1).await;
        step("+3600");
    });
    assert_eq!(answer.text(), "good 203.0.113.7", "{}", stage.gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_name_holds_up_no_other() {
    let stage = stage(|received| {
        if received.owners.iter().any(|owner| owner == "a.dyn.example") {
            Action::AnswerAfter(Duration::from_millis(700), ResponseCode::NoError)
        } else {
            Action::Answer(ResponseCode::NoError)
        }
    })
    .await;
    let (slow, quick) = tokio::join!(stage.set_host("a.dyn.example", 7), async {
        stage.fake.wait_for(1, Duration::from_secs(60)).await.unwrap();
        let quick = stage.set_host("b.dyn.example", 8).await;
        (quick, stage.gateway.metric("dyngate_requests_total").await.unwrap())
    });
    assert_eq!(slow.text(), "good 203.0.113.7");
    assert_eq!(quick.0.text(), "good 203.0.113.8");
    assert_eq!(quick.1, 1.0, "the quick one was answered first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_primary_is_given_up_for_the_next() {
    let key = Key::generate("gateway-key");
    let silent = FakePrimary::start(&key, |_| Action::Silent).await.unwrap();
    silent.half_open(true);
    let good = FakePrimary::start(&key, only_changes(|_| Action::Answer(ResponseCode::NoError))).await.unwrap();
    let mut config = Config::new(&key, silent.addr());
    config.primaries.push(good.addr());
    config.grants = vec![HOST];
    config.more = "[engine]\ndeadline = \"400ms\"\n".to_owned();
    let stage = Stage { gateway: config.start().await, fake: good };
    let mut answers = Vec::new();
    for last in 1..20 {
        let body = stage.set(last).await.text();
        answers.push(body.clone());
        if body.starts_with("good") {
            break;
        }
    }
    assert!(answers.last().is_some_and(|body| body.starts_with("good")), "{answers:?}");
    assert!(answers.len() <= 5, "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn servfail_moves_on_to_the_next_primary() {
    let key = Key::generate("gateway-key");
    let sick = FakePrimary::start(&key, only_changes(|_| Action::Answer(ResponseCode::ServFail))).await.unwrap();
    let good = FakePrimary::start(&key, only_changes(|_| Action::Answer(ResponseCode::NoError))).await.unwrap();
    let mut config = Config::new(&key, sick.addr());
    config.primaries.push(good.addr());
    config.grants = vec![HOST];
    let stage = Stage { gateway: config.start().await, fake: good };
    assert_eq!(stage.set(7).await.text(), "good 203.0.113.7");
    assert_eq!(stage.changes(), 1);
}

// No change below a wildcard is sent until the zone's own servers are known, and a change was all that moved on.
#[tokio::test(flavor = "multi_thread")]
async fn a_zone_of_wildcards_moves_on_from_a_primary_that_was_in_trouble_from_the_start() {
    for action in [Action::Silent, Action::Answer(ResponseCode::ServFail)] {
        let key = Key::generate("gateway-key");
        let said = action.clone();
        let sick = FakePrimary::start(&key, move |_| said.clone()).await.unwrap();
        let good = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
        let mut config = Config::new(&key, sick.addr());
        config.primaries.push(good.addr());
        config.more = "[engine]\ndeadline = \"400ms\"\n".to_owned();
        let gateway = config.start().await;
        // An address of its own each time: what was deferred is set in between.
        let (mut last, mut body) = (0, String::new());
        soon("the second primary serves", async || {
            last += 1;
            body = update(&gateway, &format!("hostname={HOST}&myip=198.51.{}.{}", last / 250, last % 250)).await.text();
            body != "911"
        })
        .await;
        assert_eq!(body, format!("good 198.51.{}.{}", last / 250, last % 250), "{action:?}");
        assert_eq!(good.addresses(HOST).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn that_the_only_primary_is_silent_is_told_though_no_change_may_be_sent() {
    let key = Key::generate("gateway-key");
    let silent = FakePrimary::start(&key, |_| Action::Silent).await.unwrap();
    let mut config = Config::new(&key, silent.addr());
    config.more = "[engine]\ndeadline = \"400ms\"\n".to_owned();
    let gateway = config.start().await;
    is_911(&update(&gateway, &format!("hostname={HOST}&myip=203.0.113.7")).await);
    let ready = async || lab::http::Request::get("/readyz").send(gateway.admin()).await.unwrap().text();
    soon("the zone is in trouble", async || ready().await.contains("no answer for two deadlines")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_never_moves_on() {
    let key = Key::generate("gateway-key");
    let first = FakePrimary::start(&key, |_| Action::Answer(ResponseCode::Refused)).await.unwrap();
    let second = FakePrimary::start(&key, |_| Action::Answer(ResponseCode::NoError)).await.unwrap();
    let mut config = Config::new(&key, first.addr());
    config.primaries.push(second.addr());
    config.grants = vec![HOST];
    let stage = Stage { gateway: config.start().await, fake: second };
    assert_eq!(stage.set(7).await.text(), "dnserr");
    assert_eq!(stage.changes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_that_the_primary_closes_is_normal() {
    let stage = stage(|_| Action::Answer(ResponseCode::NoError)).await;
    for last in 1..5 {
        assert_eq!(stage.set(last).await.text(), format!("good 203.0.113.{last}"));
        stage.fake.close_connections().await;
    }
    assert!(!stage.gateway.log().contains("WARN"), "{}", stage.gateway.log());
}
