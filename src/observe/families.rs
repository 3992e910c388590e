//! Every metric of wskeeper, by family, registered once in an injected registry.
//!
//! A series is looked up when its endpoint (or, with `per_link`, its link) is made, and held: no label look-up per message.
//! Without `per_link` all links of an endpoint share one set of handles, however many there are.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::Collector,
};

use super::{endpoint::EndpointMetrics, handles::LinkMetrics};
use wskeeper_core::clock;
use wskeeper_link::observer::StoreGauges;

const NAMESPACE: &str = "wskeeper";
/// 5 ms to 30 s: a dial, TLS included.
const CONNECT_BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// A second to a week: how long a connection lived.
const AGE_BUCKETS: &[f64] =
    &[1.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 7200.0, 21_600.0, 43_200.0, 86_400.0, 604_800.0];
/// 100 ms to ten minutes, the default probe of a parked link.
const DELAY_BUCKETS: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0];
/// Half a millisecond to ten seconds, the default heartbeat timeout.
const RTT_BUCKETS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// A millisecond to an hour: what a message waited in the outbox.
const WAIT_BUCKETS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 900.0, 3600.0];

/// The families, and the handles taken from them.
#[derive(Debug)]
pub struct Families {
    per_link: bool,
    pub(super) link: PerLink,
    pub(super) endpoint: PerEndpoint,
    daemon: Daemon,
    links: Mutex<BTreeMap<Key, Weak<LinkMetrics>>>,
    endpoints: Mutex<BTreeMap<Arc<str>, Weak<EndpointMetrics>>>,
}

/// Whose series: an endpoint's, or with `per_link` a link's.
pub(super) type Key = (Arc<str>, Option<u32>);

/// Families that get the label `link` with `per_link`.
#[derive(Debug)]
pub(super) struct PerLink {
    pub(super) links: IntGaugeVec,
    pub(super) connect_attempts: IntCounterVec,
    pub(super) connect_duration: HistogramVec,
    pub(super) closes: IntCounterVec,
    pub(super) connection_age: HistogramVec,
    pub(super) reconnect_delay: HistogramVec,
    pub(super) pings_sent: IntCounterVec,
    pub(super) ping_rtt: HistogramVec,
    pub(super) pongs_refused: IntCounterVec,
    pub(super) heartbeat_timeouts: IntCounterVec,
    pub(super) session_steps: IntCounterVec,
    pub(super) session_duration: HistogramVec,
    pub(super) keepalives: IntCounterVec,
    pub(super) messages: IntCounterVec,
    pub(super) message_bytes: IntCounterVec,
    pub(super) buffered_amount: IntGaugeVec,
    pub(super) outbox_limit_bytes: IntGaugeVec,
    pub(super) outbox_messages: IntGaugeVec,
    pub(super) outbox_limit_messages: IntGaugeVec,
    pub(super) outbox_wait: HistogramVec,
    pub(super) receipts: IntCounterVec,
    pub(super) messages_lost: IntCounterVec,
    pub(super) link_panics: IntCounterVec,
}

/// Families of what an endpoint has once, however many links it holds.
#[derive(Debug)]
pub(super) struct PerEndpoint {
    pub(super) outbox_refused: IntCounterVec,
    pub(super) inbox_cursor: IntGaugeVec,
    pub(super) inbox_unstored: IntGaugeVec,
    pub(super) inbox_refused: IntCounterVec,
    pub(super) consumers: IntGaugeVec,
    pub(super) consumer_gaps: IntCounterVec,
    pub(super) consumer_missed: IntCounterVec,
    pub(super) outbox_oldest_message_age: GaugeVec,
    pub(super) links_longest_not_ready: GaugeVec,
    pub(super) links_min_ready: IntGaugeVec,
    pub(super) certificate_not_after: IntGaugeVec,
}

/// Metrics of the process.
#[derive(Debug)]
struct Daemon {
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
    orphans_discarded: IntCounter,
    dead_letters: IntGauge,
    spans_exported: IntCounter,
    spans_dropped: IntCounter,
    api_connections: IntGauge,
    api_connections_limit: IntGauge,
    api_connections_refused: IntCounter,
    log_lines_dropped: IntCounter,
    /// What the counter beside it shows.
    log_lines_seen: AtomicU64,
}

impl Families {
    /// Registers every family, and the process's own numbers. Fails where a name is registered already.
    pub fn register(registry: &Registry, per_link: bool) -> prometheus::Result<Arc<Self>> {
        let link = Registrar { registry, base: if per_link { &["endpoint", "link"] } else { &["endpoint"] } };
        let endpoint = Registrar { registry, base: &["endpoint"] };
        let daemon = Registrar { registry, base: &[] };
        #[cfg(target_os = "linux")]
        registry.register(Box::new(super::own::Own::new()?))?;
        Ok(Arc::new(Self {
            per_link,
            link: PerLink::register(&link)?,
            endpoint: PerEndpoint::register(&endpoint)?,
            daemon: Daemon::register(&daemon)?,
            links: Mutex::default(),
            endpoints: Mutex::default(),
        }))
    }

