//! A request for changes, whatever dialect it came in. Knows nothing of HTTP.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::Ipv6Net;

use crate::auth::{Credentials, Password};
use crate::model::{Addresses, Desired, DesiredRecords, Families, InterfaceId, RrType, TokenDigest, ZoneName};

/// A request for changes.
#[derive(Debug)]
pub struct UpdateRequest {
    /// Who asks.
    pub identity: Identity,
    /// The host names as they were sent.
    pub hosts: Vec<String>,
    /// What a host name of a single label stands for.
    pub labels: Labels,
    /// What is asked for each of them; `Err` where something of it cannot be read, or contradicts itself.
    pub asked: Result<Asked, BadAddress>,
    /// Whether the identity is all that is looked at.
    pub only_identity: bool,
    /// Where the request comes from.
    pub admitted: Admitted,
    /// What the client calls itself.
    pub agent: Option<Arc<str>>,
}

/// What a client proves its identity with.
#[derive(Debug)]
pub enum Identity {
    /// Nothing.
    Nobody,
    /// A login and a password.
    Password(Credentials),
    /// A secret without a login: a host's token, or what was generated for an account.
    Secret(Password),
    /// Two of them: the second counts where it is somebody's and the first is nobody's.
    Either(Box<[Self; 2]>),
    /// The token of one host.
    Token(TokenDigest),
}

/// What a host name of a single label stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Labels {
    /// Nothing: it is no host name.
    #[default]
    NoHost,
    /// The only host that begins with it, of those that are granted exactly to whoever asks; where there is none, that label in
    /// this zone.
    Begin(Option<ZoneName>),
}

/// What is asked for each host of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The addresses to set; a family that is not given is left alone.
    pub addresses: Addresses,
    /// What few requests ask for; apart, so that the others stay small.
    pub more: Option<Arc<More>>,
}

/// What few requests ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct More {
    /// Whose addresses are to go: `offline=YES`, DuckDNS' `clear`, dynv6's `-`.
    pub removals: Option<Families>,
    /// The network behind the router.
    pub prefix: Option<PrefixAsked>,
    /// The interface id that the host takes in that network, in this request.
    pub interface_id: Option<InterfaceId>,
    /// `*.HOST` is to have the same addresses.
    pub wildcard: bool,
    /// The names of the mail servers, as they were sent.
    pub mx: Vec<String>,
    /// The host takes its mail itself before them.
    pub backmx: bool,
    /// A TXT record at `_acme-challenge.HOST`; no address is looked at then.
    pub challenge: Option<ChallengeAsked>,
}

/// What is said of the network behind a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrefixAsked {
    /// It is this one; bits below its length are zero.
    Is(Ipv6Net),
    /// The same, said in the place of an address: a host without an interface id moves into it with the addresses that it has.
    Moves(Ipv6Net),
    /// There is none any longer.
    Gone,
}

/// What shall become of a challenge of RFC 8555 section 8.4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChallengeAsked {
    /// This value is served, beside the one before it.
    Present(String),
    /// This value is no longer.
    Remove(String),
    /// None is.
    RemoveAll,
}

/// A request that passed the source limit, from this address.
#[derive(Debug, Clone, Copy)]
pub struct Admitted(pub(super) IpAddr);

/// Why what is asked for is no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the text of an error says what it is, and names its fields")]
pub enum BadAddress {
    #[error("not an address")]
    Unparsable,
    #[error("two addresses of one family")]
    TwoOfAFamily,
    #[error("it says two things at once")]
    Contradiction,
    /// A parameter that somebody garbled, such as `amp;myip`. Its own name may be a part of a password, and is not told.
    #[error("a parameter is called almost like {0}, and is not understood")]
    AlmostKnown(&'static str),
    #[error("{0}, and is not understood")]
    NotUnderstood(&'static str),
    /// None is given, and the caller's own must not or cannot be used.
    #[error("no address is left to set")]
    None,
}

impl Asked {
    /// A challenge, and nothing else.
    #[must_use]
    pub fn of_challenge(challenge: ChallengeAsked) -> Self {
        Self::only(More { challenge: Some(challenge), ..More::default() })
    }

    /// These addresses, and nothing else.
    #[must_use]
    pub fn of(addresses: Addresses) -> Self {
        Self { addresses, more: None }
    }

    /// What shall become of the hosts' challenges; no address is looked at then.
    #[must_use]
    pub fn challenge(&self) -> Option<&ChallengeAsked> {
        self.more.as_ref()?.challenge.as_ref()
    }

    /// This, and no addresses.
    #[must_use]
    pub fn only(more: More) -> Self {
        Self { addresses: Addresses::default(), more: Some(Arc::new(more)) }
    }

    /// What changes these records, as far as it must be granted again before it is made.
    pub(super) fn of_records(records: &DesiredRecords) -> Self {
        let is_gone = |rtype| records.get(rtype) == Some(&Desired::Absent);
        let removals = Families::of(is_gone(RrType::A), is_gone(RrType::Aaaa));
        let more = removals.map(|_| Arc::new(More { removals, ..More::default() }));
        Self { addresses: records.addresses(), more }
    }

    /// Whose addresses are to go.
    #[must_use]
    pub fn removals(&self) -> Option<Families> {
        self.more.as_ref().and_then(|more| more.removals)
    }
}
