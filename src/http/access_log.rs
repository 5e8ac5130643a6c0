//! One line a request: who, host, outcome, reason, the primary's rcode, milliseconds. Never a secret: the query, the body
//! and the Authorization header do not come here.

use std::net::IpAddr;
use std::time::Duration;

use tracing::info;

use crate::gateway::Verdicts;

/// What a request was, as far as the log may tell.
pub(super) struct Entry<'a> {
    pub(super) source: IpAddr,
    pub(super) path: &'a str,
    pub(super) agent: &'a str,
}

/// In characters.
const LONGEST: usize = 300;

/// Writes the line.
pub(super) fn write(entry: &Entry<'_>, verdicts: &Verdicts, took: Duration) {
    let list = |texts: Vec<&str>| texts.join(",");
    let hosts = list(verdicts.hosts.iter().map(String::as_str).collect());
    info!(
        target: "dyngate::access",
        source = %entry.source,
        login = verdicts.login.as_deref().unwrap_or("-"),
        host = ?shortened(&hosts),
        outcome = list(verdicts.each.iter().map(|verdict| verdict.outcome.label()).collect()),
        reason = list(verdicts.each.iter().map(|verdict| verdict.reason.as_ref()).collect()),
        rcode = list(verdicts.each.iter().map(|verdict| verdict.rcode.as_deref().unwrap_or("-")).collect()),
        ms = u64::try_from(took.as_micros()).unwrap_or(u64::MAX) as f64 / 1000.0,
        path = ?shortened(entry.path),
        agent = ?entry.agent,
        "request"
    );
}

/// What is kept of a text whose length strangers choose.
pub(super) fn shortened(text: &str) -> &str {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => text.get(..end).unwrap_or_default(),
        None => text,
    }
}
