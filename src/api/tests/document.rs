//! The OpenAPI document against what is served.

use std::collections::BTreeSet;

use serde_json::Value;

use super::bench::Bench;

const FEED: &str =
    "[endpoints.feed]\nurl = \"ws://127.0.0.1:1/\"\noutcomes = [{ match = { code = 4000 }, then = \"park\" }]";

#[tokio::test]
async fn every_call_of_the_document_is_served() {
    let bench = Bench::new(FEED).await;
    let document = bench.json("/v1/openapi.json").await;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let path = path.replace("{name}", "feed").replace("{index}", "0");
            let streams = path.ends_with("/events") || path.ends_with("/frames");
            // A stream is asked for something that it refuses, so that it ends.
            let path = if streams { format!("{path}?types=nonsense") } else { path };
            let head = format!("{} {path} HTTP/1.1", method.to_uppercase());
            let (status, body) = bench
                .ask(&format!("{head}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
                .await;
            let is_told = ["no receipt", "no dead letter", "holds nothing for"].iter().any(|word| body.contains(word));
            let is_there = status != 405 && (status != 404 || is_told);
            assert!(is_there, "{head}: {status} {body}");
        }
    }
}

#[tokio::test]
async fn an_endpoint_and_a_link_are_as_the_document_says() {
    let bench = Bench::new(FEED).await;
    let document = bench.json("/v1/openapi.json").await;
    for (path, schema) in [("/v1/endpoints/feed", "Endpoint"), ("/v1/links/feed/0", "Link")] {
        let schema = document.pointer(&format!("/components/schemas/{schema}")).unwrap();
        compare(&document, schema, &bench.json(path).await, path);
    }
}

/// Every key that is there is described, and every one described is there.
fn compare(document: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(&reference[1..]).unwrap_or_else(|| panic!("{reference} leads nowhere"));
        return compare(document, schema, value, place);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let schema = choices.iter().find(|choice| choice["type"] != "null").unwrap();
        if !value.is_null() {
            compare(document, schema, value, place);
        }
        return;
    }
    match (value, schema["properties"].as_object()) {
        (Value::Object(members), Some(properties)) => {
            let (there, described): (BTreeSet<_>, BTreeSet<_>) =
                (members.keys().collect(), properties.keys().collect());
            assert_eq!(there, described, "{place}");
            for (key, member) in members {
                compare(document, &properties[key], member, &format!("{place}/{key}"));
            }
        }
        (Value::Object(_), None) => assert!(schema["additionalProperties"].is_object(), "{place}: {schema}"),
        (Value::Array(items), _) => {
            for item in items {
                compare(document, &schema["items"], item, &format!("{place}/*"));
            }
        }
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _) => {
            let kind = match value {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(number) if number.is_f64() => "number",
                Value::Number(_) => "integer",
                _ => "string",
            };
            let kinds = schema["type"].to_string();
            assert!(kinds.contains(kind) || kinds.contains("number") && kind == "integer", "{place}: {kind}, {schema}");
        }
    }
}
