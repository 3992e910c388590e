//! What the steps of `dial` do before there is a connection, told; and played by a transcript.
//!
//! What a reader would get wrong: at the real server they run within the attempt, as the daemon's do, so they are told when that is over.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use wskeeper_core::{
    chance::Chance,
    clock::Clock as _,
    event::DialFailure,
    session::{
        Answer, Ask, Brought, Errand, Failure as Cut, Outside, Session, Start, StepResult, Stepped, Verdict as Word,
    },
};
use wskeeper_link::{
    endpoint::{
        Endpoint,
        value::{Given, Unmade},
    },
    link::{BoxFuture, Done, Provider},
};

use super::{
    stage::Verdict,
    teller::{HIDDEN, Teller},
    transcript::Line,
};
use crate::cli::Failure;

/// A provider that keeps what came of calls.
#[derive(Debug)]
pub(super) struct Answers {
    of: Arc<dyn Provider>,
    answers: Arc<Mutex<Vec<(Instant, Done)>>>,
}

impl Answers {
    pub(super) fn of(provider: Arc<dyn Provider>) -> Arc<Self> {
        Arc::new(Self { of: provider, answers: Arc::default() })
    }
}

impl Provider for Answers {
    fn run(&self, errand: Errand, endpoint: Arc<Endpoint>) -> BoxFuture<Done> {
        let is_call = matches!(errand, Errand::Call(_));
        let (doing, answers) = (self.of.run(errand, endpoint), Arc::clone(&self.answers));
        Box::pin(async move {
            let done = doing.await;
            if is_call {
                let kept = match &done {
                    Ok(Brought::Answer(answer)) => Ok(Brought::Answer(answer.clone())),
                    Ok(Brought::Made(_) | Brought::Refused(_)) => Ok(Brought::Made(HIDDEN.into())),
                    Err(why) => Err(why.clone()),
                };
                answers.lock().push((tokio::time::Instant::now().into_std(), kept));
            }
            done
        })
    }

    fn values(
        &self,
        endpoint: Arc<Endpoint>,
        link: u32,
        refused: Option<Instant>,
    ) -> BoxFuture<Result<Vec<Given>, Unmade>> {
        self.of.values(endpoint, link, refused)
    }
}

/// Tells what was done, and what came of its calls.
pub(super) fn tell(
    teller: &mut Teller<'_>,
    endpoint: &Endpoint,
    steps: &[Stepped],
    answers: &Answers,
) -> Result<(), Failure> {
    let (Some(first), Some(session)) = (steps.first(), endpoint.session.as_deref()) else { return Ok(()) };
    teller.begin(first.began);
    let mut answers = std::mem::take(&mut *answers.answers.lock()).into_iter();
    for step in steps {
        if step.act == "http"
            && step.result != StepResult::LeftOut
            && let Some((at, done)) = answers.next()
        {
            teller.answered(at, &done, None)?;
        }
        let at = step.began.checked_add(step.took).unwrap_or(step.began);
        teller.step(at, step, &session.plan, None)?;
    }
    Ok(())
}

/// Plays them by the lines of a transcript up to their end: what they have brought and when that is, or how it ended.
pub(super) fn play<'l>(
    start: Start,
    within: Duration,
    (name, mut lines): (&str, impl Iterator<Item = (usize, &'l Line)>),
    teller: &mut Teller<'_>,
    mut now: Instant,
) -> Result<Result<(Start, Instant), Verdict>, Failure> {
    let (mut chance, mut told) = (Chance::new(1), 0);
    let plan = Arc::clone(&start.plan);
    teller.begin(now);
    let mut session = Session::dial(start, None, within, &mut outside(now, &mut chance));
    loop {
        while let Some(step) = session.steps().get(told).filter(|step| step.result != StepResult::Underway).cloned() {
            told = told.saturating_add(1);
            teller.step(step.began.checked_add(step.took).unwrap_or(now), &step, &plan, Some(&session))?;
        }
        match session.poll_verdict() {
            Some(Word::Ready { .. }) => return Ok(Ok((session.into_start(None), now))),
            Some(Word::End(failure)) => {
                let Cut { cause, label, detail, .. } = *failure;
                let ended = DialFailure { label: Some(label), ..DialFailure::of(cause, detail) }.closed();
                return Ok(Err(Verdict { ended: Some(ended), ..Verdict::default() }));
            }
            Some(Word::Answered | Word::Rotate) => continue,
            None => {}
        }
        let waits = session.waits().map(|waits| format!("{} ({}) waits", waits.place, waits.act)).unwrap_or_default();
        let trouble = |trouble: String| Ok(Err(Verdict { trouble: Some(trouble), ..Verdict::default() }));
        let ask = session.poll_ask();
        if let Some(Ask { id, errand: Errand::Make(_) }) = &ask {
            session.errand_done(*id, Ok(Brought::Made(HIDDEN.into())), &mut outside(now, &mut chance));
            continue;
        }
        let call = ask.map(|ask| ask.id);
        // Time may pass before the answer comes.
        loop {
            match lines.next() {
                Some((_, Line::After(span))) => {
                    let end = now.later(*span);
                    let due = session.poll_timeout().filter(|at| *at <= end);
                    now = due.map_or(end, |at| at.max(now));
                    session.handle_timeout(&mut outside(now, &mut chance));
                    if call.is_none() || due.is_some() {
                        break;
                    }
                }
                Some((number, Line::Http(status, body))) => match call {
                    Some(id) => {
                        let done = Ok(Brought::Answer(Answer::of(*status, body.clone())));
                        teller.answered(now, &done, Some(&session))?;
                        session.errand_done(id, done, &mut outside(now, &mut chance));
                        break;
                    }
                    None => return trouble(format!("{name}:{number}: the session waits for no HTTP call; {waits}")),
                },
                Some((number, Line::In(_) | Line::Out(_) | Line::Close(_))) => {
                    return trouble(format!("{name}:{number}: there is no connection yet; {waits}"));
                }
                None => return trouble(format!("the transcript ends here; {waits}")),
            }
        }
    }
}

fn outside(now: Instant, chance: &mut Chance) -> Outside<'_> {
    let pace = Duration::from_millis(100);
    Outside { now, pace, stable: Duration::ZERO, chance, wanted: None, is_beside: false }
}
