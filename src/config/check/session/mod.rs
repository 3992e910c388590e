//! `[endpoints.NAME.session]`: what is written becomes a plan.
//!
//! The keys are collected by the table of keys, layer by layer, and made a plan once all layers have been read. What a reader would get
//! wrong: a variable is used before what sets it is read, so whether anything does is asked at the end.

use std::{cell::RefCell, collections::BTreeSet, sync::Arc};

use wskeeper_core::session::{Names, Plan, Rules, Var};
use wskeeper_link::endpoint::{Session, Template};

use self::values::Values;
use super::{
    item::Item,
    section::{Report, Section, suggestion},
};
use crate::config::session::{Keys, Part, Steps, Written};

mod act;
mod call;
mod clear;
mod keys;
mod matcher;
mod send;
mod steps;
mod text;
mod values;

pub(super) use act::label;
pub(in crate::config) use clear::is_secret;
pub(in crate::config) use keys::{list, names, part, values};

/// The longest name of a variable, a value or a label, in bytes.
const NAME_MAX: usize = 64;

/// What is found on the way.
struct Reader<'a> {
    report: &'a Report,
    values: Values<'a>,
    /// All layers have been read: what is not there is missing.
    whole: bool,
    names: RefCell<Names>,
    secrets: RefCell<Vec<Template>>,
    /// Variables that something sets.
    set: RefCell<BTreeSet<Var>>,
    /// Where variables are used.
    used: RefCell<Vec<(Var, Place)>>,
}

/// Where something is written.
struct Place {
    origin: Option<String>,
    path: String,
}

impl Place {
    fn of(item: &Item<'_>) -> Self {
        Self { origin: item.value.origin().map(str::to_owned), path: item.path.clone() }
    }
}

/// Makes the plan; `None` where there is nothing to do. Of `[defaults]`, which are not the `whole`, an endpoint may still bring the rest.
pub(super) fn compile(section: &Section<'_>, keys: &Keys, whole: bool) -> Option<Arc<Session>> {
    let report = section.report;
    let reader = Reader {
        report,
        values: Values::of(section, &keys.values),
        whole,
        names: RefCell::default(),
        secrets: RefCell::default(),
        set: RefCell::default(),
        used: RefCell::default(),
    };
    let item = |written| at(report, written);
    let open = keys.open.as_ref().map(|Steps(written)| reader.open(&item(written), keys.timeout));
    let on = keys.on.as_ref().map(|Steps(written)| reader.rules(&item(written)));
    let every = keys.every.as_ref().map(|Steps(written)| reader.timers(&item(written)));
    let mute = keys.mute.as_ref().map(|Part(written)| reader.mute(&item(written)));
    let leave = keys.leave.as_ref().map(|Steps(written)| reader.leave(&item(written)));
    let keep = keys.keep.as_ref().map(|names| reader.variables(&item(&names.0))).unwrap_or_default();
    reader.values.read_all(&reader);
    if whole {
        reader.look_at_variables();
    }
    if open.is_none() && on.is_none() && every.is_none() && mute.is_none() && leave.is_none() {
        return None;
    }
    let plan = Plan {
        names: reader.names.into_inner(),
        keep: keep.into(),
        open: open.unwrap_or_default().into(),
        timeout: keys.timeout,
        on: Rules::new(on.unwrap_or_default().into()),
        every: every.unwrap_or_default().into(),
        mute: mute.flatten(),
        leave: leave.unwrap_or_default().into(),
        max_json: keys.max_json,
    };
    Some(Arc::new(Session { plan: Arc::new(plan), secrets: reader.secrets.into_inner().into() }))
}

fn at<'a>(report: &'a Report, written: &'a Written) -> Item<'a> {
    Item { report, path: written.path.clone(), value: &written.value }
}

impl Reader<'_> {
    /// A variable that is used here.
    fn variable(&self, item: &Item<'_>, name: &str) -> Option<Var> {
        let var = self.name(item, name)?;
        self.used.borrow_mut().push((var, Place::of(item)));
        Some(var)
    }

    /// A variable that is set here.
    fn setting(&self, item: &Item<'_>, name: &str) -> Option<Var> {
        let var = self.name(item, name)?;
        self.set.borrow_mut().insert(var);
        Some(var)
    }

    fn name(&self, item: &Item<'_>, name: &str) -> Option<Var> {
        if !is_name(name) {
            item.fault("is not a variable's name", "use letters, digits and `_`, and begin with none of the digits");
            return None;
        }
        let var = self.names.borrow_mut().intern(name);
        if var.is_none() {
            item.fault("there are too many variables", "use fewer than 65536");
        }
        var
    }

    /// A list of variables that are used here.
    fn variables(&self, item: &Item<'_>) -> Vec<Var> {
        let names = item.list().unwrap_or_default();
        names.iter().filter_map(|item| self.variable(item, item.text()?)).collect()
    }

    /// A variable that nothing sets is never there: its name is a slip, or what would set it is missing.
    fn look_at_variables(&self) {
        let (names, set) = (self.names.borrow(), self.set.borrow());
        let known: Vec<&str> = set.iter().map(|var| names.name(*var)).collect();
        let mut told = BTreeSet::new();
        for (var, place) in self.used.borrow().iter().filter(|(var, _)| !set.contains(var)) {
            if !told.insert((*var, &*place.path)) {
                continue;
            }
            let name = names.name(*var);
            let hint = match suggestion(name, &known) {
                near if near.starts_with("did") => near,
                near => format!("set it by `extract`, `set` or a named group of `regex`; {near}"),
            };
            let (problem, hint) = (format!("nothing sets the variable `{name}`"), hint.trim_end_matches("; "));
            self.report.fault(place.origin.as_deref(), &place.path, problem, hint);
        }
    }
}

/// Whether it may be the name of a variable or a value.
fn is_name(name: &str) -> bool {
    name.len() <= NAME_MAX
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
