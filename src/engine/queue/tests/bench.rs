//! A lane, and a model of the primary behind it.

use super::*;

/// How long a caller waits: to the end of each test.
const LASTS: Duration = Duration::from_secs(3600);

/// A lane, the zone of a primary behind it, and the answers that the callers got.
pub(super) struct Bench {
    pub(super) lane: Lane,
    pub(super) memory: Arc<Memory>,
    pub(super) now: Instant,
    pub(super) zone: BTreeMap<String, Addresses>,
    pub(super) callers: Vec<(Wish, oneshot::Receiver<Answer>)>,
    pub(super) messages: usize,
}

impl Bench {
    pub(super) fn new() -> Self {
        let memory = Arc::new(Memory::new(Duration::from_secs(60), 1000));
        Self {
            lane: Lane::new(DEADLINE, 1, Arc::clone(&memory)),
            memory,
            now: Instant::now(),
            zone: BTreeMap::new(),
            callers: Vec::new(),
            messages: 0,
        }
    }

    pub(super) fn submit(&mut self, wish: Wish) {
        self.submit_until(wish, self.now + LASTS);
    }

    pub(super) fn submit_until(&mut self, wish: Wish, until: Instant) {
        self.hand(wish, until, false);
    }

    pub(super) fn submit_errand(&mut self, wish: Wish) {
        self.hand(wish, self.now + LASTS, true);
    }

    fn hand(&mut self, wish: Wish, until: Instant, is_errand: bool) {
        let (answer, answered) = oneshot::channel();
        self.lane.submit(Waiter { wish: wish.clone(), until, is_errand, answer, late: None }, self.now);
        self.callers.push((wish, answered));
    }

    pub(super) fn set(&mut self, name: &str, address: &str) {
        self.submit(test_wish(&format!("{name}.dyn.example"), address));
    }

    pub(super) fn change(&mut self, name: &str, records: Records) {
        let wish = test_wish(&format!("{name}.dyn.example"), "192.0.2.1");
        self.submit(Wish { records, ..wish });
    }

    /// Puts one name into each message that may be in flight, as if all had left now.
    pub(super) fn fill_window(&mut self) {
        let now = self.now;
        for n in 0..WINDOW {
            self.set(&format!("w{n}"), "192.0.2.1");
            self.lane.depart(self.now).expect("the window has room");
            self.now += DEADLINE / PATIENCE;
        }
        self.now = now;
        self.lane.flights.values_mut().for_each(|flight| flight.sent = now);
    }

    pub(super) fn held(&self, name: &str) -> Addresses {
        self.zone.get(&format!("{name}.dyn.example")).copied().unwrap_or_default()
    }

    /// The error that `rule` gives for a name of `flight`, as a primary would: no guard fails where there is none.
    pub(super) fn error(&self, flight: FlightId, rule: &dyn Fn(&str) -> Option<Failure>) -> Option<Failure> {
        let writes = self.lane.writes(flight);
        let of = |write: &RrsetWrite<'_>| {
            rule(write.name.as_str()).filter(|failure| failure.rcode != Rcode::YXRRSET || write.is_guarded())
        };
        if self.lane.names(flight) == 0 { None } else { writes.iter().find_map(of) }
    }

    /// Changes the zone as `flight` says.
    pub(super) fn apply(&mut self, flight: FlightId) {
        for write in self.lane.writes(flight) {
            let held = self.zone.entry(write.name.to_string()).or_default();
            *held = after(write.records, *held);
        }
    }

    /// Answers `flight` as a primary would, to which `rule` gives the error for a name.
    pub(super) fn answer(&mut self, flight: FlightId, rule: &dyn Fn(&str) -> Option<Failure>) {
        self.messages += 1;
        match self.error(flight, rule) {
            None => {
                if self.lane.names(flight) > 0 {
                    self.apply(flight);
                }
                self.lane.acknowledged(flight, self.now).unwrap();
            }
            Some(failure) => {
                let ended = self.lane.failed(flight, failure, self.now).unwrap();
                if let Next::Probe(probe) = ended.next {
                    self.answer(probe, rule);
                }
            }
        }
    }

    pub(super) fn run(&mut self, rule: &dyn Fn(&str) -> Option<Failure>) {
        for _ in 0..10_000 {
            match self.lane.depart(self.now) {
                Some(flight) => self.answer(flight, rule),
                None if self.lane.pending() == 0 => return,
                None => self.now += REST,
            }
        }
        panic!("the lane does not come to an end");
    }

    pub(super) fn answers(&mut self) -> Vec<Answer> {
        self.callers.iter_mut().map(|(_, answered)| answered.try_recv().expect("every caller is answered")).collect()
    }
}

/// What a name holds after a change, family by family: the reference.
pub(super) fn after(records: Records, held: Addresses) -> Addresses {
    fn one<A>(change: Change<A>, held: Option<A>) -> Option<A> {
        match change {
            Change::Leave => held,
            Change::Remove => None,
            Change::Set(address) => Some(address),
        }
    }
    Addresses { v4: one(records.v4, held.v4), v6: one(records.v6, held.v6) }
}
