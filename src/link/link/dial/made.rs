//! What is made for an attempt: values, and what the steps of `dial` bring.
//!
//! It is made once the attempt is let go, with its place at the address held: a ticket that is good for a minute must not grow old in a line.
//! What a reader would get wrong: where it is that which says where to, it comes before the line as well, and is made once more by who has
//! waited in it. So is what is only read here: a secret that is missing is told of at once.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{
    Attempt, Progress, Setback,
    admitted::{FRESH, MOVES},
    ask::{self, Ask, Goal, Known},
};
use crate::{
    endpoint::{
        file::FileMarks,
        value::{Given, Unmade},
    },
    link::{Done, race::Admitted},
};
use wskeeper_core::{
    admission::Verdict as Word,
    chance::Chance,
    close::Cause,
    event::RetryAfter,
    session::{Ask as Wish, Failure, Outside, Session, Start, Verdict},
};

/// What was made for an attempt.
pub(super) struct Made {
    /// When.
    at: Instant,
    pub(super) given: Arc<[Given]>,
    /// The session, with what its `dial` has brought.
    pub(super) start: Option<Box<Start>>,
}

impl Attempt {
    /// Waits to be let in where this URL leads, with all that is to be asked there. `None`: its server is known to be down, and it is to go
    /// to the next URL.
    pub(super) async fn ready(&mut self, url: usize) -> Result<Option<(Box<Ask>, Admitted)>, Setback> {
        let mut moves = 0;
        if self.made.is_none() && !(ask::is_known(&self.endpoint, url) && self.is_made_outside()) {
            self.make().await?;
        }
        let mut ask = if self.made.is_some() { Some(self.evaluate(url).await?) } else { None };
        loop {
            let goal = match &ask {
                Some(ask) => ask.goal.clone(),
                None => self.goal(url).await?,
            };
            let Some(mut admitted) = self.admitted(&goal).await? else { return Ok(None) };
            let is_fresh = self.made.as_ref().is_some_and(|made| made.at.elapsed() < FRESH);
            if let Some(ask) = ask.take_if(|_| is_fresh || moves >= MOVES) {
                return Ok(Some((ask, admitted)));
            }
            self.make().await?;
            let made = self.evaluate(url).await?;
            if made.goal.first_hop() == goal.first_hop() {
                return Ok(Some((made, admitted)));
            }
            // It leads elsewhere by now.
            admitted.permit.verdict = Some(Word::Moved);
            moves += 1;
            ask = Some(made);
        }
    }

    /// Whether somebody else is asked for something.
    fn is_made_outside(&self) -> bool {
        let dials = self.endpoint.session.as_deref().is_some_and(|session| !session.plan.dial.is_empty());
        dials || !self.endpoint.values.is_empty()
    }

    async fn goal(&mut self, url: usize) -> Result<Goal, Setback> {
        let (endpoint, kept) = (Arc::clone(&self.endpoint), self.kept.clone());
        let reads = ask::reads_files(&endpoint);
        ask::aside(&self.aside, reads, move || {
            ask::goal(&endpoint, url, Known { kept: kept.as_ref(), start: None, given: &[] })
        })
        .await
    }

    /// What is to be asked for, with what was made.
    async fn evaluate(&mut self, url: usize) -> Result<Box<Ask>, Setback> {
        let (endpoint, kept) = (Arc::clone(&self.endpoint), self.kept.clone());
        let reads = ask::reads_files(&endpoint);
        let made = self.made.take().ok_or_else(|| Setback::new(Cause::Secret, "nothing was made for the attempt"))?;
        let evaluate = move || {
            let known = Known { kept: kept.as_ref(), start: made.start.as_deref(), given: &made.given };
            let ask = Ask::evaluate(&endpoint, url, known)?;
            Ok((ask, made))
        };
        let (ask, made) = ask::aside(&self.aside, reads, evaluate).await?;
        self.made = Some(made);
        Ok(ask)
    }

    async fn make(&mut self) -> Result<(), Setback> {
        self.note().await;
        let given = self.values().await?;
        let start = match self.start(&given).await? {
            Some(start) if !start.plan.dial.is_empty() => Some(self.dial_steps(*start).await?),
            other => other,
        };
        self.made = Some(Made { at: Instant::now(), given, start });
        Ok(())
    }

