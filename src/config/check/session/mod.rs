//! `[endpoints.NAME.session]`: what is written becomes a plan.
//!
//! The keys are collected by the table of keys, layer by layer, and made a plan once all layers have been read. What a reader would get
//! wrong: a variable is used before what sets it is read, so whether anything does is asked at the end.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

use wskeeper_core::session::{Made, Matcher, Names, Plan, Rules, Source, Var};
use wskeeper_link::endpoint::{Endpoint, Session, Subscriptions, Template, value};

use self::values::Values;
use super::{
    item::Item,
    section::{Report, Section, join, suggestion},
};
use crate::config::session::{self, Keys, Part, Steps, Written};

mod act;
mod call;
mod clear;
mod keys;
mod made;
mod matcher;
mod send;
mod steps;
mod subscriptions;
mod text;
mod values;

pub(super) use act::label;
pub(in crate::config) use clear::is_secret;
pub(in crate::config) use keys::{SHARED, answers, list, names, part, said, values, word};
pub(super) use matcher::pointer;
pub(in crate::config) use subscriptions::{ADD, follow_links};

/// The longest name of a variable, a value or a label, in bytes.
const NAME_MAX: usize = 64;

/// What is found on the way.
struct Reader<'a> {
    report: &'a Report,
    values: Rc<Values<'a>>,
    /// What is read is a part of the session; else it is made before the attempt.
    is_step: bool,
    /// What is read runs before there is a connection.
    is_before: Cell<bool>,
    names: RefCell<Names>,
    secrets: RefCell<Vec<Template>>,
    /// Variables that something sets.
    set: RefCell<BTreeSet<Var>>,
    /// Where variables are used.
    used: RefCell<Vec<(Var, Place)>>,
    /// What must be made for the step that is being read.
    making: RefCell<Vec<Made>>,
    /// What the message about keys that is being read says of them.
    keys: RefCell<Option<Vec<Source>>>,
}

/// What comes of the keys.
#[derive(Default)]
pub(super) struct Compiled {
    pub(super) session: Option<Arc<Session>>,
    /// `requests.error`
    pub(super) error: Option<Box<Matcher>>,
    pub(super) subscriptions: Option<Arc<Subscriptions>>,
    /// Values that are made before an attempt.
    pub(super) values: Box<[Arc<value::Value>]>,
    /// Those of `[values]` that are used.
    pub(super) shared: BTreeMap<String, Written>,
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

/// Makes the plan, and the values that it and the endpoint's other templates name. Of `[defaults]`, which are not the `whole`, an endpoint
/// may still bring the rest.
pub(super) fn compile(
    section: &Section<'_>,
    (keys, shared): (&Keys, &BTreeMap<String, Written>),
    endpoint: &Endpoint,
    whole: bool,
) -> Compiled {
    let report = section.report;
    let values = Values::of(section, &keys.values, shared, (&endpoint.name, whole));
    let reader = Reader {
        report,
        values: Rc::clone(&values),
        is_step: true,
        is_before: Cell::default(),
        names: RefCell::default(),
        secrets: RefCell::default(),
        set: RefCell::default(),
        used: RefCell::default(),
        making: RefCell::default(),
        keys: RefCell::default(),
    };
    let item = |written| at(report, written);
    reader.is_before.set(true);
    let dial = keys
        .dial
        .as_ref()
        .map(|Steps(written)| reader.dial(&item(written), endpoint.link.connect_timeout))
        .unwrap_or_default();
    reader.is_before.set(false);
    let (used_before, set_before) = (reader.used.borrow().len(), reader.set.borrow().clone());
    let open = keys.open.as_ref().map(|Steps(written)| reader.open(&item(written), keys.timeout));
    let on = keys.on.as_ref().map(|Steps(written)| reader.rules(&item(written)));
    let every = keys.every.as_ref().map(|Steps(written)| reader.timers(&item(written)));
    let mute = keys.mute.as_ref().map(|Part(written)| reader.mute(&item(written)));
    let leave = keys.leave.as_ref().map(|Steps(written)| reader.leave(&item(written)));
    let (keep, durable) = reader.lasting(keys);
    let error = keys.request_error.as_ref().map(|Part(written)| reader.error(&item(written)));
    let subscribing = reader.subscribing(&keys.subscriptions);
    reader.of_request(section, endpoint);
    let (values, shared) = values.taken();
    reader.values.read_all(&reader);
    if whole {
        reader.look_at_variables();
        reader.look_at_variables_before(used_before, |var| set_before.contains(&var) || keep.contains(&var));
    }
    let subscriptions = keys.subscriptions.is_there.then(|| reader.subscriptions(&keys.subscriptions, endpoint, whole));
    let has_steps = !dial.is_empty() || [&open, &leave].into_iter().any(Option::is_some);
    if !has_steps && on.is_none() && every.is_none() && mute.is_none() && subscriptions.is_none() {
        return Compiled { session: None, subscriptions, error, values, shared };
    }
    let plan = Plan {
        names: reader.names.into_inner(),
        keep: keep.into(),
        durable: durable.into(),
        dial: dial.into(),
        open: open.unwrap_or_default().into(),
        timeout: keys.timeout,
        on: Rules::new(on.unwrap_or_default().into()),
        every: every.unwrap_or_default().into(),
        mute: mute.flatten(),
        leave: leave.unwrap_or_default().into(),
        subscriptions: subscribing.map(Box::new),
        max_json: keys.max_json,
    };
    let session = Session { plan: Arc::new(plan), secrets: reader.secrets.into_inner().into() };
    Compiled { session: Some(Arc::new(session)), subscriptions, error, values, shared }
}

fn at<'a>(report: &'a Report, written: &'a Written) -> Item<'a> {
    Item { report, path: written.path.clone(), value: &written.value }
}

impl<'a> Reader<'a> {
    /// `requests.error`, which is looked at where there is no session.
    fn error(&self, item: &Item<'a>) -> Box<Matcher> {
        let section = Section::of(item);
        let matcher = self.matcher(&section);
        section.finish();
        let is_literal = matcher.json.iter().all(|wanted| wanted.value.literal().is_some());
        if !is_literal || !matcher.variables.is_empty() || matcher::sets(&matcher) {
            item.fault("has variables, and there is no session here", "compare with values as they are");
        } else if matcher::matches_all(&matcher) {
            item.fault("matches every reply", "say what an error looks like, as { has = [\"/error\"] }");
        }
        Box::new(matcher)
    }

