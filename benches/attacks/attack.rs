//! The attacks, and what each of them brought.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use lab::load::quantile;
use tokio::time::Instant;

use crate::flood::{Ask, Attacker, Flood, reload, update};
use crate::others::Felt;
use crate::process::{cpu_seconds, memory_mib};
use crate::stage::{Chosen, INSIDER, Stage, ZONE};
use crate::table::everywhere;
use crate::{Failure, Options};

/// As the example file has them.
const SHIPPED: &str = "";
const OFF: &str = "host = \"off\"\naccount = \"off\"\nsource = \"off\"\nfailed_logins = \"off\"";
/// All neighbours come from one address here, thousands a minute.
const BUSY_SOURCE: &str = "source = { burst = 100000, per_minute = 100000 }";
const VICTIM: &str = "known0";

/// One attack.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    limits: String,
    chosen: Chosen,
    /// The one address that everybody shares.
    shared: Option<IpAddr>,
    clients: usize,
    /// Whether the admin listener is asked.
    admin: bool,
    /// Requests a second; as fast as they are answered where none is said.
    pace: Option<f64>,
    /// How many requests; until the time is over where none is said.
    count: Option<usize>,
    ask: fn(&str) -> Ask,
}

impl Attack {
    fn new(name: &'static str, ask: fn(&str) -> Ask) -> Self {
        let limits = SHIPPED.to_owned();
        let (chosen, clients) = (Chosen::People, 32);
        Self { name, limits, chosen, shared: None, clients, admin: false, pace: None, count: None, ask }
    }
}

/// All attacks, in the order of the table.
pub(crate) fn all(options: &Options) -> Vec<Attack> {
    let count = Some(options.sources);
    vec![
        Attack::new("forged sources of one /64", |_| guess_from(|n| network(64, n))),
        Attack::new("forged sources of one /56", |_| guess_from(|n| network(56, n))),
        Attack::new("forged sources of one /48", |_| guess_from(|n| network(48, n))),
        Attack {
            count,
            chosen: Chosen::Nobody,
            ..Attack::new("forged sources, each of a /48 of its own, no chosen password anywhere", |_| {
                guess_from(everywhere)
            })
        },
        Attack::new("wrong passwords on one login", |_| {
            Box::new(|n, request| {
                let address = ADDRESS.into();
                update(request, everywhere(short(n)), (VICTIM, &format!("guess{n}")), &host(VICTIM), address);
            })
        }),
        Attack {
            chosen: Chosen::Everybody,
            ..Attack::new("wrong passwords on many logins, all passwords chosen", |_| guess_from(everywhere))
        },
        Attack {
            chosen: Chosen::Everybody,
            limits: "source = \"off\"".to_owned(),
            ..Attack::new(
                "wrong passwords on many logins from one /48, all passwords chosen, no limit on sources",
                |_| guess_from(|n| network(48, n)),
            )
        },
        Attack {
            limits: BUSY_SOURCE.to_owned(),
            shared: Some(SHARED.into()),
            clients: 1,
            pace: Some(1000.0),
            ..Attack::new("a router with an old password at a shared address, 1 000 times a second", |_| {
                Box::new(|_, request| {
                    update(request, SHARED, (VICTIM, "the-old-password"), &host(VICTIM), ADDRESS.into());
                })
            })
        },
        Attack { clients: 4, ..Attack::new("the same address for ever", same) },
        Attack {
            clients: 4,
            limits: format!("{OFF}\nrepeats = {{ burst = 30, per_minute = 1 }}"),
            ..Attack::new("the same address for ever, only `repeats` on", same)
        },
        Attack { clients: 1, pace: Some(1.0), ..Attack::new("another address each second", another) },
        Attack { clients: 4, ..Attack::new("another address as fast as answered", another) },
        Attack { clients: 4, ..Attack::new("a bad name in every request", bad) },
        Attack {
            clients: 4,
            limits: OFF.to_owned(),
            ..Attack::new("a bad name in every request, all limits off", bad)
        },
        Attack {
            clients: 4,
            admin: true,
            ..Attack::new("reloads as fast as answered", |_| Box::new(|_, request| reload(request)))
        },
    ]
}

const ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 99);
const SHARED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

fn host(label: &str) -> String {
    format!("{label}.{ZONE}")
}

fn short(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Another address of one network of this width.
fn network(width: u32, number: u32) -> IpAddr {
    // An odd factor meets every value once before it meets one again.
    let suffix = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) & (u128::MAX >> width);
    Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) | suffix).into()
}

