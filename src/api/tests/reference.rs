//! `docs/api-reference.md`: written from the OpenAPI document, and compared with it.
//!
//! Where they differ the test says how to write the page anew; nobody edits it by hand.

use std::{env, fmt::Write, fs, path::Path};

use serde_json::{Map, Value};

use crate::api::openapi;

const PAGE: &str = "docs/api-reference.md";
const ANEW: &str = "WSKEEPER_WRITE_DOCS=1 cargo test --lib api";

#[test]
fn the_api_reference_is_the_document() {
    let (wanted, path) = (page(&openapi::tests::document()), Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE));
    if env::var_os("WSKEEPER_WRITE_DOCS").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let place = found.lines().zip(wanted.lines()).position(|(found, wanted)| found != wanted);
    let line = place.unwrap_or_else(|| found.lines().count().min(wanted.lines().count()));
    assert!(
        found == wanted,
        "{PAGE} is out of date from line {}: write it anew with\n  {ANEW}\nwanted: {:?}",
        line + 1,
        wanted.lines().nth(line)
    );
}

fn page(document: &Value) -> String {
    let mut page = format!(
        "# API reference\n\nEvery call and every object of the local API, written from its OpenAPI document (`/v1/openapi.json`) by\n\
         `{ANEW}`; edit the comments in `src/api` instead. [The API](api.md) tells how to use it.\n\n\
         Where tokens are configured, every call but `/livez` and `/readyz` takes `Authorization: Bearer TOKEN`. What fails is answered with a\n\
         [problem](#problem). A key that ends in `?` may be missing or null.\n"
    );
    let paths = document["paths"].as_object().unwrap();
    let calls = || {
        paths.iter().flat_map(|(path, methods)| {
            methods.as_object().unwrap().iter().map(move |(method, call)| (path, method, call))
        })
    };
    for tag in ["messages", "events", "subscriptions", "links", "endpoints", "daemon"] {
        let of_tag: Vec<_> = calls().filter(|(_, _, call)| call["tags"][0] == tag).collect();
        if !of_tag.is_empty() {
            writeln!(page, "\n## Calls: {tag}").unwrap();
        }
        for (path, method, call) in of_tag {
            write_call(&mut page, path, method, call);
        }
    }
    let sections = page.matches("\n### ").count();
    assert_eq!(sections, calls().count(), "a call has a tag that is not listed here");
    page.push_str("\n## Objects\n");
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        write_object(&mut page, name, schema);
    }
    page
}

fn write_call(page: &mut String, path: &str, method: &str, call: &Value) {
    writeln!(page, "\n### `{} {path}`\n", method.to_uppercase()).unwrap();
    let told = [&call["summary"], &call["description"]].map(|text| text.as_str().unwrap_or_default());
    // A comment that is nothing but the call has nothing to add.
    let call_itself = format!("`{} {path}`", method.to_uppercase());
    for text in told {
        let text = text.strip_prefix(&*call_itself).unwrap_or(text).trim_start_matches([':', ',', ' ']);
        if !text.is_empty() {
            writeln!(page, "{text}\n").unwrap();
        }
    }
    let parameters = call["parameters"].as_array().cloned().unwrap_or_default();
    if !parameters.is_empty() {
        page.push_str("| parameter | in | |\n|---|---|---|\n");
    }
    for parameter in &parameters {
        let [name, place, text] = ["name", "in", "description"].map(|key| parameter[key].as_str().unwrap_or_default());
        writeln!(page, "| `{name}` | {place} | {} |", cell(text)).unwrap();
    }
    if !parameters.is_empty() {
        page.push('\n');
    }
    if let Some(body) = call["requestBody"].as_object() {
        let text = body.get("description").and_then(Value::as_str).unwrap_or_default();
        writeln!(page, "Body{}: {text}\n", content(&body["content"])).unwrap();
    }
    page.push_str("| status | |\n|---|---|\n");
    for (status, response) in call["responses"].as_object().unwrap() {
        let status = if status == "default" { "else" } else { status };
        let text = response["description"].as_str().unwrap_or_default();
        writeln!(page, "| {status} | {}{} |", cell(text), content(&response["content"])).unwrap();
    }
}

fn write_object(page: &mut String, name: &str, schema: &Value) {
    writeln!(page, "\n### {name}\n").unwrap();
    if let Some(text) = schema["description"].as_str() {
        writeln!(page, "{text}\n").unwrap();
    }
    let Some(properties) = schema["properties"].as_object() else {
        writeln!(page, "{}", kind(schema)).unwrap();
        return;
    };
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    page.push_str("| key | type | |\n|---|---|---|\n");
    for (key, property) in properties {
        let mark = if required.contains(&key.as_str()) { "" } else { "?" };
        writeln!(page, "| `{key}`{mark} | {} | {} |", kind(property), cell(description(property))).unwrap();
    }
}

fn description(property: &Value) -> &str {
    let own = property["description"].as_str();
    let choices = || property["oneOf"].as_array()?.iter().find_map(|choice| choice["description"].as_str());
    own.or_else(choices).unwrap_or_default()
}

/// The type of a value, in words; an object of the document by its name.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let kinds: Vec<_> = choices.iter().filter(|choice| choice["type"] != "null").map(kind).collect();
        return kinds.join(" or ");
    }
    let word = |word: &str| match word {
        "array" if schema["items"].is_object() => format!("list of {}", kind(&schema["items"])),
        "array" => "list".to_owned(),
        "object" if schema["additionalProperties"].is_object() => {
            format!("object of {}", kind(&schema["additionalProperties"]))
        }
        other => other.to_owned(),
    };
    match &schema["type"] {
        Value::String(one) => word(one),
        Value::Array(some) => {
            let words = some.iter().filter_map(Value::as_str).filter(|word| *word != "null");
            words.map(word).collect::<Vec<_>>().join(" or ")
        }
        _ => "any".to_owned(),
    }
}

/// Media types, with what is in them.
fn content(content: &Value) -> String {
    let told = |(media, body): (&String, &Value)| match kind(&body["schema"]) {
        kind if kind.starts_with('[') || kind.contains("list of") => format!(" (`{media}`: {kind})"),
        _ => format!(" (`{media}`)"),
    };
    content.as_object().unwrap_or(&Map::new()).iter().map(told).collect()
}

fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}
