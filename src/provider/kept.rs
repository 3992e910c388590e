//! Values for attempts: made for one, or kept for all who share them, as `core::values` says.
//!
//! What a reader would get wrong: a making that many wait for is a task of its own, so it goes on when the attempt that began it is given
//! up. And a value is renewed for as long as there is an endpoint that names it, whether anybody dials or not.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use wskeeper_core::{
    chance::Chance,
    session::{Plan, Start, of_peer},
    values::{Told, Unmade, Values},
};
use wskeeper_link::clock::Calendar;
use wskeeper_link::endpoint::{
    Endpoint, Secret,
    value::{self, Given, Span, Value, find},
};

use super::follow::{self, Made, Trouble};
use crate::observe::Families;

/// Whose, and which.
type Name = (Option<Arc<str>>, Box<str>);
/// What came of a making that was waited for.
type Outcome = Result<(Arc<str>, Option<Instant>), Unmade>;

/// Values, and who makes them.
#[derive(Debug)]
pub(super) struct Kept {
    families: Option<Arc<Families>>,
    pub(super) calendar: Calendar,
    state: Mutex<State>,
    /// A deadline has changed.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    values: Values<u64>,
    known: BTreeMap<Name, Known>,
    /// The number of the next value that is not known yet.
    next: u64,
    waiting: BTreeMap<u64, Vec<oneshot::Sender<Outcome>>>,
    /// When links were last given values: what was made later is not what was refused.
    given_at: BTreeMap<(Arc<str>, u32), (Weak<Endpoint>, Instant)>,
    chance: Chance,
}

/// A value that is kept.
#[derive(Debug)]
struct Known {
    number: u64,
    value: Arc<Value>,
    /// An endpoint that names it.
    endpoint: Weak<Endpoint>,
}

impl Kept {
    pub(super) fn new(families: Option<Arc<Families>>, seed: u64, calendar: Calendar) -> Arc<Self> {
        let state = State {
            values: Values::new(seed),
            known: BTreeMap::new(),
            next: 0,
            waiting: BTreeMap::new(),
            given_at: BTreeMap::new(),
            chance: Chance::new(seed.rotate_left(17)),
        };
        let kept = Arc::new(Self { families, calendar, state: Mutex::new(state), changed: Notify::new() });
        tokio::spawn(renew(Arc::downgrade(&kept)));
        kept
    }

    /// Counts what a making comes to.
    pub(super) async fn counted(&self, kind: &'static str, making: impl Future<Output = Made>) -> Made {
        let made = making.await;
        if let Some(families) = &self.families {
            families.value_evaluated(kind, made.is_ok());
        }
        made
    }

    /// All values of an endpoint, those of which others are made first.
    pub(super) async fn all(
        self: &Arc<Self>,
        endpoint: &Arc<Endpoint>,
        link: u32,
        refused: Option<Instant>,
    ) -> Result<Vec<Given>, value::Unmade> {
        let mut given: Vec<Given> = Vec::new();
        let whose = (Arc::clone(&endpoint.name), link);
        let refused =
            refused.map(|at| (self.state.lock().given_at.get(&whose).map_or(at, |(_, given_at)| *given_at), at));
        for value in &endpoint.values {
            let made = match value.span {
                Span::Attempt => {
                    let made = self.make(value, endpoint, link, &given).await;
                    made.map(|(text, _)| (text.into(), None)).map_err(Unmade::from)
                }
                Span::For(_) | Span::Answer => self.shared(value, (endpoint, link), &given, refused).await,
            };
            let (text, ends) = made.map_err(|Unmade { why, is_refused }| value::Unmade {
                why: format!("the value {}: {why}", value.name).into(),
                is_refused,
            })?;
            given.push(Given { name: value.name.clone(), text: Secret::new(&*text), ends });
        }
        self.state.lock().given_at.insert(whose, (Arc::downgrade(endpoint), now()));
        Ok(given)
    }

    /// One that is kept for all: as it is, or as it is once it is made.
    async fn shared(
        self: &Arc<Self>,
        value: &Arc<Value>,
        (endpoint, link): (&Arc<Endpoint>, u32),
        given: &[Given],
        refused: Option<(Instant, Instant)>,
    ) -> Outcome {
        let now = now();
        let (answer, number, makes) = {
            let mut state = self.state.lock();
            let number = state.number(value, endpoint);
            let (wait, answer) = oneshot::channel();
            if let Some((_, refused)) = refused {
                state.values.try_again(&number, refused);
            }
            let makes = match state.values.ask(now, &number, refused.map(|(given_at, _)| given_at)) {
                Told::Value(text, ends) => return Ok((text, ends)),
                Told::Failed(unmade) => return Err(unmade),
                Told::Wait => false,
                Told::Make => true,
            };
            state.waiting.entry(number).or_default().push(wait);
            (answer, number, makes)
        };
        if makes {
            let (kept, value, endpoint) = (Arc::clone(self), Arc::clone(value), Arc::clone(endpoint));
            let given = given.to_vec();
            tokio::spawn(async move {
                kept.make_shared(Making::of(&kept, number), &value, (&endpoint, link), &given).await;
            });
        }
        answer.await.unwrap_or_else(|_| Err(broke_off()))
    }

