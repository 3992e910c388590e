//! What kustomize renders, as values: the objects by kind, the pod inside the workload, the configuration inside the `ConfigMap`.
//!
//! The daemon's container stands in `containers`, or as a native sidecar in `initContainers`; `daemon` finds it in either.

use std::{fs, path::PathBuf};

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use yaml_rust2::{Yaml, YamlLoader};

/// The overlays that are shipped.
pub const OVERLAYS: [&str; 3] = ["stateless", "durable", "sidecar"];

/// An overlay with the component `monitoring`, which is off unless somebody takes it in.
pub const MONITORED: &str = "monitored";

/// The files of the recipe for a sidecar.
pub const RECIPE: &str = "recipe";

/// All that is judged.
pub const JUDGED: [&str; 5] = [OVERLAYS[0], OVERLAYS[1], OVERLAYS[2], MONITORED, RECIPE];

/// Kinds that own the pod.
const WORKLOADS: [&str; 2] = ["Deployment", "StatefulSet"];

/// The objects of one overlay.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifests {
    /// In the order in which they were rendered.
    pub objects: Vec<Value>,
}

impl Manifests {
    /// Reads what kustomize wrote.
    pub fn parse(yaml: &str) -> Self {
        Self { objects: YamlLoader::load_from_str(yaml).unwrap().into_iter().map(to_json).collect() }
    }

    /// As YAML again: each object as JSON, which YAML contains.
    pub fn to_yaml(&self) -> String {
        self.objects.iter().flat_map(|object| ["---\n".to_owned(), object.to_string(), "\n".to_owned()]).collect()
    }

    /// All objects of a kind.
    pub fn of(&self, kind: &str) -> Vec<&Value> {
        self.objects.iter().filter(|object| object["kind"] == kind).collect()
    }

    /// The first object of a kind, to be changed.
    pub fn edit(&mut self, kind: &str) -> &mut Value {
        self.objects.iter_mut().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
    }

    /// The Deployment or `StatefulSet`.
    pub fn workload(&self) -> &Value {
        let is_workload = |object: &&Value| WORKLOADS.iter().any(|kind| object["kind"] == *kind);
        self.objects.iter().find(is_workload).expect("a workload")
    }

    /// What the workload's pods are like.
    pub fn pod(&self) -> &Value {
        &self.workload()["spec"]["template"]["spec"]
    }

    /// The labels of its pods.
    pub fn pod_labels(&self) -> &Value {
        &self.workload()["spec"]["template"]["metadata"]["labels"]
    }

    /// The container that runs wskeeper.
    pub fn daemon(&self) -> &Value {
        let pod = self.pod();
        let mut containers = items(&pod["containers"]).chain(items(&pod["initContainers"]));
        containers.find(|container| container["name"] == "wskeeper").expect("a container named wskeeper")
    }

    /// The ports of the containers beside it.
    pub fn ports_of_others(&self) -> Vec<&Value> {
        let pod = self.pod();
        let containers = items(&pod["containers"]).chain(items(&pod["initContainers"]));
        containers
            .filter(|container| container["name"] != "wskeeper")
            .flat_map(|other| items(&other["ports"]))
            .collect()
    }

    /// A setting of the security context: the daemon's own, or its pod's.
    pub fn context(&self, key: &str) -> &Value {
        let own = &self.daemon()["securityContext"][key];
        if own.is_null() { &self.pod()["securityContext"][key] } else { own }
    }

    /// The files of the `ConfigMap`, in a folder.
    pub fn config_folder(&self) -> TempDir {
        let folder = TempDir::new().unwrap();
        for (name, text) in self.config_files() {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    /// The files of the `ConfigMap`.
    pub fn config_files(&self) -> Vec<(&str, &str)> {
        let data = self.of("ConfigMap").into_iter().filter_map(|map| map["data"].as_object());
        data.flatten().map(|(name, text)| (name.as_str(), text.as_str().unwrap())).collect()
    }
}

/// The elements of a list; none where there is no list.
pub fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// The project's folder.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn to_json(yaml: Yaml) -> Value {
    match yaml {
        Yaml::Null | Yaml::BadValue | Yaml::Alias(_) => Value::Null,
        Yaml::Boolean(is) => json!(is),
        Yaml::Integer(number) => json!(number),
        Yaml::Real(number) => json!(number.parse::<f64>().unwrap()),
        Yaml::String(text) => json!(text),
        Yaml::Array(list) => list.into_iter().map(to_json).collect(),
        Yaml::Hash(map) => {
            let pairs = map.into_iter().map(|(key, value)| (key.into_string().expect("a text as key"), to_json(value)));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
    }
}
