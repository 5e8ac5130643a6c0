//! Which changes leave together, when a few of them wait for more, and who comes too late.

use super::*;

/// Names that leave in a message of their own while another is in flight; fewer wait for its answer.
pub(super) const WORTH_A_MESSAGE: usize = 16;
/// They do for this part of the deadline at most, counted from its departure.
pub(super) const PATIENCE: u32 = 20;

impl Lane {
    /// Until when a few changes wait for the answer to what is in flight, if they do: a primary works on one message of a zone
    /// at a time, so they would be no sooner done, and where many zones share a primary each of their messages costs all.
    pub(super) fn gathers_until(&self, now: Instant) -> Option<Instant> {
        let until = self.oldest_flight()? + self.deadline / PATIENCE;
        (until > now && (1..WORTH_A_MESSAGE).contains(&self.ready.names())).then_some(until)
    }

    /// What leaves now: names of one company, as many as a message may hold.
    pub(super) fn gather(&mut self, now: Instant) -> Option<(Vec<Hostname>, History)> {
        if self.gathers_until(now).is_some() {
            return None;
        }
        self.resting.retain(|_, until| *until > now);
        let answered = now + self.time_needed();
        let (company, queue) = self.ready.next_company(|company| !self.resting.contains_key(company))?;
        let most = if company == Company::Alone { 1 } else { self.pace.rrsets() };
        let mut names = Vec::new();
        let mut size = 0;
        // Who waits no longer than until then came before the silence ended.
        let through_silence = self.silent_until.map_or(now, |end| end + self.deadline);
        while let Some(name) = queue.front() {
            match self.waiting.get(name) {
                Some(entry) if entry.is_wanted_at(answered) => {
                    if size > 0 && size + entry.rrsets() > most {
                        break;
                    }
                    size += entry.rrsets();
                    names.extend(queue.pop_front());
                }
                Some(_) | None => {
                    if let Some(late) = queue.pop_front().and_then(|name| self.waiting.remove(&name)) {
                        let is_too_much = late.is_wanted_at(through_silence);
                        late.fail(if is_too_much { Trouble::Overloaded } else { Trouble::Silent });
                    }
                }
            }
        }
        self.ready.forget_empty();
        Some((names, History::new(company)))
    }

    /// Who has less time left than this is told at once that he comes too late: under more than the primary can do, all who
    /// are sent would else be those who waited longest, and most answers would find nobody. One slow answer is no proof, so what
    /// can leave alone leaves.
    fn time_needed(&self) -> Duration {
        match self.flights.len() {
            0 => Duration::ZERO,
            in_flight => self.pace.until_answered(in_flight).min(self.deadline / 2),
        }
    }

    /// The primary answered what was sent to it at `sent`; how long that took.
    pub(super) fn heard(&mut self, sent: Instant, now: Instant) -> Duration {
        let took = now.saturating_duration_since(sent);
        if took >= self.deadline / 2 {
            self.silent_until = Some(now);
        }
        took
    }
}
