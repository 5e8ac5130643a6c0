//! What happened, and when, for whoever looks for the reason of a failure.

use std::sync::{Arc, Mutex};

use tokio::time::Instant;

#[derive(Debug, Clone)]
pub struct Log(Arc<Mutex<Vec<(Instant, String)>>>);

impl Log {
    pub fn new() -> Self {
        Self(Arc::default())
    }

    pub fn note(&self, text: &str) {
        self.0.lock().unwrap().push((Instant::now(), text.to_owned()));
    }

    /// The lines since `since` about `host`, and those about no host.
    pub fn of(&self, host: &str, since: Instant) -> String {
        let lines = self.0.lock().unwrap();
        let is_meant = |text: &str| match text.split_once(".dyn.example") {
            Some((first, _)) => host.split_once('.').is_some_and(|(label, _)| label == first),
            None => true,
        };
        let since = lines.iter().filter(|(at, text)| *at >= since && is_meant(text)).map(|(at, text)| {
            let after = at.duration_since(since).as_secs_f64();
            format!("{after:7.3} {text}\n")
        });
        since.collect()
    }

    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}
