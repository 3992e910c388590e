//! The process's own numbers, by the names that Prometheus' client libraries give them; read at each scrape.
//!
//! What a reader would get wrong: nothing is read but `/proc/self`. A service may see no other part of `/proc`
//! (`ProcSubset=pid`), so the time of the start is not counted from the boot that `/proc/stat` tells.

use std::{fs, time::Duration};

use prometheus::{
    IntCounter, IntGauge, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use rustix::{
    param::{clock_ticks_per_second, page_size},
    time::{ClockId, clock_gettime},
};
use wskeeper_link::clock::Calendar;

/// What the kernel tells of this process.
#[derive(Debug)]
pub(super) struct Own {
    cpu: IntCounter,
    open_fds: IntGauge,
    max_fds: IntGauge,
    virtual_memory: IntGauge,
    resident_memory: IntGauge,
    start: IntGauge,
    threads: IntGauge,
}

impl Own {
    /// All at 0, but for the start.
    pub(super) fn new() -> prometheus::Result<Self> {
        let gauge = |name, help| IntGauge::with_opts(Opts::new(name, help));
        let own = Self {
            cpu: IntCounter::new("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.")?,
            open_fds: gauge("process_open_fds", "Number of open file descriptors.")?,
            max_fds: gauge("process_max_fds", "Maximum number of open file descriptors.")?,
            virtual_memory: gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.")?,
            resident_memory: gauge("process_resident_memory_bytes", "Resident memory size in bytes.")?,
            start: gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.")?,
            threads: gauge("process_threads", "Number of OS threads in the process.")?,
        };
        if let Some(start) = read().and_then(|stat| started_at(&stat)) {
            own.start.set(clamped(start));
        }
        Ok(own)
    }

    fn all(&self) -> [&dyn Collector; 7] {
        let Self { cpu, open_fds, max_fds, virtual_memory, resident_memory, start, threads } = self;
        [cpu, open_fds, max_fds, virtual_memory, resident_memory, start, threads]
    }
}

impl Collector for Own {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        if let Some(stat) = read() {
            // Another scrape may have counted it already.
            self.cpu.inc_by((stat.cpu_ticks / clock_ticks_per_second()).saturating_sub(self.cpu.get()));
            self.virtual_memory.set(clamped(stat.virtual_bytes));
            self.resident_memory.set(clamped(stat.resident_pages.saturating_mul(page_size() as u64)));
            self.threads.set(clamped(stat.threads));
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // One of them is the folder that is read here.
            self.open_fds.set(clamped(open.count().saturating_sub(1) as u64));
        }
        if let Ok((soft, _)) = rlimit::Resource::NOFILE.get() {
            self.max_fds.set(clamped(soft));
        }
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}

/// What is asked of `/proc/self/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    /// Since the boot.
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    /// `proc_pid_stat(5)`. The name of the program, the second field, may have blanks and parentheses in it.
    fn parse(text: &str) -> Option<Self> {
        let (_, behind_name) = text.rsplit_once(')')?;
        // The first of these is the third of all.
        let fields: Vec<&str> = behind_name.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)?.checked_add(field(15)?)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

fn read() -> Option<Stat> {
    Stat::parse(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// Seconds since 1970: as long before now as the start is before the machine's time since its boot.
fn started_at(stat: &Stat) -> Option<u64> {
    let uptime = Duration::try_from(clock_gettime(ClockId::Boottime)).ok()?;
    let age = uptime.saturating_sub(Duration::from_secs(stat.start_ticks / clock_ticks_per_second()));
    Some(Calendar::default().since_epoch().saturating_sub(age).as_secs())
}

fn clamped(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read_whatever_the_program_is_called() {
        let line =
            "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 250 150 0 0 20 0 7 0 123400 987654321 2048 1844674407 1 1";
        let stat =
            Stat { cpu_ticks: 400, threads: 7, start_ticks: 123_400, virtual_bytes: 987_654_321, resident_pages: 2048 };
        assert_eq!(Stat::parse(line), Some(stat));
    }

    #[test]
    fn a_line_that_is_cut_off_or_another_has_no_numbers() {
        let line = "42 (wskeeper) S 1 42 42 0 -1 4194560 100 0 0 0 250 150 0 0 20 0 7 0 123400 987654321 2048";
        assert!(Stat::parse(line).is_some());
        for words in 0..24 {
            let cut: Vec<&str> = line.split(' ').take(words).collect();
            assert_eq!(Stat::parse(&cut.join(" ")), None, "{words} words");
        }
        assert_eq!(Stat::parse("no process"), None);
    }

    #[test]
    fn the_numbers_are_those_of_this_process() {
        let own = Own::new().unwrap();
        let names: Vec<String> = own.collect().iter().map(|family| family.name().to_owned()).collect();
        assert_eq!(names.len(), 7);
        assert!(names.iter().all(|name| name.starts_with("process_")), "{names:?}");
        let now = clamped(Calendar::default().since_epoch().as_secs());
        assert!((now - 86_400..=now).contains(&own.start.get()), "{} is not today", own.start.get());
        assert!(own.threads.get() > 0 && own.max_fds.get() > 0);
        assert!(own.resident_memory.get() > 1 << 20 && own.virtual_memory.get() >= own.resident_memory.get());
        let held: Vec<fs::File> = (0..100).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        own.collect();
        assert!(own.open_fds.get() >= 100, "{} are open", own.open_fds.get());
        drop(held);
    }
}
