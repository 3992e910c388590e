//! `docs/metrics.md` against the registry, both ways: names, types and labels.
//!
//! Meanings are not compared: the page explains, the help text reminds.

use std::collections::{BTreeMap, BTreeSet};

use wskeeper_core::push::Counts;

use super::*;

/// A type, and the labels besides `endpoint` and `link`.
type Shape = (String, BTreeSet<String>);

#[test]
fn the_reference_has_every_metric_with_its_type_and_labels_and_no_other() {
    let registered = registered(false);
    let mut documented = documented();
    // The `process_*` set is named in a sentence: its types and labels are Prometheus' own.
    for (name, shape) in registered.iter().filter(|(name, _)| name.starts_with("process_")) {
        let is_named = REFERENCE.contains(&format!("`{name}`"));
        assert!(is_named && documented.insert(name.clone(), shape.clone()).is_none(), "{name}");
    }
    assert_eq!(registered, documented);
}

#[test]
fn a_help_text_is_a_sentence() {
    let text = everything(false);
    let helps: Vec<(&str, &str)> =
        text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' ')).collect();
    assert!(helps.len() > 50);
    for (name, help) in helps {
        assert!(help.ends_with('.') && help.len() > 10, "{name}: {help}");
    }
}

#[test]
fn the_first_table_is_of_the_metrics_that_per_link_splits() {
    let shown = shown(true);
    let split = shown.into_iter().filter(|(_, (_, labels))| labels.contains("link")).map(|(name, _)| name);
    assert_eq!(split.collect::<BTreeSet<_>>(), rows(section("## Links")).into_keys().collect());
}

const REFERENCE: &str = include_str!("../../../docs/metrics.md");

/// A text in which each family has a series.
fn everything(per_link: bool) -> String {
    let world = World::new(per_link);
    let certificates = Certificates { peer: Some(1), client: Some(1) };
    world.families.value_evaluated("hmac", true);
    world.endpoint.requested(Requested::Reply, Duration::from_millis(1));
    world.endpoint.show(EndpointGauges {
        certificates,
        subscriptions: Some([1, 2, 3]),
        away: Some(1),
        carriers: Some(1),
        budget: Some((1, 2)),
        ..EndpointGauges::default()
    });
    let push = PushNumbers {
        name: "hook".into(),
        counts: Counts { delivered: 1, delivered_bytes: 1, failed: 1, retries: 1, skipped: 1, gaps: 1, unkept: 1 },
        behind: 1,
        failing: true,
        connected: None,
    };
    let bridge = PushNumbers { name: "md".into(), connected: Some(true), ..push.clone() };
    world.families.show_pushes(&BTreeMap::from([("trades".into(), vec![push, bridge])]));
    let took = Duration::from_secs(1);
    for event in [
        phase(Phase::Ready, Phase::Waiting),
        opened(),
        Event::SessionReady { generation: 1, opening: Box::default() },
        Event::Pong { rtt: took },
        Event::Paced { waited: took },
        Event::Written(vec![Sent { kind: Kind::Text, messages: 1, bytes: 1, waited: took }]),
        closed(1000, true, Cause::Remote),
    ] {
        world.tell(&event);
    }
    world.text()
}

/// What [`everything`] has; labels with `endpoint` and `link`.
fn shown(per_link: bool) -> BTreeMap<String, Shape> {
    let text = everything(per_link);
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types
        .map(|(name, kind)| {
            let of = |line: &&str| {
                let rest = line.strip_prefix(name).unwrap_or_default();
                rest.starts_with(['{', ' ']) || rest.starts_with("_bucket{")
            };
            let line = text.lines().find(of).unwrap_or_else(|| panic!("{name} has no series"));
            let labels = line.split(['{', ',']).filter_map(|part| Some(part.split_once("=\"")?.0));
            let labels = labels.filter(|label| *label != "le").map(str::to_owned).collect();
            (name.to_owned(), (kind.to_owned(), labels))
        })
        .collect()
}

fn registered(per_link: bool) -> BTreeMap<String, Shape> {
    let mut shown = shown(per_link);
    for (_, labels) in shown.values_mut() {
        labels.retain(|label| !matches!(label.as_str(), "endpoint" | "link"));
    }
    shown
}

fn documented() -> BTreeMap<String, Shape> {
    rows(REFERENCE)
}

fn section(heading: &str) -> &'static str {
    let from = REFERENCE.find(heading).expect("the heading is there") + heading.len();
    let rest = &REFERENCE[from..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

/// The rows of tables that begin with a metric's name.
fn rows(text: &str) -> BTreeMap<String, Shape> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `wskeeper_")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let name = words(cells[1]).remove(0);
        let shape = (cells[2].to_owned(), words(cells[3]).into_iter().collect());
        assert!(found.insert(name, shape).is_none(), "twice: {line}");
    }
    found
}
