//! A zone queue, and a model of the primary behind it.

use super::*;

/// How long a caller waits: to the end of each test.
const LASTS: Duration = Duration::from_secs(3600);

/// What a name holds.
pub(super) type Held = BTreeMap<RrType, RrData>;

/// A zone queue, the zone of a primary behind it, and the answers that the callers got.
pub(super) struct Bench {
    pub(super) queue: ZoneQueue,
    pub(super) cache: Arc<VerifiedCache>,
    pub(super) now: Instant,
    pub(super) zone: BTreeMap<String, Held>,
    pub(super) callers: Vec<(Change, oneshot::Receiver<Answer>)>,
    pub(super) messages: usize,
    pub(super) reads: usize,
}

impl Bench {
    pub(super) fn new() -> Self {
        let cache = Arc::new(VerifiedCache::new(Duration::from_secs(60), 1000));
        Self {
            queue: ZoneQueue::new(DEADLINE, 1, Arc::clone(&cache)),
            cache,
            now: Instant::now(),
            zone: BTreeMap::new(),
            callers: Vec::new(),
            messages: 0,
            reads: 0,
        }
    }

    pub(super) fn submit(&mut self, change: Change) {
        self.submit_until(change, self.now + LASTS);
    }

    pub(super) fn submit_until(&mut self, change: Change, until: Instant) {
        let (answer, answered) = oneshot::channel();
        let waiter = Waiter { records: change.records.clone(), until, answer, late: None };
        let under_way = self.cache.begin(&change.name);
        self.queue.submit(&change, Some(waiter), None, under_way, self.now);
        self.callers.push((change, answered));
    }

    /// Hands over a change for which nobody waits.
    pub(super) fn park(&mut self, change: &Change, row: Option<Timestamp>) {
        let under_way = self.cache.begin(&change.name);
        self.queue.submit(change, None, row, under_way, self.now);
    }

    /// The same, which is authorised at once.
    pub(super) fn submit_background(&mut self, change: &Change) {
        self.park(change, None);
        let of_name = self.parked().into_iter().filter(|parked| parked.key.name == change.name);
        let verdicts = of_name.map(|parked| (parked, RELEASE)).collect();
        self.queue.settle(verdicts, self.now);
    }

    pub(super) fn set(&mut self, name: &str, address: &str) {
        self.submit(test_change(&format!("{name}.dyn.example"), address));
    }

    pub(super) fn change(&mut self, name: &str, records: &DesiredRecords) {
        self.submit(change_to(&format!("{name}.dyn.example"), records));
    }

    pub(super) fn parked(&self) -> Vec<Parked> {
        self.queue.parked(None, usize::MAX, self.now)
    }

    /// Does the same with everything that is parked.
    pub(super) fn settle_all(&mut self, verdict: Verdict) {
        let verdicts = self.parked().into_iter().map(|parked| (parked, verdict)).collect();
        self.queue.settle(verdicts, self.now);
    }

    pub(super) fn compare(&self, change: &Change) -> Compared {
        self.cache.compare(&change.name, &change.records, self.now)
    }

    /// The callers' ends are dropped: none of them waits any longer.
    pub(super) fn callers_go(&mut self) {
        self.callers.clear();
    }

    /// Puts one name into each message that may be in flight, as if all had left now.
    pub(super) fn fill_window(&mut self) {
        let now = self.now;
        for n in 0..WINDOW {
            self.set(&format!("w{n}"), "192.0.2.1");
            self.queue.depart(self.now).expect("the window has room");
            self.now += DEADLINE / WAIT_SHARE;
        }
        self.now = now;
        self.queue.flights.values_mut().for_each(|flight| flight.sent = now);
    }

    /// Answers everything that is in flight.
    pub(super) fn answer_all(&mut self, rule: &dyn Fn(&str) -> Option<Failure>) {
        let flights: Vec<_> = self.queue.flights.keys().copied().collect();
        flights.into_iter().for_each(|flight| self.answer(flight, rule));
    }

    pub(super) fn held(&self, name: &str) -> Held {
        self.zone.get(&format!("{name}.dyn.example")).cloned().unwrap_or_default()
    }

