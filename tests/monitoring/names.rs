//! Metric names, both ways: what dashboards, rules and pages name exists, and what exists is shown somewhere.
//!
//! `docs/metrics.md` is compared beside the registry, in `src/observe/tests/reference.rs`.

use std::collections::BTreeSet;

use prometheus::Registry;
use wskeeper::observe::Families;

use crate::files::{Board, boards, metrics_in, names_in, read, rules, selectors_in};

/// In no dashboard and no rule, and why.
const NOT_SHOWN: [(&str, &str); 6] = [
    ("wskeeper_inbox_cursor", "a place, not an amount: it is for programs that resume"),
    ("process_virtual_memory_bytes", "address space says nothing of memory in use"),
    ("wskeeper_spans_exported_total", "spans are looked at where they are collected"),
    (
        "wskeeper_spans_dropped_total",
        "no link and no message depends on a span, and the log tells when the collector is away",
    ),
    (
        "wskeeper_values_evaluated_total",
        "a value that cannot be made fails an attempt or a session, which are shown; this says of which kind it was",
    ),
    ("process_threads", "tokio's pool has as many as there are cores"),
];

#[test]
fn what_dashboards_rules_and_runbooks_name_exists() {
    let (registered, recorded) = (registered(), recorded());
    let mut texts: Vec<(String, String)> =
        boards().iter().flat_map(Board::expressions).map(|expression| (expression.place, expression.text)).collect();
    texts.extend(rules().into_iter().map(|rule| (rule.name, rule.expr)));
    texts.extend(names_in("docs/runbooks", ".md").into_iter().map(|name| {
        let text = read(&format!("docs/runbooks/{name}.md"));
        (name, text)
    }));
    texts.push(("docs/monitoring.md".into(), read("docs/monitoring.md")));
    for (place, text) in texts {
        for name in metrics_in(&text) {
            assert!(registered.contains(&name) || recorded.contains(&name), "{place} names {name}, which is nowhere");
        }
        let levels = selectors_in(&text).into_iter().filter(|selector| selector.contains(':'));
        for selector in levels {
            let name = selector.split('{').next().unwrap();
            assert!(recorded.contains(name), "{place} names {name}, which no rule records");
        }
    }
}

#[test]
fn every_metric_is_in_a_dashboard_or_a_rule_or_is_excepted_with_a_reason() {
    let mut shown: BTreeSet<String> =
        boards().iter().flat_map(Board::expressions).flat_map(|expression| metrics_in(&expression.text)).collect();
    shown.extend(rules().iter().flat_map(|rule| metrics_in(&rule.expr)));
    for (name, _) in NOT_SHOWN {
        assert!(!shown.contains(name), "{name} is shown: it needs no exception");
        shown.insert(name.into());
    }
    let hidden: Vec<_> = registered().into_iter().filter(|name| !shown.contains(name)).collect();
    assert!(
        hidden.is_empty(),
        "shown nowhere; put them into generate.py, a rule, or NOT_SHOWN with a reason: {hidden:?}"
    );
}

fn recorded() -> BTreeSet<String> {
    rules().into_iter().filter(|rule| !rule.is_alert).map(|rule| rule.name).collect()
}

/// Every name that a daemon may show.
fn registered() -> BTreeSet<String> {
    let families = Families::register(&Registry::new(), false).unwrap();
    // Without a value that is made there is no such series.
    families.value_evaluated("hmac", true);
    families.names().into_iter().collect()
}
