//! What would help after a connection or an attempt has ended in some way.
//!
//! What a reader would get wrong: a sentence is said only where it is known to be true. What is not known (whether the last
//! connection carried a message, say) is not claimed, and what comforts ("it dials again by itself") is not said of what repeats.

use super::{
    digest::about_digest,
    offer::{about_extension, about_offer},
    proxy::about_proxy,
};
use crate::observe::words;
use wskeeper_core::{
    close::{Cause, Closed},
    session::KEEPALIVE,
};
use wskeeper_link::{
    endpoint::{Endpoint, Template},
    link::{
        RedirectTrouble, TlsTrouble, UpgradeTrouble, lacked_room, lacks_certificate, redirected_to, timed_out, was_read,
    },
    pool::LinkView,
};

/// So many ends of one kind in a row are no accident.
pub(super) const REPEATED: u32 = 3;

/// What to do about the way in which the last connection or attempt ended.
pub(super) fn about_end(view: &LinkView, closed: &Closed, config: &Endpoint) -> Option<String> {
    if timed_out(&closed.detail)
        && let Some(advice) = about_slowness(closed.cause, config)
    {
        return Some(advice);
    }
    Some(match closed.cause {
        Cause::Secret
        | Cause::Dns
        | Cause::Connect
        | Cause::Tls
        | Cause::Proxy
        | Cause::Upgrade
        | Cause::Subprotocol => {
            return about_attempt(view, closed, config);
        }
        Cause::TooBig if lacked_room(&closed.detail) => {
            "The messages that the peers of this endpoint have begun hold what one endpoint may hold of limits.memory: raise it, or lower \
             inbox.max_message or the number of links."
                .into()
        }
        Cause::TooBig => format!(
            "Raise inbox.max_message, now {}, if the peer may send messages of that size.",
            words::bytes(config.inbox.max_message as u64)
        ),
        Cause::PongTimeout => format!(
            "The path or the peer went silent for longer than heartbeat.idle {} and heartbeat.timeout {}. If it comes again \
             and again, look for a proxy or firewall that drops idle connections, and set idle below its limit.",
            words::span(config.link.heartbeat.idle),
            words::span(config.link.heartbeat.timeout)
        ),
        Cause::Mute if closed.label.is_some() => {
            "The peer has fallen silent, though the connection is there: look at its application, and at session.mute.".into()
        }
        Cause::Mute => "The peer's application acknowledges nothing: look there, and at outbox.ack.".into(),
        Cause::Protocol => "The peer broke the WebSocket protocol: that is for the people who run it to mend. \
                            `wskeeper tail --frames` shows what comes."
            .into(),
        Cause::Reset => about_reset(view),
        Cause::Session => about_session(closed.label.as_deref()),
        Cause::Remote => return about_code(closed.code, view, config),
        Cause::Operator | Cause::Reload | Cause::Rotate | Cause::Idle | Cause::Shutdown => return None,
    })
}

/// What to do about a session that has ended its connection.
fn about_session(label: Option<&str>) -> String {
    match label {
        Some("unauthorized") => {
            "The peer takes the login for wrong: put the credentials right that the session sends. They are read again at each attempt."
        }
        Some("timeout") => {
            "The peer did not say in time what the session waits for. `wskeeper tail --frames` shows what comes; compare it with the \
             matchers of session.open, and look whether session.timeout is long enough."
        }
        Some(KEEPALIVE) => {
            "The peer did not answer the session's own heartbeat: look at its application, and at the `expect` of session.every."
        }
        Some("http") => {
            "The HTTP server that the session calls did not answer as is expected of it: compare the step's url, headers and `expect` with \
             what is said above. `wskeeper rehearse` makes the calls once."
        }
        Some("loop") => "The peer lets the session begin again and again: look at what leads to `restart`.",
        Some("value") => {
            "A value could not be made, or a timer's interval is a variable that nobody has set: look at what is to make it, or to extract it."
        }
        Some("overflow" | "too_big") => "The session keeps or sends more than it may: look at what the peer makes it send.",
        Some(_) | None => "Compare the session's steps and rules with what the peer says.",
    }
    .into()
}

