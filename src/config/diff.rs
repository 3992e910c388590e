//! What a changed configuration means for an endpoint's links: what they follow live, and what takes a new connection.
//!
//! Every field is classed by destructuring without `..`: a new field does not compile until someone decides.

use super::Endpoint;
use crate::core::link::Policy;

/// The keys that changed, by what they take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Followed at once, or from the next attempt on.
    pub live: Vec<&'static str>,
    /// Only a new connection can follow.
    pub redial: Vec<&'static str>,
}

impl Difference {
    fn live(&mut self, key: &'static str, changed: bool) {
        if changed {
            self.live.push(key);
        }
    }

    fn redial(&mut self, key: &'static str, changed: bool) {
        if changed {
            self.redial.push(key);
        }
    }
}

/// Compares an endpoint with what is to follow it.
pub fn endpoint(old: &Endpoint, new: &Endpoint) -> Difference {
    let Endpoint {
        name: _,
        urls,
        // Links come and go; those that stay are not concerned.
        links: _,
        protocols,
        protocols_optional,
        headers,
        redirects,
        tls,
        critical,
        min_ready,
        link,
        inbox,
        receipts_keep,
    } = old;
    let mut found = Difference::default();
    found.redial("url", *urls != new.urls);
    found.redial("protocols", *protocols != new.protocols);
    found.redial("headers", *headers != new.headers);
    found.redial("tls", *tls != new.tls);
    found.live("protocols_optional", *protocols_optional != new.protocols_optional);
    found.live("redirects", *redirects != new.redirects);
    found.live("critical", *critical != new.critical);
    found.live("min_ready", *min_ready != new.min_ready);
    found.live("receipts", *receipts_keep != new.receipts_keep);
    found.live("inbox", (inbox.max_messages, inbox.max_bytes) != (new.inbox.max_messages, new.inbox.max_bytes));
    policy(link, &new.link, &mut found);
    found
}

fn policy(old: &Policy, new: &Policy, found: &mut Difference) {
    let Policy {
        // Told by `url`.
        urls: _,
        connect_timeout,
        close_timeout,
        park_probe,
        retry_after_max,
        heartbeat,
        backoff,
        outcomes,
        outbox,
        max_inbound,
    } = old;
    found.redial("inbox.max_message", *max_inbound != new.max_inbound);
    found.live("connect_timeout", *connect_timeout != new.connect_timeout);
    found.live("close_timeout", *close_timeout != new.close_timeout);
    found.live("heartbeat", *heartbeat != new.heartbeat);
    found.live(
        "reconnect",
        *backoff != new.backoff || *park_probe != new.park_probe || *retry_after_max != new.retry_after_max,
    );
    // Rows hold patterns, which are compared as they were written.
    found.live("outcomes", format!("{outcomes:?}") != format!("{:?}", new.outcomes));
    found.live("outbox", *outbox != new.outbox);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_toml;

    fn compare(old: &str, new: &str) -> Difference {
        let read = |keys: &str| {
            let text = format!("[endpoints.a]\n{keys}");
            let loaded = parse_toml(&text, "test.toml").expect("a valid configuration");
            loaded.config.endpoints["a"].clone()
        };
        endpoint(&read(old), &read(new))
    }

    #[test]
    fn the_same_is_no_difference() {
        let text =
            "url = \"ws://h\"\n[[endpoints.a.outcomes]]\nmatch = { code = 4000, reason = \"x\" }\nthen = \"slow\"";
        assert_eq!(compare(text, text), Difference::default());
    }

    #[test]
    fn another_url_takes_a_new_connection_and_another_limit_does_not() {
        let old = "url = \"ws://h\"";
        assert_eq!(compare(old, "url = \"ws://i\"").redial, ["url"]);
        let changed = compare(old, "url = \"ws://h\"\noutbox.max_messages = 5\nheartbeat.idle = \"9s\"");
        assert_eq!((changed.live, changed.redial), (vec!["heartbeat", "outbox"], vec![]));
    }
}
