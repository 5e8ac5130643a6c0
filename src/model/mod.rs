//! The words that every room shares. Imports nothing of ours; knows no socket and no file.

mod address;
mod families;
mod name;
mod outcome;
mod password;
mod timestamp;
mod token;
mod tsig;

pub use address::{Addresses, Change, Family, Records, canonical};
pub use families::Families;
pub use name::{Hostname, NameError, ZoneName};
pub use outcome::Outcome;
pub use password::{MAX_ITERATIONS, MAX_MEMORY_KIB, PasswordDigest, PasswordError};
pub use timestamp::Timestamp;
pub use token::TokenDigest;
pub use tsig::{Algorithm, KeyName, TsigError, TsigKey};