/// What to do about an attempt that came to nothing.
fn about_attempt(view: &LinkView, closed: &Closed, config: &Endpoint) -> Option<String> {
    let url = redirected_to(&closed.detail).unwrap_or(&view.url);
    match closed.cause {
        Cause::Secret if was_read(&closed.detail) => Some(
            "The reference was read; what it holds is not what it should be. Put the value right where it comes from; it is read \
             again at each attempt."
                .into(),
        ),
        Cause::Secret => Some(
            "Check that the file, credential or variable exists and that the daemon's user may read it; \
             it is read again at each attempt."
                .into(),
        ),
        Cause::Dns => Some(format!(
            "Check the host in {url} and the resolver of this machine (`getent hosts` with that name; /etc/resolv.conf)."
        )),
        Cause::Connect if closed.detail.contains("`deny` has") => Some(format!(
            "The address of the server of {url} is in a network that the endpoint's `deny` has: leave the network out if the server may be \
             there, else look who answers for the name."
        )),
        Cause::Connect if closed.detail.contains("source_address") => Some(
            "Set source_address to an address that this machine has (`ip address`) and that the server is reached from.".into(),
        ),
        Cause::Connect if url.starts_with("ws+unix:") => Some(format!(
            "Check that the server of {url} runs and listens on that socket, and that the daemon's user may open it; the unit may hide it \
             from the daemon (PrivateTmp, ProtectHome)."
        )),
        Cause::Connect => Some(format!(
            "Check that the server of {url} runs and listens on the address named above, and that a firewall lets the port \
             through; connect_timeout is {}.",
            words::span(config.link.connect_timeout)
        )),
        Cause::Tls => Some(about_tls(&closed.detail, url, config)),
        Cause::Proxy => Some(about_proxy(closed, url, config)),
        Cause::Upgrade => Some(match closed.status {
            Some(status) => about_status(status, (url, &closed.detail), view, config),
            None => about_upgrade(&closed.detail, url, config),
        }),
        Cause::Subprotocol => {
            let offered: Vec<_> = config.protocols.iter().map(Template::shown).collect();
            Some(format!(
                "The endpoint offers {}; set `protocols` to what the server speaks, or protocols_optional = true.",
                if offered.is_empty() { "none".into() } else { offered.join(", ") }
            ))
        }
        Cause::TooBig
        | Cause::PongTimeout
        | Cause::Mute
        | Cause::Protocol
        | Cause::Reset
        | Cause::Session
        | Cause::Remote
        | Cause::Operator
        | Cause::Reload
        | Cause::Rotate
        | Cause::Idle
        | Cause::Shutdown => None,
    }
}

/// What to do about an attempt that took too long; `None`: what is said of the cause holds for that too.
fn about_slowness(cause: Cause, config: &Endpoint) -> Option<String> {
    let in_time = format!("within connect_timeout, now {}", words::span(config.link.connect_timeout));
    match cause {
        Cause::Dns => Some(format!(
            "The resolver of this machine did not answer {in_time}: check it (`getent hosts` with that name; /etc/resolv.conf)."
        )),
        Cause::Tls => Some(format!(
            "The server took the connection and did not finish the TLS handshake {in_time}: raise it if the server is slow. A \
             port without TLS may be silent in the same way."
        )),
        Cause::Upgrade => Some(format!(
            "The server took the connection and did not answer the upgrade {in_time}: raise it if the server is slow, else look \
             there, or at what stands behind a proxy."
        )),
        Cause::Proxy => Some(format!(
            "Neither the proxy nor the server behind it answered {in_time}: check that the proxy runs and reaches the server."
        )),
        Cause::Secret
        | Cause::Connect
        | Cause::Subprotocol
        | Cause::Session
        | Cause::PongTimeout
        | Cause::Mute
        | Cause::Protocol
        | Cause::TooBig
        | Cause::Reset
        | Cause::Remote
        | Cause::Operator
        | Cause::Reload
        | Cause::Rotate
        | Cause::Idle
        | Cause::Shutdown => None,
    }
}

/// Whether another URL might fare better: where the server or the way to it failed, not where it refused what was asked of it.
pub(super) fn is_of_the_server(closed: &Closed) -> bool {
    match closed.cause {
        Cause::Dns | Cause::Connect | Cause::Tls | Cause::Proxy | Cause::PongTimeout | Cause::Mute | Cause::Reset => {
            true
        }
        Cause::Upgrade => closed.status.is_none_or(|status| status == 429 || status >= 500),
        Cause::Remote => matches!(closed.code, 1001 | 1006 | 1011..=1014),
        Cause::Secret
        | Cause::Subprotocol
        | Cause::Session
        | Cause::Protocol
        | Cause::TooBig
        | Cause::Operator
        | Cause::Reload
        | Cause::Rotate
        | Cause::Idle
        | Cause::Shutdown => false,
    }
}

