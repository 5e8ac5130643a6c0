//! What became of an update: one outcome, one row of the contract, for every dialect.

/// The outcome for one host, or for the whole request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The primary acknowledged the change, signed and verified.
    Changed,
    /// The name itself held exactly this when last verified.
    Unchanged,
    /// No credentials, or wrong ones.
    BadCredentials,
    /// Not a fully qualified host name.
    NotAName,
    /// Unknown, another account's, or hidden in the zone: not told apart.
    NotYourHost,
    /// More than 20 hosts.
    TooMany,
    /// Blocked by an operator or the abuse rule.
    Blocked,
    /// A feature that this host is not granted.
    NotAllowed,
    /// Not an address, a refused one, or two of one family.
    BadAddress,
    /// A limit was met.
    TooFast,
    /// The primary cannot be asked now, or we are overloaded; try again.
    Unreachable,
    /// The primary will not take it from us; the operator must act.
    Refused,
}

impl Outcome {
    /// All outcomes, in the order of the contract.
    pub const ALL: [Self; 12] = [
        Self::Changed,
        Self::Unchanged,
        Self::BadCredentials,
        Self::NotAName,
        Self::NotYourHost,
        Self::TooMany,
        Self::Blocked,
        Self::NotAllowed,
        Self::BadAddress,
        Self::TooFast,
        Self::Unreachable,
        Self::Refused,
    ];

    /// The value of the `outcome` label, and of the access log's field.
    pub fn label(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::BadCredentials => "bad_credentials",
            Self::NotAName => "not_a_name",
            Self::NotYourHost => "not_your_host",
            Self::TooMany => "too_many",
            Self::Blocked => "blocked",
            Self::NotAllowed => "not_allowed",
            Self::BadAddress => "bad_address",
            Self::TooFast => "too_fast",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
        }
    }
}
