//! Processor time of the gateways, the primary, the store's server and the load generator, from /proc, and which of them was
//! the limit.

use std::collections::HashMap;
use std::{fs, process, thread};

use tokio::time::Instant;

/// Ticks a second in /proc, the same on every architecture that servers run on.
const TICKS: f64 = 100.0;
/// A thread, or a machine, that is busy for this share of the time can hardly do more.
const FULL: f64 = 0.85;

/// Processor time of one process between two moments.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    pub(crate) seconds: f64,
    /// Of its busiest thread.
    busiest: f64,
}

/// Processor time between two moments.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cpu {
    /// Of the clock.
    pub(crate) seconds: f64,
    /// Of all gateways.
    pub(crate) gateway: Used,
    pub(crate) primary: Used,
    /// Of the store's server; a thread of it is a process.
    pub(crate) store: Used,
    pub(crate) load: Used,
    all: f64,
}

impl Cpu {
    /// What strangers on the machine took.
    pub(crate) fn others(&self) -> f64 {
        let Self { gateway, primary, store, load, .. } = self;
        (self.all - gateway.seconds - primary.seconds - store.seconds - load.seconds).max(0.0)
    }
}

/// Looks at the processes from now on.
pub(crate) struct Watch {
    began: Instant,
    gateways: Vec<u32>,
    primary: Option<u32>,
    store: Option<u32>,
    before: [Times; 4],
    all: f64,
}

impl Watch {
    /// One gateway without a store, or with one that is no process.
    pub(crate) fn start(gateway: Option<u32>, primary: Option<u32>) -> Self {
        Self::of(gateway.into_iter().collect(), primary, None)
    }

    /// The load generator is this process.
    pub(crate) fn of(gateways: Vec<u32>, primary: Option<u32>, store: Option<u32>) -> Self {
        let before = Self::times(&gateways, primary, store);
        Self { began: Instant::now(), gateways, primary, store, before, all: machine_seconds() }
    }

    fn times(gateways: &[u32], primary: Option<u32>, store: Option<u32>) -> [Times; 4] {
        [Times::of(gateways), Times::of(primary.as_slice()), Times::of_family(store), Times::of(&[process::id()])]
    }

    /// What was used since the start.
    pub(crate) fn stop(&self) -> Cpu {
        let seconds = self.began.elapsed().as_secs_f64();
        let now = Self::times(&self.gateways, self.primary, self.store);
        let used = |party: usize| now[party].since(&self.before[party]);
        let [gateway, primary, store, load] = [0, 1, 2, 3].map(used);
        Cpu { seconds, gateway, primary, store, load, all: machine_seconds() - self.all }
    }
}

/// The share of the machine that strangers took, over all rounds of a row.
pub(crate) fn strangers<'a>(rounds: impl Iterator<Item = &'a Cpu>) -> f64 {
    let cores = thread::available_parallelism().map_or(1.0, |cores| crate::row::float(cores.get()));
    let sum = |(taken, clock), cpu: &Cpu| (taken + cpu.others(), clock + cpu.seconds * cores);
    let (taken, clock) = rounds.fold((0.0, 0.0), sum);
    if clock > 0.0 { taken / clock } else { 0.0 }
}

/// Who was the limit, over all rounds of a row: a process whose busiest thread fills a core, else the machine, else nobody's
/// processor time.
pub(crate) fn limit<'a>(rounds: impl Iterator<Item = &'a Cpu>) -> String {
    let cores = thread::available_parallelism().map_or(1.0, |cores| crate::row::float(cores.get()));
    let (mut clock, mut busy, mut others) = (0.0, 0.0, 0.0);
    let mut parties = ["gateway", "primary", "store", "load generator"].map(|party| (party, Used::default()));
    for cpu in rounds {
        clock += cpu.seconds;
        busy += cpu.all;
        others += cpu.others();
        for ((_, sum), used) in parties.iter_mut().zip([cpu.gateway, cpu.primary, cpu.store, cpu.load]) {
            sum.seconds += used.seconds;
            sum.busiest += used.busiest;
        }
    }
    if clock <= 0.0 {
        return "–".to_owned();
    }
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let busiest = parties.iter().max_by(|(_, a), (_, b)| a.busiest.total_cmp(&b.busiest));
    let most = parties.iter().max_by(|(_, a), (_, b)| a.seconds.total_cmp(&b.seconds));
    let strangers = if others > 0.1 * clock * cores {
        format!("; strangers took {} of the machine", percent(others / clock / cores))
    } else {
        String::new()
    };
    match (busiest, most) {
        (Some((who, used)), _) if used.busiest / clock >= FULL => {
            format!("{who}: a thread at {}{strangers}", percent(used.busiest / clock))
        }
        (_, Some((who, used))) if busy / clock / cores >= FULL => {
            format!(
                "the cores ({}), most of it {who} ({}){strangers}",
                percent(busy / clock / cores),
                percent(used.seconds / busy)
            )
        }
        (_, Some((who, used))) => {
            format!("waiting; busiest: {who}, {} of a core{strangers}", percent(used.seconds / clock))
        }
        _ => "–".to_owned(),
    }
}

/// Processor time of processes and of each of their threads, in seconds since their start.
#[derive(Default)]
struct Times {
    process: f64,
    threads: HashMap<String, f64>,
}

impl Times {
    fn of(pids: &[u32]) -> Self {
        let tasks = pids.iter().flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task"))).flatten().flatten();
        let threads = tasks.map(|task| {
            let name = task.file_name().to_string_lossy().into_owned();
            (name, stat_seconds(&task.path().join("stat").to_string_lossy(), OWN))
        });
        let process = pids.iter().map(|pid| stat_seconds(&format!("/proc/{pid}/stat"), OWN)).sum();
        Self { process, threads: threads.collect() }
    }

    /// Of a process and its children; those that have ended are part of its own record.
    fn of_family(pid: Option<u32>) -> Self {
        let Some(pid) = pid else { return Self::default() };
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let children: Vec<u32> = children.split_whitespace().filter_map(|child| child.parse().ok()).collect();
        let mut all = Self::of(&children);
        all.process += stat_seconds(&format!("/proc/{pid}/stat"), OWN_AND_REAPED);
        all
    }

    fn since(&self, before: &Self) -> Used {
        let of = |(name, now): (&String, &f64)| now - before.threads.get(name).copied().unwrap_or_default();
        let busiest = self.threads.iter().map(of).fold(0.0, f64::max);
        Used { seconds: (self.process - before.process).max(0.0), busiest }
    }
}

/// utime and stime, the 14th and 15th field: see proc(5).
const OWN: usize = 2;
/// And cutime and cstime behind them.
const OWN_AND_REAPED: usize = 4;

fn stat_seconds(file: &str, fields: usize) -> f64 {
    let stat = fs::read_to_string(file).unwrap_or_default();
    let all = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default().split(' ');
    all.skip(11).take(fields).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// All but idle and iowait of all processors.
fn machine_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8).enumerate();
    let busy = ticks.filter(|(field, _)| !matches!(field, 3 | 4));
    busy.filter_map(|(_, ticks)| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// A line of /proc/PID/status in MiB: `VmRSS` is the resident size now, `VmHWM` the most since the start.
pub(crate) fn memory_mib(pid: Option<u32>, line: &str) -> f64 {
    let status = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok()).unwrap_or_default();
    let found =
        status.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':')?.trim().strip_suffix(" kB"));
    found.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
}