/// Ends of the same kind in a row.
pub(super) fn in_a_row(view: &LinkView) -> u32 {
    view.ruling.map_or(view.attempt, |(_, in_a_row)| in_a_row)
}

fn about_reset(view: &LinkView) -> String {
    let times = in_a_row(view);
    if times < REPEATED {
        return "The server, or something between, ended TCP without a word: a crash, a proxy's limit or a deployment. \
                It dials again by itself."
            .into();
    }
    format!(
        "TCP ended without a word {times} times in a row. Look at the server's log, at limits of proxies and firewalls between \
         (age, idle time, size), and with `wskeeper tail {} --frames` at what goes by before the end.",
        view.endpoint
    )
}

fn about_tls(detail: &str, url: &str, config: &Endpoint) -> String {
    match TlsTrouble::of(detail) {
        TlsTrouble::Certificate if detail.contains("tls.pin") => {
            "If the key named above is the server's (ask who runs it, by another way), write it into tls.pin; if not, somebody else answers."
                .into()
        }
        TlsTrouble::Certificate => about_certificate(config),
        TlsTrouble::NotTls => format!(
            "No certificate was looked at, for what answered at the port of {url} does not speak TLS: check host and port. Where \
             the server has none, ws:// is the scheme, and nothing is encrypted."
        ),
        TlsTrouble::Silent => format!(
            "No certificate was looked at, and what closed the connection cannot be known from here: the server of {url} may take no \
             TLS newer than 1.1 (1.2 or 1.3 is needed), want another name (tls.server_name), turn this machine away, or have no TLS \
             at that port. Its log, or `openssl s_client -connect` with its host and port, says more."
        ),
        TlsTrouble::Client if config.tls.client.is_some() => {
            "Check the files of tls.cert and tls.key: that they belong together, are valid, and are of an authority that the \
             server knows. They are read at each attempt."
                .into()
        }
        TlsTrouble::Client => "Set tls.cert and tls.key to a certificate that the server accepts, and its key.".into(),
        TlsTrouble::Settings => {
            "Check that the file exists, is whole, and that the daemon's user may read it; it is read again at each attempt."
                .into()
        }
        TlsTrouble::Other => "Compare the server's TLS with what is said above; its log may say more.".into(),
    }
}

fn about_certificate(config: &Endpoint) -> String {
    let authority = match &config.tls.ca {
        Some(path) => format!("{} (tls.ca)", path.display()),
        None => "the platform's authorities (tls.ca is not set)".into(),
    };
    let name = match &config.tls.server_name {
        Some(name) => format!("{name} (tls.server_name)"),
        None => "the host of the URL".into(),
    };
    format!(
        "The certificate is checked against {authority} for {name}. Check its dates, its name and who signed it, and this \
         machine's clock."
    )
}

fn about_upgrade(detail: &str, url: &str, config: &Endpoint) -> String {
    match UpgradeTrouble::of(detail) {
        UpgradeTrouble::HungUp if url.starts_with("wss:") => format!(
            "The server of {url}, or a proxy before it, took TLS and hung up in place of an answer: check the path{}; its log may \
             say why.",
            if config.tls.client.is_some() {
                ", and that it knows the client certificate (tls.cert, tls.key)"
            } else {
                ""
            }
        ),
        UpgradeTrouble::HungUp => format!(
            "The server of {url}, or a proxy before it, hung up in place of an answer: check whether the port wants wss, and the \
             path; its log may say why."
        ),
        UpgradeTrouble::Request => "Write the URL so that it can be sent: percent-encode its path and query.".into(),
        UpgradeTrouble::TooLong => format!(
            "What answers at {url}, or a proxy before it, sends more headers than are read here: have it send fewer (cookies, \
             tracing, policies)."
        ),
        UpgradeTrouble::Http2 => format!(
            "The server of {url}, or a balancer before it, does not open WebSockets by HTTP/2: set `http2 = \"auto\"`, which takes HTTP/1.1 \
             then, or turn it on there (extended CONNECT, RFC 8441)."
        ),
        UpgradeTrouble::Stream => format!(
            "The server of {url}, or a balancer before it, speaks HTTP/2 and opened no stream for this link: its log, or its limit of streams, \
             may say why. With `http2 = \"never\"` each link has a connection of its own."
        ),
        UpgradeTrouble::Extension => about_extension(config),
        UpgradeTrouble::Answer => format!("What answers at {url} does not speak WebSocket: check host, port and path."),
    }
}

