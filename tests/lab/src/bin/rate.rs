//! How many hosts a second: a storm through the built gateway, against one signed UPDATE for each host sent straight to
//! the same real primary.
//!
//! `cargo run --release -p lab --bin rate -- [bind|knot|powerdns-lmdb|powerdns-sqlite] [hosts=20000] [rounds=5]
//! [clients=64,1000] [log=warn|info]`

#![expect(clippy::print_stdout, reason = "it talks to a person")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{self, ExitCode};
use std::thread;

use lab::load::{one_update_each, read_back, storm};
use lab::{Gateway, Key, Kind, Server, Setup, digest, new_secret};
use tokio::time::Instant;

const ZONE: &str = "dyn.example";
const LOGIN: &str = "load";
const CONNECTIONS: usize = 4;
const IN_FLIGHT: usize = 64;
/// Ticks a second in /proc, the same on every architecture that servers run on.
const TICKS: f64 = 100.0;

// One thread: two cores are shared with the gateway and the primary, and wake-ups between threads are load as well.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match rate().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("The measurement failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn rate() -> Result<(), Box<dyn Error>> {
    let options = Options::read(std::env::args().skip(1))?;
    let mut bench = Bench::start(&options).await?;
    println!(
        "{}, {} hosts, {} rounds, DYNGATE_LOG={}, {} cores; gateway is process {}",
        options.kind,
        options.hosts,
        options.rounds,
        options.log,
        thread::available_parallelism()?,
        bench.gateway.pid().unwrap_or_default()
    );
    let warm_up = bench.round(&options).await?;
    let rates: Vec<_> = warm_up.iter().map(|sample| format!("{:.0}", sample.rate)).collect();
    println!("warm-up, new names: {} host/s", rates.join(", "));
    let mut rounds = vec![];
    for _ in 0..options.rounds {
        rounds.push(bench.round(&options).await?);
    }
    print(&options, &rounds);
    read_back(bench.primary.addr(), &bench.last).await?;
    println!("read back: all {} names hold their last address", bench.last.len());
    bench.gateway.stop().await?;
    bench.primary.stop().await?;
    Ok(())
}

/// What the command line says.
struct Options {
    kind: Kind,
    hosts: usize,
    rounds: usize,
    clients: Vec<usize>,
    log: String,
}

impl Options {
    fn read(arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options =
            Self { kind: Kind::Bind, hosts: 20_000, rounds: 5, clients: vec![64, 1000], log: "warn".to_owned() };
        for argument in arguments {
            match argument.split_once('=') {
                Some(("hosts", number)) => options.hosts = number.parse()?,
                Some(("rounds", number)) => options.rounds = number.parse()?,
                Some(("clients", numbers)) => {
                    options.clients = numbers.split(',').map(str::parse).collect::<Result<_, _>>()?;
                }
                Some(("log", filter)) => filter.clone_into(&mut options.log),
                _ => options.kind = kind(&argument)?,
            }
        }
        if options.hosts == 0 || options.rounds == 0 {
            return Err("hosts and rounds begin at 1".into());
        }
        Ok(options)
    }
}

fn kind(name: &str) -> Result<Kind, String> {
    match name {
        "bind" => Ok(Kind::Bind),
        "knot" => Ok(Kind::Knot),
        "powerdns-lmdb" => Ok(Kind::PowerDnsLmdb),
        "powerdns-sqlite" => Ok(Kind::PowerDnsSqlite),
        _ => Err(format!(
            "{name}? [bind|knot|powerdns-lmdb|powerdns-sqlite] [hosts=20000] [rounds=5] [clients=64,1000] [log=warn|info]"
        )),
    }
}

/// The two under measurement, and the last addresses they took.
struct Bench {
    key: Key,
    secret: String,
    primary: Server,
    gateway: Gateway,
    storms: u32,
    last: Vec<(String, IpAddr)>,
}

/// One storm, or one run of the baseline.
struct Sample {
    rate: f64,
    seconds: f64,
    messages: f64,
    cpu: Cpu,
}

impl Bench {
    async fn start(options: &Options) -> Result<Self, Box<dyn Error>> {
        let (key, secret) = (Key::generate("gateway-key"), new_secret());
        let primary = Server::start(options.kind, Setup::new().zone(ZONE).key(&key)).await?;
        let config = format!(
            "[http]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [limits]\nhost = \"off\"\naccount = \"off\"\nsource = \"off\"\nfailed_logins = \"off\"\n\
             {}[[zone]]\nname = \"{ZONE}\"\nprimaries = [\"{}\"]\nkey = \"{}\"\n\
             [[account]]\nlogin = \"{LOGIN}\"\nsecret = \"{}\"\nhosts = [\"*.{ZONE}\"]\nmax_hosts = {}\n",
            key.toml(),
            primary.addr(),
            key.name,
            digest(&secret),
            options.hosts
        );
        let gateway = Gateway::built()?.config(&config).env("DYNGATE_LOG", &options.log).start().await?;
        Ok(Self { key, secret, primary, gateway, storms: 0, last: vec![] })
    }

