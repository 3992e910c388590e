//! A real Prometheus scrapes the real daemon, and every expression of dashboards and rules has data there.

use std::time::Duration;

use http::Method;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    files::{Board, Expression, boards, rules, selectors_in},
    look,
    prometheus::Prometheus,
    world::World,
};

/// How long data may take to come; a scrape a second, on a machine with other things to do.
const PATIENCE: Duration = Duration::from_secs(90);
/// Alerts that this world must bring about; pending counts, for the clock is not waited for.
const ACTIVE: [&str; 9] = [
    "WskeeperReloadFailed",
    "WskeeperLinkParked",
    "WskeeperHeartbeatTimeouts",
    "WskeeperBufferNearLimit",
    "WskeeperMessagesRefused",
    "WskeeperMessagesUnknown",
    "WskeeperMessagesDead",
    "WskeeperDeadLettersWaiting",
    "WskeeperConsumerGaps",
];
/// Alerts that it must not.
const QUIET: [&str; 6] = [
    "WskeeperDown",
    "WskeeperAbsent",
    "WskeeperStoreFailed",
    "WskeeperCriticalEndpointDown",
    "WskeeperLinkPanics",
    "WskeeperCertificateNearExpiry",
];

/// What this world must look like, where a number alone would not prove it.
const TRUE: [&str; 6] = [
    r#"wskeeper_outbox_oldest_message_age_seconds{endpoint="refused"} > 5"#,
    r#"wskeeper_links_longest_not_ready_seconds{endpoint="refused"} > 5"#,
    r#"wskeeper_links_longest_not_ready_seconds{endpoint="trades"} == 0"#,
    r#"wskeeper_links_min_ready{endpoint="trades"} == 2"#,
    r#"wskeeper_certificate_not_after_timestamp_seconds{endpoint="secure", kind="client"} > time()"#,
    r#"wskeeper_certificate_not_after_timestamp_seconds{endpoint="secure", kind="peer"} > time()"#,
];

#[tokio::test]
async fn every_expression_of_dashboards_and_rules_has_data() {
    let world = World::start().await;
    let socket = world.daemon.folder().join("api.sock");
    let Some(prometheus) = Prometheus::start(&socket).await else { return };
    let deadline = Instant::now() + PATIENCE;
    let scraped = Expression { place: "the first scrape".into(), text: "wskeeper_build_info".into() };
    data(&prometheus, &scraped, deadline).await;
    the_proxy_shows_metrics_and_nothing_else(&prometheus).await;
    world.count_what_happens_once().await;
    for expression in boards().iter().flat_map(Board::expressions).chain(of_rules()) {
        data(&prometheus, &expression, deadline).await;
    }
    for text in TRUE {
        data(&prometheus, &Expression { place: "the world".into(), text: text.into() }, deadline).await;
    }
    alerts_are_as_the_world_is(&prometheus, deadline).await;
    every_rule_is_evaluated(&prometheus).await;
    let enough = format!("count_over_time(wskeeper_build_info[5m]) >= {}", look::SPAN);
    data(&prometheus, &Expression { place: "scrapes to draw".into(), text: enough }, deadline).await;
    look::draw(&prometheus).await;
}

/// What rules read: a recorded series as a whole; of an alert, which is empty while all is well, each selector.
fn of_rules() -> Vec<Expression> {
    let mut found = Vec::new();
    for rule in rules() {
        let texts = if rule.is_alert { selectors_in(&rule.expr) } else { vec![rule.expr.clone(), rule.name.clone()] };
        assert!(!texts.is_empty(), "{rule:?} reads nothing");
        found.extend(texts.into_iter().map(|text| Expression { place: rule.name.clone(), text }));
    }
    found
}

/// Waits for data that are numbers.
async fn data(prometheus: &Prometheus, expression: &Expression, deadline: Instant) {
    let text = look::filled_in(&expression.text, ".+");
    loop {
        let seen = prometheus.query(&text).await;
        let is_number = |series: &Value| series["value"][1].as_str().is_some_and(|value| value != "NaN");
        if seen.as_ref().is_ok_and(|series| series.iter().any(is_number)) {
            return;
        }
        assert!(Instant::now() < deadline, "{}: no data from {text}: {seen:?}", expression.place);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn the_proxy_shows_metrics_and_nothing_else(prometheus: &Prometheus) {
    for (method, path, status) in [
        (Method::GET, "/metrics", 200),
        (Method::POST, "/metrics", 403),
        (Method::GET, "/metrics/", 404),
        (Method::GET, "/", 404),
        (Method::GET, "/v1/links", 404),
        (Method::POST, "/v1/reload", 404),
        (Method::GET, "/metrics/../v1/links", 404),
    ] {
        assert_eq!(prometheus.through_the_proxy(method.clone(), path).await, status, "{method} {path}");
    }
}

async fn alerts_are_as_the_world_is(prometheus: &Prometheus, deadline: Instant) {
    loop {
        let seen = prometheus.query("group by (alertname) (ALERTS)").await.unwrap();
        let active: Vec<_> = seen.iter().map(|series| series["metric"]["alertname"].as_str().unwrap()).collect();
        let missing: Vec<_> = ACTIVE.iter().filter(|name| !active.contains(name)).collect();
        if missing.is_empty() {
            assert!(!active.iter().any(|name| QUIET.contains(name)), "{active:?}");
            return;
        }
        assert!(Instant::now() < deadline, "not active: {missing:?}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn every_rule_is_evaluated(prometheus: &Prometheus) {
    let loaded = prometheus.data("/api/v1/rules").await.unwrap();
    let loaded: Vec<_> =
        loaded["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert_eq!(loaded.len(), rules().len());
    for rule in loaded {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
}
