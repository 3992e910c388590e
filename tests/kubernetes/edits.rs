//! Changes of rendered manifests, by JSON pointer and by text.
//!
//! Each panics where there is nothing to change: a weakness that has not happened must not count as found out.

use serde_json::{Value, json};

use super::manifests::Manifests;

/// Puts a value where the path says; its parent must be there.
pub fn set(kind: &'static str, path: impl Into<String>, value: Value) -> impl Fn(&mut Manifests) {
    let path = path.into();
    move |all| {
        let (parent, key) = split(&path);
        let place = all.edit(kind).pointer_mut(parent).unwrap_or_else(|| panic!("{kind} has no {parent}"));
        place
            .as_object_mut()
            .map_or_else(|| panic!("{parent} is no map"), |map| map.insert(key.replace("~1", "/"), value.clone()));
    }
}

/// Takes away what the path says, which must be there.
pub fn remove(kind: &'static str, path: impl Into<String>) -> impl Fn(&mut Manifests) {
    let path = path.into();
    move |all| {
        let (parent, key) = split(&path);
        match all.edit(kind).pointer_mut(parent) {
            Some(Value::Object(map)) => drop(map.remove(key).unwrap_or_else(|| panic!("{kind} has no {path}"))),
            Some(Value::Array(list)) => drop(list.remove(key.parse().unwrap())),
            other => panic!("{kind} has no {parent}: {other:?}"),
        }
    }
}

/// Adds to a list.
pub fn append(kind: &'static str, path: impl Into<String>, value: Value) -> impl Fn(&mut Manifests) {
    let path = path.into();
    move |all| all.edit(kind).pointer_mut(&path).unwrap().as_array_mut().unwrap().push(value.clone())
}

/// Leaves out all objects of a kind.
pub fn drop_kind(kind: &'static str) -> impl Fn(&mut Manifests) {
    move |all| all.objects.retain(|object| object["kind"] != kind)
}

/// Replaces a text in a file of the `ConfigMap`.
pub fn config(file: &'static str, from: &'static str, to: &'static str) -> impl Fn(&mut Manifests) {
    move |all| {
        let text = all.edit("ConfigMap")["data"][file].as_str().unwrap().to_owned();
        assert!(text.contains(from), "{file} has no {from:?}");
        all.edit("ConfigMap")["data"][file] = json!(text.replace(from, to));
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').expect("a path with a parent")
}
