//! An endpoint that is made of the command line, by the same table of keys as those of a file.
//!
//! What a reader would get wrong: nothing is checked here. Whatever is wrong with it is a fault of the configuration, with its key.

use serde_json::{Map, Value, json};

use super::{Failure, check};
use crate::config::{self, Loaded};

/// What reads as a number or a boolean is one; everything else is a text.
pub(super) fn scalar(written: &str) -> Value {
    match serde_json::from_str::<Value>(written) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
        Ok(_) | Err(_) => written.into(),
    }
}

/// An endpoint at this address, with a preset under it and the values that the preset needs.
pub(super) fn endpoint(url: &str, preset: Option<&str>, values: &[(String, String)]) -> Value {
    let mut endpoint = json!({ "url": url });
    if let Some(preset) = preset {
        endpoint["preset"] = preset.into();
    }
    let values: Map<_, _> = values.iter().map(|(name, written)| (name.clone(), scalar(written))).collect();
    if !values.is_empty() {
        endpoint["session"] = json!({ "values": values });
    }
    endpoint
}

/// Gives a key its value: a list, a table or a text in quotes as JSON has them; else a text, of which its key makes what it needs. A key within
/// another has a dot between.
pub(super) fn set(endpoint: &mut Value, key: &str, written: &str) {
    let mut place = endpoint;
    for part in key.split('.') {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[part];
    }
    let is_json = written.trim_start().starts_with(['[', '{', '"']);
    let read = is_json.then(|| serde_json::from_str(written).ok()).flatten();
    *place = read.unwrap_or_else(|| written.into());
}

/// A configuration of this endpoint alone.
pub(super) fn loaded(name: &str, endpoint: &Value) -> Result<Loaded, Failure> {
    let root = json!({ "endpoints": { name: endpoint } });
    let loaded = config::parse_json(&root.to_string(), config::COMMAND_LINE);
    loaded.map_err(|faults| Failure::Failed(check::listed(&faults)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_given_its_value_wherever_it_stands() {
        let mut made = endpoint("ws://a/", Some("nats"), &[("n".into(), "1".into()), ("t".into(), "x".into())]);
        for (key, written) in
            [("heartbeat.idle", "5s"), ("links", "2"), ("session.values.u", "\"3\""), ("tls.alpn", "[\"a\"]")]
        {
            set(&mut made, key, written);
        }
        let wanted = json!({ "url": "ws://a/", "preset": "nats", "links": "2", "heartbeat": { "idle": "5s" },
            "tls": { "alpn": ["a"] }, "session": { "values": { "n": 1, "t": "x", "u": "3" } } });
        assert_eq!(made, wanted);
    }

    #[test]
    fn a_key_makes_what_it_needs_of_what_is_written() {
        let mut made = endpoint("wss://a/", None, &[]);
        for (key, written) in [
            ("tls.min_version", "1.3"),
            ("links", "2"),
            ("protocols_optional", "true"),
            ("reconnect.multiplier", "1.5"),
            ("outbox.max_messages", "7"),
            ("headers.X-Number", "5"),
        ] {
            set(&mut made, key, written);
        }
        let config = loaded("e", &made).unwrap().config;
        let endpoint = &config.endpoints["e"].held;
        assert!(endpoint.tls.only_1_3 && endpoint.protocols_optional && endpoint.links == 2);
        assert_eq!((endpoint.link.outbox.max_messages, endpoint.headers.len()), (7, 1));
        for (key, written) in [("links", "\"2\""), ("links", "many"), ("protocols_optional", "yes")] {
            set(&mut made, key, written);
            assert_eq!(loaded("e", &made).is_err(), written != "\"2\"", "{key}={written}");
        }
    }

    #[test]
    fn a_fault_names_the_key() {
        let mut made = endpoint("ws://a/", None, &[]);
        set(&mut made, "heartbeat.idle", "soon");
        let failure = loaded("e", &made).unwrap_err().to_string();
        assert!(failure.contains("heartbeat.idle"), "{failure}");
    }
}
