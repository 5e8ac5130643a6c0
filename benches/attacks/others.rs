//! The others: routers that say what they said before, routers with new addresses, and people at new places.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use lab::load::{Exchange, Plan, Ran, exchange};

use crate::Failure;
use crate::flood::update;
use crate::stage::ZONE;

/// How many of each kind there are, and how often one of them comes, a second: all below the limits as shipped.
pub(crate) const QUIET: (usize, f64) = (300, 150.0);
pub(crate) const MOVING: (usize, f64) = (300, 30.0);
pub(crate) const KNOWN: (usize, f64) = (20, 20.0);

/// What they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Quiet,
    Moving,
    Known,
}

/// All others; each router has a source of its own, each person a new one each time, unless all share one.
#[derive(Debug)]
pub(crate) struct Others {
    pub(crate) gateway: SocketAddr,
    pub(crate) routers_secret: String,
    pub(crate) peoples_secret: String,
    pub(crate) shared: Option<IpAddr>,
    /// Addresses and places that nobody had before.
    pub(crate) fresh: AtomicU32,
    /// Requests of each kind so far.
    pub(crate) turns: [AtomicUsize; 3],
}

/// What they felt.
#[derive(Debug, Default)]
pub(crate) struct Felt {
    pub(crate) quiet: Vec<Duration>,
    pub(crate) moving: Vec<Duration>,
    pub(crate) known: usize,
    pub(crate) known_served: usize,
    /// Answers that should have been others, of all three kinds.
    pub(crate) wrong: Vec<String>,
}

impl Felt {
    fn add(&mut self, [quiet, moving, known]: [Ran; 3]) {
        self.known += known.latencies.len();
        self.known_served += known.latencies.len() - known.wrong.len();
        self.wrong.extend([&quiet, &moving, &known].iter().flat_map(|ran| ran.wrong.iter().map(|it| it.1.clone())));
        self.quiet.extend(quiet.latencies);
        self.moving.extend(moving.latencies);
        self.quiet.sort_unstable();
        self.moving.sort_unstable();
    }
}

/// One kind for a while.
struct Part {
    others: Arc<Others>,
    kind: Kind,
    of: usize,
    turn: usize,
    first: u32,
}

impl Others {
    /// Each router comes once; people only where `people` says so.
    pub(crate) async fn warm_up(self: &Arc<Self>, people: bool) -> Result<(), Failure> {
        for (kind, (of, _)) in [(Kind::Quiet, QUIET), (Kind::Moving, MOVING), (Kind::Known, KNOWN)] {
            if kind != Kind::Known || people {
                // Twice: the first answer is `good` where the second is `nochg`, and a busy machine may say `911` once.
                for _ in 0..2 {
                    let ran = exchange(self.gateway, &self.part(kind, of, of), Plan::new(of, 8)).await?;
                    if let Some((_, wrong)) =
                        ran.wrong.iter().find(|(_, answer)| !answer.starts_with("good") && answer != "911")
                    {
                        return Err(format!("before the attack: {wrong}").into());
                    }
                }
            }
        }
        Ok(())
    }

    /// All of them for so many seconds, evenly.
    pub(crate) async fn go_on(self: &Arc<Self>, seconds: u32, felt: &mut Felt) -> Result<(), Failure> {
        let run = async |kind, (of, pace): (usize, f64)| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand")]
            let count = (pace * f64::from(seconds)) as usize;
            exchange(self.gateway, &self.part(kind, of, count), Plan { pace: Some(pace), ..Plan::new(count, 16) }).await
        };
        let (quiet, moving, known) =
            tokio::join!(run(Kind::Quiet, QUIET), run(Kind::Moving, MOVING), run(Kind::Known, KNOWN));
        felt.add([quiet?, moving?, known?]);
        Ok(())
    }

    fn part(self: &Arc<Self>, kind: Kind, of: usize, count: usize) -> Arc<Part> {
        // Each goes on where the last part of its kind ended, so that all come equally often.
        let turn = self.turns[kind as usize].fetch_add(count, Ordering::Relaxed);
        let first = self.fresh.fetch_add(1_000_000, Ordering::Relaxed);
        Arc::new(Part { others: Arc::clone(self), kind, of, turn, first })
    }
}

impl Part {
    fn fresh(&self, index: usize) -> u32 {
        self.first.wrapping_add(u32::try_from(index).unwrap_or_default())
    }

    fn address(&self, index: usize) -> IpAddr {
        match self.kind {
            Kind::Quiet | Kind::Known => Ipv4Addr::new(203, 0, 113, 7).into(),
            Kind::Moving => Ipv4Addr::from(0x0b00_0000 + self.fresh(index)).into(),
        }
    }
}

impl Exchange for Part {
    fn ask(&self, index: usize, request: &mut Vec<u8>) {
        let number = (self.turn + index) % self.of;
        let low = u16::try_from(number).unwrap_or_default().to_be_bytes();
        let (name, source, secret): (_, IpAddr, _) = match self.kind {
            Kind::Quiet => ("quiet", Ipv4Addr::new(192, 0, low[0], low[1]).into(), &self.others.routers_secret),
            Kind::Moving => ("moving", Ipv4Addr::new(192, 1, low[0], low[1]).into(), &self.others.routers_secret),
            Kind::Known => {
                let place = (0x2a00_u128 << 112) | (u128::from(self.fresh(index)) << 80);
                ("known", Ipv6Addr::from_bits(place).into(), &self.others.peoples_secret)
            }
        };
        let login = format!("{name}{number}");
        let host = format!("{login}.{ZONE}");
        update(request, self.others.shared.unwrap_or(source), (&login, secret), &host, self.address(index));
    }

    fn judge(&self, index: usize, _: u16, body: &[u8]) -> Result<(), String> {
        let word = match self.kind {
            Kind::Quiet | Kind::Known => "nochg",
            Kind::Moving => "good",
        };
        let body = String::from_utf8_lossy(body);
        // A person's first answer may be `good`.
        let first = self.kind == Kind::Known && body == format!("good {}", self.address(index));
        if first || body == format!("{word} {}", self.address(index)) { Ok(()) } else { Err(body.into_owned()) }
    }
}
