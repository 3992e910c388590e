//! Connections as OpenTelemetry spans: one trace for each attempt, and for the connection that it makes.
//!
//! ```text
//! websocket.connection  from the attempt to the end     (an attempt that fails has only what follows)
//! ├ websocket.connect   the attempt: admission · dns · tcp · tls · upgrade, each a child
//! └ websocket.session   from OPEN to ready, where there is a session; each step is an event, with its name and what became of it
//! ```
//! A span is made when its end is known, so nothing is held for links but the beginning of what is open. The queue is bounded and
//! never waited for: what does not fit is counted and gone. There is nothing secret in a span, and no payload.

mod export;
mod json;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::mpsc;

use super::Families;
use wskeeper_core::{
    close::{Cause, Closed},
    event::{DialFailure, Established, Event, LinkId, Timings},
    session::{Opening, Stepped},
};

pub use export::Exporter;

/// Spans that may wait for the exporter.
const QUEUE: usize = 4096;

/// A span as it is exported.
#[derive(Debug)]
pub(super) struct Span {
    trace: u128,
    id: u64,
    parent: Option<u64>,
    name: &'static str,
    begin: SystemTime,
    end: SystemTime,
    /// What went wrong, where something did.
    error: Option<Box<str>>,
    attributes: Vec<(&'static str, Value)>,
    events: Vec<Moment>,
}

/// Something that happened within a span.
#[derive(Debug)]
pub(super) struct Moment {
    name: &'static str,
    at: SystemTime,
    attributes: Vec<(&'static str, Value)>,
}

/// An attribute's value.
#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
}

type Attributes = Vec<(&'static str, Value)>;

/// An open connection's beginning.
#[derive(Debug)]
struct Begun {
    trace: u128,
    id: u64,
    at: SystemTime,
    opened: SystemTime,
    attributes: Vec<(&'static str, Value)>,
}

/// Where facts become spans.
#[derive(Debug)]
pub struct Spans {
    queue: mpsc::Sender<Span>,
    /// By link and the connection's number: a link that rotates has two.
    open: Mutex<HashMap<(LinkId, u64), Begun>>,
    families: Arc<Families>,
}

impl Spans {
    /// Tells a fact that came to be at this time; `url` is the one in use, `attempt` its number since the link was stable.
    pub fn tell(&self, link: &LinkId, at: SystemTime, event: &Event, (url, attempt): (&str, u32)) {
        if let Event::DialFailed(failure) | Event::RotateFailed { failure, .. } = event {
            self.failed(link, at, failure, (url, attempt));
        } else if let Event::Opened { generation, established } = event {
            self.opened(link, at, established, (*generation, attempt));
        } else if let Event::SessionReady { generation, opening } = event {
            self.opening(&(link.clone(), *generation), opening, None);
        } else if let Event::SessionFailed { generation, opening } = event {
            let error = "the connection ended before its session was ready";
            self.opening(&(link.clone(), *generation), opening, Some(error));
        } else if let Event::Closed { generation, closed, .. } = event {
            self.closed(&(link.clone(), *generation), at, closed);
        }
    }

    fn failed(&self, link: &LinkId, at: SystemTime, failure: &DialFailure, (url, attempt): (&str, u32)) {
        let mut attributes = of_link(link, attempt);
        attributes.push(("url.full", Value::Text(url.to_owned())));
        attributes.push(("error.type", Value::Text(error_type(failure.cause, failure.status))));
        attributes.extend(failure.status.map(|status| ("http.response.status_code", Value::Number(status.into()))));
        let steps = failure.steps.as_ref().map_or(&[][..], |opening| &opening.steps);
        let ended = steps.iter().filter_map(|step| step.began.checked_add(step.took)).max();
        let events = steps.iter().map(|step| {
            let before = ended.map_or(Duration::ZERO, |ended| ended.saturating_duration_since(step.began));
            moment(step, back(at, before))
        });
        let events = events.collect();
        attributes
            .extend(failure.label.as_ref().map(|label| ("wskeeper.session.label", Value::Text(label.to_string()))));
        self.connect((trace(), None), at, &failure.timings, (attributes, Some(failure.detail.clone()), events));
    }

    fn opened(&self, link: &LinkId, at: SystemTime, established: &Established, (generation, attempt): (u64, u32)) {
        let mut attributes = of_link(link, attempt);
        attributes.push(("url.full", Value::Text(established.url.to_string())));
        if let Some(address) = established.address {
            attributes.push(("network.peer.address", Value::Text(address.ip().to_string())));
            attributes.push(("network.peer.port", Value::Number(address.port().into())));
        }
        let (trace, id) = (trace(), id());
        let begin = self.connect((trace, Some(id)), at, &established.timings.into(), (attributes, None, Vec::new()));
        let mut attributes = of_link(link, attempt);
        attributes.push(("wskeeper.generation", Value::Number(i64::try_from(generation).unwrap_or(i64::MAX))));
        attributes.push(("url.full", Value::Text(established.url.to_string())));
        self.open().insert((link.clone(), generation), Begun { trace, id, at: begin, opened: at, attributes });
    }

    fn closed(&self, connection: &(LinkId, u64), at: SystemTime, closed: &Closed) {
        let found = self.open().remove(connection);
        let Some(Begun { trace, id, at: begin, opened: _, mut attributes }) = found else { return };
        attributes.push(("wskeeper.close.code", Value::Number(closed.code.into())));
        attributes.push(("wskeeper.close.clean", Value::Flag(closed.was_clean)));
        attributes.push(("wskeeper.close.cause", Value::Text(closed.cause.to_string())));
        let error = closed.cause.is_failure().then(|| closed.detail.clone());
        if error.is_some() {
            attributes.push(("error.type", Value::Text(closed.cause.to_string())));
        }
        attributes
            .extend(closed.label.as_ref().map(|label| ("wskeeper.session.label", Value::Text(label.to_string()))));
        let (name, events) = ("websocket.connection", Vec::new());
        self.send(Span { trace, id, parent: None, name, begin, end: at, error, attributes, events });
    }

    /// What a session did until it was ready: from OPEN on, and before, where it has steps of `dial`.
    fn opening(&self, connection: &(LinkId, u64), opening: &Opening, error: Option<&str>) {
        let found = self.open().get(connection).map(|begun| (begun.trace, begun.id, begun.opened));
        let Some((trace, parent, begin)) = found else { return };
        let end = forth(begin, opening.took);
        let opened = opening.began.or_else(|| opening.steps.first().map(|step| step.began));
        let events = opening.steps.iter().map(|step| {
            let (after, before) = opened.map_or_else(Default::default, |opened| {
                (step.began.saturating_duration_since(opened), opened.saturating_duration_since(step.began))
            });
            moment(step, back(forth(begin, after), before))
        });
        let events: Vec<Moment> = events.collect();
        let begin = events.first().map_or(begin, |first| first.at.min(begin));
        let (id, parent, name) = (id(), Some(parent), "websocket.session");
        let steps = i64::try_from(opening.ran()).unwrap_or(i64::MAX);
        let attributes = vec![("wskeeper.session.steps", Value::Number(steps))];
        let error = error.map(Into::into);
        self.send(Span { trace, id, parent, name, begin, end, error, attributes, events });
    }

    /// The attempt that ended at `end`, and its steps. Answers when it began.
    fn connect(
        &self,
        (trace, parent): (u128, Option<u64>),
        end: SystemTime,
        timings: &Timings,
        (attributes, error, events): (Attributes, Option<Box<str>>, Vec<Moment>),
    ) -> SystemTime {
        let Timings { dns, admission, tcp, tls, upgrade, total } = *timings;
        let begin = back(end, total.saturating_add(admission.unwrap_or_default()));
        let id = id();
        // Steps follow each other; what is left over was before them, where secrets are read.
        let mut until = end;
        for (name, took) in [("upgrade", upgrade), ("tls", tls), ("tcp", tcp), ("admission", admission), ("dns", dns)] {
            let Some(took) = took else { continue };
            let from = back(until, took).max(begin);
            let (id, parent) = (self::id(), Some(id));
            let (attributes, events) = (Vec::new(), Vec::new());
            let step = Span { trace, id, parent, name, begin: from, end: until, error: None, attributes, events };
            self.send(step);
            until = from;
        }
        let name = "websocket.connect";
        self.send(Span { trace, id, parent, name, begin, end, error, attributes, events });
        begin
    }

    fn send(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.families.spans_dropped(1);
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<(LinkId, u64), Begun>> {
        self.open.lock()
    }
}

fn moment(step: &Stepped, at: SystemTime) -> Moment {
    let took = i64::try_from(step.took.as_micros()).unwrap_or(i64::MAX);
    let attributes = vec![
        ("wskeeper.step.act", Value::Text(step.act.to_owned())),
        ("wskeeper.step.place", Value::Text(step.place.to_string())),
        ("wskeeper.step.result", Value::Text(step.result.as_str().to_owned())),
        ("wskeeper.step.duration_us", Value::Number(took)),
    ];
    Moment { name: "wskeeper.step", at, attributes }
}

fn of_link(link: &LinkId, attempt: u32) -> Vec<(&'static str, Value)> {
    vec![
        ("network.protocol.name", Value::Text("websocket".into())),
        ("wskeeper.endpoint", Value::Text(link.endpoint.to_string())),
        ("wskeeper.link", Value::Number(link.index.into())),
        ("wskeeper.attempt", Value::Number(attempt.into())),
    ]
}

/// By the conventions for HTTP: the status where there is one, else what failed.
fn error_type(cause: Cause, status: Option<u16>) -> String {
    status.map_or_else(|| cause.to_string(), |status| status.to_string())
}

fn back(from: SystemTime, by: Duration) -> SystemTime {
    from.checked_sub(by).unwrap_or(from)
}

fn forth(from: SystemTime, by: Duration) -> SystemTime {
    from.checked_add(by).unwrap_or(from)
}

fn trace() -> u128 {
    uuid::Uuid::new_v4().as_u128()
}

fn id() -> u64 {
    // Its variant bits are never all zero, as a span's id must not be.
    uuid::Uuid::new_v4().as_u64_pair().1
}
