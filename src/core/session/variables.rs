//! Variables: their names in a plan, their values on a connection, and what the link keeps of them.
//!
//! Values come from the peer or from secrets, so `Debug` shows none. What a reader would get wrong: a [`Var`] is a place in the plan that
//! made it; what outlives the connection goes by name, for the next one may have another plan.

use std::fmt;

use super::json::{self, Value};

/// What the variables of one connection may hold together, in bytes.
pub const VARIABLES_MAX: usize = 64 << 10;

/// A variable of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Var(u16);

/// The variables of a plan, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(Vec<Box<str>>);

impl Names {
    /// The variable of this name; a new one where there is none yet. `None`: there are too many.
    pub fn intern(&mut self, name: &str) -> Option<Var> {
        if let Some(known) = self.find(name) {
            return Some(known);
        }
        let next = u16::try_from(self.0.len()).ok()?;
        self.0.push(name.into());
        Some(Var(next))
    }

    /// The variable of this name.
    pub fn find(&self, name: &str) -> Option<Var> {
        let at = self.0.iter().position(|known| **known == *name)?;
        u16::try_from(at).ok().map(Var)
    }

    /// Its name.
    pub fn name(&self, var: Var) -> &str {
        self.0.get(usize::from(var.0)).map_or("", |name| name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Their values on one connection.
#[derive(Default)]
pub(super) struct Variables {
    values: Vec<Option<Value>>,
    weight: usize,
}

/// They hold too much.
#[derive(Debug)]
pub(super) struct TooMuch;

impl Variables {
    pub(super) fn new(names: &Names) -> Self {
        Self { values: vec![None; names.len()], weight: 0 }
    }

    pub(super) fn get(&self, var: Var) -> Option<&Value> {
        self.values.get(usize::from(var.0))?.as_ref()
    }

    pub(super) fn set(&mut self, var: Var, value: Value) -> Result<(), TooMuch> {
        let weight = json::weight(&value);
        self.forget(var);
        let sum = self.weight.saturating_add(weight);
        if sum > VARIABLES_MAX {
            return Err(TooMuch);
        }
        if let Some(place) = self.values.get_mut(usize::from(var.0)) {
            (*place, self.weight) = (Some(value), sum);
        }
        Ok(())
    }

    pub(super) fn forget(&mut self, var: Var) {
        if let Some(old) = self.values.get_mut(usize::from(var.0)).and_then(Option::take) {
            self.weight = self.weight.saturating_sub(json::weight(&old));
        }
    }

    /// Texts among them, for what must not show them.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.values.iter().flatten().filter_map(Value::as_str)
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} variables", self.values.iter().flatten().count())
    }
}

/// What a link keeps of its variables from one connection to the next.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Kept(Vec<(Box<str>, Value)>);

impl Kept {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| **known == *name).map(|(_, value)| value)
    }

    /// All of it.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// The part of it that has these names.
    #[must_use]
    pub fn only(&self, names: &[Box<str>]) -> Self {
        self.0.iter().filter(|(known, _)| names.contains(known)).cloned().collect()
    }

    /// Whether what has these names is all of `part`.
    pub fn has_only(&self, names: &[Box<str>], part: &Self) -> bool {
        let mut mine = self.0.iter().filter(|(known, _)| names.contains(known));
        mine.all(|(known, value)| part.get(known) == Some(value))
            && part.0.iter().all(|(known, _)| names.contains(known) && self.get(known).is_some())
    }

    /// About how many bytes it holds.
    pub fn weight(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len().saturating_add(json::weight(value))).fold(0, usize::saturating_add)
    }

    /// As JSON, for who writes it down.
    pub fn to_json(&self) -> String {
        let members = self.0.iter().map(|(name, value)| (name.to_string(), value.clone()));
        Value::Object(members.collect()).to_string()
    }

    /// What [`Kept::to_json`] made; `None` where that is something else.
    pub fn from_json(text: &[u8]) -> Option<Self> {
        match json::parse(text)? {
            Value::Object(members) => Some(members.into_iter().map(|(name, value)| (name.into(), value)).collect()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
        }
    }

    /// The value of this name in a text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| json::text(value).into_owned())
    }

    /// Lets go of these.
    pub fn forget(&mut self, names: &[Box<str>]) {
        self.0.retain(|(known, _)| !names.contains(known));
    }

    pub(super) fn put(&mut self, name: &str, value: Option<&Value>) {
        let at = self.0.iter().position(|(known, _)| **known == *name);
        match (at.and_then(|at| self.0.get_mut(at)), value) {
            (Some((_, old)), Some(new)) => old.clone_from(new),
            (None, Some(new)) => self.0.push((name.into(), new.clone())),
            (Some(_) | None, None) => self.0.retain(|(known, _)| **known != *name),
        }
    }
}

impl FromIterator<(Box<str>, Value)> for Kept {
    fn from_iter<I: IntoIterator<Item = (Box<str>, Value)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_the_same_from_its_json_and_by_parts() {
        let id = "a\u{1f600}\"\n";
        let kept: Kept = [
            ("seq".into(), Value::from(9_007_199_254_740_993_u64)),
            ("sid".into(), Value::from(id)),
            ("none".into(), Value::Null),
        ]
        .into_iter()
        .collect();
        let back = Kept::from_json(kept.to_json().as_bytes()).expect("it is what was written");
        let names: [Box<str>; 3] = ["none".into(), "seq".into(), "sid".into()];
        assert!(back.has_only(&names, &kept) && kept.has_only(&names, &back), "{}", back.to_json());
        assert_eq!(Kept::from_json(b"[1]"), None);
        assert_eq!(Kept::from_json(b"{"), None);

        let part = kept.only(&names[1..2]);
        assert_eq!(part.to_json(), r#"{"seq":9007199254740993}"#);
        assert!(kept.has_only(&names[1..2], &part) && !kept.has_only(&names, &part));
        assert!(!Kept::default().has_only(&names, &part), "it is gone");
        assert!(!kept.has_only(&names[2..], &part), "it is another one");
    }
}
