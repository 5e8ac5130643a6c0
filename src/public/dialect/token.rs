//! The URL of one host: `/update/TOKEN`, and `/cpanelwebcall/TOKEN` as cPanel's devices call it. The token is the credential,
//! and the answer is dyndns2's.

use super::{DialectRequest, Parsed, dyndns2};
use crate::gateway::Identity;
use crate::model::TokenDigest;

/// Reads what is asked for: an address, or the caller's own.
pub(super) fn parse(request: &DialectRequest<'_>) -> Parsed {
    let identity = Identity::Token(TokenDigest::of(request.rest));
    Parsed { identity, hosts: Vec::new(), ..dyndns2::parse(request) }
}
