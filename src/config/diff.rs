//! Which keys a new configuration changes, and what each change costs: nothing, a new connection, or a restart.
//!
//! The table says so, key by key. A key that needs a restart is not only noted: the new configuration gets the old value back,
//! because that one stays in force.

use super::{
    Config, ConfiguredEndpoint,
    table::{Reload, daemon::DAEMON, endpoint},
};

/// Which keys outside of `[endpoints]` changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DaemonDiff {
    /// Keys that are followed at once.
    pub(super) live: Vec<&'static str>,
    /// Keys that only a restart can follow.
    pub(super) restart: Vec<&'static str>,
}

/// Which keys of one endpoint changed, but for the number of links.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct EndpointDiff {
    /// Keys that links follow without a new connection.
    pub(super) live: Vec<&'static str>,
    /// Keys that only a new connection can follow.
    pub(super) renew: Vec<&'static str>,
}

/// Compares everything but the endpoints, and gives `new` the old values of what needs a restart.
pub(super) fn daemon(old: &Config, new: &mut Config, store_is_open: bool) -> DaemonDiff {
    let mut diff = DaemonDiff::default();
    for (key, value) in DAEMON.leaves() {
        let needs_restart = match key.reload {
            Reload::Restart => true,
            Reload::Store => store_is_open,
            Reload::Live | Reload::Rotate | Reload::Links => false,
        };
        if value.is_same(old, new) {
            continue;
        }
        if needs_restart {
            note(&mut diff.restart, key.told);
            value.keep(new, old);
        } else {
            note(&mut diff.live, key.told);
        }
    }
    diff
}

/// Compares an endpoint with what became of it.
pub(super) fn endpoint(old: &ConfiguredEndpoint, new: &ConfiguredEndpoint) -> EndpointDiff {
    let mut diff = EndpointDiff::default();
    for table in [&endpoint::OWN, &endpoint::ENDPOINT] {
        for (key, _) in table.leaves().into_iter().filter(|(_, value)| !value.is_same(old, new)) {
            match key.reload {
                Reload::Rotate => note(&mut diff.renew, key.told),
                Reload::Live => note(&mut diff.live, key.told),
                Reload::Links | Reload::Restart | Reload::Store => {}
            }
        }
    }
    diff
}

/// Several keys may tell of one.
fn note(list: &mut Vec<&'static str>, path: &'static str) {
    if !list.contains(&path) {
        list.push(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_toml;

    fn changed(old: &str, new: &str) -> EndpointDiff {
        let base = "[endpoints.a]\nurl = \"ws://h/\"\n";
        let config = |text: &str| parse_toml(&format!("{base}{text}"), "test.toml").unwrap().config;
        endpoint(&config(old).endpoints["a"], &config(new).endpoints["a"])
    }

    #[test]
    fn the_same_text_is_no_change() {
        let text = "outcomes = [{ match = { reason = \"x\", code = 4000 }, then = \"park\" }]";
        assert_eq!(changed(text, text), EndpointDiff::default());
    }

    #[test]
    fn rows_of_outcomes_that_differ_in_a_pattern_alone_are_a_change() {
        let rule = |reason: &str| format!("outcomes = [{{ match = {{ reason = {reason:?} }}, then = \"park\" }}]");
        assert_eq!(changed(&rule("x"), &rule("y")).live, ["outcomes"]);
    }

    #[test]
    fn a_change_names_the_keys_and_no_other() {
        let diff = changed("", "reconnect = { max = \"9s\", park_probe = \"1h\" }\ntls = { insecure = true }");
        assert_eq!(diff.live, ["reconnect.max", "reconnect.park_probe"]);
        assert_eq!(diff.renew, ["tls.insecure"]);
    }
}
