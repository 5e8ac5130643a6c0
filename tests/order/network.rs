//! A network that loses, delays, repeats and reorders answers, cuts connections before and after a message was applied,
//! falls silent, and lets a message of a connection that is long gone be applied late.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use dyngate::config;
use dyngate::dns::{ConnectError, Connecting, Network, Stream};
use hickory_proto::op::ResponseCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use crate::primary::{Asked, Primary};
use lab::Chance;

/// How likely each trouble is in one run, in percent for each message.
#[derive(Debug)]
struct Weather {
    cut: u64,
    stall: u64,
    lost: u64,
    late: u64,
    error: u64,
    twice: u64,
    false_answer: u64,
    refused: u64,
    // Of what a cut connection carried, how much is applied all the same.
    carried: u64,
}

const FAIR: Weather =
    Weather { cut: 0, stall: 0, lost: 0, late: 0, error: 0, twice: 0, false_answer: 0, refused: 0, carried: 0 };

/// The primaries, the weather, and what was seen.
pub struct World {
    pub chance: Chance,
    pub primary: Primary,
    weather: Weather,
    pub violations: Vec<String>,
    pub log: Vec<String>,
    pub messages: usize,
    /// Messages of connections that were gone when they were applied.
    pub late: usize,
    // Which gateway is running: what an earlier one had on its way is gone with it.
    epoch: watch::Sender<u64>,
    begin: Instant,
}

/// The network of one gateway.
#[derive(Clone)]
pub struct Simulated {
    world: Arc<Mutex<World>>,
    epoch: u64,
}

impl std::fmt::Debug for Simulated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Simulated")
    }
}

/// What becomes of a message.
enum Fate {
    Answered,
    AnsweredTwice,
    /// An unsigned NOERROR first, and nothing applied yet.
    FalseAnswer,
    /// Applied, and the answer is lost.
    Unanswered,
    /// Neither applied nor answered.
    Swallowed,
    Error {
        rcode: ResponseCode,
        applied: bool,
    },
    CutBefore,
    CutAfter,
    /// From now on the primary reads nothing of this connection.
    Stall,
}

impl Simulated {
    pub fn new(mut chance: Chance) -> Self {
        // Each run has a climate of its own: in many, several troubles never come.
        let mut climate = |most: u64| if chance.percent(50) { chance.below(most + 1) } else { 0 };
        let weather = Weather {
            cut: climate(25),
            stall: climate(8),
            lost: climate(10),
            late: climate(30),
            error: climate(15),
            twice: climate(20),
            false_answer: climate(10),
            refused: climate(40),
            carried: climate(100),
        };
        let primary = Primary::new();
        let begin = Instant::now();
        let (violations, log, epoch) = (Vec::new(), Vec::new(), watch::Sender::new(0));
        let world = World { chance, primary, weather, violations, log, messages: 0, late: 0, epoch, begin };
        Self { world: Arc::new(Mutex::new(world)), epoch: 0 }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// That of the next gateway: the one before is cut off for ever, with all that it had on its way.
    #[must_use]
    pub fn next(&self) -> Self {
        let epoch = self.epoch + 1;
        let mut world = self.world();
        world.epoch.send_replace(epoch);
        world.primary.gateway_ends();
        drop(world);
        Self { world: Arc::clone(&self.world), epoch }
    }

    fn is_over(&self) -> bool {
        self.world().epoch() != self.epoch
    }

    pub fn clear_up(&self) {
        self.world().weather = FAIR;
    }
}

impl World {
    pub fn note(&mut self, what: impl FnOnce() -> String) {
        let at = self.begin.elapsed();
        self.log.push(format!("{:9.3} {}", at.as_secs_f64(), what()));
    }

    /// How many gateways there were before this one.
    pub fn epoch(&self) -> u64 {
        *self.epoch.borrow()
    }

    fn fate(&mut self) -> Fate {
        let Weather { cut, stall, lost, error, twice, false_answer, .. } = self.weather;
        let chance = &mut self.chance;
        if chance.percent(cut) {
            if chance.percent(50) { Fate::CutBefore } else { Fate::CutAfter }
        } else if chance.percent(stall) {
            Fate::Stall
        } else if chance.percent(lost) {
            if chance.percent(80) { Fate::Unanswered } else { Fate::Swallowed }
        } else if chance.percent(error) {
            let rcode = [ResponseCode::ServFail, ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NotAuth];
            let rcode = rcode[chance.below(4) as usize];
            Fate::Error { rcode, applied: rcode == ResponseCode::ServFail && chance.percent(30) }
        } else if chance.percent(twice) {
            Fate::AnsweredTwice
        } else if chance.percent(false_answer) {
            Fate::FalseAnswer
        } else {
            Fate::Answered
        }
    }

    /// How long a step takes at the primary or on the way.
    fn pause(&mut self) -> Duration {
        let late = self.chance.percent(self.weather.late);
        self.chance.millis(if late { 2500 } else { 30 })
    }

