//! The daemon's own numbers: reloads, admission, the store, the API, spans. They are registered with the crate `prometheus`, as are the
//! process's own.
//!
//! What a reader would get wrong: some are pushed as things happen, the levels are set by whoever knows them just before a scrape.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus::{
    Encoder as _, Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
};

use super::families::Families;
use wskeeper_core::clock;
use wskeeper_link::observer::StoreGauges;

/// Numbers that there are once.
#[derive(Debug)]
pub(super) struct Daemon {
    registry: Registry,
    reloads_ok: IntCounter,
    reloads_failed: IntCounter,
    last_reload_success: Gauge,
    last_reload_successful: IntGauge,
    admission_waiting: IntGauge,
    payload_bytes: IntGauge,
    payload_limit_bytes: IntGauge,
    store_needed: IntGauge,
    store_up: IntGauge,
    store_bytes: IntGauge,
    store_limit_bytes: IntGauge,
    store_messages: IntGauge,
    store_inbox_bytes: IntGauge,
    store_orphans: IntGauge,
    endpoints: IntGaugeVec,
    endpoints_limit: IntGauge,
    endpoint_changes: IntCounterVec,
    orphans_discarded: IntCounter,
    dead_letters: IntGauge,
    spans_exported: IntCounter,
    spans_dropped: IntCounter,
    values_evaluated: IntCounterVec,
    api_connections: IntGauge,
    api_connections_limit: IntGauge,
    api_connections_refused: IntCounter,
    log_lines_dropped: IntCounter,
    /// What the counter beside it shows.
    log_lines_seen: AtomicU64,
}

