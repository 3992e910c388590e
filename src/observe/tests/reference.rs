//! `docs/metrics.md` against the registry, both ways: names, types and labels.
//!
//! Meanings are not compared: the page explains, the help text reminds.

use std::collections::{BTreeMap, BTreeSet};

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
    for family in gathered(false) {
        let help = family.help();
        assert!(help.ends_with('.') && help.len() > 10, "{}: {help}", family.name());
    }
}

#[test]
fn the_first_table_is_of_the_metrics_that_per_link_splits() {
    let split: BTreeSet<String> = gathered(true)
        .iter()
        .filter(|family| family.get_metric()[0].get_label().iter().any(|label| label.name() == "link"))
        .map(|family| family.name().to_owned())
        .collect();
    let table = section("## Links");
    assert_eq!(split, rows(table).into_keys().collect());
}

const REFERENCE: &str = include_str!("../../../docs/metrics.md");

fn gathered(per_link: bool) -> Vec<prometheus::proto::MetricFamily> {
    let world = World::new(per_link);
    let certificates = Certificates { peer: Some(1), client: Some(1) };
    world.handles.session();
    world.endpoint.show(EndpointGauges { certificates, ..EndpointGauges::default() });
    world.registry.gather()
}

fn registered(per_link: bool) -> BTreeMap<String, Shape> {
    let ours = |name: &str| !matches!(name, "endpoint" | "link");
    let shape = |family: &prometheus::proto::MetricFamily| {
        let labels = family.get_metric()[0].get_label().iter();
        let labels = labels.map(|label| label.name().to_owned()).filter(|name| ours(name)).collect();
        (format!("{:?}", family.get_field_type()).to_lowercase(), labels)
    };
    gathered(per_link).iter().map(|family| (family.name().to_owned(), shape(family))).collect()
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
