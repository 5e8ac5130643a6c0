//! The table of limits alone, without a gateway around it: ten million keys, the time of each and the memory of all.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::process;

use dyngate::config::{Limits as Config, Quota};
use dyngate::limit::Limits;
use dyngate::metrics::Metrics;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::process::memory_mib;

const KEYS: u32 = 10_000_000;

/// One sentence.
pub(crate) fn ten_million_keys() -> String {
    let non_zero = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    let source = Some(Quota { burst: non_zero(120), per_minute: non_zero(120) });
    let config = Config { host: None, account: None, source, failed_logins: None, repeats: None };
    let memory = || memory_mib(Some(process::id()), "VmRSS");
    let before = memory();
    let limits = Limits::new(&config, Metrics::register(&mut Registry::default()));
    let began = Instant::now();
    let served = (0..KEYS).filter(|&key| limits.source(everywhere(key)).is_ok()).count();
    let each = began.elapsed() / KEYS;
    format!(
        "The table of limits alone: {served} of {KEYS} requests, each from a /48 of its own, passed the limit on sources; \
         {} ns each; the table takes {:.1} MiB.",
        each.as_nanos(),
        memory() - before
    )
}

/// An address in a /48 that no other number has.
pub(crate) fn everywhere(number: u32) -> IpAddr {
    Ipv6Addr::from_bits((0x2001_u128 << 112) | (u128::from(number) << 80) | 1).into()
}