impl Families {
    /// A configuration was applied; also called for the first one, at start.
    pub fn reload_succeeded(&self, at: SystemTime) {
        self.daemon.reloads_ok.inc();
        self.daemon.last_reload_successful.set(1);
        self.daemon.last_reload_success.set(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    }

    /// A configuration was refused; the one in force stays.
    pub fn reload_failed(&self) {
        self.daemon.reloads_failed.inc();
        self.daemon.last_reload_successful.set(0);
    }

    /// Whether the last configuration read was applied, and when the one in force was.
    pub fn last_reload(&self) -> (bool, SystemTime) {
        let applied = Duration::try_from_secs_f64(self.daemon.last_reload_success.get()).unwrap_or_default();
        (self.daemon.last_reload_successful.get() == 1, clock::since_epoch(applied))
    }

    /// Attempts that wait for admission now.
    pub fn admission_waiting(&self, attempts: usize) {
        self.daemon.admission_waiting.set(whole(attempts as u64));
    }

    /// Bytes that wait in the process, and `limits.memory`.
    pub fn payload(&self, held_bytes: u64, limit_bytes: u64) {
        self.daemon.payload_bytes.set(whole(held_bytes));
        self.daemon.payload_limit_bytes.set(whole(limit_bytes));
    }

    /// Local connections that hold a place, and `api.max_connections`.
    pub fn api_connections(&self, taken: u64, limit: u64) {
        self.daemon.api_connections.set(whole(taken));
        self.daemon.api_connections_limit.set(whole(limit));
    }

    /// A local connection came when there was no place left.
    pub fn api_refused(&self) {
        self.daemon.api_connections_refused.inc();
    }

    /// Log lines that were dropped since the start.
    pub fn log_lines_dropped(&self, total: u64) {
        let seen = self.daemon.log_lines_seen.fetch_max(total, Ordering::Relaxed);
        self.daemon.log_lines_dropped.inc_by(total.saturating_sub(seen));
    }

    /// An operator discarded stored messages whose link, and so whose own series, there is no more.
    pub fn orphans_discarded(&self, messages: u64) {
        self.daemon.orphans_discarded.inc_by(messages);
    }

    /// Spans that the collector took.
    pub fn spans_exported(&self, count: u64) {
        self.daemon.spans_exported.inc_by(count);
    }

    /// Spans that were lost on their way to it.
    pub fn spans_dropped(&self, count: u64) {
        self.daemon.spans_dropped.inc_by(count);
    }

    /// A value of this kind was made, or could not be.
    pub fn value_evaluated(&self, kind: &str, is_made: bool) {
        let result = if is_made { "ok" } else { "failed" };
        self.daemon.values_evaluated.with_label_values(&[kind, result]).inc();
    }

    /// Endpoints of the file, and those that came by the API: in memory only, and on disk; and how many there may be.
    pub fn endpoints(&self, [file, memory, disk]: [usize; 3], limit: usize) {
        for (source, count) in [("file", file), ("memory", memory), ("disk", disk)] {
            self.daemon.endpoints.with_label_values(&[source]).set(whole(count as u64));
        }
        self.daemon.endpoints_limit.set(whole(limit as u64));
    }

    /// An endpoint was put by the API, or refused.
    pub fn endpoint_put(&self, is_done: bool) {
        self.endpoint_changed("put", is_done);
    }

    /// An endpoint was removed by the API, or was not.
    pub fn endpoint_removed(&self, is_done: bool) {
        self.endpoint_changed("remove", is_done);
    }

    fn endpoint_changed(&self, change: &str, is_done: bool) {
        let result = if is_done { "ok" } else { "refused" };
        self.daemon.endpoint_changes.with_label_values(&[change, result]).inc();
    }

    /// The store of durable outboxes, and the dead letters.
    pub fn store(&self, store: StoreGauges, dead_letters: usize) {
        let StoreGauges { needed, up, bytes, limit_bytes, messages, inbox_bytes, orphans } = store;
        self.daemon.store_needed.set(i64::from(needed));
        self.daemon.store_up.set(i64::from(up));
        self.daemon.store_bytes.set(whole(bytes));
        self.daemon.store_limit_bytes.set(whole(limit_bytes));
        self.daemon.store_messages.set(whole(messages));
        self.daemon.store_inbox_bytes.set(whole(inbox_bytes));
        self.daemon.store_orphans.set(whole(orphans));
        self.daemon.dead_letters.set(whole(dead_letters as u64));
    }
}

impl Daemon {
    #[rustfmt::skip]
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        #[cfg(target_os = "linux")]
        registry.register(Box::new(super::own::Own::new()?))?;
        let to = Registrar(registry);
        let reloads = to.keep(IntCounterVec::new(opts("config_reloads_total", "Configurations applied and refused, the first one included."), &["result"])?)?;
        to.keep(IntGaugeVec::new(opts("build_info", "1, with the version that runs as a label."), &["version"])?)?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        let endpoints = to.keep(IntGaugeVec::new(opts("endpoints", "Endpoints, by where they are from."), &["source"])?)?;
        for source in ["file", "memory", "disk"] {
            endpoints.with_label_values(&[source]).set(0);
        }
        let endpoint_changes = to.keep(IntCounterVec::new(opts("endpoint_changes_total", "Endpoints that were put or removed by the API, or refused."), &["change", "result"])?)?;
        for change in ["put", "remove"] {
            for result in ["ok", "refused"] {
                drop(endpoint_changes.with_label_values(&[change, result]));
            }
        }
        Ok(Self {
            reloads_ok: reloads.with_label_values(&["ok"]),
            reloads_failed: reloads.with_label_values(&["error"]),
            last_reload_success: to.keep(Gauge::with_opts(opts("config_last_reload_success_timestamp_seconds", "When a configuration was last applied, in seconds since 1970."))?)?,
            last_reload_successful: to.gauge("config_last_reload_successful", "Whether the last configuration read was applied.")?,
            admission_waiting: to.gauge("admission_waiting", "Attempts that wait for admission.")?,
            payload_bytes: to.gauge("payload_bytes", "Bytes that wait in the process: messages, inbox history, what arrives and what has not left.")?,
            payload_limit_bytes: to.gauge("payload_limit_bytes", "Bytes that may: limits.memory.")?,
            store_needed: to.gauge("store_needed", "1 if an endpoint needs the store of durable outboxes, or there is one already.")?,
            store_up: to.gauge("store_up", "1 if the store of durable outboxes takes messages; 0 if not, or if none is needed.")?,
            store_bytes: to.gauge("store_bytes", "Bytes of the store's file that hold something.")?,
            store_limit_bytes: to.gauge("store_limit_bytes", "What the store's file may grow to: storage.max_bytes.")?,
            store_messages: to.gauge("store_messages", "Messages in the store that have not ended.")?,
            store_inbox_bytes: to.gauge("store_inbox_bytes", "Bytes of durable inboxes in the store's file.")?,
            store_orphans: to.gauge("store_orphans", "Stored messages whose link is not in the configuration.")?,
            orphans_discarded: to.counter("orphans_discarded_total", "Stored messages without a link that an operator discarded.")?,
            spans_exported: to.counter("spans_exported_total", "Spans that the collector took.")?,
            spans_dropped: to.counter("spans_dropped_total", "Spans that found no room or did not reach the collector.")?,
            values_evaluated: to.keep(IntCounterVec::new(opts("values_evaluated_total", "Values that were made for sessions and attempts."), &["kind", "result"])?)?,
            endpoints,
            endpoints_limit: to.gauge("endpoints_limit", "Endpoints that there may be: limits.endpoints.")?,
            endpoint_changes,
            dead_letters: to.gauge("dead_letters", "Messages that their peers refused, kept for an operator.")?,
            api_connections: to.gauge("api_connections", "Local connections that hold a place.")?,
            api_connections_limit: to.gauge("api_connections_limit", "Local connections that may: api.max_connections.")?,
            api_connections_refused: to.counter("api_connections_refused_total", "Local connections that came when there was no place left.")?,
            log_lines_dropped: to.counter("log_lines_dropped_total", "Log lines dropped because the log was not read.")?,
            log_lines_seen: AtomicU64::new(0),
            registry: registry.clone(),
        })
    }

    /// The names of what the registry has.
    pub(super) fn names(&self) -> Vec<String> {
        self.registry.gather().iter().map(|family| family.name().to_owned()).collect()
    }

    /// What the registry has, as text. A family that cannot be written is left out and logged: one broken metric must not hide the others.
    pub(super) fn render(&self) -> String {
        let encoder = TextEncoder::new();
        let mut text = Vec::new();
        for family in self.registry.gather() {
            let before = text.len();
            let name = family.name().to_owned();
            if let Err(error) = encoder.encode(&[family], &mut text) {
                text.truncate(before);
                tracing::error!(metric = %name, %error, "metric left out");
            }
        }
        String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

/// Registers what it makes.
struct Registrar<'a>(&'a Registry);

impl Registrar<'_> {
    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.keep(IntCounter::with_opts(opts(name, help))?)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.keep(IntGauge::with_opts(opts(name, help))?)
    }

    fn keep<M: Collector + Clone + 'static>(&self, metric: M) -> prometheus::Result<M> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("wskeeper")
}

/// A gauge's value; what does not fit is shown as the largest that does.
pub(super) fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
