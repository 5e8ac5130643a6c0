//! Many clients at one gateway and one primary, each through wrong secret, unknown host, change, no change, another
//! change and an IPv6 address; then all of them through an outage and its end.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use lab::http::Request;
use tokio::time::{Instant, sleep};

use crate::program::{Program, Ran};
use crate::stage::{LOGIN, SECRET, Stage};

const FIRST: &str = "203.0.113.7";
const SECOND: &str = "203.0.113.8";
const THIRD: &str = "203.0.113.10";
const IPV6: &str = "2001:db8::7";
/// Where a host is moved to by somebody else when its client can only send it to its own address.
const ELSEWHERE: &str = "198.51.100.1";
const WRONG: &str = "not-the-secret";

const LIMIT: Duration = Duration::from_secs(60);

/// How a client takes an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Says {
    /// How it ends; nothing where it means to come back, and is ended by the test.
    pub(crate) code: Option<i32>,
    /// What it writes; `{host}` and `{ip}` stand for what it was asked to do.
    pub(crate) text: &'static str,
}

/// It ends with this code, and writes this.
pub(crate) const fn ends(code: i32, text: &'static str) -> Says {
    Says { code: Some(code), text }
}

/// It writes this and means to come back.
pub(crate) const fn goes_on(text: &'static str) -> Says {
    Says { code: None, text }
}

/// One client in one of its protocols.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// What the client calls the protocol; the name of its folder too.
    pub(crate) protocol: &'static str,
    /// The dialect that is to answer it, as the metrics name it.
    pub(crate) dialect: &'static str,
    pub(crate) host: &'static str,
    /// A host that the account does not have.
    pub(crate) strange: &'static str,
    /// Whether the request states no address, so that the host gets the caller's.
    pub(crate) has_callers: bool,
    /// Whether it can send an IPv6 address, which stands beside the IPv4 one then.
    pub(crate) has_ipv6: bool,
    /// Whether its secret is its host's token, and not the account's.
    pub(crate) has_token: bool,
    pub(crate) changed: Says,
    pub(crate) unchanged: Says,
    pub(crate) refused: Says,
    /// Nothing where the secret is the host, and no other can be named.
    pub(crate) unknown: Option<Says>,
    pub(crate) down: Says,
}

/// What a client is configured to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) host: &'a str,
    pub(crate) secret: &'a str,
    pub(crate) address: &'a str,
    /// The text at which it may be ended, where it would go on.
    pub(crate) until: Option<&'a str>,
}

/// A program of an order: to its end, or to the text at which it may be ended.
pub(crate) async fn carry_out(program: Program, order: &Order<'_>) -> Ran {
    let Some(text) = order.until else { return program.ended(LIMIT).await };
    let deadline = Instant::now() + LIMIT;
    let mut program = program;
    while program.runs() && !program.output().contains(text) && Instant::now() < deadline {
        sleep(Duration::from_millis(10)).await;
    }
    if program.runs() {
        return Ran { code: None, output: program.output() };
    }
    program.ended(LIMIT).await
}

