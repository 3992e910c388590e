//! Spans of connections, as a collector gets them: each request is read strictly, by the protocol's own types.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1::Span,
};
use parking_lot::Mutex;
use tokio::{io::AsyncWriteExt, net::TcpListener};

use crate::{
    QUICK, one,
    support::{
        daemon::Daemon,
        raw::{self, Raw},
        until,
    },
};

type Got = Arc<Mutex<Vec<(HeaderMap, ExportTraceServiceRequest)>>>;

/// A collector; what is not OTLP fails its own task, and the test that waits for it.
async fn collector() -> (u16, Got) {
    let port = crate::support::free_port();
    (port, collector_at(port, 200).await)
}

/// The same on this port, answering with this status.
async fn collector_at(port: u16, status: u16) -> Got {
    let status = StatusCode::from_u16(status).unwrap();
    let got = Got::default();
    let keep = Arc::clone(&got);
    let take = move |headers: HeaderMap, body: Bytes| async move {
        let request = serde_json::from_slice(&body).expect("an ExportTraceServiceRequest");
        keep.lock().push((headers, request));
        (status, "{}")
    };
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let router = Router::new().route("/v1/traces", post(take));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
        }
    });
    got
}

fn spans(got: &Got) -> Vec<Span> {
    let got = got.lock();
    let resources = got.iter().flat_map(|(_, request)| &request.resource_spans);
    resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
}

async fn span_until(got: &Got, what: &str, is: impl Fn(&Span) -> bool) -> Span {
    until(what, || async {
        let spans = spans(got);
        spans.iter().find(|span| is(span)).cloned().ok_or(spans)
    })
    .await
}

fn attributes(span: &Span) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(flag) => flag.to_string(),
        Value::DoubleValue(_)
        | Value::ArrayValue(_)
        | Value::KvlistValue(_)
        | Value::BytesValue(_)
        | Value::StringValueStrindex(_) => panic!("a value of no kind that is sent: {value:?}"),
    };
    let pairs = span.attributes.iter();
    pairs.map(|pair| (pair.key.clone(), text(pair.value.as_ref().unwrap().value.as_ref().unwrap()))).collect()
}

fn traced(collector: u16) -> String {
    format!(
        "{QUICK}\n[tracing]\notlp_endpoint = \"http://127.0.0.1:{collector}\"\nservice_name = \"keeper-1\"\n\
         headers = {{ X-Key = \"${{file:{{folder}}/key}}\" }}\n"
    )
}

#[tokio::test]
async fn a_connection_is_a_trace_with_its_attempt_and_steps_and_a_shutdown_loses_none() {
    let (port, got) = collector().await;
    let peer = raw::honest().await;
    let mut daemon = Daemon::made(&format!("{}{}", traced(port), one(peer, "")));
    std::fs::write(daemon.folder().join("key"), "hush-hush").unwrap();
    daemon.launch();
    daemon.ready().await;
    daemon.api.ready_after("e/0", 0).await;
    daemon.api.send_text("e", "a payload").await.expect(202);
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(daemon.end().await.success());
    let whole = span_until(&got, "the connection", |span| span.name == "websocket.connection").await;
    assert!(whole.parent_span_id.is_empty() && whole.trace_id.len() == 16 && whole.span_id.len() == 8);
    let told = attributes(&whole);
    assert_eq!((told["wskeeper.endpoint"].as_str(), told["wskeeper.close.cause"].as_str()), ("e", "shutdown"));
    let connect = span_until(&got, "the attempt", |span| span.name == "websocket.connect").await;
    assert_eq!((&connect.parent_span_id, &connect.trace_id), (&whole.span_id, &whole.trace_id));
    assert_eq!(attributes(&connect)["network.peer.port"], peer.to_string());
    for name in ["dns", "tcp", "upgrade"] {
        let step = span_until(&got, name, |span| span.name == name).await;
        assert_eq!(step.parent_span_id, connect.span_id);
        assert!(connect.start_time_unix_nano <= step.start_time_unix_nano, "{step:?}");
        assert!(step.end_time_unix_nano <= connect.end_time_unix_nano, "{step:?}");
    }
    assert!(whole.start_time_unix_nano <= connect.start_time_unix_nano);
    let got = got.lock();
    assert_eq!(got[0].0["x-key"], "hush-hush");
    let text = format!("{:?}", got.iter().map(|(_, request)| request).collect::<Vec<_>>());
    assert!(text.contains("keeper-1") && !text.contains("payload") && !text.contains("hush"), "{text}");
    assert!(!daemon.log().contains("hush"));
}

