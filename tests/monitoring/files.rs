//! The files under test, read: dashboards, rules, runbooks; and the programs that judge them.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// A dashboard and its file's name, without the ending.
pub struct Board {
    pub name: &'static str,
    pub json: Value,
}

/// An expression, and where it stands.
#[derive(Debug, Clone)]
pub struct Expression {
    pub place: String,
    pub text: String,
}

/// An alerting or recording rule.
#[derive(Debug, Clone)]
pub struct Rule {
    pub name: String,
    pub is_alert: bool,
    pub expr: String,
    pub json: Value,
}

pub fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

pub fn read(relative: &str) -> String {
    fs::read_to_string(path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
}

pub fn boards() -> [Board; 2] {
    ["overview", "endpoint"].map(|name| {
        let json = serde_json::from_str(&read(&format!("dashboards/grafana/{name}.json"))).unwrap();
        Board { name, json }
    })
}

impl Board {
    /// Its panels but rows, those of folded rows too.
    pub fn panels(&self) -> Vec<&Value> {
        let all = self.json["panels"].as_array().unwrap().iter();
        all.flat_map(|panel| if panel["type"] == "row" { folded(panel) } else { std::slice::from_ref(panel) }).collect()
    }

    /// The expressions of its panels, annotations and variables.
    pub fn expressions(&self) -> Vec<Expression> {
        let mut found = Vec::new();
        let mut add = |place: &Value, text: &str| {
            let place = format!("{}.json, {}", self.name, place.as_str().unwrap());
            found.push(Expression { place, text: text.to_owned() });
        };
        for panel in self.panels() {
            for target in panel["targets"].as_array().unwrap() {
                add(&panel["title"], target["expr"].as_str().unwrap());
            }
        }
        for annotation in self.json["annotations"]["list"].as_array().unwrap() {
            add(&annotation["name"], annotation["expr"].as_str().unwrap());
        }
        for variable in self.json["templating"]["list"].as_array().unwrap() {
            if let Some(query) = variable["query"]["query"].as_str() {
                let inner = query.strip_prefix("label_values(").unwrap().rsplit_once(',').unwrap().0;
                add(&variable["name"], inner);
            }
        }
        found
    }
}

fn folded(row: &Value) -> &[Value] {
    row["panels"].as_array().unwrap()
}

/// Every rule of both files.
pub fn rules() -> Vec<Rule> {
    let mut found = Vec::new();
    for file in ["alerts", "recording"] {
        let text = yaml(&read(&format!("dashboards/prometheus/rules/{file}.yml")));
        for rule in text["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()) {
            let (is_alert, name) = match (rule["alert"].as_str(), rule["record"].as_str()) {
                (Some(name), None) => (true, name),
                (None, Some(name)) => (false, name),
                _ => panic!("neither an alert nor a record: {rule}"),
            };
            let expr = rule["expr"].as_str().unwrap().to_owned();
            found.push(Rule { name: name.to_owned(), is_alert, expr, json: rule.clone() });
        }
    }
    found
}

/// The files in a folder that end so, by name without the ending.
pub fn names_in(folder: &str, ending: &str) -> BTreeSet<String> {
    let files = fs::read_dir(path(folder)).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    files.filter_map(|name| name.strip_suffix(ending).map(str::to_owned)).collect()
}

pub fn yaml(text: &str) -> Value {
    let source = config::File::from_str(text, config::FileFormat::Yaml);
    config::Config::builder().add_source(source).build().unwrap().try_deserialize().unwrap()
}

/// A program that `tests/run` installs; without it the test is skipped, aloud.
pub fn program(name: &str) -> Option<PathBuf> {
    let places = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&places).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.exists());
    if found.is_none() {
        skip(name);
    }
    found
}

/// Node's packages, if these are there.
pub fn node_modules(wanted: &[&str]) -> Option<PathBuf> {
    let folder = environment().join("node/node_modules");
    let missing = wanted.iter().find(|package| !folder.join(package).exists());
    if let Some(package) = missing {
        skip(package);
        return None;
    }
    Some(folder)
}

/// Where a Python package is, if it is there.
pub fn python_package(name: &str) -> Option<PathBuf> {
    let libraries = environment().join("python/lib");
    let pythons = fs::read_dir(libraries).into_iter().flatten().flatten();
    let found = pythons.map(|python| python.path().join("site-packages").join(name)).find(|package| package.exists());
    if found.is_none() {
        skip(name);
    }
    found
}

fn environment() -> PathBuf {
    env::var_os("WSKEEPER_TEST_ENV").map_or_else(|| path("target/test-env"), PathBuf::from)
}

fn skip(what: &str) {
    assert!(env::var_os("WSKEEPER_TEST_REAL").is_none(), "{what} is not installed");
    eprintln!("SKIPPED: {what} is not installed; tests/run installs it");
}

/// Runs a program in the root of the project.
pub fn run(program: &Path, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).current_dir(path("")).output().unwrap()
}

#[track_caller]
pub fn assert_success(output: &Output) {
    let said = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
    assert!(output.status.success(), "{said}");
}

/// The metrics that an expression or a text names, without what a histogram appends.
pub fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == ':';
    text.split(|char: char| !is_part(char))
        .filter(|word| word.starts_with("wskeeper_") || word.starts_with("process_"))
        .map(|word| {
            let base = ["_bucket", "_sum", "_count"].into_iter().find_map(|end| word.strip_suffix(end));
            base.unwrap_or(word).to_owned()
        })
        .collect()
}

/// The selectors of an expression: a metric, a recorded series or `up`, with its matchers.
pub fn selectors_in(expression: &str) -> Vec<String> {
    let shape =
        regex_lite::Regex::new(r"\b(?:up|(?:[a-z_]+:)?(?:wskeeper|process)_[a-z_:0-9]+)\b(?:\{[^}]*\})?").unwrap();
    shape.find_iter(expression).map(|found| found.as_str().to_owned()).collect()
}

#[test]
fn selectors_are_found_with_their_matchers() {
    let found =
        selectors_in(r#"sum(rate(wskeeper_x_total{a=~"b|c"}[5m])) / on (up_to) endpoint:wskeeper_y:ratio > up{z="1"}"#);
    assert_eq!(found, [r#"wskeeper_x_total{a=~"b|c"}"#, "endpoint:wskeeper_y:ratio", r#"up{z="1"}"#]);
}