    async fn make_shared(
        &self,
        making: Making<'_>,
        value: &Value,
        (endpoint, link): (&Arc<Endpoint>, u32),
        given: &[Given],
    ) {
        let made = self.make(value, endpoint, link, given).await;
        let made = made.map_err(Unmade::from).map(|(text, answered)| {
            let span = match value.span {
                Span::For(span) => Some(span),
                // For those who wait, where nothing is said.
                Span::Answer | Span::Attempt => Some(answered.unwrap_or(Duration::ZERO)),
            };
            (Arc::<str>::from(text), span)
        });
        making.end(made);
    }

    /// A making is over: those who wait are told.
    fn over(&self, number: u64, made: Result<(Arc<str>, Option<Duration>), Unmade>) {
        let now = now();
        // Of what is good for no time nothing is known, and no connection is replaced for it.
        let end = |span: Option<Duration>| now.checked_add(span.filter(|span| !span.is_zero())?);
        let outcome = made.clone().map(|(text, span)| (text, end(span)));
        let waiting = {
            let mut state = self.state.lock();
            state.values.made(now, &number, made);
            state.waiting.remove(&number).unwrap_or_default()
        };
        self.changed.notify_one();
        for wait in waiting {
            // Who asked may be gone.
            let _ = wait.send(outcome.clone());
        }
    }

    async fn make(&self, value: &Value, endpoint: &Arc<Endpoint>, link: u32, given: &[Given]) -> Made {
        let making = async {
            let secrets = read(value, given).await?;
            let mut hidden: Vec<String> = secrets.iter().map(ToString::to_string).collect();
            hidden.extend(given.iter().map(|given| given.text.expose().to_owned()));
            let start = Start {
                plan: Arc::new(Plan::default()),
                secrets,
                wall: self.calendar.since_epoch(),
                at: now(),
                endpoint: Arc::clone(&endpoint.name),
                link,
                dialled: None,
                is_watched: false,
            };
            let mut chance = Chance::new(self.state.lock().chance.bits());
            let recipe = value.make.recipe(&start, &mut chance).ok_or("what it is made of is too large")?;
            let made = Box::pin(follow::follow(recipe, endpoint)).await;
            made.map_err(|Trouble { why, is_refused }| Trouble {
                why: of_peer(why.as_bytes(), hidden.iter().map(String::as_str).collect()),
                is_refused,
            })
        };
        self.counted(value.make.as_str(), making).await
    }
}

/// A making that others wait for. It has failed where this is dropped before it is over: one that panics holds up nobody.
struct Making<'a> {
    kept: &'a Kept,
    number: Option<u64>,
}

impl<'a> Making<'a> {
    fn of(kept: &'a Kept, number: u64) -> Self {
        Self { kept, number: Some(number) }
    }

    fn end(mut self, made: Result<(Arc<str>, Option<Duration>), Unmade>) {
        if let Some(number) = self.number.take() {
            self.kept.over(number, made);
        }
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number.take() {
            self.kept.over(number, Err(broke_off()));
        }
    }
}

fn broke_off() -> Unmade {
    Unmade { why: "its making broke off".into(), is_refused: false }
}

impl From<Trouble> for Unmade {
    fn from(Trouble { why, is_refused }: Trouble) -> Self {
        Self { why: why.into(), is_refused }
    }
}

impl State {
    /// The number of a value. One that is written otherwise than before is another one.
    fn number(&mut self, value: &Arc<Value>, endpoint: &Arc<Endpoint>) -> u64 {
        let name = (value.owner.clone(), value.name.clone());
        if let Some(known) = self.known.get_mut(&name) {
            known.endpoint = Arc::downgrade(endpoint);
            if *known.value == **value {
                return known.number;
            }
            self.values.forget(&known.number);
        }
        self.next = self.next.saturating_add(1);
        let known = Known { number: self.next, value: Arc::clone(value), endpoint: Arc::downgrade(endpoint) };
        self.known.insert(name, known);
        self.next
    }

