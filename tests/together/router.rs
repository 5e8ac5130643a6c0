//! The requests for one host, to either gateway.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lab::Chance;
use lab::http::Request;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::log::Log;
use crate::reference::{Asked, Word};
use crate::stage::{LOGIN, SECRET};

/// More than any request takes.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// The requests of a host, until `until`. No address is used by two hosts, or twice by one but in a row.
pub async fn run(
    name: String,
    mut chance: Chance,
    addrs: Arc<Mutex<Vec<SocketAddr>>>,
    numbers: Arc<AtomicU16>,
    until: Instant,
    log: Log,
) -> Vec<Asked> {
    let mut asked = Vec::new();
    let mut under_way = JoinSet::new();
    let mut last = None;
    let pace = [200, 1000, 3000][usize::try_from(chance.below(3)).unwrap()];
    while Instant::now() < until {
        sleep(chance.millis(pace)).await;
        let number = || Some(numbers.fetch_add(1, Ordering::Relaxed));
        let numbers = match (last, chance.below(8)) {
            (Some(last), 0..2) => last,
            (_, 0..5) => [number(), None],
            (_, 5..7) => [None, number()],
            _ => [number(), number()],
        };
        last = Some(numbers);
        let addr = {
            let addrs = addrs.lock().unwrap();
            addrs[usize::try_from(chance.below(addrs.len() as u64)).unwrap()]
        };
        under_way.spawn(ask(name.clone(), numbers, addr, log.clone()));
        // Most routers wait for their answer.
        if chance.percent(85) {
            while let Some(answered) = under_way.join_next().await {
                asked.push(answered.unwrap());
            }
        }
    }
    asked.extend(under_way.join_all().await);
    asked
}

async fn ask(name: String, numbers: [Option<u16>; 2], addr: SocketAddr, log: Log) -> Asked {
    let [v4, v6] = numbers;
    let v4 = v4.map(|v4| format!("62.1.{}.{}", v4 >> 8, v4 & 255));
    let v6 = v6.map(|v6| format!("2001:db8::{v6:x}"));
    let addresses = v4.into_iter().chain(v6).collect::<Vec<_>>().join(",");
    let request = Request::get(&format!("/nic/update?hostname={name}&myip={addresses}")).basic(LOGIN, SECRET);
    log.note(&format!("{name} {addresses} to {addr}"));
    let began = Instant::now();
    let said = match timeout(ANSWER_WITHIN, request.send(addr)).await.expect("an answer") {
        Ok(answer) => answer.text(),
        Err(error) => format!("nothing: {error}"),
    };
    let ended = Instant::now();
    log.note(&format!("{name} {addresses} is told {said}"));
    let word = match said.split([' ', ':']).next() {
        Some("good" | "nochg") => Word::Accepted,
        Some("911") => Word::Unreachable,
        Some("nothing") => Word::Nothing,
        _ => panic!("{name} {addresses} is told {said}"),
    };
    Asked { numbers, began, ended, word }
}
