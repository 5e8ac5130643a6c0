//! Who is to blame for an error answer: one of the names, the zone or the key, the server, the clocks. Pure.

use crate::dns::{Failure, Rcode, TsigFault};

/// Where an error answer to an UPDATE of hosts points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// A guard of one of the names failed: it stands at a CNAME, at a delegation, or below one or a DNAME.
    Hidden,
    /// The content of one of the names.
    Name,
    /// The zone, the key, or the right to one of the names (BIND's REFUSED, Knot 3.2's BADKEY, Knot 3.4's NOTAUTH without TSIG):
    /// an UPDATE without records tells.
    NameOrZone,
    /// The zone or the key for certain.
    Zone,
    /// The server is in trouble; another may do better.
    Server,
    /// The clocks are apart.
    Clock,
}

/// Weighs `failure` by the tables of RFC 2136 section 2.2, RFC 8945 section 5.2 and what BIND 9.18, Knot 3.2 and
/// PowerDNS 4.7 answer.
pub(super) fn weigh(failure: Failure) -> Blame {
    match (failure.rcode, failure.tsig) {
        (_, Some(TsigFault::BadTime(_))) => Blame::Clock,
        (Rcode::YXRRSET, _) => Blame::Hidden,
        (Rcode::FORMERR | Rcode::NOTZONE | Rcode::NXDOMAIN | Rcode::YXDOMAIN | Rcode::NXRRSET, _) => Blame::Name,
        (Rcode::REFUSED, _) | (Rcode::NOTAUTH, Some(TsigFault::BadKey) | None) => Blame::NameOrZone,
        _ if failure.leads_to_next_primary() => Blame::Server,
        _ => Blame::Zone,
    }
}

/// What the operator should do about `failure`, in one sentence.
pub(super) fn advice(failure: Failure) -> &'static str {
    match (failure.rcode, failure.tsig) {
        (_, Some(TsigFault::BadTime(_))) => {
            "the clocks of this machine and the primary are more than 300 s apart: set both by NTP"
        }
        (Rcode::NOTAUTH, Some(TsigFault::BadKey)) => {
            "the primary does not know this key with this algorithm, or (Knot) its acl does not cover the name or one of the \
             record types: compare the key's name and algorithm on both sides, and the acl's update-owner and update-type"
        }
        (Rcode::NOTAUTH, Some(_)) => "the secrets differ: copy the key's secret from the primary's configuration",
        (Rcode::NOTAUTH, None) => {
            "the primary does not serve this zone as a primary: compare [[zone]] name and primaries; or (Knot 3.4) its acl does \
             not cover the name or one of the record types"
        }
        (Rcode::REFUSED, _) => {
            "the zone is frozen there (`rndc thaw ZONE`, `knotc zone-thaw ZONE`), or that server is a secondary of it, or, not on \
             Knot, this key may not change the zone, the name or one of the record types: BIND allow-update or update-policy, \
             PowerDNS dnsupdate=yes, allow-dnsupdate-from and TSIG-ALLOW-DNSUPDATE (PowerDNS also answers so to an unknown \
             key, a wrong secret or a wrong clock)"
        }
        (Rcode::SERVFAIL, _) => {
            "the primary cannot write the zone now (its disk is full, or it may not write its zone or journal): read its own log"
        }
        (Rcode::NOTIMP, _) => {
            "the primary takes no dynamic updates of this zone: PowerDNS' bind backend cannot, so keep the zone in another backend"
        }
        (Rcode::YXRRSET, _) => {
            "the name stands at a CNAME or a delegation, or below a delegation or a DNAME: an address there would never be seen"
        }
        _ => "the primary did not take the message: read its own log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_of_the_three_servers_has_its_blame() {
        use TsigFault::{BadKey, BadSig, BadTime};
        for (rcode, tsig, blame) in [
            (Rcode::YXRRSET, None, Blame::Hidden),
            (Rcode::NOTZONE, None, Blame::Name),
            (Rcode::FORMERR, None, Blame::Name),
            (Rcode::REFUSED, None, Blame::NameOrZone),
            (Rcode::NOTAUTH, Some(BadKey), Blame::NameOrZone),
            (Rcode::NOTAUTH, Some(BadSig), Blame::Zone),
            (Rcode::NOTAUTH, None, Blame::NameOrZone),
            (Rcode::NOTIMP, None, Blame::Zone),
            (Rcode::NOTAUTH, Some(BadTime(Some(900))), Blame::Clock),
            (Rcode::SERVFAIL, None, Blame::Server),
            (Rcode(23), None, Blame::Zone),
        ] {
            assert_eq!(weigh(Failure { rcode, tsig, signed: true }), blame, "{rcode} {tsig:?}");
        }
    }

    #[test]
    fn advice_is_true_on_each_server_that_may_have_answered_so() {
        let advice = |rcode, tsig| advice(Failure { rcode, tsig, signed: true });
        let refused = advice(Rcode::REFUSED, None);
        for word in ["rndc thaw", "knotc zone-thaw", "record types", "secondary", "update-policy", "dnsupdate=yes"] {
            assert!(refused.contains(word), "{word} is not in {refused}");
        }
        assert!(!refused.contains("acl"), "Knot says NOTAUTH for want of a right: {refused}");
        assert!(advice(Rcode::NOTAUTH, Some(TsigFault::BadKey)).contains("update-type"));
        assert!(advice(Rcode::NOTIMP, None).contains("bind backend"));
        assert!(advice(Rcode::SERVFAIL, None).contains("disk"));
    }
}
