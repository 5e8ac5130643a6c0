//! What a name may hold after its requests.

use std::net::IpAddr;

use tokio::time::Instant;

/// What a request was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// `good`, `nochg`.
    Accepted,
    /// `911`.
    Unreachable,
    /// The gateway was stopped.
    Nothing,
}

/// A request and its answer; an address is known by its last 16 bits.
#[derive(Debug, Clone)]
pub struct Asked {
    pub numbers: [Option<u16>; 2],
    pub began: Instant,
    pub ended: Instant,
    pub word: Word,
}

/// What is wrong with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// It does not hold what was accepted last, nor anything newer.
    Lost,
    /// It holds what was asked for before something that was told `911` and should have been kept.
    NotKept,
}

/// What is wrong with a name that holds `held` after the requests `asked`, of which each is newer than those that had been
/// answered when it began.
pub fn wrong(asked: &[Asked], held: &[IpAddr]) -> Option<Wrong> {
    let wrong = [0, 1].map(|family| of_family(asked, held, family));
    if wrong.contains(&Some(Wrong::Lost)) { Some(Wrong::Lost) } else { wrong.into_iter().flatten().next() }
}

fn of_family(asked: &[Asked], held: &[IpAddr], family: usize) -> Option<Wrong> {
    let mut held = held.iter().filter(|address| address.is_ipv6() == (family == 1)).map(number);
    let value = held.next();
    assert!(held.next().is_none(), "two addresses of one family");
    let asked: Vec<_> = asked.iter().filter(|asked| asked.numbers[family].is_some()).collect();
    // What was there before all of them is older than each.
    let since = asked.iter().filter(|asked| asked.numbers[family] == value).map(|asked| asked.ended);
    let has_newer = |since: Option<Instant>, word: Word| {
        asked.iter().any(|asked| asked.word == word && since.is_none_or(|since| asked.began > since))
    };
    // The same address may have been asked for several times: the newest of them counts.
    let since = since.max();
    if has_newer(since, Word::Accepted) {
        Some(Wrong::Lost)
    } else if has_newer(since, Word::Unreachable) {
        Some(Wrong::NotKept)
    } else {
        None
    }
}

fn number(address: &IpAddr) -> u16 {
    let octets = match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    match octets.as_slice() {
        [.., high, low] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}