    /// When a message of a lost connection is applied, if it is.
    fn late(&mut self) -> Option<Duration> {
        let reach = [100, 2_000, 20_000, 299_000][self.chance.below(4) as usize];
        let after = self.chance.millis(reach);
        self.chance.percent(self.weather.carried).then_some(after)
    }
}

impl Network for Simulated {
    fn connect(&self, primary: config::Primary, _source: Option<IpAddr>, limit: Duration) -> Connecting {
        let network = self.clone();
        Box::pin(async move {
            let (pause, refused, hangs) = {
                let mut world = network.world();
                let refused = world.weather.refused;
                (world.pause(), world.chance.percent(refused), world.chance.percent(30))
            };
            let address = ([192, 0, 2, 1], primary.port).into();
            let refused = refused || network.is_over();
            if refused && hangs {
                sleep(limit).await;
                return Err(ConnectError::Timeout(limit));
            }
            sleep(pause.min(limit)).await;
            if refused {
                return Err(ConnectError::Connect { address, source: io::ErrorKind::ConnectionRefused.into() });
            }
            let (ours, theirs) = duplex(256 * 1024);
            tokio::spawn(serve(network, theirs));
            let (read, write) = split(ours);
            Ok(Stream { read: Box::new(read), write: Box::new(write) })
        })
    }
}

/// One connection at the primary.
#[derive(Clone)]
struct Line {
    replies: mpsc::UnboundedSender<Vec<u8>>,
    gone: watch::Sender<bool>,
    stalled: watch::Sender<bool>,
    // Names in messages that are not answered yet.
    open: Arc<Mutex<BTreeSet<String>>>,
}

async fn serve(network: Simulated, stream: DuplexStream) {
    let (mut read, mut write) = split(stream);
    let (replies, mut queue) = mpsc::unbounded_channel::<Vec<u8>>();
    let line =
        Line { replies, gone: watch::Sender::new(false), stalled: watch::Sender::new(false), open: Arc::default() };
    let writing = async {
        while let Some(reply) = queue.recv().await {
            let length = u16::try_from(reply.len()).unwrap();
            let _cut = write.write_all(&[&length.to_be_bytes(), reply.as_slice()].concat()).await;
        }
    };
    let reading = async {
        while let Ok(octets) = frame(&mut read).await {
            let asked = network.receive(&line, &octets);
            tokio::spawn(network.clone().process(line.clone(), asked));
        }
    };
    let mut gone = line.gone.subscribe();
    let cut = async { drop(gone.wait_for(|gone| *gone).await) };
    let (mut epoch, ours) = (network.world().epoch.subscribe(), network.epoch);
    let over = async { drop(epoch.wait_for(|epoch| *epoch != ours).await) };
    tokio::select! {
        biased;
        () = over => {}
        () = cut => {}
        () = writing => {}
        () = reading => {}
    }
    line.gone.send_replace(true);
}

async fn frame(read: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = read.read_u16().await?;
    let mut octets = vec![0; usize::from(length)];
    read.read_exact(&mut octets).await?;
    Ok(octets)
}

impl Simulated {
    fn receive(&self, line: &Line, octets: &[u8]) -> Asked {
        let mut world = self.world();
        world.messages += 1;
        let asked = world.primary.read(octets);
        let mut open = line.open.lock().unwrap();
        for name in &asked.names {
            if !open.insert(name.clone()) {
                world.violations.push(format!("{name} is in two messages in flight"));
            }
        }
        asked
    }

    async fn process(self, line: Line, asked: Asked) {
        let (fate, before, after) = {
            let mut world = self.world();
            (world.fate(), world.pause(), world.pause())
        };
        if matches!(fate, Fate::Stall) {
            line.stalled.send_replace(true);
        }
        if matches!(fate, Fate::FalseAnswer) {
            let reply = self.world().primary.reply(&asked, ResponseCode::NoError, vec![], false);
            let _cut = line.replies.send(reply);
        }
        sleep(before).await;
        if self.is_over() {
            return;
        }
        if matches!(fate, Fate::CutBefore) {
            line.gone.send_replace(true);
        }
        if *line.gone.borrow() || *line.stalled.borrow() {
            let late = self.world().late();
            let Some(after) = late else { return };
            sleep(after).await;
            if self.is_over() {
                return;
            }
            let mut world = self.world();
            world.late += usize::from(!asked.names.is_empty());
            world.note(|| format!("applied late: {}", shown(&asked)));
            world.primary.carry_out_late(&asked);
            return;
        }
        let reply = {
            let mut world = self.world();
            let (rcode, records) = match fate {
                Fate::Swallowed => return,
                Fate::Error { rcode, applied } => {
                    if applied {
                        world.primary.carry_out(&asked);
                    }
                    (rcode, Vec::new())
                }
                _ => world.primary.carry_out(&asked),
            };
            world.note(|| format!("{rcode:?} for {}", shown(&asked)));
            world.primary.reply(&asked, rcode, records, true)
        };
        if matches!(fate, Fate::CutAfter) {
            line.gone.send_replace(true);
            return;
        }
        if matches!(fate, Fate::Unanswered) {
            return;
        }
        sleep(after).await;
        if *line.stalled.borrow() {
            return;
        }
        line.open.lock().unwrap().retain(|name| !asked.names.contains(name));
        let again = matches!(fate, Fate::AnsweredTwice).then(|| reply.clone());
        let _cut = line.replies.send(reply);
        if let Some(reply) = again {
            sleep(after).await;
            let _cut = line.replies.send(reply);
        }
    }
}

fn shown(asked: &Asked) -> String {
    let records = asked.message.authorities.iter();
    let changes: Vec<_> =
        records.map(|record| format!("{} {} {}", record.name, record.record_type(), record.data)).collect();
    format!("{} {:?} [{}]", asked.message.id, asked.message.op_code, changes.join(", "))
}
