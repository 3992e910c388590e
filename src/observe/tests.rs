//! What is counted and what is logged, told by events as the pool tells them.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use prometheus::Registry;

use super::*;
use wskeeper_core::{
    close::{Cause, Closed},
    event::{Certificates, DialFailure, Established, Event, LinkId, Steps, Timings},
    message::{Kind, MessageId},
    outbox::{Ended, Refusal, Sent},
    phase::{Phase, Reason},
    receipt::{EndReason, State},
};
use wskeeper_link::observer::{EndpointGauges, EndpointObserver as _, LinkObserver as _, Refused, Requested};

mod lines;
mod reference;

#[test]
fn the_phase_gauge_follows_a_link_from_its_making_to_its_end() {
    let world = World::new(false);
    world.handles.link_added(Phase::Waiting);
    assert_eq!(world.value("wskeeper_links{endpoint=\"trades\",phase=\"waiting\"}"), "1");
    world.tell(&phase(Phase::Waiting, Phase::Connecting));
    assert_eq!(world.value("wskeeper_links{endpoint=\"trades\",phase=\"waiting\"}"), "0");
    assert_eq!(world.value("wskeeper_links{endpoint=\"trades\",phase=\"connecting\"}"), "1");
    world.handles.link_removed(Phase::Connecting);
    assert_eq!(world.value("wskeeper_links{endpoint=\"trades\",phase=\"connecting\"}"), "0");
}

#[test]
fn every_known_label_value_is_there_from_the_start_at_zero() {
    let text = World::new(false).text();
    for cause in Cause::ALL.into_iter().filter(|cause| cause.is_failure()) {
        assert!(text.contains(&format!("wskeeper_connect_attempts_total{{endpoint=\"trades\",result=\"{cause}\"}} 0")));
    }
    for outcome in ["written", "confirmed", "unknown", "expired", "dropped", "dead"] {
        assert!(text.contains(&format!("wskeeper_receipts_total{{endpoint=\"trades\",outcome=\"{outcome}\"}} 0")));
    }
    for end_reason in EndReason::ALL {
        let reason = end_reason.as_str();
        assert!(text.contains(&format!("wskeeper_messages_lost_total{{endpoint=\"trades\",reason=\"{reason}\"}} 0")));
    }
}

#[test]
fn links_of_an_endpoint_share_one_set_of_handles() {
    let world = World::new(false);
    assert!(Arc::ptr_eq(&world.handles, &world.families.link(&world.id.endpoint, 9_999)));
}

#[test]
fn with_per_link_each_link_has_series_of_its_own() {
    let world = World::new(true);
    let other = world.families.link(&world.id.endpoint, 1);
    other.buffered(7, 1);
    assert_eq!(world.value("wskeeper_buffered_amount_bytes{endpoint=\"trades\",link=\"0\"}"), "0");
    assert_eq!(world.value("wskeeper_buffered_amount_bytes{endpoint=\"trades\",link=\"1\"}"), "7");
}

#[test]
fn a_dropped_endpoint_leaves_no_series_behind() {
    let World { families, handles, endpoint, id } = World::new(false);
    handles.tell(&id, &closed(4321, false, Cause::Remote));
    drop(handles);
    drop(endpoint);
    assert!(!families.render().contains("trades"));
}

#[test]
fn an_endpoint_that_comes_back_is_not_hurt_by_the_end_of_its_former_handles() {
    let world = World::new(false);
    let name = Arc::clone(&world.id.endpoint);
    // Not the handles in force.
    world.families.release_link(&(Arc::clone(&name), None), std::ptr::null());
    world.families.release_endpoint(&name, std::ptr::null());
    let text = world.text();
    assert!(text.contains("wskeeper_links{") && text.contains("wskeeper_consumers{"), "{text}");
}

#[test]
fn closes_are_counted_by_code_cleanness_and_cause_in_a_bounded_number_of_series() {
    let world = World::new(false);
    world.tell(&closed(1006, false, Cause::Reset));
    assert_eq!(
        world.value("wskeeper_closes_total{cause=\"reset\",clean=\"false\",code=\"1006\",endpoint=\"trades\"}"),
        "1"
    );
    for code in 3000..5000 {
        world.tell(&closed(code, true, Cause::Remote));
    }
    world.tell(&closed(65_535, true, Cause::Remote));
    let text = world.text();
    assert_eq!(text.lines().filter(|line| line.starts_with("wskeeper_closes_total{")).count(), 6 + 32 + 1);
    let other = "wskeeper_closes_total{cause=\"remote\",clean=\"true\",code=\"other\",endpoint=\"trades\"}";
    assert_eq!(world.value(other), (2000 - 32 + 1).to_string());
}

