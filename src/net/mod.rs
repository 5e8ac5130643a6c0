//! Listeners and what a connection passes before its first request: PROXY header, limits, TLS. Knows no path.

mod activation;
mod body;
mod client_address;
mod connections;
mod explained;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod listener;
mod proxy_protocol;
mod server;
mod tls;

pub(crate) use activation::Activated;
pub use body::RequestBody;
pub(crate) use body::Stopping;
pub use client_address::{ClientAddress, Peer, Proxies};
pub(crate) use connections::ConnectionLimit;
pub(crate) use listener::{ListenError, ListeningSocket};
pub(crate) use server::{ConnectionPolicy, Unreadable, serve};
pub(crate) use tls::{Certificates, LoadedCertificate};
