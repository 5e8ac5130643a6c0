//! DNS on the wire: messages, TSIG, framing, the connection to a primary. The only room that imports hickory;
//! knows nothing of the engine.

mod connection;
mod exchange;
mod frame;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod message;
mod network;
mod pool;
mod probe;
mod reader;
mod reply;
mod tsig;

pub(crate) use exchange::AskError;
pub use exchange::{Event, Exchange};
pub(crate) use message::MAX_MESSAGE;
pub use message::{EncodeError, RrsetUpdate, Update};
pub use network::{ConnectError, Connecting, Network, Stream, Tcp};
pub use pool::Pool;
pub(crate) use probe::{Hiding, Prober, Served};
pub(crate) use reader::{Held, Own, Proof, Reader, Route};
pub(crate) use reply::{Failure, TsigFault, signed_in};
pub use reply::{Rcode, Reply, classify};
pub(crate) use tsig::FUDGE;
pub use tsig::{Signer, Verifier};