/// What to do about a status that came from this URL, with the rest of what is known of it.
fn about_status(status: u16, (url, detail): (&str, &str), view: &LinkView, config: &Endpoint) -> String {
    match status {
        400 | 401 | 403 | 495 | 496 if lacks_certificate(detail) => {
            "The server asked for a client certificate and got none, which may be why: set tls.cert and tls.key to one that it accepts, \
             and its key."
                .into()
        }
        400 if config.compression.is_offered => about_offer(config),
        401 | 403 => about_digest(detail, config).unwrap_or_else(|| about_credentials(config)),
        407 => format!(
            "Something between answers as a proxy, in place of the server of {url}, and asks for proxy authentication: set \
             headers.Proxy-Authorization, or have it let this machine through."
        ),
        404 | 410 => format!("The server knows no such path: check the path of {url}."),
        405 | 426 | 501 => format!(
            "The server does not take a WebSocket upgrade there: check host, port and path of {url}, and that a proxy between \
             passes `Upgrade` on."
        ),
        429 => "The server has had too many attempts from here: hold fewer `links`, or lower admission.rate.".into(),
        300..=399 => about_redirect(detail, url, config),
        500 => {
            "The server failed on the request: its log says why. It may be the path, a header or a subprotocol.".into()
        }
        502..=504 => {
            let times = in_a_row(view);
            let again =
                if times < REPEATED { String::new() } else { format!(" It has said so {times} times in a row.") };
            format!(
                "The server, or a proxy before it, is down or busy: that is for the people who run it to mend.{again}"
            )
        }
        505 => format!(
            "The server, or a proxy before it, does not take HTTP/1.1, by which WebSockets are opened here: check host and port \
             of {url}, or have HTTP/1.1 allowed there."
        ),
        511 => "The network wants a login first (a captive portal).".into(),
        506..=599 => "The server, or a proxy before it, cannot do what was asked: its log says why.".into(),
        _ => "The server does not like the request: check the URL, `headers` and `protocols`.".into(),
    }
}

fn about_redirect(detail: &str, url: &str, config: &Endpoint) -> String {
    match RedirectTrouble::of(detail) {
        RedirectTrouble::TooMany => {
            format!("The server sends elsewhere: write the new URL, or raise `redirects`, now {}.", config.redirects)
        }
        RedirectTrouble::Unsafe => {
            "The server sends to a URL without TLS, which is never followed: that is for the people who run it to mend."
                .into()
        }
        RedirectTrouble::Unusable => format!(
            "The server of {url} sends to what no WebSocket can be opened at: check host, port and path, or have the people who run \
             it mend that."
        ),
        RedirectTrouble::Nowhere => format!(
            "The server of {url} answers with a redirect that cannot be followed: it does not say where to (Location), or its status \
             is none of 301, 302, 303, 307 and 308. Check host, port and path."
        ),
    }
}

/// Where what the peer refused comes from.
fn about_credentials(config: &Endpoint) -> String {
    let evaluated = evaluated(config);
    if !evaluated.is_empty() {
        return format!(
            "The credentials come from {}: put fresh ones there; they are read at each attempt.",
            evaluated.join(", ")
        );
    }
    let written = written(config);
    if written.is_empty() {
        return "The request carries no secret: set headers.Authorization, for example to \"Bearer ${file:PATH}\"."
            .into();
    }
    format!(
        "What may be credentials is written in the configuration ({}): put fresh ones there and reload, or refer to a file by \
         ${{file:PATH}}, which is read at each attempt.",
        written.join(", ")
    )
}

/// What of the request is made of references.
fn evaluated(config: &Endpoint) -> Vec<String> {
    let headers = config.headers.iter().filter(|(_, value)| value.has_references());
    let headers = headers.map(|(name, value)| format!("header {name} = {}", value.shown()));
    let urls = config.urls.iter().filter(|url| url.has_references()).map(|_| "a reference in the URL".to_owned());
    let protocols = config.protocols.iter().filter(|protocol| protocol.has_references());
    let protocols = protocols.map(|protocol| format!("protocol {}", protocol.shown()));
    headers.chain(urls).chain(protocols).collect()
}