/// Plays all rows; panics with everything that was not as it should be.
pub(crate) async fn play(stage: &mut Stage, rows: &[Row], update: impl AsyncFn(&Stage, &Row, Order<'_>) -> Ran) {
    let mut wrong = Vec::new();
    for row in rows {
        wrong.extend(alone(stage, row, &update).await);
    }
    stage.begin_outage().await;
    // Each of them waits for the gateway's deadline.
    let down = rows.iter().map(|row| step(stage, row, "outage", row.down, row.host, stage.secret(row), THIRD, &update));
    wrong.extend(at_once(down).await.into_iter().flatten());
    stage.end_outage().await;
    for row in rows {
        wrong.extend(step(stage, row, "recovery", row.changed, row.host, stage.secret(row), THIRD, &update).await);
        let ipv6 = row.has_ipv6.then(|| IPV6.to_owned());
        let addresses: Vec<_> = [callers_or(row, stage, THIRD)].into_iter().chain(ipv6).collect();
        wrong.extend(serves(stage, row, "recovery", row.host, &addresses).await);
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n\n"), stage.gateway.log());
}

async fn at_once<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut under_way: Vec<_> = futures.map(Box::pin).collect();
    let mut done: Vec<_> = under_way.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, done) in under_way.iter_mut().zip(&mut done).filter(|(_, done)| done.is_none()) {
            if let Poll::Ready(value) = future.as_mut().poll(context) {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

async fn alone(stage: &Stage, row: &Row, update: &impl AsyncFn(&Stage, &Row, Order<'_>) -> Ran) -> Vec<String> {
    let mut wrong = Vec::new();
    wrong.extend(step(stage, row, "wrong secret", row.refused, row.host, WRONG, FIRST, update).await);
    wrong.extend(serves(stage, row, "wrong secret", row.host, &[]).await);
    if let Some(unknown) = row.unknown {
        wrong.extend(step(stage, row, "unknown host", unknown, row.strange, stage.secret(row), FIRST, update).await);
        wrong.extend(serves(stage, row, "unknown host", row.strange, &[]).await);
    }
    for (what, address) in [("change", FIRST), ("second change", SECOND)] {
        if row.has_callers {
            elsewhere(stage, row.host).await;
        }
        wrong.extend(step(stage, row, what, row.changed, row.host, stage.secret(row), address, update).await);
        wrong.extend(serves(stage, row, what, row.host, &[callers_or(row, stage, address)]).await);
        let before = stage.outcomes(row.dialect, "unchanged").await;
        wrong.extend(step(stage, row, "no change", row.unchanged, row.host, stage.secret(row), address, update).await);
        if stage.outcomes(row.dialect, "unchanged").await <= before {
            wrong.push(format!("{}: no change: {} did not count it", row.protocol, row.dialect));
        }
        wrong.extend(serves(stage, row, "no change", row.host, &[callers_or(row, stage, address)]).await);
    }
    if row.has_callers {
        elsewhere(stage, row.host).await;
    }
    if row.has_ipv6 {
        wrong.extend(step(stage, row, "IPv6", row.changed, row.host, stage.secret(row), IPV6, update).await);
        wrong.extend(serves(stage, row, "IPv6", row.host, &[SECOND.to_owned(), IPV6.to_owned()]).await);
    }
    wrong
}

fn callers_or(row: &Row, stage: &Stage, address: &str) -> String {
    if row.has_callers { stage.callers() } else { address.to_owned() }
}

#[expect(clippy::too_many_arguments, reason = "what is asked, of whom, and what is to come of it")]
async fn step(
    stage: &Stage,
    row: &Row,
    what: &str,
    says: Says,
    host: &str,
    secret: &str,
    address: &str,
    update: &impl AsyncFn(&Stage, &Row, Order<'_>) -> Ran,
) -> Option<String> {
    let text = says.text.replace("{host}", host).replace("{ip}", address);
    let until = says.code.is_none().then_some(text.as_str());
    let ran = update(stage, row, Order { host, secret, address, until }).await;
    (ran.code != says.code || !ran.output.contains(&text))
        .then(|| format!("{}: {what}: not {:?} with {text:?}: {:?}\n{}", row.protocol, says.code, ran.code, ran.output))
}

async fn serves(stage: &Stage, row: &Row, what: &str, host: &str, addresses: &[String]) -> Option<String> {
    let served = stage.served(host).await;
    (served != addresses)
        .then(|| format!("{}: {what}: {host} is served with {served:?}, not {addresses:?}", row.protocol))
}

/// Somebody moves the host away.
async fn elsewhere(stage: &Stage, host: &str) {
    let request = Request::get(&format!("/nic/update?hostname={host}&myip={ELSEWHERE}")).basic(LOGIN, SECRET);
    let answer = request.send(stage.gateway.http()).await.expect("the gateway answers").text();
    assert!(answer == format!("good {ELSEWHERE}") || answer == format!("nochg {ELSEWHERE}"), "{answer}");
}
