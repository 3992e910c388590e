//! What follows a match.

use wskeeper_core::session::{Do, Rule, Then};

use super::{NAME_MAX, Reader, matcher};
use crate::config::check::{endpoint, item::Item, section::Section};

/// Whose message is looked at: not all can follow everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// A step of `dial`: there is no connection.
    Dial,
    /// A step of `open`.
    Open,
    /// A step of a timer.
    Timer,
    /// A step of `leave`: nothing more can become of the connection.
    Leaving,
    /// A rule of `on`.
    Rule,
}

#[derive(Debug, Clone, Copy)]
enum Word {
    Ready,
    Restart,
    Rotate,
    Reconnect,
    Park,
}

/// Those that mean something while a timer runs come last.
const WORDS: [(&str, Word); 5] = [
    ("ready", Word::Ready),
    ("restart", Word::Restart),
    ("rotate", Word::Rotate),
    ("reconnect", Word::Reconnect),
    ("park", Word::Park),
];

/// Those that mean something where there is no connection.
const WORDS_OF_DIAL: [(&str, Word); 3] = [("ready", Word::Ready), ("restart", Word::Restart), ("park", Word::Park)];

impl Reader<'_> {
    /// `on`
    pub(super) fn rules(&self, item: &Item<'_>) -> Vec<Rule> {
        let items = item.list().unwrap_or_default();
        let rules: Vec<(Item<'_>, Rule)> = items.into_iter().map(|item| (item.clone(), self.rule(&item))).collect();
        look_at_order(&rules, Whose::Rule);
        rules.into_iter().map(|(_, rule)| rule).collect()
    }

    fn rule(&self, item: &Item<'_>) -> Rule {
        let section = Section::of(item);
        let matching = section.section("match");
        let matcher = self.matcher(&matching);
        matching.finish();
        let act = self.act(&section, Whose::Rule);
        section.finish();
        self.refuse_makes(item);
        if !section.has("match") {
            section.fault("match", "is missing", "say which messages: match = { json = { \"/type\" = \"ping\" } }");
        } else if section.names().all(|name| name == "match") && !matcher::sets(&matcher) {
            item.fault(
                "says nothing of what follows",
                "write `send`, `extract`, `set`, `forget`, `hide`, `then` or `fail`",
            );
        }
        Rule { matcher, act }
    }

    /// What `expect` waits for: one matcher, or a list of them.
    pub(super) fn alternatives(&self, item: &Item<'_>, whose: Whose, hide: bool) -> Vec<Rule> {
        let is_list = matches!(item.value.kind, config::ValueKind::Array(_));
        let items = if is_list { item.list().unwrap_or_default() } else { vec![item.clone()] };
        if items.is_empty() {
            item.fault("there is no alternative in it", "say which message: { json = { \"/type\" = \"ready\" } }");
        }
        let mut rules = Vec::new();
        for item in items {
            let section = Section::of(&item);
            let mut rule = Rule { matcher: self.matcher(&section), act: self.act(&section, whose) };
            section.finish();
            rule.act.hide |= hide;
            rules.push((item, rule));
        }
        look_at_order(&rules, whose);
        rules.into_iter().map(|(_, rule)| rule).collect()
    }

    pub(super) fn act(&self, section: &Section<'_>, whose: Whose) -> Do {
        let extract = self.extract(section);
        let set = section.get("set").map(|item| self.set(&item)).unwrap_or_default().into();
        let forget = section.get("forget").map(|item| self.variables(&item)).unwrap_or_default().into();
        let send = match whose {
            Whose::Rule => section.get("send").and_then(|item| self.send(&item)).map(Box::new),
            Whose::Dial | Whose::Open | Whose::Timer | Whose::Leaving => None,
        };
        let hide = section.get("hide").and_then(|item| item.bool()).unwrap_or_default();
        Do { extract, set, forget, send, hide, then: then(section, whose) }
    }
}

fn then(section: &Section<'_>, whose: Whose) -> Then {
    if whose == Whose::Leaving {
        for key in ["then", "code", "fail"] {
            section.expect(key);
            if section.has(key) {
                section.fault(key, "means nothing while the connection is closed", "leave it out");
            }
        }
        return Then::GoOn;
    }
    let words = match whose {
        Whose::Dial => &WORDS_OF_DIAL[..],
        Whose::Timer => &WORDS[2..],
        Whose::Open | Whose::Leaving | Whose::Rule => &WORDS[..],
    };
    let word = section.get("then").and_then(|item| item.word(words));
    let code = section.get("code").and_then(|item| endpoint::abort_code(&item));
    let label = section.get("fail").and_then(|item| label(&item));
    if section.has("then") && section.has("fail") {
        section.fault("fail", "stands beside `then`, and one of them can follow", "keep one of them");
    }
    if section.has("code") && !matches!(word, Some(Word::Reconnect)) && (word.is_some() || !section.has("then")) {
        section.fault(
            "code",
            "is the close code of then = \"reconnect\", which is not there",
            "write it, or leave `code` out",
        );
    }
    match (word, label) {
        (_, Some(label)) => Then::Fail(label),
        (None, None) => Then::GoOn,
        (Some(Word::Ready), None) => Then::Ready,
        (Some(Word::Restart), None) => Then::Restart,
        (Some(Word::Rotate), None) => Then::Rotate,
        (Some(Word::Reconnect), None) => Then::Reconnect(code),
        (Some(Word::Park), None) => Then::Park,
    }
}

/// What the outcome table calls a failure.
pub(in crate::config::check) fn label(item: &Item<'_>) -> Option<Box<str>> {
    let text = item.text()?;
    let is_label = (1..=NAME_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if !is_label {
        item.fault(
            "is not a label",
            "use letters, digits, `_`, `-` and `.`, at most 64 in all, as in \"unauthorized\"",
        );
    }
    is_label.then(|| text.into())
}

/// What stands behind one that every message matches is never looked at.
fn look_at_order(rules: &[(Item<'_>, Rule)], whose: Whose) {
    // One with a fault may look as if it matched all.
    let matches_all =
        |(item, rule): &(Item<'_>, Rule)| matcher::matches_all(&rule.matcher) && looks_for_nothing(item, whose);
    let all = rules.iter().position(matches_all);
    if let Some((item, _)) = all.and_then(|all| rules.get(all.saturating_add(1))) {
        item.fault("is never looked at: every message matches the one before it", "put that one last");
    }
    for (at, (item, rule)) in rules.iter().enumerate() {
        let is_same = |(_, other): &&(Item<'_>, Rule)| other.matcher == rule.matcher;
        if !matcher::matches_all(&rule.matcher) && rules[..at].iter().any(|other| is_same(&other)) {
            item.fault(
                "is never looked at: one before it matches the same",
                "make one of them, or say how they differ",
            );
        }
    }
}

/// Whether the matcher is there, and nothing stands in it.
fn looks_for_nothing(item: &Item<'_>, whose: Whose) -> bool {
    let config::ValueKind::Table(table) = &item.value.kind else { return false };
    let within =
        if whose == Whose::Rule { table.get("match").map(|value| &value.kind) } else { Some(&item.value.kind) };
    let Some(config::ValueKind::Table(within)) = within else { return false };
    matcher::KEYS.iter().all(|key| !within.contains_key(*key))
}
