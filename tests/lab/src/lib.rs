//! The laboratory: real name servers, a scripted fake primary and the built gateway, each in a scratch folder on free
//! ports. It knows the contract (docs and command line), never the gateway's code.
//!
//! Everything is safe to use from tests that run at once; whatever was started is killed and reaped when its value is
//! dropped.

mod chance;
mod child;
mod choice;
mod error;
mod gateway;
mod machine;
mod port;
mod postgres;
mod primary;
mod program;
mod query;
mod server;
mod setup;
mod soon;

pub mod fake;
pub mod http;
pub mod load;
pub mod path;

pub use chance::Chance;
pub use child::Child;
pub use choice::chosen;
pub use error::Error;
pub use gateway::{Builder, Gateway, digest, faketime, new_secret, steppable_clock};
pub use hickory_proto::op::{OpCode, ResponseCode};
pub use hickory_proto::rr::RecordType;
pub use machine::{machine, said, servers};
pub use port::{Port, at_free_port, elsewhere};
pub use postgres::Postgres;
pub use query::{Answer, Record, query, query_dnssec};
pub use server::Server;
pub use setup::{Key, Kind, Right, Setup, Zone};
pub use soon::soon;
