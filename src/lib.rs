//! dyngate: a DynDNS front door for the name server you already run.
//!
//! The rooms and their order are described in docs/ARCHITECTURE.md.

pub mod model;

pub mod auth;
pub mod config;
pub mod limit;
pub mod metrics;