    /// What is to be renewed now; what nobody names any more is forgotten.
    fn due(&mut self, now: Instant) -> Vec<(u64, Arc<Value>, Arc<Endpoint>)> {
        self.given_at.retain(|_, (endpoint, _)| endpoint.strong_count() > 0);
        let mut due = Vec::new();
        for number in self.values.due(now) {
            let known = self.known.values().find(|known| known.number == number);
            let named = known.and_then(|known| Some((number, Arc::clone(&known.value), known.endpoint.upgrade()?)));
            if let Some(renewed) = named {
                due.push(renewed);
            } else {
                self.values.forget(&number);
                self.known.retain(|_, known| known.number != number);
            }
        }
        due
    }
}

/// Makes values anew ahead of their ends, for as long as somebody keeps them.
async fn renew(kept: Weak<Kept>) {
    loop {
        let Some(strong) = kept.upgrade() else { return };
        let (due, next) = {
            let mut state = strong.state.lock();
            let due = state.due(now());
            (due, state.values.poll_timeout())
        };
        for (number, value, endpoint) in due {
            let kept = Arc::clone(&strong);
            tokio::spawn(async move {
                let making = Making::of(&kept, number);
                // Those that it is made of are asked for as an attempt does.
                let others = endpoint.values.iter().take_while(|other| other.name != value.name).cloned().collect();
                let others = Arc::new(Endpoint { values: others, ..Endpoint::clone(&endpoint) });
                let given = Box::pin(kept.all(&others, 0, None)).await.unwrap_or_default();
                kept.make_shared(making, &value, (&endpoint, 0), &given).await;
            });
        }
        let patience = next.map_or(Duration::from_hours(1), |at| at.saturating_duration_since(now()));
        let _ = tokio::time::timeout(patience, strong.changed.notified()).await;
    }
}

/// The values of its references. It reads files, so it is done aside.
async fn read(value: &Value, given: &[Given]) -> Result<Box<[Box<str>]>, String> {
    let (secrets, given) = (value.secrets.clone(), given.to_vec());
    let reading = tokio::task::spawn_blocking(move || {
        let of = |name: &str| find(&given, name).map(str::to_owned);
        let read = secrets.iter().map(|secret| Ok(secret.evaluate_for(&|_| None, &of)?.expose().into()));
        read.collect::<Result<_, wskeeper_link::endpoint::SecretError>>().map_err(|error| error.to_string())
    });
    reading.await.map_err(|_| "the daemon is stopping".to_owned())?
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[tokio::test]
    async fn what_is_made_says_the_date_of_the_calendar() {
        let text =
            "values.at = { json = \"${now}\" }\nendpoints.e = { url = \"ws://h\", headers.At = \"${value:at}\" }";
        let endpoint = crate::config::parse_toml(text, "test.toml").unwrap().config.endpoints["e"].held.clone();
        let kept = Kept::new(None, 1, Calendar::new(|| UNIX_EPOCH + Duration::from_secs(1_700_000_000)));
        let given = kept.all(&endpoint, 0, None).await.unwrap();
        assert_eq!(given[0].text.expose(), "\"1700000000\"");
    }

    #[tokio::test]
    async fn when_links_were_given_values_is_forgotten_with_their_endpoint() {
        let (kept, endpoint) = (Kept::new(None, 1, Calendar::default()), Arc::new(Endpoint::default()));
        kept.all(&endpoint, 0, None).await.unwrap();
        let _ = kept.state.lock().due(now());
        assert_eq!(kept.state.lock().given_at.len(), 1);
        drop(endpoint);
        let _ = kept.state.lock().due(now());
        assert!(kept.state.lock().given_at.is_empty());
    }

    #[tokio::test]
    async fn what_is_good_for_no_time_ends_at_no_moment_that_is_known() {
        let kept = Kept::new(None, 1, Calendar::default());
        for (span, is_known) in [(Duration::ZERO, false), (Duration::from_secs(5), true)] {
            let (wait, answer) = oneshot::channel();
            let _ = kept.state.lock().values.ask(now(), &7, None);
            kept.state.lock().waiting.entry(7).or_default().push(wait);
            kept.over(7, Ok(("t".into(), Some(span))));
            assert_eq!(answer.await.unwrap().unwrap().1.is_some(), is_known, "{span:?}");
        }
    }

    #[tokio::test]
    async fn a_making_that_breaks_off_is_told_to_who_waits_and_is_tried_again() {
        let kept = Kept::new(None, 1, Calendar::default());
        let (wait, answer) = oneshot::channel();
        let asked = |at: Instant| kept.state.lock().values.ask(at, &7, None);
        assert_eq!(asked(now()), Told::Make);
        kept.state.lock().waiting.entry(7).or_default().push(wait);
        drop(Making::of(&kept, 7));
        assert_eq!(answer.await.unwrap().unwrap_err(), broke_off());
        assert_eq!(asked(now() + Duration::from_mins(2)), Told::Make, "later");
    }
}
