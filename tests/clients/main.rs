//! Real DynDNS clients against the built gateway in front of a real name server: what each makes of our answers.
//!
//! A test that a machine may be unable to run has `where_` in its name and says RAN or SKIPPED on standard error, past
//! the capture of `cargo test`.

#![expect(clippy::expect_used, reason = "a test that cannot go on ends here")]

mod authority;
mod builtin;
mod certificates;
mod custom;
mod ddclient;
mod ddupdate;
mod inadyn;
mod namespace;
mod packages;
mod program;
mod protocols;
mod public;
mod rounds;
mod stage;
mod transfer;
