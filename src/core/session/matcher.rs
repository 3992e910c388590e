//! What a message must be like: all that is given must hold.
//!
//! What a reader would get wrong: a message is parsed at the first question about its JSON, once, for all that ask.

use std::cell::OnceCell;

use super::{
    Expression, Json, Pointer, Var,
    json::{self, Value},
    render::Scene,
};
use crate::message::{Kind, Payload};

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Matcher {
    /// Values at places; of several places one is enough.
    pub json: Box<[Wanted]>,
    /// Places that there must be.
    pub has: Box<[Pointer]>,
    /// Found somewhere in it.
    pub text: Option<Expression>,
    /// A regular expression, and the variables of its named groups in order.
    pub regex: Option<(Expression, Box<[Var]>)>,
    /// The type of the message.
    pub opcode: Option<Kind>,
    /// What variables must be.
    pub variables: Box<[(Var, Json)]>,
}

/// A value at a place.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Where.
    pub at: Pointer,
    /// What.
    pub value: Json,
}

/// A message that is looked at.
pub(super) struct Message<'a> {
    pub(super) payload: &'a Payload,
    max_json: usize,
    json: OnceCell<Option<Value>>,
}

impl<'a> Message<'a> {
    pub(super) fn new(payload: &'a Payload, max_json: usize) -> Self {
        Self { payload, max_json, json: OnceCell::new() }
    }

    /// Its JSON, where it is JSON and not too long.
    pub(super) fn json(&self) -> Option<&Value> {
        let parse = || (self.payload.len() <= self.max_json).then(|| json::parse(self.payload.bytes())).flatten();
        self.json.get_or_init(parse).as_ref()
    }
}

impl Matcher {
    /// Whether it matches. What is cheap is asked first.
    pub(super) fn is_met(&self, message: &Message<'_>, scene: &mut Scene<'_>) -> bool {
        let bytes = message.payload.bytes();
        self.opcode.is_none_or(|kind| message.payload.kind() == kind)
            && self.variables.iter().all(|(var, wanted)| {
                let wanted = scene.wanted(wanted);
                scene.variables.get(*var).is_some_and(|value| json::is_same(value, &wanted))
            })
            && self.text.as_ref().is_none_or(|text| text.is_match(bytes))
            && self.is_met_by_json(message, scene)
            && self.regex.as_ref().is_none_or(|(expression, _)| expression.is_match(bytes))
    }

    fn is_met_by_json(&self, message: &Message<'_>, scene: &mut Scene<'_>) -> bool {
        if self.json.is_empty() && self.has.is_empty() {
            return true;
        }
        let Some(document) = message.json() else { return false };
        self.has.iter().all(|pointer| pointer.any(document, |_| true))
            && self.json.iter().all(|Wanted { at, value }| {
                let wanted = scene.wanted(value);
                at.any(document, |value| json::is_same(value, &wanted))
            })
    }

    /// Whether it matches where there is no session: nothing that is made of variables does.
    pub(crate) fn is_met_by_itself(&self, payload: &Payload) -> bool {
        let (message, bytes) = (Message::new(payload, usize::MAX), payload.bytes());
        let is_met = |document: &Value| {
            self.has.iter().all(|pointer| pointer.any(document, |_| true))
                && self.json.iter().all(|Wanted { at, value }| {
                    value.literal().is_some_and(|wanted| at.any(document, |value| json::is_same(value, wanted)))
                })
        };
        self.opcode.is_none_or(|kind| payload.kind() == kind)
            && self.variables.is_empty()
            && self.text.as_ref().is_none_or(|text| text.is_match(bytes))
            && self.regex.as_ref().is_none_or(|(expression, _)| expression.is_match(bytes))
            && (self.json.is_empty() && self.has.is_empty() || message.json().is_some_and(is_met))
    }

    /// What its named groups hold, of those that took part.
    pub(super) fn groups(&self, message: &Message<'_>) -> Vec<(Var, Value)> {
        let Some((expression, variables)) = &self.regex else { return Vec::new() };
        let groups = expression.groups(message.payload.bytes());
        variables.iter().zip(groups).filter_map(|(var, text)| Some((*var, text?.into()))).collect()
    }

    /// The places and values that it asks for, where both are known before any message.
    pub(super) fn constants(&self) -> impl Iterator<Item = (&Pointer, &Value)> {
        let known = |wanted: &Wanted| wanted.at.is_plain() && wanted.value.literal().is_some();
        self.json
            .iter()
            .filter(move |wanted| known(wanted))
            .filter_map(|wanted| Some((&wanted.at, wanted.value.literal()?)))
    }
}
