//! The routers' listener: from octets to a request of a dialect, and from outcomes to an answer. Knows no DNS and no storage.

mod access_log;
mod authorization;
mod dialect;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod json;
mod parameters;
mod service;
mod spellings;

pub(crate) use access_log::Several;
pub use service::Public;
