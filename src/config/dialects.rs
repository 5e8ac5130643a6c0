//! `[dialects]`: which are served, and what their requests leave out.

use crate::model::ZoneName;

use super::Dialects;
use super::format::{self, Text, example};
use super::problem::{Once, Problems, label, quoted};
use super::suggest::nearest;
use super::zone::Zones;

const TITLE: &str = "[dialects]";

/// The names of the rows of the table in `public/dialect`; a test there says which one is missing.
pub(crate) const NAMES: [&str; 19] = [
    "acme-dns",
    "acme-dns-health",
    "acme-dns-register",
    "checkip",
    "duckdns",
    "dyndns1",
    "dyndns2",
    "dynv6",
    "easydns",
    "freedns",
    "freedns-v1",
    "freemyip",
    "he-txt",
    "httpreq",
    "myip",
    "namecheap",
    "nic-delete",
    "token",
    "zoneedit",
];
/// Those that serve nothing but challenges.
pub(crate) const OF_CHALLENGES: [&str; 4] = ["acme-dns", "acme-dns-health", "acme-dns-register", "httpreq"];

pub(super) fn check_dialects(typed: &format::DialectsSection, zones: &Zones, problems: &mut Problems<'_>) -> Dialects {
    let default_zone = typed.default_zone.as_ref().and_then(|text| check_default_zone(text, zones, problems));
    Dialects { default_zone, off: check_off(&typed.off, problems), empty_deletes: typed.empty_deletes }
}

fn check_default_zone(text: &Text, zones: &Zones, problems: &mut Problems<'_>) -> Option<ZoneName> {
    let zone = problems.ok(text.span().start, ZoneName::parse(text.get_ref()), |error| {
        let message = format!("{} is not the name of a zone: {error}", quoted(text.get_ref()));
        (message, format!("for example: {}", example(TITLE, "default_zone")))
    })?;
    zones.check_holds(zone.as_str(), text, problems);
    Some(zone)
}

fn check_off(texts: &[Text], problems: &mut Problems<'_>) -> Vec<&'static str> {
    let mut once = Once::new();
    let mut off = Vec::with_capacity(texts.len());
    for text in texts {
        let (at, name) = (text.span().start, text.get_ref().as_str());
        match NAMES.into_iter().find(|known| *known == name) {
            Some(known) if once.check(known, at, &format!("dialect {}", quoted(known)), problems) => off.push(known),
            Some(_) => {}
            None => {
                let meant = nearest(name, NAMES);
                let question = meant.map(|meant| format!("did you mean {}? ", quoted(meant))).unwrap_or_default();
                let message = format!("{} is no dialect, and stands in {}", quoted(name), label(TITLE, "off"));
                problems.add(at, message, format!("{question}known dialects: {}", NAMES.join(", ")));
            }
        }
    }
    off
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_names_all_of_them() {
        let page = include_str!("../../docs/CONFIG.md");
        let names = page.split("Their names: ").nth(1).and_then(|rest| rest.split(" The label").next()).unwrap();
        let mut told: Vec<_> = names.split('`').filter(|word| NAMES.contains(word)).collect();
        told.dedup();
        assert_eq!(told, NAMES);
    }
}