    /// The handles of a link: its own with `per_link`, else those that all links of the endpoint share. Its series
    /// are removed when the last holder drops them.
    pub fn link(self: &Arc<Self>, endpoint: &Arc<str>, index: u32) -> Arc<LinkMetrics> {
        let key = (Arc::clone(endpoint), self.per_link.then_some(index));
        let mut held = self.links.lock();
        if let Some(handles) = held.get(&key).and_then(Weak::upgrade) {
            return handles;
        }
        let handles = Arc::new(LinkMetrics::new(self, key.clone()));
        held.insert(key, Arc::downgrade(&handles));
        handles
    }

    /// The handles of an endpoint. Its series are removed when the last holder drops them.
    pub fn endpoint(self: &Arc<Self>, name: &Arc<str>) -> Arc<EndpointMetrics> {
        let mut held = self.endpoints.lock();
        if let Some(handles) = held.get(name).and_then(Weak::upgrade) {
            return handles;
        }
        let handles = Arc::new(EndpointMetrics::new(self, Arc::clone(name)));
        held.insert(Arc::clone(name), Arc::downgrade(&handles));
        handles
    }

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

    /// Runs `give_back` if `handles` are still the ones in force for `key`; a newer set owns the series otherwise.
    pub(super) fn release_link(&self, key: &Key, handles: *const LinkMetrics, give_back: impl FnOnce()) {
        let mut held = self.links.lock();
        if held.get(key).is_some_and(|weak| std::ptr::eq(weak.as_ptr(), handles)) {
            held.remove(key);
            give_back();
        }
    }

    /// As [`Self::release_link`], for an endpoint.
    pub(super) fn release_endpoint(&self, name: &str, handles: *const EndpointMetrics, give_back: impl FnOnce()) {
        let mut held = self.endpoints.lock();
        if held.get(name).is_some_and(|weak| std::ptr::eq(weak.as_ptr(), handles)) {
            held.remove(name);
            give_back();
        }
    }
}

impl PerLink {
    #[rustfmt::skip]
    fn register(to: &Registrar<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            links: to.gauges("links", "Links by phase.", &["phase"])?,
            connect_attempts: to.counters("connect_attempts_total", "Attempts to connect, by result: ok or the class of the failure.", &["result"])?,
            connect_duration: to.histograms("connect_duration_seconds", "Time to a connection: DNS, TCP, TLS, upgrade; without the wait for admission.", CONNECT_BUCKETS)?,
            closes: to.counters("closes_total", "Connections that ended, by close code received, whether clean, and cause.", &["code", "clean", "cause"])?,
            connection_age: to.histograms("connection_age_seconds", "Age of connections at their end.", AGE_BUCKETS)?,
            reconnect_delay: to.histograms("reconnect_delay_seconds", "Delays drawn before attempts.", DELAY_BUCKETS)?,
            pings_sent: to.counters("pings_sent_total", "Pings sent.", &[])?,
            ping_rtt: to.histograms("ping_rtt_seconds", "Round-trip times of pings.", RTT_BUCKETS)?,
            pongs_refused: to.counters("pongs_refused_total", "Pongs without the payload of a ping that was out: no proof of anything.", &[])?,
            heartbeat_timeouts: to.counters("heartbeat_timeouts_total", "Connections given up because nothing was heard after a ping.", &[])?,
            session_steps: to.counters("session_steps_total", "Steps of sessions from OPEN to ready, and those that ended the connection.", &["result"])?,
            session_duration: to.histograms("session_duration_seconds", "Time from OPEN to ready, where there is a session.", CONNECT_BUCKETS)?,
            keepalives: to.counters("keepalives_total", "Answers that timers of sessions waited for, whether they came in time.", &["result"])?,
            messages: to.counters("messages_total", "Messages received from and written to peers.", &["direction", "type"])?,
            message_bytes: to.counters("message_bytes_total", "Application bytes received from and written to peers, without framing.", &["direction", "type"])?,
            buffered_amount: to.gauges("buffered_amount_bytes", "Application bytes accepted and not yet handed to the network.", &[])?,
            outbox_limit_bytes: to.gauges("outbox_limit_bytes", "Application bytes that the outboxes may hold.", &[])?,
            outbox_messages: to.gauges("outbox_messages", "Messages accepted and not yet handed to the network.", &[])?,
            outbox_limit_messages: to.gauges("outbox_limit_messages", "Messages that the outboxes may hold.", &[])?,
            outbox_wait: to.histograms("outbox_wait_seconds", "Time that written messages were held in the outbox.", WAIT_BUCKETS)?,
            receipts: to.counters("receipts_total", "Messages by outcome of their receipt; written ones count again when confirmed or unknown.", &["outcome"])?,
            messages_lost: to.counters("messages_lost_total", "Accepted messages that are not known to have been delivered, by reason.", &["reason"])?,
            link_panics: to.counters("link_panics_total", "Panics of link tasks.", &[])?,
        })
    }
}

