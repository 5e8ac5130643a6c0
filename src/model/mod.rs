//! The words that every room shares. Imports nothing of ours; knows no socket, no file, no clock.

mod address;
mod name;
mod outcome;
mod password;
mod tsig;

pub use address::{Addresses, Change, Family, Records, canonical};
pub use name::{Hostname, NameError, ZoneName};
pub use outcome::Outcome;
pub use password::{MAX_ITERATIONS, MAX_MEMORY_KIB, PasswordDigest, PasswordError};
pub use tsig::{Algorithm, KeyName, TsigError, TsigKey};
