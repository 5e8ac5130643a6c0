//! The words that every room shares. Imports nothing of ours; knows no socket and no file.

mod address;
mod challenge;
mod extras;
mod listed;
mod login;
mod mail;
mod name;
mod outcome;
mod password;
mod pending;
mod prefix;
mod reverse;
mod rr;
mod source;
mod text;
mod timestamp;
mod token;
mod tsig;

pub use address::{Addresses, Families, Family, canonical};
pub use challenge::{Challenge, ChallengeValue, NotAChallenge};
pub use extras::{ExtrasError, HostExtras, MAX_FOLLOWERS, PrefixFrom, UnknownPrefixFrom};
pub(crate) use listed::listed;
pub(crate) use login::{LoginError, check_login};
pub use mail::mail_exchanges;
pub use name::{Hostname, NameError, ZoneName};
pub use outcome::Outcome;
pub use password::{MAX_ITERATIONS, MAX_MEMORY_KIB, PasswordDigest, PasswordError};
pub use pending::PendingChange;
pub use prefix::{
    BadPrefix, InterfaceId, InterfaceIdError, Ipv6Text, Overlaps, PREFIX_LENGTHS, PrefixText, moved, network_of,
};
pub use reverse::pointer_in;
pub use rr::{BadTxt, Desired, DesiredRecords, MailExchange, RrData, RrKey, RrType, Several, TxtValue, UnknownType};
pub(crate) use source::{SourcePrefix, SourceTier};
pub(crate) use text::{clean, escaped};
pub use timestamp::Timestamp;
pub use token::TokenDigest;
pub use tsig::{Algorithm, KeyName, TsigError, TsigKey};