#[test]
fn attempts_are_counted_once_by_their_result() {
    let world = World::new(false);
    for cause in [Cause::Tls, Cause::Tls, Cause::Operator] {
        world.tell(&dial_failed(cause));
    }
    world.tell(&opened());
    for (result, count) in [("ok", "1"), ("tls", "2"), ("abandoned", "1"), ("dns", "0")] {
        let series = format!("wskeeper_connect_attempts_total{{endpoint=\"trades\",result=\"{result}\"}}");
        assert_eq!(world.value(&series), count, "{result}");
    }
    assert_eq!(world.value("wskeeper_connect_duration_seconds_count{endpoint=\"trades\"}"), "1");
}

#[test]
fn messages_and_their_bytes_are_counted_by_direction_and_type() {
    let world = World::new(false);
    world.receive("grüße");
    world.tell(&Event::Written(vec![Sent {
        kind: Kind::Binary,
        messages: 1,
        bytes: 3,
        waited: Duration::from_millis(20),
    }]));
    for (direction, kind, messages, bytes) in
        [("in", "text", "1", "7"), ("in", "binary", "0", "0"), ("out", "binary", "1", "3"), ("out", "text", "0", "0")]
    {
        let labels = format!("direction=\"{direction}\",endpoint=\"trades\",type=\"{kind}\"");
        assert_eq!(world.value(&format!("wskeeper_messages_total{{{labels}}}")), messages);
        assert_eq!(world.value(&format!("wskeeper_message_bytes_total{{{labels}}}")), bytes);
    }
    assert_eq!(world.value("wskeeper_outbox_wait_seconds_sum{endpoint=\"trades\"}"), "0.02");
}

#[test]
fn receipts_count_each_outcome_and_losses_their_reason() {
    let world = World::new(false);
    for (state, end_reason) in [
        (State::Queued, None),
        (State::Written, None),
        (State::Confirmed, None),
        (State::Written, None),
        (State::Unknown, Some(EndReason::LinkLost)),
        (State::Expired, Some(EndReason::Ttl)),
        (State::Dropped, Some(EndReason::Evicted)),
    ] {
        world.settle(state, end_reason);
    }
    for (outcome, count) in
        [("written", "2"), ("confirmed", "1"), ("unknown", "1"), ("expired", "1"), ("dropped", "1"), ("dead", "0")]
    {
        let series = format!("wskeeper_receipts_total{{endpoint=\"trades\",outcome=\"{outcome}\"}}");
        assert_eq!(world.value(&series), count, "{outcome}");
    }
    for (reason, count) in [("link_lost", "1"), ("ttl", "1"), ("evicted", "1"), ("overflow", "0")] {
        let series = format!("wskeeper_messages_lost_total{{endpoint=\"trades\",reason=\"{reason}\"}}");
        assert_eq!(world.value(&series), count, "{reason}");
    }
    assert!(!world.text().contains("outcome=\"queued\""));
}

#[test]
fn heartbeats_pings_delays_and_panics_are_counted() {
    let world = World::new(false);
    world.tell(&Event::PingSent);
    world.tell(&Event::Pong { rtt: Duration::from_millis(3) });
    world.tell(&Event::HeartbeatTimeout { silent: Duration::from_secs(30) });
    world.tell(&Event::Panicked { count: 1 });
    world.tell(&phase(Phase::Ready, Phase::Waiting));
    for name in ["pings_sent_total", "heartbeat_timeouts_total", "link_panics_total", "ping_rtt_seconds_count"] {
        assert_eq!(world.value(&format!("wskeeper_{name}{{endpoint=\"trades\"}}")), "1", "{name}");
    }
    assert_eq!(world.value("wskeeper_reconnect_delay_seconds_sum{endpoint=\"trades\"}"), "1.5");
}

#[test]
fn levels_stand_beside_their_limits() {
    let world = World::new(false);
    world.handles.buffered(100, 2);
    world.handles.buffered(-40, -1);
    world.handles.outbox_limits(8 << 20, 1000);
    for (name, value) in [
        ("buffered_amount_bytes", "60"),
        ("outbox_messages", "1"),
        ("outbox_limit_bytes", "8388608"),
        ("outbox_limit_messages", "1000"),
    ] {
        assert_eq!(world.value(&format!("wskeeper_{name}{{endpoint=\"trades\"}}")), value, "{name}");
    }
    world.families.payload(5, 256 << 20);
    assert_eq!(world.value("wskeeper_payload_bytes"), "5");
    assert_eq!(world.value("wskeeper_payload_limit_bytes"), "268435456");
}

