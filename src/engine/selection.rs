//! Which primary a zone's engine uses, through fail-over and reloads. Knows no socket.

use std::sync::Arc;

use tokio::sync::watch;

use super::settings::Settings;
use crate::config::Primary;
use crate::dns::Route;

/// The settings in force, the primary in use, and what was last heard of each.
#[derive(Debug)]
pub(super) struct PrimarySelection {
    settings: Arc<Settings>,
    in_use: Primary,
    // Whether a primary was reached last time; not there where it was never tried.
    up: Vec<(Primary, bool)>,
    // Where the reader asks.
    route: watch::Sender<Route>,
}

impl PrimarySelection {
    /// Begins at the first primary of `settings`.
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        let in_use = settings.zone.primaries.first().cloned().unwrap_or(Primary { host: String::new(), port: 0 });
        let route = watch::Sender::new(route(&settings, &in_use));
        Self { settings, in_use, up: Vec::new(), route }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn primary(&self) -> &Primary {
        &self.in_use
    }

    /// Where to ask, now and from then on.
    pub(super) fn route(&self) -> watch::Receiver<Route> {
        self.route.subscribe()
    }

    /// Whether the primary in use is one of the zone's: after a reload it may be none.
    pub(super) fn is_listed(&self) -> bool {
        self.settings.zone.primaries.contains(&self.in_use)
    }

    /// Goes on to the next primary in the list; whether there is another.
    pub(super) fn next(&mut self) -> bool {
        let primaries = &self.settings.zone.primaries;
        let place = primaries.iter().position(|primary| *primary == self.in_use);
        let next = place.map_or(0, |place| (place + 1) % primaries.len());
        let Some(next) = primaries.get(next).filter(|next| **next != self.in_use) else { return false };
        self.in_use = next.clone();
        self.publish();
        true
    }

    /// Takes other settings and returns those that were in force. The primary in use stays until it is left.
    pub(super) fn take(&mut self, settings: Arc<Settings>) -> Arc<Settings> {
        let before = std::mem::replace(&mut self.settings, settings);
        self.up.retain(|(primary, _)| self.settings.zone.primaries.contains(primary));
        self.publish();
        before
    }

    /// Notes whether the primary in use was reached; whether that is news of a primary that is listed.
    pub(super) fn set_up(&mut self, up: bool) -> bool {
        if !self.is_listed() {
            return false;
        }
        match self.up.iter_mut().find(|(primary, _)| *primary == self.in_use) {
            Some((_, known)) => std::mem::replace(known, up) != up,
            None => {
                self.up.push((self.in_use.clone(), up));
                true
            }
        }
    }

    fn publish(&self) {
        self.route.send_replace(route(&self.settings, &self.in_use));
    }
}

fn route(settings: &Settings, primary: &Primary) -> Route {
    let (source, timeout) = (settings.zone.source, settings.deadline);
    Route { update: Arc::clone(&settings.update), primary: primary.clone(), source, timeout }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn settings(primaries: &str) -> Arc<Settings> {
        let text = format!(
            "[[key]]\nname = \"k\"\nalgorithm = \"hmac-sha256\"\nsecret = \"c2VjcmV0\"\n\
             [[zone]]\nname = \"dyn.example\"\nkey = \"k\"\nprimaries = {primaries}\n"
        );
        let config = Config::parse(&text, "gateway.toml".as_ref()).unwrap();
        Arc::new(Settings::new(&config.zones[0], &config.engine).unwrap())
    }

    #[test]
    fn the_primary_in_use_outlives_a_reload_and_an_unlisted_one_is_followed_by_the_first() {
        let mut selection = PrimarySelection::new(settings(r#"["a", "b", "c"]"#));
        assert!(selection.next() && selection.set_up(true) && !selection.set_up(true));
        selection.take(settings(r#"["c", "b"]"#));
        assert_eq!((selection.primary().host.as_str(), selection.is_listed()), ("b", true));
        assert!(!selection.set_up(true), "no news after a reload");
        selection.take(settings(r#"["x", "y"]"#));
        assert_eq!((selection.primary().host.as_str(), selection.is_listed()), ("b", false));
        assert!(!selection.set_up(false), "nobody asks about it any longer");
        assert!(selection.next());
        assert_eq!(selection.primary().host, "x");
        selection.take(settings(r#"["x"]"#));
        assert!(!selection.next(), "there is no other");
    }

    #[test]
    fn readers_hear_of_each_turn() {
        let mut selection = PrimarySelection::new(settings(r#"["a", "b"]"#));
        let route = selection.route();
        assert_eq!(route.borrow().primary.host, "a");
        selection.next();
        assert_eq!(route.borrow().primary.host, "b");
        let new = settings(r#"["b"]"#);
        selection.take(Arc::clone(&new));
        assert!(Arc::ptr_eq(&route.borrow().update, &new.update), "the next question is signed with the new key");
    }
}
