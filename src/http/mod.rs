//! The public listener: from octets to a request of a dialect, and from outcomes to an answer. Knows no DNS and no storage.

mod access_log;
mod authorization;
mod client_address;
pub mod dialect;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod parameters;
mod public;
pub mod server;

pub use client_address::{Client, Proxies};
pub use public::Public;
