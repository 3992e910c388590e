//! The rules: promtool's judgement, and what each alert must have.

use std::collections::BTreeSet;

use crate::files::{Rule, assert_success, names_in, program, read, rules, run, yaml};

const RULES: [&str; 2] = ["dashboards/prometheus/rules/alerts.yml", "dashboards/prometheus/rules/recording.yml"];

#[test]
fn promtool_finds_the_rules_and_the_example_good() {
    let Some(promtool) = program("promtool") else { return };
    assert_success(&run(&promtool, &["check", "rules", "--lint-fatal", RULES[0], RULES[1]]));
    assert_success(&run(&promtool, &["check", "config", "dashboards/prometheus/prometheus.yml"]));
}

#[test]
fn alerts_fire_and_keep_silent_as_their_cases_say() {
    let Some(promtool) = program("promtool") else { return };
    for name in names_in("dashboards/prometheus/tests", ".yml") {
        let file = format!("dashboards/prometheus/tests/{name}.yml");
        assert_success(&run(&promtool, &["test", "rules", &file]));
    }
}

#[test]
fn each_alert_has_a_case_that_fires_and_one_that_does_not() {
    let (mut firing, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for name in names_in("dashboards/prometheus/tests", ".yml") {
        let cases = yaml(&read(&format!("dashboards/prometheus/tests/{name}.yml")));
        for check in
            cases["tests"].as_array().unwrap().iter().flat_map(|case| case["alert_rule_test"].as_array().unwrap())
        {
            let alert = check["alertname"].as_str().unwrap().to_owned();
            let expected = check["exp_alerts"].as_array().unwrap();
            if expected.is_empty() {
                silent.insert(alert)
            } else {
                firing.insert(alert)
            };
        }
    }
    let alerts: BTreeSet<String> = alerts().into_iter().map(|alert| alert.name).collect();
    assert_eq!(firing, alerts, "that fire");
    assert_eq!(silent, alerts, "that do not");
}

#[test]
fn each_alert_says_how_urgent_it_is_what_happened_and_where_to_read_on() {
    for Rule { name, json, .. } in alerts() {
        let minutes = json["for"].as_str().unwrap_or_else(|| panic!("{name} has no `for`"));
        assert_ne!(minutes, "0m", "{name}");
        let severity = json["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity:?}");
        for annotation in ["summary", "description"] {
            let text = json["annotations"][annotation].as_str().unwrap_or_default();
            assert!(text.len() > 20 && !text.contains('\n'), "{name}: {annotation} {text:?}");
        }
        assert_eq!(json["annotations"]["runbook_url"], format!("https://wiki.example/wskeeper/runbooks/{name}.md"));
    }
}

#[test]
fn each_alert_has_its_runbook_and_each_runbook_its_alert() {
    let alerts: BTreeSet<String> = alerts().into_iter().map(|alert| alert.name).collect();
    assert_eq!(alerts, names_in("docs/runbooks", ".md"));
    for name in alerts {
        let text = read(&format!("docs/runbooks/{name}.md"));
        let mut parts = text.split("\n## ");
        assert_eq!(parts.next().unwrap().trim(), format!("# {name}"));
        let parts: Vec<_> = parts.map(|part| part.split_once('\n').unwrap()).collect();
        let headings: Vec<_> = parts.iter().map(|(heading, _)| *heading).collect();
        assert_eq!(headings, ["Meaning", "Impact", "Diagnosis", "Mitigation"], "{name}");
        assert!(parts.iter().all(|(_, body)| body.trim().len() > 20), "{name} has an empty part");
        for link in links(&text) {
            let page = crate::files::path("docs/runbooks").join(link.split('#').next().unwrap());
            assert!(page.exists(), "{name} leads to {link}, which is not there");
        }
    }
}

#[test]
fn recorded_names_say_level_metric_and_operation() {
    let shape = regex_lite::Regex::new("^[a-z]+(_[a-z]+)*:wskeeper_[a-z_]+:[a-z]+[0-9a-z]*$").unwrap();
    for Rule { name, .. } in rules().into_iter().filter(|rule| !rule.is_alert) {
        assert!(shape.is_match(&name), "{name}");
    }
}

#[test]
fn every_alert_is_in_the_table_of_the_documentation() {
    let table = read("docs/monitoring.md");
    for Rule { name, json, .. } in alerts() {
        let row = format!("| [{name}](runbooks/{name}.md) | {} |", json["labels"]["severity"].as_str().unwrap());
        assert!(table.contains(&row), "docs/monitoring.md has no row {row}");
    }
    assert_eq!(table.matches("](runbooks/Wskeeper").count(), alerts().len());
}

fn alerts() -> Vec<Rule> {
    rules().into_iter().filter(|rule| rule.is_alert).collect()
}

/// The links of a page, but those into the web.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let all = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    all.filter(|link| !link.contains("://"))
}