    /// The baseline and then each storm, with new addresses every time.
    async fn round(&mut self, options: &Options) -> Result<Vec<Sample>, Box<dyn Error>> {
        let mut samples = vec![];
        for clients in std::iter::once(None).chain(options.clients.iter().copied().map(Some)) {
            self.last = self.fresh(options.hosts)?;
            let (sent, cpu, began) = (self.sent().await?, self.cpu(), Instant::now());
            match clients {
                None => {
                    let addr = self.primary.addr();
                    one_update_each(addr, &self.key, ZONE, &self.last, CONNECTIONS, IN_FLIGHT).await?;
                }
                Some(clients) => {
                    let bodies = storm(self.gateway.http(), (LOGIN, &self.secret), &self.last, clients).await?;
                    self.judge(&bodies)?;
                }
            }
            let seconds = began.elapsed().as_secs_f64();
            let (cpu, messages) = (self.cpu().since(&cpu), self.sent().await? - sent);
            samples.push(Sample { rate: float(options.hosts) / seconds, seconds, messages, cpu });
        }
        Ok(samples)
    }

    /// An address for each host that it never had: primaries skip changes that change nothing.
    fn fresh(&mut self, hosts: usize) -> Result<Vec<(String, IpAddr)>, Box<dyn Error>> {
        let count = u32::try_from(hosts)?;
        let first = u32::from(Ipv4Addr::new(11, 0, 0, 0)) + self.storms * count;
        self.storms += 1;
        Ok((0..count).map(|n| (format!("h{n}.{ZONE}"), Ipv4Addr::from(first + n).into())).collect())
    }

    /// Every answer must be `good` with the host's own address.
    fn judge(&self, bodies: &[String]) -> Result<(), Box<dyn Error>> {
        let mut wrong = BTreeMap::new();
        for ((_, address), body) in self.last.iter().zip(bodies) {
            if body.strip_prefix("good ").and_then(|said| said.parse().ok()) != Some(*address) {
                *wrong.entry(body.as_str()).or_insert(0) += 1;
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(format!("answers {wrong:?}; {}", self.gateway.log()).into()) }
    }

    async fn sent(&self) -> Result<f64, lab::Error> {
        self.gateway.metric("dyngate_update_batch_hosts_count").await
    }

    fn cpu(&self) -> Cpu {
        let all = machine_seconds();
        let of = |pid: Option<u32>| pid.map_or(0.0, process_seconds);
        let (gateway, primary) = (of(self.gateway.pid()), of(self.primary.pid()));
        Cpu { gateway, primary, load: process_seconds(process::id()), all }
    }
}

/// Seconds of processor time.
struct Cpu {
    gateway: f64,
    primary: f64,
    load: f64,
    all: f64,
}

impl Cpu {
    fn since(&self, before: &Self) -> Self {
        Self {
            gateway: self.gateway - before.gateway,
            primary: self.primary - before.primary,
            load: self.load - before.load,
            all: self.all - before.all,
        }
    }

    /// What strangers on the machine took.
    fn others(&self) -> f64 {
        (self.all - self.gateway - self.primary - self.load).max(0.0)
    }
}

/// utime and stime, the 14th and 15th field: see proc(5).
fn process_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default().split(' ');
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// All but idle and iowait of all processors.
fn machine_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8).enumerate();
    let busy = ticks.filter(|(field, _)| !matches!(field, 3 | 4));
    busy.filter_map(|(_, ticks)| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS
}

fn print(options: &Options, rounds: &[Vec<Sample>]) {
    println!(
        "| row | host/s | × baseline | UPDATEs | hosts/UPDATE | CPU s: gateway | primary | load generator | others | load \
         generator's core |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    );
    let storms = options.clients.iter().map(|clients| format!("gateway, {clients} clients"));
    let names = std::iter::once(format!("one UPDATE each, {IN_FLIGHT} on {CONNECTIONS}")).chain(storms);
    for (row, name) in names.enumerate() {
        let of = |figure: &dyn Fn(&Sample) -> f64| Spread::of(rounds.iter().map(|round| figure(&round[row])));
        let ratio = Spread::of(rounds.iter().map(|round| round[row].rate / round[0].rate));
        let messages = of(&|sample| sample.messages).median;
        let batches = if row == 0 {
            "– | –".to_owned()
        } else {
            format!("{messages:.0} | {:.0}", float(options.hosts) / messages.max(1.0))
        };
        println!(
            "| {name} | {} | {} | {batches} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} % |",
            of(&|sample| sample.rate).show(0),
            ratio.show(2),
            of(&|sample| sample.cpu.gateway).median,
            of(&|sample| sample.cpu.primary).median,
            of(&|sample| sample.cpu.load).median,
            of(&|sample| sample.cpu.others()).median,
            of(&|sample| 100.0 * sample.cpu.load / sample.seconds).median,
        );
    }
}

/// Median, least and most.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut all: Vec<_> = figures.collect();
        all.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| all.get(index).copied().unwrap_or_default();
        let last = all.len().saturating_sub(1);
        Self { median: f64::midpoint(at(last / 2), at(last.div_ceil(2))), least: at(0), most: at(last) }
    }

    fn show(&self, digits: usize) -> String {
        format!("{:.digits$} ({:.digits$}–{:.digits$})", self.median, self.least, self.most)
    }
}

fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
