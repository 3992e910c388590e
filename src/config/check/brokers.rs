//! `[brokers.NAME]`: brokers that bridges name.
//!
//! What a reader would get wrong: they are read before the endpoints, whose bridges have them in them; the row of the table gets what was found.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{MAX_DURATION, endpoint::is_name, item::Item, request, section::Section};
use crate::config::{
    ConfiguredEndpoint,
    broker::{Broker, BrokerTo, NatsBroker, NatsLogin},
    table::transport::TLS,
};
use wskeeper_link::endpoint::{Template, Tls, template::Redaction, url::Target};

/// As many servers as this a broker may have.
const MOST: usize = 16;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Schemes of NATS, and which of them speak TLS in any case.
const SCHEMES: [(&str, bool); 2] = [("nats://", false), ("tls://", true)];

/// Reads all of them into the report.
pub(super) fn note(root: &Section<'_>) {
    for (name, section) in root.section("brokers").named() {
        if !is_name(name) {
            let hint = "use letters, digits, `_`, `.` and `-`, beginning with a letter or a digit, at most 64 of them";
            section.report.fault(section.origin(), &section.path, "is not a name", hint);
        }
        let name: Arc<str> = name.into();
        if let Some(broker) = broker(&section, Arc::clone(&name)) {
            section.report.brokers.borrow_mut().insert(name, Arc::new(broker));
        }
    }
}

/// The row of the table.
pub(in crate::config) fn read(section: &Section<'_>, brokers: &mut BTreeMap<Arc<str>, Arc<Broker>>) {
    brokers.clone_from(&section.report.brokers.borrow());
}

fn broker(section: &Section<'_>, name: Arc<str>) -> Option<Broker> {
    let servers = section.get("nats").and_then(|item| servers(&item));
    if !section.has("nats") {
        section.fault("nats", "is missing", "say where the broker is: nats = [\"nats://127.0.0.1:4222\"]");
    }
    let login = login(section);
    let tls = section.get("tls").map_or_else(Tls::default, |item| tls(&item));
    let connect_timeout = section
        .get("connect_timeout")
        .map_or(Some(CONNECT_TIMEOUT), |item| item.duration(Duration::from_millis(100)..=MAX_DURATION));
    section.finish();
    let (servers, login) = (servers?, login?);
    let goes_in_clear = |server: &Template| {
        let text = server.as_literal()?;
        Some(!target(text.strip_prefix("nats://")?)?.is_loopback())
    };
    if login != NatsLogin::Nobody && servers.iter().any(|server| goes_in_clear(server) == Some(true)) {
        section.warn("nats", "credentials go over the network in clear unless the server asks for TLS: use tls://");
    }
    let to = BrokerTo::Nats(NatsBroker { servers, login });
    Some(Broker { name, to, tls, connect_timeout: connect_timeout? })
}

fn servers(item: &Item<'_>) -> Option<Vec<Template>> {
    const HINT: &str = "write it like \"nats://broker.example:4222\", or \"tls://…\" where TLS is to be spoken";
    let list = item.list()?;
    if list.is_empty() || list.len() > MOST {
        item.fault(format!("has {} servers", list.len()), format!("name from 1 to {MOST} of them"));
        return None;
    }
    let server = |item: &Item<'_>| {
        let template = item.template()?.with_redaction(Redaction::Url);
        request::look_at_files(item, &template);
        if let Some(text) = template.as_literal() {
            let rest = SCHEMES.iter().find_map(|(scheme, _)| text.strip_prefix(scheme));
            if rest.is_some_and(|rest| rest.contains('@')) {
                item.fault("has a user in it", "write `user` and `password`, with references");
                return None;
            }
            if rest.and_then(target).is_none() {
                item.fault("is not the URL of a NATS server", HINT);
                return None;
            }
        }
        Some(template)
    };
    list.iter().map(server).collect()
}

/// What stands behind the scheme, as of a URL that differs in its scheme alone.
fn target(rest: &str) -> Option<Target> {
    Target::http(&format!("http://{rest}")).ok()
}

fn login(section: &Section<'_>) -> Option<NatsLogin> {
    let secret = |key: &'static str| {
        section.get(key).map(|item| {
            let template = item.template()?.with_redaction(Redaction::Literals);
            request::look_at_files(&item, &template);
            Some(template)
        })
    };
    let given = [secret("user"), secret("password"), secret("token"), secret("credentials")];
    match given {
        [None, None, None, None] => Some(NatsLogin::Nobody),
        [Some(user), Some(password), None, None] => Some(NatsLogin::Password(user?, password?)),
        [None, None, Some(token), None] => Some(NatsLogin::Token(token?)),
        [None, None, None, Some(credentials)] => Some(NatsLogin::Credentials(credentials?)),
        [Some(_), None, ..] => {
            section.fault("password", "is missing", "give both: a user and the password");
            None
        }
        [None, Some(_), ..] => {
            section.fault("user", "is missing", "give both: a user and the password");
            None
        }
        _ => {
            let key = if section.has("credentials") { "credentials" } else { "token" };
            let hint = "write `user` and `password`, or `token`, or `credentials`";
            section.fault(key, "stands beside another login, and there is one", hint);
            None
        }
    }
}

/// The words of an endpoint's `tls`.
fn tls(item: &Item<'_>) -> Tls {
    let section = Section::of(item);
    let mut scratch = ConfiguredEndpoint::default();
    TLS.read(&section, &mut scratch);
    section.finish();
    if scratch.tls.server_name.is_some() {
        section.fault(
            "server_name",
            "a broker is verified by the host of its URL",
            "write that host as the certificate has it",
        );
    }
    scratch.tls.clone()
}
