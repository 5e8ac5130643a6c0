//! Processor time and memory of a process, from /proc.

use std::fs;

/// Ticks a second in /proc, the same on every architecture that servers run on.
const TICKS: f64 = 100.0;

/// utime and stime in seconds, the 14th and 15th field: see proc(5).
pub(crate) fn cpu_seconds(pid: Option<u32>) -> f64 {
    let stat = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok()).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default().split(' ');
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// `VmRSS`, the resident size now, or `VmHWM`, the most since the start; in MiB.
pub(crate) fn memory_mib(pid: Option<u32>, line: &str) -> f64 {
    let status = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok()).unwrap_or_default();
    let mut lines = status.lines();
    let found = lines.find_map(|found| found.strip_prefix(line)?.strip_prefix(':')?.trim().strip_suffix(" kB"));
    found.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
}