impl PerEndpoint {
    #[rustfmt::skip]
    fn register(to: &Registrar<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            outbox_refused: to.counters("outbox_refused_total", "Messages refused, by reason; their senders were told.", &["reason"])?,
            inbox_cursor: to.gauges("inbox_cursor", "Cursor of the newest entry of the inbox.", &[])?,
            inbox_unstored: to.gauges("inbox_unstored_entries", "Entries of a durable inbox that are not on disk yet.", &[])?,
            inbox_refused: to.counters("inbox_store_refused_total", "Writes of a durable inbox that the store refused; it is kept in memory meanwhile.", &[])?,
            consumers: to.gauges("consumers", "Local consumers of the inbox.", &[])?,
            consumer_gaps: to.counters("consumer_gaps_total", "Gaps told to consumers that fell out of the retained window.", &[])?,
            consumer_missed: to.counters("consumer_missed_total", "Inbox entries that consumers missed in gaps.", &[])?,
            outbox_oldest_message_age: to.levels("outbox_oldest_message_age_seconds", "How long the oldest message has been queued; 0 where none is.")?,
            links_longest_not_ready: to.levels("links_longest_not_ready_seconds", "How long the link has not been ready that has not for the longest; 0 where all are, or are paused.")?,
            links_min_ready: to.gauges("links_min_ready", "Ready links that the endpoint needs: min_ready where it is critical, else 0.", &[])?,
            certificate_not_after: to.gauges("certificate_not_after_timestamp_seconds", "When the certificate expires that does first, of the peers or of the client, in seconds since 1970.", &["kind"])?,
        })
    }
}

impl Daemon {
    #[rustfmt::skip]
    fn register(to: &Registrar<'_>) -> prometheus::Result<Self> {
        let reloads = to.counters("config_reloads_total", "Configurations applied and refused, the first one included.", &["result"])?;
        to.gauges("build_info", "1, with the version that runs as a label.", &["version"])?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
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
            orphans_discarded: to.keep(IntCounter::with_opts(opts("orphans_discarded_total", "Stored messages without a link that an operator discarded."))?)?,
            spans_exported: to.counters("spans_exported_total", "Spans that the collector took.", &[])?.with_label_values::<&str>(&[]),
            spans_dropped: to.counters("spans_dropped_total", "Spans that found no room or did not reach the collector.", &[])?.with_label_values::<&str>(&[]),
            dead_letters: to.gauge("dead_letters", "Messages that their peers refused, kept for an operator.")?,
            api_connections: to.gauge("api_connections", "Local connections that hold a place.")?,
            api_connections_limit: to.gauge("api_connections_limit", "Local connections that may: api.max_connections.")?,
            api_connections_refused: to.keep(IntCounter::with_opts(opts("api_connections_refused_total", "Local connections that came when there was no place left."))?)?,
            log_lines_dropped: to.keep(IntCounter::with_opts(opts("log_lines_dropped_total", "Log lines dropped because the log was not read."))?)?,
            log_lines_seen: AtomicU64::new(0),
        })
    }
}

/// Makes families with some labels in common and registers them.
struct Registrar<'a> {
    registry: &'a Registry,
    base: &'static [&'static str],
}

impl Registrar<'_> {
    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.keep(IntCounterVec::new(opts(name, help), &[self.base, labels].concat())?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.keep(IntGaugeVec::new(opts(name, help), &[self.base, labels].concat())?)
    }

    fn levels(&self, name: &str, help: &str) -> prometheus::Result<GaugeVec> {
        self.keep(GaugeVec::new(opts(name, help), self.base)?)
    }

    fn histograms(&self, name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<HistogramVec> {
        let opts = HistogramOpts { common_opts: opts(name, help), buckets: buckets.to_vec() };
        self.keep(HistogramVec::new(opts, self.base)?)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.keep(IntGauge::with_opts(opts(name, help))?)
    }

    fn keep<M: Collector + Clone + 'static>(&self, metric: M) -> prometheus::Result<M> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(NAMESPACE)
}

/// A gauge's value; what does not fit is shown as the largest that does.
pub(super) fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
