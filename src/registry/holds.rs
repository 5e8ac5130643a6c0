//! Which gateway may go by what it remembers of a host, where several share a store: the one that claimed it last.
//!
//! A gateway claims a name before it asks the primary about it or changes it, and again once the change is acknowledged:
//! whoever verified the name in between no longer holds it. What is wished for a name is taken with the claim, so that no
//! gateway runs a wish while another changes its name. Many names travel in one statement.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::model::{Families, Hostname, Timestamp};
use crate::store::{Claimed, InHand, Standing, Store, StoreError};

/// Names in one statement.
const BATCH: usize = 500;
/// Names that wait for a statement.
const MOST_WAITING: usize = 20_000;
/// How long a statement may take before the store counts as away.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks and claims, for one gateway.
#[derive(Debug)]
pub(super) struct Holds {
    me: String,
    lease: Lease,
    questions: mpsc::Sender<Waiting>,
    claims: mpsc::Sender<Waiting>,
}

/// How long what is taken is ours, in milliseconds.
#[derive(Debug, Clone)]
struct Lease(Arc<AtomicU64>);

impl Lease {
    fn end(&self) -> Timestamp {
        Timestamp::now().plus(Duration::from_millis(self.0.load(Ordering::Relaxed)))
    }
}

/// A name with its families, and who waits to hear how it stands with us.
type Waiting = ((Hostname, Families), oneshot::Sender<Said>);

/// What the store says of a name.
#[derive(Debug, Clone, Copy, Default)]
struct Said {
    is_ours: bool,
    was_ours: bool,
    wish: Option<Standing>,
}

/// A name that was to be claimed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Claim {
    /// Whether it was; not where the store is away.
    pub is_made: bool,
    /// Whether we claimed it last before, so that what we remember of it counts; not where the store does not say.
    pub was_ours: bool,
    /// The wish that stands for it.
    pub wish: Option<Standing>,
}

impl Holds {
    /// Starts the two tasks; they end with the last handle. What is taken is ours for `least` or longer.
    pub(super) fn start(store: &Store, least: Duration) -> Self {
        let me = name_of_process();
        let lease = Lease(Arc::default());
        let in_batches = |statement| in_batches(store.clone(), me.clone(), statement);
        let (questions, claims) = (in_batches(Statement::Ask), in_batches(Statement::Claim(lease.clone())));
        let holds = Self { me, lease, questions, claims };
        holds.lengthen(least);
        holds
    }

    /// What is taken from now on is ours for `least` or longer. Never for less than before: requests that began under another
    /// deadline may still claim.
    pub(super) fn lengthen(&self, least: Duration) {
        self.lease.0.fetch_max(u64::try_from(least.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When a claim of this moment ends.
    pub(super) fn claims_end(&self) -> Timestamp {
        self.lease.end()
    }

    /// What we are called in the store.
    pub(super) fn me(&self) -> &str {
        &self.me
    }

    /// Whether we claimed `name` last; no where the store does not say.
    pub(super) async fn is_ours(&self, name: &Hostname) -> bool {
        ask(&self.questions, name, Families::Both).await.is_ours
    }

    /// Claims these families of `name`, and takes what is wished for it. Where the store is away nobody goes by what he
    /// remembers, so that nothing is lost but time.
    pub(super) async fn claim(&self, name: &Hostname, families: Families) -> Claim {
        let Said { is_ours, was_ours, wish } = ask(&self.claims, name, families).await;
        Claim { is_made: is_ours, was_ours, wish }
    }

    /// Takes what is wished for `names`, but what another gateway has in hand.
    pub(super) async fn claim_wishes(&self, store: &Store, names: &[Hostname]) -> Result<InHand, StoreError> {
        store.claim_wishes(names, &self.me, self.lease.end()).await
    }
}

async fn ask(queue: &mpsc::Sender<Waiting>, name: &Hostname, families: Families) -> Said {
    let (answer, answered) = oneshot::channel();
    match queue.try_send(((name.clone(), families), answer)) {
        Ok(()) => answered.await.unwrap_or_default(),
        Err(_) => Said::default(),
    }
}

enum Statement {
    Ask,
    Claim(Lease),
}

impl Statement {
    /// How it stands with each of `names`.
    async fn run(&self, store: &Store, me: &str, asked: &[(Hostname, Families)]) -> Result<Vec<Said>, StoreError> {
        let names = asked.iter().map(|(name, _)| name);
        match self {
            Self::Ask => {
                let holders = store.holders(&names.clone().cloned().collect::<Vec<_>>()).await?;
                let is_ours = |name| holders.get(name).is_some_and(|holder| holder.name == me);
                Ok(names.map(|name| Said { is_ours: is_ours(name), ..Said::default() }).collect())
            }
            Self::Claim(lease) => {
                let Claimed { wishes, taken } = store.claim(asked, me, lease.end()).await?;
                let said =
                    |name| Said { is_ours: true, was_ours: !taken.contains(name), wish: wishes.get(name).copied() };
                Ok(names.map(said).collect())
            }
        }
    }
}

/// A queue whose names are handled together: those that come while a statement runs are in the next one.
fn in_batches(store: Store, me: String, statement: Statement) -> mpsc::Sender<Waiting> {
    let (sender, mut queue) = mpsc::channel::<Waiting>(MOST_WAITING);
    tokio::spawn(async move {
        let mut waiting = Vec::with_capacity(BATCH);
        while queue.recv_many(&mut waiting, BATCH).await > 0 {
            let (names, answers): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
            let run = || timeout(PATIENCE, statement.run(&store, &me, &names));
            let held = match run().await {
                // A connection that rested for a moment had died, or two transactions were in each other's way.
                Ok(Err(_)) => run().await,
                held => held,
            };
            let held = held.ok().and_then(Result::ok).unwrap_or_default();
            for (number, answer) in answers.into_iter().enumerate() {
                let _asker_gone = answer.send(held.get(number).copied().unwrap_or_default());
            }
        }
    });
    sender
}

/// Another one after each start: what an earlier process remembered is gone.
fn name_of_process() -> String {
    let mut octets = [0; 12];
    let _zeros_are_only_claimed_more_often = SystemRandom::new().fill(&mut octets);
    URL_SAFE_NO_PAD.encode(octets)
}
