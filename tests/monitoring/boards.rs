//! The dashboards: written by their script, valid by Grafana's own schema, and by the rules of Grafana's dashboard linter that
//! matter here: <https://github.com/grafana/dashboard-linter>.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::files::{Board, assert_success, boards, node_modules, path, program, run, selectors_in};

#[test]
fn the_dashboards_are_what_their_script_writes() {
    let Some(python) = program("python3") else { return };
    assert_success(&run(&python, &["dashboards/grafana/generate.py", "--check"]));
}

#[test]
fn the_dashboards_are_valid_by_grafanas_schema_and_a_broken_one_is_not() {
    let wanted = ["@grafana/schema", "ts-json-schema-generator", "ajv"];
    let (Some(modules), Some(node)) = (node_modules(&wanted), program("node")) else { return };
    let verdict = |files: &[&Path]| {
        let script = path("tests/monitoring/schema.js");
        Command::new(&node).env("NODE_PATH", &modules).arg(script).args(files).output().unwrap()
    };
    let (overview, endpoint) = (path("dashboards/grafana/overview.json"), path("dashboards/grafana/endpoint.json"));
    assert_success(&verdict(&[&overview, &endpoint]));

    let folder = TempDir::new().unwrap();
    let file = folder.path().join("broken.json");
    let breakages: [fn(&mut Value); 3] = [
        |board| board["panels"][0]["gridPos"]["w"] = json!("wide"),
        |board| board["templating"]["list"][1]["refresh"] = json!(7),
        |board| board["colour"] = json!("blue"),
    ];
    for break_it in breakages {
        let [Board { mut json, .. }, _] = boards();
        break_it(&mut json);
        fs::write(&file, json.to_string()).unwrap();
        assert!(!verdict(&[&file]).status.success(), "a broken dashboard passed");
    }
}

#[test]
fn variables_are_as_the_linter_wants_them() {
    for Board { name, json } in boards() {
        assert_eq!(json["editable"], false, "{name}");
        let variables = json["templating"]["list"].as_array().unwrap();
        let names: Vec<_> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["datasource", "job", "instance", "endpoint"], "{name}");
        assert_eq!((&variables[0]["type"], &variables[0]["query"]), (&json!("datasource"), &json!("prometheus")));
        assert_eq!(variables[0]["label"], "Data source");
        for variable in &variables[1..] {
            assert_eq!(variable["type"], "query");
            assert_eq!(variable["datasource"]["uid"], "${datasource}");
            assert_eq!(variable["refresh"], 2, "it follows a change of the time range");
        }
        for (variable, label) in variables[1..3].iter().zip(["Job", "Instance"]) {
            let seen = (&variable["label"], &variable["multi"], &variable["allValue"]);
            assert_eq!(seen, (&json!(label), &json!(true), &json!(".+")), "{name}");
        }
    }
}

#[test]
fn panels_have_title_description_unit_and_the_chosen_datasource() {
    for board in boards() {
        let mut ids = BTreeSet::new();
        for panel in board.panels() {
            let place = format!("{}: {}", board.name, panel["title"]);
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{place}: its id is taken");
            for text in ["title", "description"] {
                assert!(panel[text].as_str().is_some_and(|text| text.len() > 2), "{place}: {text}");
            }
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{place}: no unit");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{place}");
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{place}");
            assert!(targets.iter().all(|target| target["datasource"]["uid"] == "${datasource}"), "{place}");
        }
    }
}

#[test]
fn expressions_follow_the_variables_and_read_counters_by_their_rate() {
    let counter = regex_lite::Regex::new(r"(?:rate|increase)\([a-z_]+_total\{[^}]*\}\[").unwrap();
    let range = regex_lite::Regex::new(r"\[([^\]]+)\]").unwrap();
    for expression in boards().iter().flat_map(Board::expressions) {
        let text = &expression.text;
        for selector in selectors_in(text) {
            let is_variable = ["job", "instance"].iter().any(|name| expression.place.ends_with(&format!(", {name}")));
            let follows = selector.contains("job=~\"$job\"") && selector.contains("instance=~\"$instance\"");
            assert!(follows || is_variable, "{expression:?}: {selector}");
        }
        assert_eq!(text.matches("_total").count(), counter.find_iter(text).count(), "a raw counter: {expression:?}");
        // Annotations and sums over a stated time have a range of their own; a rate follows the resolution.
        let is_rate = |at: usize| text[..at].rfind('(').is_some_and(|open| text[..open].ends_with("rate"));
        for found in range.captures_iter(text).filter(|found| is_rate(found.get(0).unwrap().start())) {
            assert_eq!(&found[1], "$__rate_interval", "{expression:?}");
        }
    }
}

#[test]
fn panels_lie_on_the_grid_without_overlap() {
    for board in boards() {
        let mut taken = BTreeSet::new();
        let rows = board.json["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] == "row");
        for panel in board.panels().into_iter().chain(rows) {
            let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
            let (x, y, w, h) = (side("x"), side("y"), side("w"), side("h"));
            assert!(w > 0 && h > 0 && x + w <= 24, "{}", panel["title"]);
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{}: {} lies on another panel", board.name, panel["title"]);
            }
        }
    }
}

#[test]
fn the_dashboards_lead_to_each_other() {
    let boards = boards();
    let known: BTreeSet<_> = boards.iter().map(|board| board.json["uid"].as_str().unwrap()).collect();
    for board in &boards {
        let text = board.json.to_string();
        let led: BTreeSet<_> = text.split("\"/d/").skip(1).map(|rest| rest.split('?').next().unwrap()).collect();
        assert!(led.iter().all(|uid| known.contains(uid)), "{}: {led:?}", board.name);
        assert!(led.iter().any(|uid| *uid != board.json["uid"]), "{} leads nowhere", board.name);
    }
}
