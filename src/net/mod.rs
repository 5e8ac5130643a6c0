//! Listeners and what a connection passes before its first request: PROXY header, limits, TLS. Knows no path.

mod activation;
mod client_address;
mod connections;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod listener;
mod proxy_protocol;
mod server;
mod tls;

pub use activation::Activated;
pub use client_address::{ClientAddress, Peer, Proxies};
pub use connections::ConnectionLimit;
pub use listener::{BoundAddress, ListenError, ListeningSocket};
pub use server::{ConnectionPolicy, serve};
pub use tls::{Certificates, LoadedCertificate};
