//! The abuse rule: a client that repeats itself is answered from memory, and `abuse` where the operator says so.

use lab::{Kind, soon};

use crate::stage::{Stage, on_every_primary};

on_every_primary!(past_the_rate_it_is_abuse, failures_of_ours_never_count, one_question_an_interval);

const HOST: &str = "home.dyn.example";
const ABUSE: &str = "repeats = { burst = 3, per_minute = 1 }";

async fn stage(kind: Kind, rule: &str, engine: &str) -> Stage {
    let off = "host = \"off\"\naccount = \"off\"\nsource = \"off\"\nfailed_logins = \"off\"";
    let more = format!("[limits]\n{off}\n{rule}\n[engine]\n{engine}\n");
    Stage::with(kind, |setup| setup, &[], |config| config.more = more).await
}

/// Repeats until the answer is another; how often the one before came.
async fn repeated(stage: &Stage, address: &str, most: u32) -> (u32, String) {
    for times in 0..most {
        let answer = stage.set(HOST, address).await;
        if answer != format!("nochg {address}") {
            return (times, answer);
        }
    }
    (most, String::new())
}

async fn past_the_rate_it_is_abuse(kind: Kind) {
    let stage = stage(kind, ABUSE, "").await;
    assert_eq!(stage.set(HOST, "203.0.113.7").await, "good 203.0.113.7");
    assert_eq!(repeated(&stage, "203.0.113.7", 10).await, (3, "abuse".to_owned()));
    let abuse = stage.get(&format!("hostname={HOST}&myip=203.0.113.7")).await;
    assert_eq!((abuse.status, abuse.header("X-Dyngate-Reason")), (200, Some("blocked")));
    assert!(stage.gateway.log().contains("repeats limit"), "{}", stage.gateway.log());
    assert!(stage.gateway.metric("dyngate_rate_limited_total{limit=\"repeats\"}").await.unwrap() >= 2.0);
    assert_eq!(stage.set("other.dyn.example", "203.0.113.7").await, "good 203.0.113.7", "another host has its own");
    assert_eq!(stage.set(HOST, "203.0.113.8").await, "good 203.0.113.8", "a new address is no abuse");
    assert_eq!(stage.served(HOST).await, ["203.0.113.8"]);
    assert_eq!(stage.set(HOST, "203.0.113.8").await, "abuse", "and gives no repeats back");
}

async fn failures_of_ours_never_count(kind: Kind) {
    let mut stage = stage(kind, ABUSE, "deadline = \"1s\"\nverify_interval = \"0s\"").await;
    assert_eq!(stage.set(HOST, "203.0.113.7").await, "good 203.0.113.7");
    stage.primary.stop().await.unwrap();
    for _ in 0..5 {
        assert_eq!(stage.set(HOST, "203.0.113.7").await, "911");
    }
    stage.primary.start_again().await.unwrap();
    soon("the primary is back", async || stage.set(HOST, "203.0.113.7").await != "911").await;
    // The answer that ended the wait was the first after a 911, and is none of the three.
    assert_eq!(repeated(&stage, "203.0.113.7", 10).await, (3, "abuse".to_owned()), "{}", stage.gateway.log());
}

async fn one_question_an_interval(kind: Kind) {
    let mut stage = stage(kind, "", "verify_interval = \"1h\"").await;
    assert_eq!(stage.set(HOST, "203.0.113.7").await, "good 203.0.113.7");
    stage.primary.stop().await.unwrap();
    assert_eq!(repeated(&stage, "203.0.113.7", 200).await, (200, String::new()), "with nobody to ask");
}
