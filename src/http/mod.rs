//! The public listener: from octets to a request of a dialect, and from outcomes to an answer. Knows no DNS and no storage.

mod access_log;
mod activation;
mod authorization;
mod client_address;
mod connections;
pub mod dialect;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod listener;
mod parameters;
mod proxy_protocol;
mod public;
pub mod server;
mod tls;

pub use activation::Activated;
pub use client_address::{Client, Peer, Proxies};
pub use connections::Sources;
pub use listener::{ListenError, Listener, Place};
pub use public::Public;
pub use tls::{Certificates, Loaded};