    /// The error that `rule` gives for a name of `flight`, as a primary would: no guard fails where there is none.
    pub(super) fn error(&self, flight: FlightId, rule: &dyn Fn(&str) -> Option<Failure>) -> Option<Failure> {
        let updates = self.queue.updates(flight);
        let of = |update: &RrsetUpdate<'_>| {
            rule(update.name.as_str()).filter(|failure| failure.rcode != Rcode::YXRRSET || update.is_guarded())
        };
        if self.queue.names(flight) == 0 { None } else { updates.iter().find_map(of) }
    }

    /// Changes the zone as `flight` says.
    pub(super) fn apply(&mut self, flight: FlightId) {
        for RrsetUpdate { name, rtype, desired } in self.queue.updates(flight) {
            put(self.zone.entry(name.to_string()).or_default(), rtype, desired);
        }
    }

    /// Answers `flight` as a primary would, to which `rule` gives the error for a name.
    pub(super) fn answer(&mut self, flight: FlightId, rule: &dyn Fn(&str) -> Option<Failure>) {
        self.messages += 1;
        match self.error(flight, rule) {
            None => {
                if self.queue.names(flight) > 0 {
                    self.apply(flight);
                }
                self.queue.acknowledged(flight, self.now).unwrap();
                self.read_back();
            }
            Some(failure) => {
                let ended = self.queue.failed(flight, failure, self.now).unwrap();
                if let Next::Probe(probe) = ended.next {
                    self.answer(probe, rule);
                }
            }
        }
    }

    /// Reads back what is to be; the primary serves it.
    pub(super) fn read_back(&mut self) {
        while let Some(ToProve { name, .. }) = self.queue.next_to_prove() {
            self.reads += 1;
            self.queue.read_back(&name, Ok(()), self.now);
        }
    }

    pub(super) fn run(&mut self, rule: &dyn Fn(&str) -> Option<Failure>) {
        for _ in 0..10_000 {
            match self.queue.depart(self.now) {
                Some(flight) => self.answer(flight, rule),
                None if self.queue.pending() == 0 => return,
                None => {
                    self.queue.sweep(self.now);
                    self.now += REST;
                }
            }
        }
        panic!("the queue does not come to an end");
    }

    /// The answers of those that have not heard yet.
    pub(super) fn answers_left(&mut self) -> Vec<Answer> {
        self.callers.iter_mut().filter_map(|(_, answered)| answered.try_recv().ok()).collect()
    }

    pub(super) fn answers(&mut self) -> Vec<Answer> {
        self.callers.iter_mut().map(|(_, answered)| answered.try_recv().expect("every caller is answered")).collect()
    }
}

pub(super) const RELEASE: Verdict = Verdict::Release { ttl: 60 };

pub(super) fn change_to(name: &str, records: &DesiredRecords) -> Change {
    Change { records: records.clone(), ..test_change(name, "192.0.2.1") }
}

/// The same change, worth doing for so long.
pub(super) fn kept(keep: Keep, change: Change) -> Change {
    Change { origin: test_origin(keep), ..change }
}

/// What sets these addresses, separated by commas.
pub(super) fn set(addresses: &str) -> DesiredRecords {
    let set = |text: &str| {
        let data = RrData::from(text.parse::<IpAddr>().unwrap());
        (data.rtype(), Desired::Set { data, ttl: 60 })
    };
    addresses.split(',').map(set).collect()
}

pub(super) fn removed() -> DesiredRecords {
    DesiredRecords::absent(RrType::OF_ADDRESSES)
}

pub(super) fn without(rtype: RrType) -> DesiredRecords {
    DesiredRecords::absent([rtype])
}

/// Both; of one type the second counts.
pub(super) fn and(one: &DesiredRecords, other: &DesiredRecords) -> DesiredRecords {
    one.iter().chain(other.iter()).map(|(rtype, desired)| (rtype, desired.clone())).collect()
}

/// What a name holds that has these addresses alone.
pub(super) fn holding(addresses: &str) -> Held {
    after(&set(addresses), Held::new())
}

/// What a name holds after a change, type by type: the reference.
pub(super) fn after(records: &DesiredRecords, mut held: Held) -> Held {
    records.iter().for_each(|(rtype, desired)| put(&mut held, rtype, desired));
    held
}

pub(super) fn put(held: &mut Held, rtype: RrType, desired: &Desired) {
    match desired.data() {
        Some(data) => drop(held.insert(rtype, data.clone())),
        None => drop(held.remove(&rtype)),
    }
}
