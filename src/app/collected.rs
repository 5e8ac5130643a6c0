//! Metrics of this process, looked up when somebody asks for them.

use std::fmt::Error;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// What every Prometheus client tells of its process.
#[derive(Debug)]
pub(super) struct Process {
    started: f64,
}

impl Process {
    pub(super) fn new() -> Self {
        Self { started: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let cpu = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default().as_secs_f64();
        let help = "Seconds of processor time that the process has used";
        let counter = encoder.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), MetricType::Counter)?;
        ConstCounter::new(cpu).encode(counter)?;
        let mut gauge = |name, help, unit: Option<&Unit>, value: Option<f64>| {
            let Some(value) = value else { return Ok(()) };
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?)
        };
        let (start, bytes) = ("When the process was started, since the epoch", Some(&Unit::Bytes));
        gauge("process_start_time", start, Some(&Unit::Seconds), Some(self.started))?;
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kilobytes = |key: &str| -> Option<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next()?.parse::<f64>().ok().map(|kilobytes| kilobytes * 1024.0)
        };
        gauge("process_resident_memory", "Memory of the process in use", bytes, kilobytes("VmRSS:"))?;
        gauge("process_virtual_memory", "Addresses of the process in use", bytes, kilobytes("VmSize:"))?;
        // One of them is this look.
        let open = fs::read_dir("/proc/self/fd").map(|open| open.count().saturating_sub(1) as f64).ok();
        gauge("process_open_fds", "Open files and connections", None, open)?;
        let most = getrlimit(Resource::Nofile).current.map(|most| most as f64);
        gauge("process_max_fds", "How many files and connections may be open", None, most)
    }
}
