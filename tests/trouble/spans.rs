//! Spans of connections, as a collector gets them: each request is read strictly, by the protocol's own types.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, http::HeaderMap, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1::Span,
};
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
    let got = Got::default();
    let keep = Arc::clone(&got);
    let take = move |headers: HeaderMap, body: Bytes| async move {
        let request = serde_json::from_slice(&body).expect("an ExportTraceServiceRequest");
        keep.lock().unwrap().push((headers, request));
        "{}"
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new().route("/v1/traces", post(take));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
        }
    });
    (port, got)
}

fn spans(got: &Got) -> Vec<Span> {
    let got = got.lock().unwrap();
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
    let got = got.lock().unwrap();
    assert_eq!(got[0].0["x-key"], "hush-hush");
    let text = format!("{:?}", got.iter().map(|(_, request)| request).collect::<Vec<_>>());
    assert!(text.contains("keeper-1") && !text.contains("payload") && !text.contains("hush"), "{text}");
    assert!(!daemon.log().contains("hush"));
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
async fn a_collector_that_is_not_there_costs_links_nothing_and_is_told_once() {
    let peer = raw::honest().await;
    let mut daemon = Daemon::made(&format!("{}{}", traced(crate::support::free_port()), one(peer, "")));
    std::fs::write(daemon.folder().join("key"), "k").unwrap();
    daemon.launch();
    daemon.ready().await;
    for generation in 0_u32..3 {
        daemon.api.ready_after("e/0", generation.into()).await;
        daemon.api.post("/v1/links/e/0/reconnect", &[], "").await.expect(200);
        until("dropped spans", || async {
            let lost = daemon.api.metric("wskeeper_spans_dropped_total").await.unwrap_or_default();
            if lost > 5.0 * f64::from(generation) { Ok(()) } else { Err(lost) }
        })
        .await;
    }
    assert_eq!(daemon.log().matches("spans cannot be exported").count(), 1);
}
