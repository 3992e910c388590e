//! `bridges`: brokers that messages of the inbox go to, and that messages to send come from.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    item::Item,
    push,
    section::{Section, suggestion},
};
use crate::config::{
    bridge::{Bridge, ToBroker},
    broker::Broker,
    push::{Push, PushBody, PushTo},
};
use wskeeper_core::session::{Address, AddressFault};

/// As many as this an endpoint may have.
const MOST: usize = 16;
/// Messages that are published and not acknowledged.
const IN_FLIGHT: usize = 256;

/// The list, where it is written; bridges with a fault are left out.
pub(in crate::config) fn read(section: &Section<'_>, bridges: &mut Vec<Bridge>) {
    let Some(list) = section.list("bridges") else { return };
    if list.len() > MOST {
        section.fault("bridges", format!("are {}, more than {MOST}", list.len()), "let the broker pass messages on");
        return;
    }
    let mut names = BTreeSet::new();
    *bridges = list.iter().filter_map(|section| bridge(section, &mut names)).collect();
}

fn bridge(section: &Section<'_>, names: &mut BTreeSet<String>) -> Option<Bridge> {
    let name = push::name(section, names, "bridge");
    let broker = broker(section);
    let bridge = outward(section, name, broker);
    section.finish();
    bridge
}

fn broker(section: &Section<'_>) -> Option<Arc<Broker>> {
    let Some(item) = section.get("broker") else {
        if !section.has("broker") {
            section.fault("broker", "is missing", "name a broker of [brokers]: broker = \"main\"");
        }
        return None;
    };
    if !item.report.may_bridge(item.value.origin(), &item.path) {
        return None;
    }
    let name = item.text()?;
    let brokers = item.report.brokers.borrow();
    let found = brokers.get(name).cloned();
    if found.is_none() {
        let known: Vec<&str> = brokers.keys().map(|name| &**name).collect();
        let hint = match known.as_slice() {
            [] => format!(
                "there is no broker: write [brokers.NAME] with its servers, nats = [\"nats://…\"], where NAME is {name}"
            ),
            known => suggestion(name, known),
        };
        item.fault("is not a broker of [brokers]", hint);
    }
    found
}

fn outward(section: &Section<'_>, name: Option<Arc<str>>, broker: Option<Arc<Broker>>) -> Option<Bridge> {
    let address = section.get("publish").and_then(|item| address(&item));
    if !section.has("publish") {
        section.fault("publish", "is missing", "say under which subject: publish = \"md.${json:/s}\"");
    }
    let gaps = section.get("gaps").map(|item| subject(&item));
    let jetstream = section.get("jetstream").map(|item| token(&item));
    let reading = push::reading(section);
    let policy = push::policy(section, ("max_in_flight", IN_FLIGHT), true);
    let timeout = push::timeout(section);
    let (address, (stream, filter)) = (address?, reading?);
    let unsaid = || Some(Arc::from(address.with("gap")));
    let to = ToBroker {
        broker: broker?,
        gaps: gaps.unwrap_or_else(unsaid)?,
        address,
        stream: jetstream.map_or(Some(None), |stream| stream.map(Some))?,
    };
    let (to, body) = (PushTo::Broker(Box::new(to)), PushBody::Message);
    Some(Bridge::Out(Push { name: name?, to, body, stream, filter, policy: policy?, timeout: timeout? }))
}

/// A subject with values of the message in it.
fn address(item: &Item<'_>) -> Option<Address> {
    let parsed = Address::parse(item.text()?);
    let fault = match &parsed {
        Ok(address) => return whole(item, &address.with("x")).then_some(parsed.ok()).flatten(),
        Err(AddressFault::Open) => "has a `${` without its `}`",
        Err(AddressFault::Reference) => "has a reference to something else than the message",
        Err(AddressFault::Pointer) => "has a reference that is no JSON pointer to one place",
    };
    item.fault(fault, "write what is at a place of the message as ${json:/a/b}, and ${ itself as $${");
    None
}

/// A subject that means one.
fn subject(item: &Item<'_>) -> Option<Arc<str>> {
    let text = item.text()?;
    whole(item, text).then(|| text.into())
}

fn whole(item: &Item<'_>, subject: &str) -> bool {
    let is_token = |token: &str| {
        !token.is_empty()
            && !token.contains(['*', '>'])
            && !token.contains(|letter: char| letter.is_whitespace() || letter.is_control())
    };
    let is_whole = subject.split('.').all(is_token);
    if !is_whole {
        let hint = "write words with full stops between, without spaces, `*` and `>`: \"md.${json:/s}\"";
        item.fault("is not a subject that can be published to", hint);
    }
    is_whole
}

/// A name of JetStream.
fn token(item: &Item<'_>) -> Option<Arc<str>> {
    let text = item.text()?;
    let is_name =
        !text.is_empty() && text.chars().all(|letter| letter.is_ascii_graphic() && !".*>/\\".contains(letter));
    if !is_name {
        item.fault("is not a name of JetStream", "write the name of the stream, as in `nats stream ls`");
    }
    is_name.then(|| text.into())
}

/// Names of an endpoint's pushes and bridges are the names that cursors are kept under.
pub(super) fn look_at_names(section: &Section<'_>, pushes: &[Push], bridges: &[Bridge]) {
    for bridge in bridges.iter().filter(|bridge| pushes.iter().any(|push| push.name == *bridge.name())) {
        let problem = format!("{:?} is the name of a push too", &**bridge.name());
        section.fault("bridges", problem, "give each a name of its own: a cursor is kept under it");
    }
}
