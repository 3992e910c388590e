//! How a session asks for the keys of its link: all of them between the last step of `open` and `ready`, then what changes.
//!
//! What a reader would get wrong: messages are made as they leave. A link may have thousands of keys, and a peer that takes none must not make
//! them pile up; so a few wait at a time, and the session is due again once they have left and the pace allows the next.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use super::{Failure, Message, Outside, Session, Stage, Step};
use crate::{
    message::Payload,
    session::{
        KeyAnswer, Plan, Pointer, Send, Subscribing, Which, json,
        subscriptions::{News, Next},
    },
    subscriptions::{Change, Wanted},
};

/// Messages that wait to leave before another one is made.
const ROOM: usize = 32;
/// Their bytes.
const ROOM_BYTES: usize = 128 << 10;
/// Why a key is not asked for that came without a message, where there was a template then and is none now.
pub const CANNOT_ASK: &str =
    "nothing says how to ask for it: `subscriptions.add` is not given, and the key has no message of its own";

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

    /// What became of its keys: what has changed, or all where `all` is wanted. `None`: nothing, or nothing has been asked for yet.
    pub(crate) fn news_of_subscriptions(&mut self, all: bool) -> Option<News> {
        let asked = self.asked_for.as_mut().filter(|asked| asked.has_begun())?;
        if all || asked.has_changed() { Some(asked.news(all)) } else { None }
    }

    /// A ping is sent, and no other is out.
    pub(crate) fn pinged(&mut self) {
        let has_left = self.queue.is_empty();
        if let Some(asked) = &mut self.asked_for {
            asked.pinged(has_left);
        }
    }

    /// The pong of that ping has come, or of a later one.
    pub(crate) fn ponged(&mut self) {
        if let (Some(asked), Some(plan)) = (&mut self.asked_for, &self.start.plan.subscriptions) {
            asked.ponged(plan);
        }
    }

    /// The steps are done. Answers whether there is anything to ask for.
    pub(super) fn begins_to_subscribe(&mut self, outside: &mut Outside<'_>) -> Result<bool, Failure> {
        let plan = Arc::clone(&self.start.plan);
        let Some(subscribing) = &plan.subscriptions else { return Ok(false) };
        let still_has = subscribing.skip_when.map(|when| self.holds(Some(when)));
        let Some(asked) = &mut self.asked_for else { return Ok(false) };
        match outside.wanted {
            Some(wanted) => asked.begin(wanted, still_has),
            None => asked.begin(&Wanted::default(), still_has),
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
        let plan = self.start.plan.subscriptions.as_deref()?;
        let may = asked.has_next() && has_room && !asked.waits_for_answers(plan);
        let next = may.then(|| asked.next_at().unwrap_or(self.began));
        next.into_iter().chain(asked.questions.deadline()).min()
    }

    pub(super) fn on_subscriptions_due(&mut self, outside: &mut Outside<'_>) -> Step {
        if let (Some(asked), Some(plan)) = (&mut self.asked_for, &self.start.plan.subscriptions)
            && asked.questions.deadline().is_some_and(|until| until <= outside.now)
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
        // The other connection carries on meanwhile, so there is time to hear that all are there.
        let answers = subscribing.until_confirmed || outside.is_beside;
        if self.asked_for.as_ref().is_some_and(|asked| !asked.is_over(answers)) {
            return Ok(());
        }
        if let Some(replay) = self.replays.take_if(|replay| !outside.is_beside || replay.is_handed_over) {
            self.be_ready((replay.began, replay.steps), outside.now);
        }
        Ok(())
    }

    /// Whether the connection that it is to take the place of is to ask for no more keys: this one has all that stood when it began.
    pub(crate) fn takes_keys_over(&self) -> bool {
        let has_own = || self.asked_for.as_ref().is_none_or(|asked| asked.is_over(true));
        matches!(self.stage, Stage::Ready(_))
            && self.replays.as_ref().is_none_or(|replay| replay.is_handed_over || has_own())
    }

    /// The other connection asks for no more keys, and has asked for these, all of which this one is to have before it is ready.
    pub(crate) fn take_keys_over(&mut self, places: &[u64], outside: &mut Outside<'_>) {
        let Some(replay) = self.replays.as_mut().filter(|replay| !replay.is_handed_over) else { return };
        let Some(asked) = &mut self.asked_for else { return };
        replay.is_handed_over = true;
        asked.wait_for(places);
        let went = self.subscribe(outside);
        self.settle(outside.now, went);
    }

    /// Another connection is to take its place, or is so no more: it asks for no key meanwhile. Answers with those that it has asked for,
    /// where that is new.
    pub(crate) fn hold_keys(&mut self, is_held: bool) -> Option<Vec<u64>> {
        let asked = self.asked_for.as_mut().filter(|asked| asked.is_held() != is_held)?;
        Some(asked.hold(is_held))
    }

    fn say(&mut self, mut next: Next, plan: &Subscribing, outside: &mut Outside<'_>) -> Step {
        let template = if next.is_add { &plan.add } else { &plan.remove };
        let (payload, tokens) = match (next.message.take(), template) {
            (Some(payload), _) => {
                let tokens = tokens_of(&payload, plan, self.start.plan.max_json);
                (payload, tokens)
            }
            (None, Some(template)) => self.message_for(template, &next.keys, outside)?,
            (None, None) => {
                if let Some(asked) = &mut self.asked_for {
                    asked.cannot_ask(&next, &CANNOT_ASK.into());
                }
                return Ok(());
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

    /// The next number of the connection names no message of a program's own that is not answered.
    pub(super) fn pass_over_names(&mut self) {
        let Some(asked) = self.asked_for.as_deref().filter(|asked| asked.questions.have_names()) else { return };
        while asked.questions.is_named(&self.seq.saturating_add(1).to_string()) {
            self.seq = self.seq.saturating_add(1);
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
            Which::Oldest => return self.asked_for.as_mut()?.questions.oldest(),
            Which::At(pointer) | Which::Asked(pointer) => texts_at(pointer, message),
            Which::Named(text) => vec![self.scene(outside).text(text)],
        };
        let asked = self.asked_for.as_mut()?;
        match &answer.which {
            Which::Asked(_) => {
                let questions = &mut asked.questions;
                texts.iter().find_map(|text| questions.named(text).or_else(|| questions.named(&plain(text)?)))
            }
            Which::Oldest | Which::At(_) | Which::Named(_) => {
                let of_key = |key: &String| asked.place(key).or_else(|| asked.place(&plain(key)?));
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
    let texts: BTreeSet<String> =
        places.flat_map(|place| texts_at(place, &message)).map(|text| plain(&text).unwrap_or(text)).collect();
    texts.into_iter().map(Into::into).collect()
}

/// A whole number as it is mostly written, where it is written otherwise: `13` for `13.0` and `1.3e1`.
fn plain(text: &str) -> Option<String> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let is_number = text.starts_with(|first: char| first.is_ascii_digit() || first == '-');
    let number: f64 = text.parse().ok().filter(|_| is_number && text.contains(['.', 'e', 'E']))?;
    (number.fract() == 0.0 && number.abs() < EXACT_MAX).then(|| format!("{:.0}", number + 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_names_however_they_are_written() {
        let plain_of = ["13.0", "1.3e1", "-2.0", "-0.0", "1e3"].map(|text| plain(text).unwrap_or_default());
        assert_eq!(plain_of, ["13", "13", "-2", "0", "1000"]);
        for text in ["13", "13.5", "", "a.b", "inf", "-", "1e99", "btc.usdt", "13.0x"] {
            assert_eq!(plain(text), None, "{text}");
        }
    }
}
