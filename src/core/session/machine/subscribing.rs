//! How a session asks for the keys of its link: all of them between the last step of `open` and `ready`, then what changes.
//!
//! What a reader would get wrong: messages are made as they leave. A link may have thousands of keys, and a peer that takes none must not make
//! them pile up; so a few wait at a time, and the session is due again once they have left and the pace allows the next.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use super::{Failure, Message, Outside, Session, Stage, Step};
use crate::{
    message::Payload,
    session::{KeyAnswer, Plan, Pointer, Send, Subscribing, Which, json, subscriptions::Next},
    subscriptions::{Change, Reached},
};

/// Messages that wait to leave before another one is made.
const ROOM: usize = 32;
/// Their bytes.
const ROOM_BYTES: usize = 128 << 10;

impl Session {
    /// What the link is to ask for has changed.
    pub fn follow_subscriptions(&mut self, changes: &[Change], outside: &mut Outside<'_>) {
        if let Some(asked) = &mut self.asked_for {
            for change in changes {
                asked.follow(change);
            }
        }
        let went = self.subscribe(outside);
        self.settle(outside.now, went);
    }

    /// What became of its keys: what has changed, or all where `all` are wanted; and the places of those that the peer was told to
    /// end. `None`: nothing has been asked for yet.
    pub fn reached_subscriptions(&mut self, all: bool) -> Option<(Vec<Reached>, Vec<u64>)> {
        let asked = self.asked_for.as_mut().filter(|asked| asked.has_begun())?;
        if all || asked.has_changed() { Some(asked.reached(all)) } else { None }
    }

    /// The steps are done. Answers whether there is anything to ask for.
    pub(super) fn begins_to_subscribe(&mut self, outside: &mut Outside<'_>) -> Result<bool, Failure> {
        let plan = Arc::clone(&self.start.plan);
        let Some(subscribing) = &plan.subscriptions else { return Ok(false) };
        let still_has = subscribing.skip_when.is_some() && self.holds(subscribing.skip_when);
        let Some(asked) = &mut self.asked_for else { return Ok(false) };
        match outside.wanted {
            Some(wanted) => asked.begin(wanted, still_has),
            None => asked.begin(&crate::subscriptions::Wanted::default(), false),
        }
        let any = asked.has_next();
        if any {
            self.arm_early(outside)?;
        }
        Ok(any)
    }

    /// When the next message may be made, or an answer is missed.
    pub(super) fn subscriptions_due(&self) -> Option<Instant> {
        let asked = self.asked_for.as_ref()?;
        let has_room = self.queue.len() < ROOM && self.queued < ROOM_BYTES;
        let may = asked.has_next() && has_room && !asked.waits_for_answers();
        let next = may.then(|| asked.next_at().unwrap_or(self.began));
        next.into_iter().chain(asked.deadline()).min()
    }

    pub(super) fn on_subscriptions_due(&mut self, outside: &mut Outside<'_>) -> Step {
        if let (Some(asked), Some(plan)) = (&mut self.asked_for, &self.start.plan.subscriptions)
            && asked.deadline().is_some_and(|until| until <= outside.now)
        {
            asked.expire(outside.now, &format!("no answer within {:?}", plan.timeout).into());
        }
        self.subscribe(outside)
    }

    /// Makes what may leave now, and is ready where that was all.
    pub(super) fn subscribe(&mut self, outside: &mut Outside<'_>) -> Step {
        let plan = Arc::clone(&self.start.plan);
        let Some(subscribing) = &plan.subscriptions else { return Ok(()) };
        if !matches!(self.stage, Stage::Ready(_)) {
            return Ok(());
        }
        while self.queue.len() < ROOM
            && self.queued < ROOM_BYTES
            && let Some(asked) = &mut self.asked_for
            && asked.next_at().is_none_or(|at| at <= outside.now)
            && let Some(next) = asked.take(subscribing)
        {
            self.say(next, subscribing, outside)?;
        }
        let is_over = self.asked_for.as_ref().is_none_or(|asked| {
            // The other connection carries on meanwhile, so there is time to hear that all are there.
            let is_sent = !asked.has_next();
            is_sent && (asked.pending() == 0 || !(subscribing.until_confirmed || outside.is_beside))
        });
        if is_over && let Some(replay) = self.replays.take() {
            self.be_ready(replay, outside.now);
        }
        Ok(())
    }