/// Another password for another login that nobody has, from another source.
fn guess_from(source: fn(u32) -> IpAddr) -> Ask {
    Box::new(move |n, request| {
        let credentials = (&*format!("nobody{n}"), &*format!("guess{n}"));
        update(request, source(short(n)), credentials, &host(VICTIM), ADDRESS.into());
    })
}

fn same(secret: &str) -> Ask {
    let secret = secret.to_owned();
    Box::new(move |_, request| update(request, SHARED, (INSIDER, &secret), &host(INSIDER), ADDRESS.into()))
}

fn another(secret: &str) -> Ask {
    let secret = secret.to_owned();
    Box::new(move |n, request| {
        let address = Ipv4Addr::from(0x1700_0000 + short(n));
        update(request, SHARED, (INSIDER, &secret), &host(INSIDER), address.into());
    })
}

/// Below a delegation, where the primary takes an UPDATE and never serves it.
fn bad(secret: &str) -> Ask {
    let secret = secret.to_owned();
    Box::new(move |n, request| {
        let address = Ipv4Addr::from(0x1700_0000 + short(n));
        update(request, SHARED, (INSIDER, &secret), &host(&format!("bad{}.sub", n % 50)), address.into());
    })
}

impl Attack {
    /// Its line of the table.
    pub(crate) async fn run(self, options: &Options) -> Result<String, Failure> {
        let stage = Stage::start(&self.limits, self.chosen, self.shared).await?;
        // Behind the shared address people log in for the first time while the attack goes on.
        stage.others.warm_up(self.shared.is_none()).await?;
        let pid = stage.gateway.pid();
        let mut calm = Felt::default();
        let (cpu, began) = (cpu_seconds(pid), Instant::now());
        if self.shared.is_none() {
            stage.others.go_on(options.seconds, &mut calm).await?;
        }
        let calm_cores = (cpu_seconds(pid) - cpu) / began.elapsed().as_secs_f64();

        let (names, limited) = (stage.names_sent().await?, stage.limited().await?);
        let memory = memory_mib(pid, "VmRSS");
        let flood = Flood::new((self.ask)(&stage.secret));
        let mut felt = Felt::default();
        let (cpu, began) = (cpu_seconds(pid), Instant::now());
        let most = self.count.unwrap_or(usize::MAX / 2);
        let target = if self.admin { stage.gateway.admin() } else { stage.gateway.http() };
        let attacker = Attacker::start(target, std::sync::Arc::clone(&flood), self.clients, self.pace, most);
        stage.others.go_on(options.seconds, &mut felt).await?;
        while self.count.is_some() && !attacker.is_done() {
            stage.others.go_on(options.seconds, &mut felt).await?;
        }
        let took = began.elapsed();
        let cores = (cpu_seconds(pid) - cpu) / took.as_secs_f64();
        attacker.stop()?;
        let by_others = felt.moving.len() + felt.known.min(if self.shared.is_some() { 20 } else { 0 });
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let names = (stage.names_sent().await? - names - by_others as f64).max(0.0);
        let met: Vec<_> = stage
            .limited()
            .await?
            .iter()
            .zip(limited)
            .filter(|(after, before)| after.1 > before.1)
            .map(|(after, before)| format!("{} {}", after.0, after.1 - before.1))
            .collect();
        let met =
            if met.is_empty() { "no limit was met".to_owned() } else { format!("limits met: {}", met.join(", ")) };
        let wrong = match felt.wrong.first() {
            Some(first) => format!("; **{} wrong answers, the first `{first}`**", felt.wrong.len()),
            None => String::new(),
        };
        Ok(format!(
            "| {} | {} in {:.0} s | {} ({met}) | {names} | {} | {} | {} | {} | {} of {} served{wrong} | {cores:.2} | {} | {memory:.0} → {:.0} |",
            self.name,
            flood.sent(),
            took.as_secs_f64(),
            flood.answers(),
            spread(&felt.quiet),
            spread(&calm.quiet),
            spread(&felt.moving),
            spread(&calm.moving),
            felt.known_served,
            felt.known,
            if self.shared.is_some() { "–".to_owned() } else { format!("{calm_cores:.2}") },
            memory_mib(pid, "VmHWM"),
        ))
    }
}

fn spread(latencies: &[Duration]) -> String {
    if latencies.is_empty() {
        return "–".to_owned();
    }
    let ms = |share| quantile(latencies, share).as_secs_f64() * 1000.0;
    format!("{:.2} / {:.2}", ms(0.5), ms(0.99))
}
