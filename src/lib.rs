//! dyngate: a DynDNS front door for the name server you already run.
//!
//! The rooms and their order are described in docs/ARCHITECTURE.md; a test keeps the order.

mod api;
pub mod app;
pub mod auth;
pub mod check;
pub mod cli;
pub mod config;
mod demo;
pub mod dns;
pub mod engine;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
pub mod gateway;
mod guide;
pub mod limit;
pub mod metrics;
pub mod model;
pub mod net;
pub mod operator;
pub mod public;
pub mod registry;
pub mod store;
