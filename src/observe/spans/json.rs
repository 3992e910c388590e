//! Spans as the JSON of OTLP/HTTP (`ExportTraceServiceRequest`).
//!
//! Its 64-bit numbers are strings and its ids hexadecimal, unlike in other JSON of protocol buffers.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};

use super::{Moment, Span, Value};

/// A request with these spans.
pub(super) fn request(resource: &Json, spans: &[Span]) -> Json {
    let spans: Vec<_> = spans.iter().map(span).collect();
    let scope = json!({"name": "wskeeper", "version": env!("CARGO_PKG_VERSION")});
    json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]}]})
}

/// Who tells of them.
pub(super) fn resource(service_name: &str, instance: &str) -> Json {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    json!({"attributes": [
        text("service.name", service_name),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("service.instance.id", instance),
    ]})
}

fn span(span: &Span) -> Json {
    let Span { trace, id, parent, name, begin, end, error, attributes, events } = span;
    let attributes = members(attributes);
    let mut json = json!({
        "traceId": format!("{trace:032x}"),
        "spanId": format!("{id:016x}"),
        "name": name,
        // SPAN_KIND_CLIENT
        "kind": 3,
        "startTimeUnixNano": nanos(*begin),
        "endTimeUnixNano": nanos(*end),
        "attributes": attributes,
        // STATUS_CODE_ERROR, STATUS_CODE_UNSET
        "status": match error {
            Some(message) => json!({"code": 2, "message": message}),
            None => json!({}),
        },
    });
    if !events.is_empty() {
        json["events"] = events.iter().map(event).collect();
    }
    if let Some(parent) = parent {
        json["parentSpanId"] = format!("{parent:016x}").into();
    }
    json
}

fn event(event: &Moment) -> Json {
    json!({"name": event.name, "timeUnixNano": nanos(event.at), "attributes": members(&event.attributes)})
}

fn members(attributes: &[(&'static str, Value)]) -> Json {
    attributes.iter().map(|(key, value)| json!({"key": key, "value": any(value)})).collect()
}

fn any(value: &Value) -> Json {
    match value {
        Value::Text(text) => json!({"stringValue": text}),
        Value::Number(number) => json!({"intValue": number.to_string()}),
        Value::Flag(flag) => json!({"boolValue": flag}),
    }
}

fn nanos(at: SystemTime) -> String {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}