/// What of the request may be a secret and is written in clear: what is not shown.
fn written(config: &Endpoint) -> Vec<String> {
    let hidden = config.headers.iter().filter(|(_, value)| value.shown() != value.source());
    let headers = hidden.map(|(name, _)| format!("header {name}"));
    let parts = config.urls.iter().map(|url| userinfo_and_query(&url.literals().collect::<String>()));
    let (userinfo, query) = parts.fold((false, false), |all, one| (all.0 || one.0, all.1 || one.1));
    let urls = [(userinfo, "the URL's userinfo"), (query, "the URL's query")];
    headers.chain(urls.into_iter().filter(|(is_there, _)| *is_there).map(|(_, part)| part.to_owned())).collect()
}

/// Whether a URL has the one and the other.
fn userinfo_and_query(url: &str) -> (bool, bool) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let query = rest.split('#').next().and_then(|rest| rest.split_once('?'));
    (authority.contains('@'), query.is_some_and(|(_, query)| !query.is_empty()))
}

/// What a peer means with its Close.
fn about_code(code: u16, view: &LinkView, config: &Endpoint) -> Option<String> {
    let times = in_a_row(view);
    // What a session sends is not counted there.
    let is_silent = view.traffic.sent_messages == 0 && config.session.is_none();
    let asks = config.subscriptions.is_some();
    let nothing_sent = |what: &str| {
        format!(
            "The peer {what}, though no message was sent: look at what it asks of a connection (credentials, path, origin, quota)."
        )
    };
    Some(match code {
        1000 | 1001 | 1005 if times >= REPEATED => format!(
            "The peer has closed in order {times} times in a row: it may want something that it does not get (a login, a subscription, \
             a subprotocol), or be meant to be asked once (on_clean_close = \"stay_closed\"). `wskeeper tail {} --frames` shows what \
             goes by.",
            view.endpoint
        ),
        1002 => {
            "The peer says that a frame broke the protocol: please report it, with `wskeeper tail --frames`.".into()
        }
        1003 if is_silent => nothing_sent("says that it takes no messages of that type"),
        1003 => "The peer takes no messages of that type: compare text and binary with what it expects.".into(),
        1007 if is_silent => nothing_sent("says that a message was not what its type says"),
        1007 => "The peer says that a message was not what its type says: look at what is sent.".into(),
        1008 if is_silent => nothing_sent("says that its policy is broken"),
        1008 if asks => format!(
            "The peer says that its policy is broken, by what it was asked for perhaps: more keys on a connection than it allows \
             (subscriptions.per_link), more messages a second (subscriptions.rate, subscriptions.batch), or a key that it does not give. \
             `wskeeper tail {} --frames` shows what goes by before the end.",
            view.endpoint
        ),
        1008 => "The peer says that its policy is broken, by a message perhaps: look at what was sent last, and at its rules."
            .into(),
        1009 if is_silent => nothing_sent("says that a message was too big"),
        1009 => format!(
            "The peer takes no messages of that size: lower outbox.max_message, now {}{}.",
            words::bytes(config.link.outbox.max_message as u64),
            if asks { ", or subscriptions.batch if it was asked for keys" } else { "" }
        ),
        1010 => "The peer wants an extension: if it is permessage-deflate, set `compression = \"auto\"`; wskeeper offers no other."
            .into(),
        1011 => "The peer's application failed: that is for the people who run it to mend.".into(),
        1012 | 1013 if times < REPEATED => "The peer restarts or is busy, and says so: it dials again by itself.".into(),
        1012 | 1013 => format!(
            "The peer has said {times} times in a row that it restarts or is busy: that is for the people who run it to mend."
        ),
        1014 => "A gateway before the peer does not reach it: that is for the people who run it to mend.".into(),
        3000 | 3003 | 4401 | 4403 => about_credentials(config),
        3008 => {
            "The peer waited too long for something, a login perhaps: compare what is sent first with what it wants."
                .into()
        }
        3001..=4999 => "The code is the service's own: its documentation says what it means.".into(),
        _ => return None,
    })
}