    /// Notes how the files are that credentials are read from, before they are read.
    async fn note(&mut self) {
        let files = self.endpoint.credential_files();
        if !files.is_empty()
            && let Ok(marks) = self.aside.run(move || FileMarks::of(&files)).await
        {
            self.source.note(marks);
        }
    }

    /// Has the values made that the endpoint's templates name.
    async fn values(&mut self) -> Result<Arc<[Given]>, Setback> {
        if self.endpoint.values.is_empty() {
            return Ok([].into());
        }
        (self.report)(Progress::Evaluating);
        // What is made now was not refused.
        let refused = self.refused.take();
        let values = self.source.provider().values(Arc::clone(&self.endpoint), self.id.index, refused);
        let given = values.await.map_err(|Unmade { why, is_refused }| {
            // Whose credentials those are, the table of outcomes knows by the label.
            let session = is_refused.then(|| ("unauthorized".into(), Box::default()));
            let cause = if is_refused { Cause::Session } else { Cause::Secret };
            Setback { session, ..Setback::new(cause, &*why) }
        });
        Ok(given?.into())
    }

    async fn start(&mut self, given: &Arc<[Given]>) -> Result<Option<Box<Start>>, Setback> {
        let Some(session) = self.endpoint.session.clone() else { return Ok(None) };
        // By the runtime's clock, which a thread aside does not have.
        let (at, wall) = (Instant::now().into_std(), self.source.calendar().since_epoch());
        let (name, link, given) = (Arc::clone(&self.endpoint.name), self.id.index, Arc::clone(given));
        let reads = session.secrets.iter().any(crate::endpoint::Template::reads_files);
        let start = move || ask::start(&session, (&name, link), (at, wall), &given).map(Some);
        ask::aside(&self.aside, reads, start).await
    }

    /// Runs the steps of `dial`, one errand at a time.
    async fn dial_steps(&mut self, start: Start) -> Result<Box<Start>, Setback> {
        let (link, provider, kept) = (Arc::clone(&self.endpoint.link), self.source.provider(), self.kept.clone());
        let kept = kept.as_ref();
        let mut chance = Chance::new(uuid::Uuid::new_v4().as_u64_pair().0);
        let pace = link.backoff.initial;
        let mut session = Session::dial(start, kept, link.connect_timeout, &mut outside(pace, &mut chance));
        let mut errand = None;
        loop {
            match session.poll_verdict() {
                Some(Verdict::Ready { .. }) => return Ok(Box::new(session.into_start(kept))),
                Some(Verdict::End(failure)) => return Err(self.failed(session, *failure)),
                // They are said of connections.
                Some(Verdict::Rotate | Verdict::Answered) => continue,
                None => {}
            }
            if let Some(Wish { id, errand: wanted }) = session.poll_ask() {
                errand = Some((id, provider.run(wanted, Arc::clone(&self.endpoint))));
            }
            if let Some(waits) = session.waits() {
                (self.report)(Progress::Stepping(waits));
            }
            let due = session.poll_timeout().map_or_else(Instant::now, Instant::from_std);
            match answer(&mut errand, due).await {
                Some((id, done)) => {
                    errand = None;
                    session.errand_done(id, done, &mut outside(pace, &mut chance));
                }
                None => session.handle_timeout(&mut outside(pace, &mut chance)),
            }
        }
    }

    fn failed(&mut self, mut session: Session, failure: Failure) -> Setback {
        let steps = Box::new(session.take_opening(Instant::now().into_std()));
        let most = self.endpoint.link.retry_after_max;
        Setback {
            retry_after: failure.retry_after.map(|asked| RetryAfter::capped(asked, most)),
            session: Some((failure.label, steps)),
            ..Setback::new(failure.cause, &*failure.detail)
        }
    }
}

fn outside(pace: Duration, chance: &mut Chance) -> Outside<'_> {
    let (now, stable) = (Instant::now().into_std(), Duration::ZERO);
    Outside { now, pace, stable, chance, wanted: None, is_beside: false }
}

type Errand = (u64, crate::link::BoxFuture<Done>);

/// What comes of an errand; `None`: the time has come before.
async fn answer(errand: &mut Option<Errand>, due: Instant) -> Option<(u64, Done)> {
    let Some((id, doing)) = errand else {
        sleep_until(due).await;
        return None;
    };
    tokio::select! {
        done = doing => Some((*id, done)),
        () = sleep_until(due) => None,
    }
}
