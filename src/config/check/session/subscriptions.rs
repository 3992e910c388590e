//! `[endpoints.NAME.subscriptions]`: what connections ask for and what they take for an answer, and the keys themselves.
//!
//! What a reader would get wrong: an endpoint has subscriptions where the section is there, be it empty: then each key comes with a message
//! of its own.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use wskeeper_core::{
    session::{KeyAnswer, Send, Source, Subscribing, Which},
    subscriptions::Policy,
};
use wskeeper_link::endpoint::{Endpoint, Subscriptions};

use super::{Reader, at, matcher};
use crate::config::{
    ConfiguredEndpoint,
    check::{item::Item, section::Section},
    session::{self, Names, Said, Steps, Word},
    table::{
        kinds::{By, Kind as _, Optional},
        value,
    },
};

/// The longest key.
const KEY_MAX: usize = 1024;

/// `add`, which reads with it whether the section is there: that is a change, too.
pub(in crate::config) static ADD: value::Part<ConfiguredEndpoint, Optional<By<Said>>> = value::Part {
    read: |section, endpoint| {
        let keys = &mut endpoint.keys_mut().subscriptions;
        keys.is_there |= section.is_there();
        Optional(By(super::said)).read(section, "add", &mut keys.add);
    },
    is_same: |one, other| {
        let (one, other) = (&one.keys.subscriptions, &other.keys.subscriptions);
        (one.is_there, &one.add) == (other.is_there, &other.add)
    },
    of: |endpoint| endpoint.keys.subscriptions.add.clone(),
    kind: Optional(By(super::said)),
};

/// `links`: the least number of them is the endpoint's.
pub(in crate::config) fn follow_links(section: &Section<'_>, endpoint: &mut ConfiguredEndpoint) {
    let (min, max) = (endpoint.keys.subscriptions.min_links, endpoint.keys.subscriptions.max_links);
    let links = section.section("subscriptions").section("links");
    if let Some(min) = min {
        if section.has("links") && endpoint.links != min {
            section.fault("links", format!("stands beside subscriptions.links.min = {min}"), "keep one of them");
        }
        endpoint.links = min;
    }
    if let Some(max) = max.filter(|max| *max < endpoint.links) {
        let least = endpoint.links;
        links.fault(
            "max",
            format!("{max} is less than the {least} links that there are always"),
            format!("write at least {least}"),
        );
    }
}