#[test]
fn refusals_consumers_and_gaps_belong_to_the_endpoint_also_with_per_link() {
    let world = World::new(true);
    world.endpoint.refused(Refused::Outbox(Refusal::Full));
    world.endpoint.refused(Refused::Outbox(Refusal::Wait));
    world.endpoint.refused(Refused::Memory);
    world.endpoint.show(EndpointGauges {
        inbox_cursor: 1_700_000_000_000_123,
        consumers: 2,
        unstored: 3,
        ..EndpointGauges::default()
    });
    world.endpoint.inbox_refused();
    world.endpoint.variables_refused();
    world.endpoint.gap(Some(40));
    world.endpoint.gap(None);
    for (series, value) in [
        ("outbox_refused_total{endpoint=\"trades\",reason=\"full\"}", "2"),
        ("outbox_refused_total{endpoint=\"trades\",reason=\"memory\"}", "1"),
        ("inbox_cursor{endpoint=\"trades\"}", "1700000000000123"),
        ("inbox_unstored_entries{endpoint=\"trades\"}", "3"),
        ("inbox_store_refused_total{endpoint=\"trades\"}", "1"),
        ("session_variables_refused_total{endpoint=\"trades\"}", "1"),
        ("consumers{endpoint=\"trades\"}", "2"),
        ("consumer_gaps_total{endpoint=\"trades\"}", "2"),
        ("consumer_missed_total{endpoint=\"trades\"}", "40"),
    ] {
        assert_eq!(world.value(&format!("wskeeper_{series}")), value, "{series}");
    }
}

#[test]
fn certificates_have_series_only_while_there_are_some() {
    let world = World::new(false);
    let show = |peer, client| {
        let certificates = Certificates { peer, client };
        world.endpoint.show(EndpointGauges { certificates, ..EndpointGauges::default() });
    };
    let name = "wskeeper_certificate_not_after_timestamp_seconds{";
    show(None, None);
    assert!(!world.text().contains(name));
    show(Some(1_900_000_000), Some(-1));
    assert_eq!(world.value(&format!("{name}endpoint=\"trades\",kind=\"peer\"}}")), "1900000000");
    assert_eq!(world.value(&format!("{name}endpoint=\"trades\",kind=\"client\"}}")), "-1");
    show(Some(1_900_000_000), None);
    assert_eq!(world.text().matches(name).count(), 1);
    drop(world.endpoint);
    assert!(!world.families.render().contains(name));
}

#[test]
fn a_refused_reload_keeps_the_time_of_the_last_good_one() {
    let world = World::new(false);
    world.families.reload_succeeded(UNIX_EPOCH + Duration::from_secs(1_000));
    assert_eq!(world.value("wskeeper_config_last_reload_successful"), "1");
    world.families.reload_failed();
    assert_eq!(world.value("wskeeper_config_last_reload_successful"), "0");
    assert_eq!(world.value("wskeeper_config_last_reload_success_timestamp_seconds"), "1000");
    assert_eq!(world.value("wskeeper_config_reloads_total{result=\"ok\"}"), "1");
    assert_eq!(world.value("wskeeper_config_reloads_total{result=\"error\"}"), "1");
}

#[test]
fn a_name_that_is_registered_already_is_an_error() {
    let registry = Registry::new();
    assert!(Families::register(&registry, false).is_ok());
    assert!(Families::register(&registry, false).is_err());
}

struct World {
    families: Arc<Families>,
    handles: Arc<LinkMetrics>,
    endpoint: Arc<EndpointMetrics>,
    id: LinkId,
}

impl World {
    fn new(per_link: bool) -> Self {
        let families = Families::register(&Registry::new(), per_link).unwrap();
        let id = LinkId { endpoint: "trades".into(), index: 0 };
        let (handles, endpoint) = (families.link(&id.endpoint, 0), families.endpoint(&id.endpoint));
        Self { families, handles, endpoint, id }
    }

    fn tell(&self, event: &Event) {
        self.handles.tell(&self.id, event);
    }

    fn receive(&self, text: &str) {
        self.handles.tell_received(&self.id, 1, &text.into());
    }

    fn settle(&self, state: State, end_reason: Option<EndReason>) {
        self.handles.tell_receipts(&self.id, &[Ended { id: MessageId(7), count: 1, state, end_reason }], Some(1));
    }

    fn text(&self) -> String {
        self.families.render()
    }

    fn value(&self, series: &str) -> String {
        let text = self.text();
        let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("no {series} in\n{text}")).to_owned()
    }
}

fn phase(from: Phase, to: Phase) -> Event {
    Event::Phase { from, to, reason: Reason::Backoff, next_at: None, delay: Some(Duration::from_millis(1500)) }
}

fn closed(code: u16, was_clean: bool, cause: Cause) -> Event {
    let closed = Closed {
        code,
        reason: "".into(),
        was_clean,
        cause,
        sent_code: None,
        status: None,
        label: None,
        detail: "".into(),
    };
    Event::Closed { generation: 1, closed: Arc::new(closed), age: Duration::from_secs(90) }
}

fn dial_failed(cause: Cause) -> Event {
    let detail = "certificate expired".into();
    Event::DialFailed(Box::new(DialFailure {
        cause,
        status: None,
        retry_after: None,
        label: None,
        detail,
        timings: Timings::default(),
        steps: None,
        rejection: None,
    }))
}

fn opened() -> Event {
    let established = Established {
        url: "wss://feed.example/v2".into(),
        address: None,
        protocol: "json.v2".into(),
        compression: None,
        carrier: None,
        certificates: Certificates::default(),
        timings: Steps::default(),
    };
    Event::Opened { generation: 1, established: Arc::new(established) }
}
