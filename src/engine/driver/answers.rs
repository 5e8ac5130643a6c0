//! What a driver does with what a primary says.

use super::*;

impl Running {
    pub(super) fn frame(&mut self, octets: &[u8], now: Instant) {
        if let Link::Up { heard, .. } = &mut self.link {
            *heard = now;
        }
        let Some((id, asked)) = id_of(octets).and_then(|id| Some((id, self.asked.get_mut(&id)?))) else {
            return debug!(zone = %self.zone(), "an answer to no message of ours is ignored");
        };
        let flight = asked.flight;
        match classify(octets, id, true, &asked.verifier) {
            Reply::Done(_) => {
                self.fruitless = 0;
                self.asked.remove(&id);
                if self.driver.lane.undoes(flight).is_some() {
                    info!(
                        zone = %self.zone(), primary = %self.primary(),
                        "an update of a lost connection was applied late; what was accepted since is in force again"
                    );
                }
                if let Some(ended) = self.driver.lane.acknowledged(flight, now) {
                    self.count("NOERROR", &ended);
                    if ended.counted {
                        // Late: its caller was told 911, and it may be what was deferred.
                        self.driver.reach.is_usable_again();
                    }
                }
                self.complained = None;
                self.well();
            }
            Reply::Failed(failure) => {
                self.fruitless = 0;
                self.asked.remove(&id);
                self.failed(flight, failure, now);
            }
            Reply::Nothing(reason) => {
                if !asked.unsigned_seen {
                    asked.unsigned_seen = true;
                    warn!(zone = %self.zone(), primary = %self.primary(), reason, "an answer is not believed");
                }
            }
            Reply::Garbage => {
                warn!(zone = %self.zone(), primary = %self.primary(), "what came is not DNS; the connection is closed");
                self.unwell(&"what came is not DNS");
                self.lost(false, now);
                self.unreachable(now);
            }
        }
    }

    fn failed(&mut self, flight: FlightId, failure: Failure, now: Instant) {
        let names = self.driver.lane.names(flight);
        let due = |(last, at): &(Failure, Instant)| *last != failure || now.duration_since(*at) >= COMPLAIN_EVERY;
        let is_expected = self.driver.lane.undoes(flight).is_some();
        if !is_expected && self.complained.as_ref().is_none_or(due) {
            self.complained = Some((failure, now));
            warn!(
                zone = %self.zone(), primary = %self.primary(), key = %self.driver.course.settings().zone.key.name,
                answer = %failure, names, mend = advice(failure), "the primary answered an update with an error"
            );
        }
        let Some(ended) = self.driver.lane.failed(flight, failure, now) else { return };
        self.count(&failure.rcode.to_string(), &ended);
        if ended.is_zones {
            self.note(Some(format!("{} answers {failure}: {}", self.primary(), advice(failure))));
        }
        match ended.next {
            Next::Stay => {}
            Next::Probe(probe) => self.send(probe, now),
            Next::Switch => {
                self.lost(true, now);
                self.use_next_primary();
            }
        }
    }

    fn count(&self, rcode: &str, ended: &Ended) {
        if !ended.counted {
            self.driver.metrics.ended(rcode, ended.took.as_secs_f64());
        }
    }

    /// The label for a flight that was not answered, or not in a way to believe.
    pub(super) fn in_vain(&self, flight: FlightId) -> &'static str {
        let unsigned = self.asked.values().any(|asked| asked.flight == flight && asked.unsigned_seen);
        if unsigned { "unsigned" } else { "timeout" }
    }
}
