//! Each finding about a primary in words, with the line that would mend it in that server's configuration or in ours.

use std::net::IpAddr;
use std::time::Duration;

use super::software::Software;
use super::{Advice, Finding};
use crate::config::{Primary, Zone};
use crate::dns::{ConnectError, FUDGE, Failure};
use crate::model::{Family, Hostname, RrType};

const OURS: &str = "gateway.toml";
const BIND: &str = "named.conf";
const KNOT: &str = "knot.conf";
const POWERDNS: &str = "pdns.conf";
const SHELL: &str = "shell";

/// Whose configuration the lines are for.
pub(super) struct Adviser<'c> {
    pub(super) zone: &'c Zone,
    pub(super) primary: &'c Primary,
    pub(super) software: Software,
}

impl Adviser<'_> {
    pub(super) fn unreachable(&self, error: &ConnectError) -> Finding {
        let Primary { host, port } = self.primary;
        let mut advice = vec![self.other_primary()];
        // A server listens on addresses, not on the names that lead to them.
        if let Ok(address) = host.parse::<IpAddr>() {
            let option = if address.is_ipv4() { "listen-on" } else { "listen-on-v6" };
            advice.extend(self.on_server(
                &format!("{option} port {port} {{ {host}; }};"),
                &format!("listen: {host}@{port}"),
                &[Advice::new(POWERDNS, format!("local-address={host}\nlocal-port={port}"))],
            ));
        }
        let what = format!(
            "{}: start the name server, open its TCP port in the firewall, or name the right address",
            plain(error)
        );
        Finding::error("unreachable", what, advice)
    }

    pub(super) fn silent(&self, timeout: Duration) -> Finding {
        let what = format!(
            "takes the connection and sends no answer within {timeout:?}: its log says why, or something else listens there"
        );
        Finding::error("no_answer", what, vec![self.other_primary()])
    }

    pub(super) fn closed(&self) -> Finding {
        let what = "closes the connection in place of an answer: its log says why, or something else listens there";
        Finding::error("no_answer", what, vec![self.other_primary()])
    }

    pub(super) fn not_dns(&self) -> Finding {
        let what = "what answers there is not a name server that keeps to RFC 2136";
        Finding::error("not_dns", what, vec![self.other_primary()])
    }

    pub(super) fn unsigned(&self) -> Finding {
        let what =
            format!("answers, but does not sign with key {}: something between may strip TSIG", self.zone.key.name);
        Finding::error("unsigned", what, vec![self.other_primary()])
    }

    pub(super) fn unknown_key(&self) -> Finding {
        let (name, algorithm) = (&self.zone.key.name, self.zone.key.algorithm.name());
        let mut what = format!("knows no key {name} with {algorithm}: the name or the algorithm differs");
        // Knot has the same answer for a key that no acl of the zone names.
        let acl = if self.software == Software::Knot {
            what.push_str(", or no acl of the zone names it");
            self.rights("subdomain", self.zone.name.as_str())
        } else {
            Vec::new()
        };
        Finding::error("unknown_key", what, self.the_key().into_iter().chain(acl).collect())
    }

    pub(super) fn wrong_secret(&self) -> Finding {
        let what = format!("knows key {} with another secret", self.zone.key.name);
        Finding::error("wrong_secret", what, self.the_key())
    }

    pub(super) fn key_or_secret(&self) -> Finding {
        let (name, algorithm) = (&self.zone.key.name, self.zone.key.algorithm.name());
        let what = format!("does not take key {name}: its name, its algorithm ({algorithm}) or its secret differs");
        Finding::error("key_or_secret", what, self.the_key())
    }

    pub(super) fn clock(&self, seconds: Option<i64>) -> Finding {
        let what = match seconds {
            Some(seconds) => format!("{}, and TSIG allows {FUDGE} s", apart(seconds)),
            None => format!("its clock and this machine's are more than {FUDGE} s apart"),
        };
        Finding::error("clock", what, vec![set_clocks()])
    }

    pub(super) fn clock_drifts(&self, seconds: i64) -> Finding {
        let what = format!("{}; at {FUDGE} s every update will fail", apart(seconds));
        Finding::warning("clock_drifts", what, vec![set_clocks()])
    }

    pub(super) fn zone_not_served(&self, above: Option<&str>) -> Finding {
        let zone = &self.zone.name;
        let (what, ours) = match above {
            Some(above) => (
                format!("serves {above}, and {zone} is no zone of its own there"),
                Advice::new(OURS, format!("[[zone]]\nname = \"{above}\"")),
            ),
            None => (format!("does not serve the zone {zone}"), self.other_primary()),
        };
        let mut advice = vec![ours];
        advice.extend(self.on_server(
            &format!("zone \"{zone}\" {{ type primary; file \"…\"; update-policy {{ … }}; }};"),
            &format!("zone:\n  - domain: {zone}"),
            &[Advice::new(SHELL, format!("pdnsutil create-zone {zone}"))],
        ));
        Finding::error("zone_not_served", what, advice)
    }

    pub(super) fn zone_broken(&self) -> Finding {
        let zone = &self.zone.name;
        let what = format!("has the zone {zone} and cannot serve it now (SERVFAIL): its log says why");
        let command = match self.software {
            Software::Bind => Some(format!("named-checkzone {zone} FILE")),
            Software::Knot => Some(format!("knotc zone-check {zone}")),
            Software::PowerDns => Some(format!("pdnsutil check-zone {zone}")),
            Software::Unknown => None,
        };
        let advice = command.map(|command| Advice::new(SHELL, command)).into_iter().collect();
        Finding::error("zone_broken", what, advice)
    }

    pub(super) fn no_queries(&self) -> Finding {
        let key = &self.zone.key.name;
        let what = format!("refuses queries from key {key}: nothing that it says could be verified");
        let line = format!("allow-query {{ key \"{key}\"; … }};    # in options, the view or the zone");
        Finding::error("no_queries", what, vec![Advice::new(BIND, line)])
    }

    /// `soa_primary` is MNAME of the zone's SOA record; `refuses_zone` is whether even an UPDATE of nothing is refused.
    pub(super) fn may_not_update(&self, soa_primary: &str, refuses_zone: bool) -> Finding {
        let (zone, key) = (&self.zone.name, &self.zone.key.name);
        // A missing right of one that has some rights is told by a change alone; PowerDNS freezes nothing.
        let may_be_frozen = refuses_zone && matches!(self.software, Software::Bind | Software::Unknown);
        let frozen = if may_be_frozen { "; or the zone is frozen there" } else { "" };
        let what = format!(
            "does not let key {key} change {zone}{frozen}; or it is a secondary of the zone: the SOA names {soa_primary} as the \
             primary"
        );
        let thaw = may_be_frozen.then(|| Advice::new(SHELL, format!("rndc thaw {zone}    # if it is frozen")));
        Finding::error(
            "may_not_update",
            what,
            self.rights("subdomain", zone.as_str()).into_iter().chain(thaw).collect(),
        )
    }

    /// Knot's: a key without the right would be told otherwise. `soa_primary` is MNAME of the zone's SOA record.
    pub(super) fn frozen(&self, soa_primary: &str) -> Finding {
        let zone = &self.zone.name;
        let what = format!(
            "refuses every change of {zone}, whatever the key may do: the zone is frozen there; or it is a secondary that \
             forwards updates to one that refuses them: the SOA names {soa_primary} as the primary"
        );
        let advice = vec![
            Advice::new(SHELL, format!("knotc zone-thaw {zone}    # if it is frozen")),
            self.named_primary(soa_primary),
        ];
        Finding::error("frozen", what, advice)
    }

    pub(super) fn no_updates(&self) -> Finding {
        let zone = &self.zone.name;
        let what = format!(
            "takes no dynamic updates of {zone} (NOTIMP){}",
            match self.software {
                Software::PowerDns | Software::Unknown => ": PowerDNS' bind backend cannot",
                Software::Bind | Software::Knot => ": its log says why",
            }
        );
        let advice = [
            Advice::new(POWERDNS, "launch=gsqlite3    # or another backend with a database, in place of bind"),
            Advice::new(SHELL, format!("pdnsutil load-zone {zone} FILE    # the zone's file, into that backend")),
        ];
        Finding::error("no_updates", what, self.on_server("", "", &advice))
    }

    pub(super) fn cannot_write(&self) -> Finding {
        let zone = &self.zone.name;
        let what = "cannot write the zone now (SERVFAIL): its disk is full, or the user that it runs as may not write its data";
        let log = |unit: &str| Advice::new(SHELL, format!("journalctl -u {unit}    # says which"));
        let folder = Advice::new(
            BIND,
            format!("file \"/var/lib/bind/{zone}\";    # AppArmor lets named write there, not below /etc/bind"),
        );
        let advice = match self.software {
            Software::Bind => vec![log("named"), folder],
            Software::Knot => vec![log("knot")],
            Software::PowerDns => vec![log("pdns")],
            Software::Unknown => Vec::new(),
        };
        Finding::error("cannot_write", what, advice)
    }

    /// Names lie in a zone of their own there.
    pub(super) fn other_zone(&self, apex: &str) -> Finding {
        let zone = &self.zone.name;
        let what = format!(
            "answers for these names from {apex}, a zone of its own there: a change of {zone} is taken, and never served"
        );
        Finding::error("other_zone", what, vec![self.zone_section(apex, true)])
    }

    pub(super) fn other_view(&self) -> Finding {
        let (zone, key) = (&self.zone.name, &self.zone.key.name);
        let what = format!(
            "shows another {zone} to whoever asks from here without the key: what key {key} changes, they do not see"
        );
        let view =
            format!("match-clients {{ key \"{key}\"; … }};    # in the view that the public sees, and in no other");
        Finding::warning("other_view", what, self.on_server(&view, "", &[]))
    }

    /// `types` are acknowledged, and are not there afterwards.
    pub(super) fn drops(&self, types: &str) -> Finding {
        let what =
            format!("answers NOERROR to {types} records at these names, and does not make them: a policy drops them");
        Finding::error("policy_drops", what, self.policy())
    }

    pub(super) fn drops_text(&self, label: &str) -> Finding {
        let what = format!(
            "answers NOERROR to a TXT record at {label}.{}, and does not make it: a policy drops it; no granted name was free to \
             try an address at, so look whether it lets those pass",
            self.zone.name
        );
        Finding::warning("policy_drops_text", what, self.policy())
    }

    fn policy(&self) -> Vec<Advice> {
        let line =
            "lua-dnsupdate-policy-script=…    # its updatepolicy() must return true for A and AAAA of granted names";
        self.on_server("", "", &[Advice::new(POWERDNS, line)])
    }

    pub(super) fn may_not_update_names(&self, one_of_them: &Hostname) -> Finding {
        let what = format!("does not let key {} change these names, but others of the zone", self.zone.key.name);
        Finding::error("may_not_update", what, self.rights("name", one_of_them.as_str()))
    }

    pub(super) fn one_family(&self, name: &Hostname, only: Family) -> Finding {
        let (may, may_not) = match only {
            Family::V4 => ("A", "AAAA"),
            Family::V6 => ("AAAA", "A"),
        };
        let key = &self.zone.key.name;
        let what = format!("lets key {key} set {may} records, but not {may_not}");
        let advice = self.on_server(
            &format!("update-policy {{ grant {key} name {name} A AAAA; }};"),
            "update-type: [A, AAAA]",
            &[],
        );
        Finding::error("one_family", what, advice)
    }

    /// Records of `rtype`, which is no address.
    pub(super) fn may_not_set(&self, name: &Hostname, rtype: RrType) -> Finding {
        let (zone, key) = (&self.zone.name, &self.zone.key.name);
        let what = format!("does not let key {key} set {rtype} records at these names");
        // A PTR record may come to stand at any name of its zone.
        let (grant, types) = match rtype {
            RrType::Ptr => ("zonesub".to_owned(), "PTR".to_owned()),
            _ => (format!("name {name}"), format!("A, AAAA, {rtype}")),
        };
        let powerdns = [
            Advice::new(SHELL, format!("pdnsutil add-meta {zone} TSIG-ALLOW-DNSUPDATE {key}")),
            Advice::new(
                POWERDNS,
                format!(
                    "lua-dnsupdate-policy-script=…    # its updatepolicy() must return true for {rtype} of these names"
                ),
            ),
        ];
        let advice = self.on_server(
            &format!("update-policy {{ … grant {key} {grant} {rtype}; }};"),
            &format!("acl:\n  - id: dyngate\n    key: {key}\n    action: update\n    update-type: [{types}]"),
            &powerdns,
        );
        Finding::error("may_not_set", what, advice)
    }

    /// `rule` is BIND's word for how `name` is matched: where the challenges of one of the names stand, or above them.
    pub(super) fn no_challenges(&self, rule: &str, name: &str) -> Finding {
        let key = &self.zone.key.name;
        let what = format!(
            "does not let key {key} set TXT records at _acme-challenge of these names: no certificate authority would see a \
             challenge there"
        );
        let policy =
            "lua-dnsupdate-policy-script=…    # its updatepolicy() must return true for TXT at _acme-challenge";
        let advice = self.on_server(
            &format!("update-policy {{ … grant {key} {rule} {name} TXT; }};"),
            &format!("update-type: [A, AAAA, TXT]    # and, where update-owner is name, {name}. in update-owner-name"),
            &[Advice::new(POWERDNS, policy)],
        );
        let ours = Advice::new(OURS, "[acme]\ndns01 = false    # if certificates are not wanted");
        Finding::error("no_challenges", what, advice.into_iter().chain([ours]).collect())
    }

    pub(super) fn check_names(&self) -> Finding {
        let what = "takes no address at a name with '_' (BIND's check-names)";
        let advice = Advice::new(BIND, "check-names primary ignore;    # in options or in the zone");
        Finding::error("check_names", what, vec![advice])
    }

    pub(super) fn at_cname(&self, grant: &str) -> Finding {
        let what = format!("{grant} is a CNAME record: an address there would never be seen, its router gets nohost");
        Finding::warning("at_cname", what, vec![self.delete(grant, "CNAME")])
    }

    /// `is_here` is whether the delegated zone is served by the same primary: without its delegation it would still lie over
    /// the name, and a change would be taken and never served.
    pub(super) fn delegated(&self, grant: &str, owner: &str, is_here: bool) -> Finding {
        let at = if grant == owner { "is" } else { "lies below" };
        let who = if is_here { "it is a zone of its own there" } else { "other servers answer for it" };
        let what = format!("{grant} {at} the delegation {owner}: {who}, its router gets nohost");
        let mut advice = vec![self.zone_section(owner, is_here)];
        if !is_here {
            advice.push(self.delete(owner, "NS"));
        }
        Finding::warning("delegated", what, advice)
    }

    /// The section for a zone within ours.
    fn zone_section(&self, apex: &str, is_here: bool) -> Advice {
        let (primary, key) = (self.primary, &self.zone.key.name);
        let rest = match is_here {
            true => {
                format!("\nprimaries = [\"{primary}\"]\nkey = \"{key}\"    # which must have the right to change it")
            }
            false => "    # with the primaries of that zone".to_owned(),
        };
        Advice::new(OURS, format!("[[zone]]\nname = \"{apex}\"{rest}"))
    }

    pub(super) fn below_dname(&self, grant: &str, owner: &str) -> Finding {
        let what = format!(
            "{grant} lies below the DNAME record {owner}: an address there would never be seen, its router gets nohost"
        );
        Finding::warning("below_dname", what, vec![self.delete(owner, "DNAME")])
    }

    /// `soa_primary` is MNAME of the zone's SOA record; `arrived` is after how long the change came back, if it did.
    pub(super) fn forwards(&self, soa_primary: &str, arrived: Option<Duration>) -> Finding {
        let seen = arrived.map_or("did not show it in time".to_owned(), |after| {
            format!("showed it only {} ms later", after.as_millis())
        });
        let what = format!(
            "took a change and {seen}: it is a secondary that forwards updates, and what it shows is old; the SOA \
             names {soa_primary} as the primary"
        );
        Finding::error("forwards", what, vec![self.named_primary(soa_primary)])
    }

    /// `soa_primary` is MNAME of the zone's SOA record.
    pub(super) fn shows_late(&self, soa_primary: &str, after: Duration) -> Finding {
        let what = format!(
            "showed a change only {} ms later: it signs the zone itself (inline-signing), which is fine, or it is a secondary that \
             forwards updates; the SOA names {soa_primary} as the primary",
            after.as_millis()
        );
        let advice = Advice::new(OURS, format!("primaries = [\"{soa_primary}\"]    # if it is a secondary"));
        Finding::warning("shows_late", what, vec![advice])
    }

    /// `soa_primary` is MNAME of the zone's SOA record.
    pub(super) fn refused_elsewhere(&self, soa_primary: &str, failure: Failure) -> Finding {
        let what = format!(
            "takes key {}, and answers changes with another server's {failure}: it is a secondary that forwards updates, \
             which Knot 3.3 and later sign with the key of their remote, if any; the SOA names {soa_primary} as the primary",
            self.zone.key.name
        );
        Finding::error("forwards", what, vec![self.named_primary(soa_primary)])
    }

    pub(super) fn write_refused(&self, label: &str, failure: Failure) -> Finding {
        let (zone, key) = (&self.zone.name, &self.zone.key.name);
        let what =
            format!("answers {failure} to a TXT record at {label}.{zone}: whether it forwards updates stays open");
        let advice = self.on_server(
            &format!("update-policy {{ grant {key} name {label}.{zone} TXT; }};"),
            &format!("update-owner: name\nupdate-owner-name: {label}"),
            &[Advice::new(SHELL, format!("pdnsutil add-meta {zone} TSIG-ALLOW-DNSUPDATE {key}"))],
        );
        Finding::warning("write_refused", what, advice)
    }

    pub(super) fn left_behind(&self, owner: &str, rtype: &str, why: &str) -> Finding {
        let what = format!("the {rtype} record {owner} could not be removed again: {why}");
        Finding::warning("left_behind", what, vec![self.delete(owner, rtype)])
    }

    pub(super) fn not_all_asked(&self) -> Finding {
        let what = "so many names have findings that not all of them were asked about: mend these and check again";
        Finding::warning("not_all_asked", what, Vec::new())
    }

    pub(super) fn strange(&self, failure: Failure) -> Finding {
        Finding::error("strange_answer", format!("answered {failure}: its log says why"), Vec::new())
    }

    fn named_primary(&self, soa_primary: &str) -> Advice {
        Advice::new(OURS, format!("primaries = [\"{soa_primary}\"]    # or wherever this zone is written"))
    }

    fn other_primary(&self) -> Advice {
        Advice::new(OURS, "primaries = [\"…\"]    # the server that this zone is written on")
    }

    /// The key on the server's side, and where ours is compared with it.
    fn the_key(&self) -> Vec<Advice> {
        let (name, algorithm) = (&self.zone.key.name, self.zone.key.algorithm.name());
        let ours = Advice::new(
            OURS,
            format!(
                "[[key]]\nname = \"{name}\"\nalgorithm = \"{algorithm}\"\nsecret_file = \"…\"    # the server's secret"
            ),
        );
        let theirs = self.on_server(
            &format!("key \"{name}\" {{ algorithm {algorithm}; secret \"…\"; }};"),
            &format!("key:\n  - id: {name}\n    algorithm: {algorithm}\n    secret: …"),
            &[Advice::new(SHELL, format!("pdnsutil import-tsig-key {name} {algorithm} …"))],
        );
        [ours].into_iter().chain(theirs).collect()
    }

    /// The right to change `name`; `rule` is BIND's word for how it is matched.
    fn rights(&self, rule: &str, name: &str) -> Vec<Advice> {
        let (zone, key) = (&self.zone.name, &self.zone.key.name);
        let owner = if rule == "name" {
            format!("\n    update-owner: name\n    update-owner-match: equal\n    update-owner-name: [{name}.]")
        } else {
            String::new()
        };
        self.on_server(
            &format!(
                "zone \"{zone}\" {{ … update-policy {{ … grant {key} {rule} {name} A AAAA; }}; }};    # allow-update is its \
                 other form, and not beside it"
            ),
            &format!(
                "acl:\n  - id: dyngate\n    key: {key}\n    action: update{owner}\nzone:\n  - domain: {zone}\n    acl: [dyngate, …]"
            ),
            &[
                Advice::new(POWERDNS, "dnsupdate=yes    # its default is no"),
                Advice::new(POWERDNS, "allow-dnsupdate-from=…    # the address that this gateway comes from"),
                Advice::new(SHELL, format!("pdnsutil add-meta {zone} TSIG-ALLOW-DNSUPDATE {key}")),
            ],
        )
    }

    /// The lines for the server at hand, or for all of them where it does not say what it is.
    fn on_server(&self, bind: &str, knot: &str, powerdns: &[Advice]) -> Vec<Advice> {
        let file = |place, line: &str| (!line.is_empty()).then(|| Advice::new(place, line));
        let (bind, knot) = (file(BIND, bind), file(KNOT, knot));
        match self.software {
            Software::Bind => bind.into_iter().collect(),
            Software::Knot => knot.into_iter().collect(),
            Software::PowerDns => powerdns.to_vec(),
            Software::Unknown => bind.into_iter().chain(knot).chain(powerdns.iter().cloned()).collect(),
        }
    }

    fn delete(&self, owner: &str, rtype: &str) -> Advice {
        let (zone, Primary { host, port }) = (&self.zone.name, self.primary);
        let lines = format!("server {host} {port}\\nzone {zone}\\nupdate delete {owner} {rtype}\\nsend\\n");
        Advice::new(SHELL, format!("printf '{lines}' | nsupdate -k KEYFILE    # if nobody needs it"))
    }
}

fn set_clocks() -> Advice {
    Advice::new(SHELL, "timedatectl set-ntp true    # on both machines")
}

/// Without the number of the system's error.
fn plain(error: &ConnectError) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// `seconds` is the primary's clock minus ours.
fn apart(seconds: i64) -> String {
    let direction = if seconds > 0 { "ahead of" } else { "behind" };
    format!("its clock is {} s {direction} this machine's", seconds.unsigned_abs())
}
