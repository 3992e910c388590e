//! What steps look for, and messages, as people read them.
//!
//! What a reader would get wrong: a message is shown as text where it is UTF-8, whatever its opcode, and in hexadecimal else.

use std::fmt::Write as _;

use wskeeper_core::{
    message::{Kind, Payload},
    session::{Act, Json, Matcher, Place, Plan, Rule, Source, Wanted},
};

/// What a matcher asks for.
pub(super) fn matcher(matcher: &Matcher, plan: &Plan) -> String {
    let Matcher { json: wanted, has, text, regex, opcode, variables } = matcher;
    let mut parts = Vec::new();
    parts.extend(wanted.iter().map(|Wanted { at, value }| format!("{} = {}", at.source(), json(value, plan))));
    parts.extend(has.iter().map(|pointer| format!("has {}", pointer.source())));
    parts.extend(text.iter().map(|text| format!("text {}", text.source())));
    parts.extend(regex.iter().map(|(expression, _)| format!("regex {}", expression.source())));
    parts.extend(opcode.map(|kind| format!("opcode {}", kind.as_str())));
    parts.extend(variables.iter().map(|(var, value)| format!("{} is {}", plan.names.name(*var), json(value, plan))));
    if parts.is_empty() { "any message".to_owned() } else { parts.join(", ") }
}

fn json(json: &Json, plan: &Plan) -> String {
    match json {
        Json::Literal(value) => value.to_string(),
        Json::Value(Source::Var(var, _)) => format!("${{var:{}}}", plan.names.name(*var)),
        Json::Value(_) | Json::Text(_) | Json::List(_) | Json::Object(_) => "a value of the session's".to_owned(),
    }
}

/// The alternatives of an `expect` of `open`.
pub(super) fn alternatives(plan: &Plan, step: usize) -> &[Rule] {
    match plan.open.get(step).map(|step| &step.act) {
        Some(Act::Expect { alternatives, .. }) => alternatives,
        Some(_) | None => &[],
    }
}

/// What matched, and where there are several alternatives which.
pub(super) fn matched(plan: &Plan, place: Place, alternative: Option<usize>) -> Option<String> {
    let of = |rules: &[Rule], at: usize| {
        let count = rules.len();
        let which = if count > 1 { format!("{} of {count}: ", at.saturating_add(1)) } else { String::new() };
        rules.get(at).map(|rule| format!("{which}{}", matcher(&rule.matcher, plan)))
    };
    match place {
        Place::Open(step) => of(alternatives(plan, step), alternative?),
        Place::On(rule) => plan.on.list().get(rule).map(|rule| matcher(&rule.matcher, plan)),
        Place::Every(timer) => {
            let steps = &plan.every.get(timer)?.steps;
            steps.iter().find_map(|step| {
                let Act::Expect { alternatives, .. } = &step.act else { return None };
                of(alternatives, alternative?)
            })
        }
        Place::Dial(_) | Place::Leave(_) => None,
    }
}

/// A message: its text where it is one, else its bytes in hexadecimal.
pub(super) fn payload(payload: &Payload) -> (String, bool) {
    match std::str::from_utf8(payload.bytes()) {
        Ok(text) if payload.kind() == Kind::Text || is_readable(text) => (text.to_owned(), false),
        Ok(_) | Err(_) => (hex(payload.bytes()), true),
    }
}

fn is_readable(text: &str) -> bool {
    text.chars().all(|char| !char.is_control() || matches!(char, '\r' | '\n' | '\t'))
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
