//! Metrics of the process, from Linux, under the names of Prometheus' client libraries. There are none on other systems.

use std::{fmt, fs};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

/// In how many parts Linux divides a second of CPU time in /proc (`USER_HZ`), on every platform that we are built for.
const TICKS: f64 = 100.0;

/// Looks at every scrape.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let file = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).ok();
        if let Some(seconds) = file("stat").as_deref().and_then(cpu_seconds) {
            let metric = ConstCounter::new(seconds);
            tell(&mut encoder, "process_cpu_seconds", "Seconds of CPU time", &metric)?;
        }
        if let Some(bytes) = file("status").as_deref().and_then(resident_bytes) {
            let metric = ConstGauge::new(bytes);
            tell(&mut encoder, "process_resident_memory_bytes", "Resident memory", &metric)?;
        }
        if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
            let metric = ConstGauge::new(super::level(descriptors.count()));
            tell(&mut encoder, "process_open_fds", "Open file descriptors", &metric)?;
        }
        Ok(())
    }
}

fn tell(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> Result<(), fmt::Error> {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

/// Time in user and kernel mode, from the text of `/proc/PID/stat` (`proc_pid_stat(5)`).
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field is the program's name in parentheses, which may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let mut seconds = || times.next()?.parse::<f64>().ok().map(|ticks| ticks / TICKS);
    Some(seconds()? + seconds()?)
}

/// The resident set, from the text of `/proc/PID/status` (`proc_pid_status(5)`).
fn resident_bytes(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_linux_are_read() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 9 9 20 0 1 0 24 313 390";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("7 (a) S 1 7"), None);
        assert_eq!(resident_bytes("Name:\ta\nVmRSS:\t    2088 kB\n"), Some(2_138_112));
        assert_eq!(resident_bytes("Name:\ta\n"), None);
    }
}