    fn say(&mut self, mut next: Next, plan: &Subscribing, outside: &mut Outside<'_>) -> Step {
        let template = if next.is_add { &plan.add } else { &plan.remove };
        let (payload, tokens) = match (next.message.take(), template) {
            (Some(payload), _) => {
                let tokens = tokens_of(&payload, plan, self.start.plan.max_json);
                (payload, tokens)
            }
            (None, Some(template)) => self.message_for(template, &next.keys, outside)?,
            // Nobody can ask for a key so; it counts as asked for, and nothing is said.
            (None, None) => {
                return {
                    self.note_sent(next, Vec::new(), plan, outside);
                    Ok(())
                };
            }
        };
        self.note_sent(next, tokens, plan, outside);
        self.give(payload, outside.now)
    }

    fn note_sent(&mut self, next: Next, tokens: Vec<Box<str>>, plan: &Subscribing, outside: &Outside<'_>) {
        if let Some(asked) = &mut self.asked_for {
            asked.sent(next, tokens, plan, outside.now);
        }
    }

    /// A message about these keys, and what an answer may name it by.
    fn message_for(
        &mut self,
        template: &Send,
        keys: &[Arc<str>],
        outside: &mut Outside<'_>,
    ) -> Result<(Payload, Vec<Box<str>>), Failure> {
        let mut scene = self.scene(outside);
        scene.keys = keys;
        let made = scene.message(template);
        let tokens = scene.seq.map(|seq| seq.to_string().into()).into_iter().chain(scene.uuid.map(Into::into));
        let tokens = tokens.collect();
        let told =
            |_| Failure::of("too_big", "a message that asks for keys is too large to send: write a smaller `batch`");
        Ok((made.map_err(told)?, tokens))
    }

    /// The peer may say something of keys.
    pub(super) fn look_for_answers(
        &mut self,
        plan: &Plan,
        message: &Message<'_>,
        hide: &mut bool,
        outside: &mut Outside<'_>,
    ) -> Step {
        let Some(subscribing) = &plan.subscriptions else { return Ok(()) };
        if !self.asked_for.as_ref().is_some_and(|asked| asked.has_begun()) {
            return Ok(());
        }
        for (answers, is_refusal) in [(&subscribing.refuse, true), (&subscribing.confirm, false)] {
            let Some(answer) = answers.iter().find(|answer| self.is_met(&answer.matcher, message, outside.now)) else {
                continue;
            };
            for (var, value) in answer.matcher.groups(message) {
                self.set(var, value)?;
            }
            self.extract(&answer.extract, message)?;
            let why: Option<Arc<str>> = is_refusal.then(|| format!("the peer said: {}", self.words(message)).into());
            if let Some(places) = self.places(answer, message, outside)
                && let Some(asked) = &mut self.asked_for
            {
                asked.answered(&places, why.as_ref());
                *hide |= answer.hide;
                break;
            }
        }
        self.subscribe(outside)
    }

    /// Which wishes an answer is about; `None`: it is about nothing that was asked for.
    fn places(&mut self, answer: &KeyAnswer, message: &Message<'_>, outside: &mut Outside<'_>) -> Option<Vec<u64>> {
        let texts = match &answer.which {
            Which::Oldest => return self.asked_for.as_mut()?.of_oldest(),
            Which::At(pointer) | Which::Asked(pointer) => texts_at(pointer, message),
            Which::Named(text) => vec![self.scene(outside).text(text)],
        };
        let asked = self.asked_for.as_mut()?;
        let of_key = |key: &String| asked.place(key);
        match &answer.which {
            Which::Asked(_) => texts.iter().find_map(|text| asked.of_token(text)),
            Which::Oldest | Which::At(_) | Which::Named(_) => {
                Some(texts.iter().filter_map(of_key).collect::<Vec<_>>()).filter(|places| !places.is_empty())
            }
        }
    }
}

/// The texts at this place of a message, those of a list each by itself.
fn texts_at(pointer: &Pointer, message: &Message<'_>) -> Vec<String> {
    let mut texts = Vec::new();
    if let Some(document) = message.json() {
        pointer.any(document, |value| {
            let found = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            texts.extend(found.iter().map(|value| json::text(value).into_owned()));
            false
        });
    }
    texts
}

/// What an answer may name a program's own message by: what stands in it where answers have it.
fn tokens_of(payload: &Payload, plan: &Subscribing, max_json: usize) -> Vec<Box<str>> {
    let message = Message::new(payload, max_json);
    let places = plan.confirm.iter().chain(&plan.refuse).filter_map(|answer| match &answer.which {
        Which::Asked(pointer) => Some(pointer),
        Which::Oldest | Which::At(_) | Which::Named(_) => None,
    });
    let texts: BTreeSet<String> = places.flat_map(|place| texts_at(place, &message)).collect();
    texts.into_iter().map(Into::into).collect()
}