impl Reader<'_> {
    /// What connections run.
    pub(super) fn subscribing(&self, keys: &session::Subscriptions) -> Option<Subscribing> {
        if !keys.is_there {
            return None;
        }
        let add = keys.add.as_ref().and_then(|said| self.said(said, keys.batch));
        let remove = keys.remove.as_ref().and_then(|said| self.said(said, keys.batch));
        let confirm = self.answers(keys.confirm.as_ref());
        let refuse = self.answers(keys.refuse.as_ref());
        let skip_when = keys.skip_when.as_ref().and_then(|Word(written)| self.when(&at(self.report, written)));
        // A peer that counts what comes in a second counts what the network has bunched, too.
        let spacing = keys.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.1 / rate));
        Some(Subscribing {
            add: add.map(Box::new),
            remove: remove.map(Box::new),
            batch: keys.batch,
            spacing,
            confirm: confirm.into(),
            refuse: refuse.into(),
            timeout: keys.timeout,
            skip_when,
            until_confirmed: keys.until_confirmed,
        })
    }

    /// A message about keys.
    fn said(&self, Said(written): &Said, batch: usize) -> Option<Send> {
        let item = at(self.report, written);
        *self.keys.borrow_mut() = Some(Vec::new());
        let send = self.send(&item);
        self.refuse_makes(&item);
        let found = self.keys.take().unwrap_or_default();
        if send.is_some() && found.is_empty() {
            item.fault("says no key", "write ${key} where the key belongs, or ${keys} for several at once");
        } else if batch > 1 && found.contains(&Source::Key) {
            item.fault("is for one key, and `batch` puts several into one message", "write ${keys}");
        }
        send
    }

    fn answers(&self, steps: Option<&Steps>) -> Vec<KeyAnswer> {
        let Some(Steps(written)) = steps else { return Vec::new() };
        let items = at(self.report, written).list().unwrap_or_default();
        items.iter().filter_map(|item| self.answer(item)).collect()
    }

    fn answer(&self, item: &Item<'_>) -> Option<KeyAnswer> {
        let section = Section::of(item);
        let matcher = self.matcher(&section);
        let extract = self.extract(&section).into_iter().collect();
        let hide = section.get("hide").and_then(|item| item.bool()).unwrap_or_default();
        let key = section.get("key").and_then(|item| self.which(&item));
        let id = section.get("id").and_then(|item| matcher::pointer(&item, item.text()?)).map(Which::Asked);
        section.finish();
        if section.has("key") && section.has("id") {
            section.fault("id", "stands beside `key`, and one of them says which", "keep one of them");
            return None;
        }
        let is_section = matches!(item.value.kind, config::ValueKind::Table(_));
        if is_section && matcher::matches_all(&matcher) {
            item.fault("matches every message", "say which: { json = { \"/type\" = \"subscribed\" } }");
            return None;
        }
        Some(KeyAnswer { matcher, extract, which: key.or(id).unwrap_or(Which::Oldest), hide })
    }

    /// A pointer, or a text with variables.
    fn which(&self, item: &Item<'_>) -> Option<Which> {
        let text = item.text()?;
        if text.starts_with('/') {
            return matcher::pointer(item, text).map(Which::At);
        }
        if !text.contains("${") {
            item.fault(
                "is neither a JSON pointer nor a text with variables",
                "write \"/channel\", or \"${var:NAME}\" with a variable that `extract` or a group of `regex` sets",
            );
            return None;
        }
        self.text(item).map(Which::Named)
    }

    /// The keys, and what holds for them.
    pub(super) fn subscriptions(
        &self,
        keys: &session::Subscriptions,
        endpoint: &Endpoint,
        whole: bool,
    ) -> Arc<Subscriptions> {
        let policy = Policy {
            max_keys: keys.max_keys,
            per_link: keys.per_link,
            links: (endpoint.links, keys.max_links.unwrap_or(endpoint.links).max(endpoint.links)),
            spread_after: Some(keys.spread_after),
            close_after: keys.close_after,
            has_template: keys.add.is_some(),
            is_durable: endpoint.keeps_keys(),
        };
        let room = u64::from(policy.per_link.unwrap_or(u32::MAX)).saturating_mul(policy.links.1.into());
        let names = keys.keys.as_ref().map(|names| self.names_of_keys(names, keys, (room, whole))).unwrap_or_default();
        Arc::new(Subscriptions { keys: names.into(), policy, is_bare: false })
    }

    fn names_of_keys(
        &self,
        Names(written): &Names,
        keys: &session::Subscriptions,
        (room, whole): (u64, bool),
    ) -> Vec<Arc<str>> {
        let item = at(self.report, written);
        let items = item.list().unwrap_or_default();
        if whole && keys.add.is_none() && !items.is_empty() {
            item.fault("nothing says what asks for them", "write `add`, with ${key} or ${keys}");
        }
        if items.len() > keys.max_keys {
            item.fault("there are more than `max_keys`", "raise `max_keys`, or take some out");
        } else if whole && items.len() as u64 > room {
            item.fault(
                format!("there are {}, and the links have room for {room} (`per_link`)", items.len()),
                "raise `links.max` or `per_link`, or take some out",
            );
        }
        let (mut seen, mut names) = (BTreeSet::new(), Vec::new());
        for item in &items {
            let Some(text) = item.text() else { continue };
            if text.is_empty() || text.len() > KEY_MAX {
                item.fault("is not a key", "write 1 to 1024 bytes");
            } else if seen.insert(text) {
                names.push(text.into());
            }
        }
        names
    }
}
