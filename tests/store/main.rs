//! The store on both databases: SQLite in a scratch folder, PostgreSQL in the laboratory.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends here")]

mod accounts;
mod broken;
mod deadline;
mod fast;
mod feed;
mod hosts;
mod moving;
mod namespace;
mod pending;
mod poison;
mod reading;
mod reserved;
mod seen;
mod server;
mod stage;