#[tokio::test]
async fn what_a_session_does_from_open_to_ready_is_a_span_with_an_event_for_each_step() {
    let (port, got) = collector().await;
    let peer = raw::honest().await;
    let session = "[endpoints.e.session]\nvalues.token = \"${file:{folder}/key}\"\nopen = [\n\
        { send = { json = { token = \"${value:token}\" } } },\n\
        { expect = { has = [\"/token\"], extract = { heard = \"/token\" } } },\n]\n";
    let mut daemon = Daemon::made(&format!("{}{}", traced(port), one(peer, session)));
    std::fs::write(daemon.folder().join("key"), "hush-hush").unwrap();
    daemon.launch();
    daemon.ready().await;
    daemon.api.ready_after("e/0", 0).await;
    let opening = span_until(&got, "the session", |span| span.name == "websocket.session").await;
    let step = |at: usize| {
        let pairs = opening.events[at].attributes.iter();
        pairs.map(|pair| format!("{}={:?}", pair.key, pair.value)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((opening.events.len(), attributes(&opening)["wskeeper.session.steps"].as_str()), (2, "2"));
    assert!(step(0).contains("send") && step(1).contains("open[1]") && step(1).contains("done"), "{opening:?}");
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(daemon.end().await.success());
    let whole = span_until(&got, "the connection", |span| span.name == "websocket.connection").await;
    assert_eq!((&opening.parent_span_id, &opening.trace_id), (&whole.span_id, &whole.trace_id));
    assert!(!format!("{:?}", spans(&got)).contains("hush"));
}

#[tokio::test]
async fn a_session_that_is_refused_is_an_error_and_its_label_stands_with_the_connection() {
    let (port, got) = collector().await;
    let peer = raw::honest().await;
    let session = "[endpoints.e.session]\nopen = [{ send = \"hello\" }, { expect = { text = \"hello\", fail = \"unwanted\" } }]\n";
    let mut daemon = Daemon::made(&format!("{}{}", traced(port), one(peer, session)));
    std::fs::write(daemon.folder().join("key"), "k").unwrap();
    daemon.launch();
    let opening = span_until(&got, "the session", |span| span.name == "websocket.session").await;
    assert_eq!(opening.status.as_ref().unwrap().code, 2);
    assert!(format!("{:?}", opening.events[1]).contains("failed"), "{opening:?}");
    let whole = span_until(&got, "the connection", |span| span.name == "websocket.connection").await;
    assert_eq!(attributes(&whole)["wskeeper.session.label"], "unwanted");
}

#[tokio::test]
async fn a_refused_attempt_is_an_error_with_its_status() {
    let (port, got) = collector().await;
    let peer = Raw::listen().await;
    let mut daemon = Daemon::made(&format!("{}{}", traced(port), one(peer.port, "")));
    std::fs::write(daemon.folder().join("key"), "k").unwrap();
    daemon.launch();
    let (mut stream, _) = peer.accept().await;
    stream.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    let failed = span_until(&got, "a failure", |span| span.name == "websocket.connect").await;
    let told = attributes(&failed);
    assert_eq!((told["http.response.status_code"].as_str(), told["error.type"].as_str()), ("503", "503"));
    assert_eq!(failed.status.unwrap().code, 2);
}

#[tokio::test]
async fn a_collector_that_comes_late_gets_every_span_and_its_absence_is_told_once() {
    let port = crate::support::free_port();
    let peer = raw::honest().await;
    let mut daemon = Daemon::made(&format!("{}{}", traced(port), one(peer, "")));
    std::fs::write(daemon.folder().join("key"), "k").unwrap();
    daemon.launch();
    daemon.ready().await;
    for generation in 0_u32..3 {
        daemon.api.ready_after("e/0", generation.into()).await;
        daemon.api.post("/v1/links/e/0/reconnect", &[], "").await.expect(200);
    }
    until("a failure", || async { daemon.log().contains("spans cannot be exported").then_some(()).ok_or(()) }).await;
    let got = collector_at(port, 200).await;
    until("every connection", || async {
        let ended = spans(&got).iter().filter(|span| span.name == "websocket.connection").count();
        if ended == 3 { Ok(()) } else { Err(ended) }
    })
    .await;
    assert_eq!(daemon.api.metric("wskeeper_spans_dropped_total").await, Some(0.0));
    assert_eq!(daemon.log().matches("spans cannot be exported").count(), 1);
    assert_eq!(daemon.log().matches("spans are exported again").count(), 1);
}

#[tokio::test]
async fn what_a_collector_refuses_for_good_is_counted_and_not_sent_again() {
    let port = crate::support::free_port();
    let got = collector_at(port, 400).await;
    let peer = raw::honest().await;
    let mut daemon = Daemon::made(&format!("{}{}", traced(port), one(peer, "")));
    std::fs::write(daemon.folder().join("key"), "k").unwrap();
    daemon.launch();
    daemon.ready().await;
    daemon.api.ready_after("e/0", 0).await;
    daemon.api.post("/v1/links/e/0/reconnect", &[], "").await.expect(200);
    span_until(&got, "the connection", |span| span.name == "websocket.connection").await;
    until("as many dropped as sent", || async {
        let lost = daemon.api.metric("wskeeper_spans_dropped_total").await;
        let sent = spans(&got).len();
        if lost.is_some_and(|lost| lost.to_string() == sent.to_string()) { Ok(()) } else { Err((lost, sent)) }
    })
    .await;
    let ids: std::collections::BTreeSet<_> = spans(&got).into_iter().map(|span| span.span_id).collect();
    assert_eq!(ids.len(), spans(&got).len(), "one was sent twice");
}

#[tokio::test]
async fn a_collector_that_is_away_or_hangs_does_not_hold_up_the_end() {
    let deaf = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    for port in [crate::support::free_port(), deaf.local_addr().unwrap().port()] {
        let peer = raw::honest().await;
        let sections = format!("{}{}[limits]\ndrain = \"2s\"\n", traced(port), one(peer, ""));
        let mut daemon = Daemon::made(&sections);
        std::fs::write(daemon.folder().join("key"), "k").unwrap();
        daemon.launch();
        daemon.ready().await;
        daemon.api.ready_after("e/0", 0).await;
        daemon.signal(nix::sys::signal::Signal::SIGTERM);
        assert!(daemon.end().await.success());
        assert!(daemon.log().contains("spans were not all exported"), "{}", daemon.log());
        // By the clock of the daemon.s own log.
        let moment = |text: &str| {
            let log = daemon.log();
            let line = log.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text:?}"));
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            humantime::parse_rfc3339(line["timestamp"].as_str().unwrap()).unwrap()
        };
        let took = moment("spans were not all exported").duration_since(moment("is draining")).unwrap();
        // The collector alone would have had ten seconds.
        assert!(took < std::time::Duration::from_secs(8), "{took:?}");
    }
}
