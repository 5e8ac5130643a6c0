//! Load: many keep-alive clients of the gateway, the same changes sent to a primary one by one, and the look at the end.

mod baseline;
mod pipeline;
mod read_back;
mod storm;

pub use baseline::one_update_each;
pub use read_back::read_back;
pub use storm::storm;
