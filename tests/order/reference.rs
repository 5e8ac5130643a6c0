//! What callers were told, held against what the primary held: the reference. What a late message did just before a gateway
//! ended is nobody's to put right: the next one does not know of it.

use std::net::IpAddr;

use dyngate::model::{DesiredRecords, RrType};
use hickory_proto::rr::RecordType;
use tokio::time::Instant;

use crate::primary::Primary;

/// What a caller was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The change was acknowledged.
    Good,
    /// Nothing to change, as the verified cache says.
    Remembered,
    /// Nothing to change, as the primary said when it was asked.
    Asked,
    /// Not done, or not known to be.
    Failed,
}

/// One request, and what became of it.
#[derive(Debug, Clone)]
pub struct Request {
    pub name: String,
    pub records: DesiredRecords,
    /// Its place among all requests.
    pub number: usize,
    pub submitted: Instant,
    pub word: Option<Word>,
    pub told: Instant,
    /// Whether it is to be done though its caller was told that it was not.
    pub is_owed: bool,
}

impl Request {
    /// What it wants of an RRset; `None` where it leaves it alone.
    fn wants(&self, name: &str, kind: RecordType) -> Option<Option<IpAddr>> {
        let rtype = if kind == RecordType::A { RrType::A } else { RrType::Aaaa };
        let desired = self.records.get(rtype).filter(|_| self.name == name)?;
        Some(desired.data().and_then(|data| data.address()))
    }

    fn is_accepted(&self) -> bool {
        matches!(self.word, Some(Word::Good | Word::Remembered | Word::Asked))
    }
}

/// Every promise that is broken.
pub fn broken(requests: &[Request], primary: &Primary) -> Vec<String> {
    let mut broken = Vec::new();
    for request in requests {
        for kind in [RecordType::A, RecordType::AAAA] {
            let Some(wanted) = request.wants(&request.name, kind) else { continue };
            if request.word.is_none() {
                broken.push(format!("never answered: {request:?}"));
            }
            let held = held_between(primary, &request.name, kind, request.submitted, request.told);
            // For what is acknowledged, a newer change may have travelled in its place.
            let true_word = match request.word {
                Some(Word::Good) => {
                    let newer: Vec<_> = wanted_from(requests, &request.name, kind, request.number).collect();
                    held.iter().any(|held| newer.contains(held))
                }
                // What changes in the very moment of the word may come before it or after it.
                Some(Word::Asked | Word::Remembered) => held.contains(&wanted),
                Some(Word::Failed) | None => true,
            };
            if !true_word {
                broken.push(format!("a lie about {kind}, for it held {held:?}: {request:?}"));
            }
        }
    }
    broken
}

/// RRsets that do not hold what was accepted last, or something newer.
pub fn inverted(requests: &[Request], primary: &Primary) -> Vec<String> {
    let mut inverted = Vec::new();
    for kind in [RecordType::A, RecordType::AAAA] {
        for request in requests.iter().filter(|request| request.is_accepted()) {
            let Some(wanted) = request.wants(&request.name, kind).filter(|_| !primary.is_left(&request.name, kind))
            else {
                continue;
            };
            let newest =
                requests.iter().filter(|other| other.is_accepted() && other.wants(&request.name, kind).is_some());
            if newest.map(|other| other.number).max() != Some(request.number) {
                continue;
            }
            let held = primary.held(&request.name, kind);
            if wanted_from(requests, &request.name, kind, request.number).all(|wanted| wanted != held) {
                inverted.push(format!("{} {kind} holds {held:?}, accepted last: {wanted:?} {request:?}", request.name));
            }
        }
    }
    inverted
}

/// RRsets whose newest change was to be made though nobody waited for it, and was not.
pub fn forgotten(requests: &[Request], primary: &Primary) -> Vec<String> {
    let mut forgotten = Vec::new();
    for kind in [RecordType::A, RecordType::AAAA] {
        for request in requests.iter().filter(|request| request.is_owed) {
            let Some(wanted) = request.wants(&request.name, kind) else { continue };
            let is_newest = wanted_from(requests, &request.name, kind, request.number + 1).next().is_none();
            let held = primary.held(&request.name, kind);
            let is_hidden = primary.hidden.contains(&request.name) || primary.forbidden.contains(&request.name);
            if is_newest && !is_hidden && held != wanted && !primary.is_left(&request.name, kind) {
                forgotten.push(format!("{} {kind} holds {held:?}, wanted last: {request:?}", request.name));
            }
        }
    }
    forgotten
}

/// What is wanted of an RRset by the request with `number` and those after it.
fn wanted_from<'a>(
    requests: &'a [Request],
    name: &'a str,
    kind: RecordType,
    number: usize,
) -> impl Iterator<Item = Option<IpAddr>> + 'a {
    requests.iter().filter(move |request| request.number >= number).filter_map(move |request| request.wants(name, kind))
}

/// All that an RRset held between two moments, both included.
fn held_between(primary: &Primary, name: &str, kind: RecordType, from: Instant, to: Instant) -> Vec<Option<IpAddr>> {
    let history = primary.history.get(&(name.to_owned(), kind)).map(Vec::as_slice).unwrap_or_default();
    let mut held = vec![None];
    for (at, address) in history.iter().filter(|(at, _)| *at <= to) {
        if *at < from {
            held.clear();
        }
        held.push(*address);
    }
    held
}