    /// Values that URLs, headers and subprotocols name.
    fn of_request(&self, section: &Section<'a>, endpoint: &Endpoint) {
        let aside = self.aside(true);
        let headers = endpoint.headers.iter().map(|(_, template)| ("headers", template));
        let urls = endpoint.urls.iter().map(|template| (if section.has("urls") { "urls" } else { "url" }, template));
        let protocols = endpoint.protocols.iter().map(|template| ("protocols", template));
        for (key, template) in urls.chain(headers).chain(protocols) {
            let nowhere = config::Value::new(section.origin().map(str::to_owned).as_ref(), config::ValueKind::Nil);
            for name in template.values() {
                let path = join(&section.path, key);
                let written = section.get(key);
                let value = written.as_ref().map_or(&nowhere, |item| item.value);
                let _ = self.values.get_before(&aside, &Item { report: self.report, path, value }, name);
            }
        }
    }

    /// What must be made for what has been read since this was last asked.
    fn makes(&self) -> Box<[Made]> {
        std::mem::take(&mut *self.making.borrow_mut()).into()
    }

    /// Nothing waits here for what must be made.
    fn refuse_makes(&self, item: &Item<'_>) {
        for made in &self.makes() {
            let hint = format!(
                "give the value {} per = \"attempt\" or a ttl, or send it by a step of `open` or `every`",
                made.name
            );
            item.fault("a value that is made at its use cannot be waited for here", hint);
        }
    }

    /// What is made before an attempt knows no variables.
    fn look_at_nothing_set(&self, path: &str, origin: Option<&str>) {
        if self.names.borrow().iter().next().is_some() {
            let hint = "use it in steps only, with per = \"use\"; or take the variable out";
            self.report.fault(origin, path, "is made before the attempt, where there are no variables", hint);
        }
    }

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

    /// Variables that outlive their connection, and those of them that outlive the daemon.
    fn lasting(&self, keys: &Keys) -> (Vec<Var>, Vec<Var>) {
        let read = |names: &Option<session::Names>| {
            names.as_ref().map(|names| self.variables(&at(self.report, &names.0))).unwrap_or_default()
        };
        let (mut keep, durable) = (read(&keys.keep), read(&keys.durable));
        let more: Vec<Var> = durable.iter().copied().filter(|var| !keep.contains(var)).collect();
        keep.extend(more);
        (keep, durable)
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

impl Reader<'_> {
    /// What the steps of `dial` use must be there before there is a connection.
    fn look_at_variables_before(&self, used: usize, is_there: impl Fn(Var) -> bool) {
        let (names, set) = (self.names.borrow(), self.set.borrow());
        let before = self.used.borrow();
        let missing = before.iter().take(used).filter(|(var, _)| set.contains(var) && !is_there(*var));
        for (var, place) in missing {
            let problem = format!("no step of `dial` sets the variable `{}`", names.name(*var));
            let hint = "list it in session.keep, where it is what the last connection left, or set it before";
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
