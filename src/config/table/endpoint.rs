//! Keys of an endpoint. Their defaults are those of the policies that the core has.
//!
//! What a reader would get wrong: `delivery`, `durability` and `confirm_interval` have two places, at the endpoint and in `outbox`,
//! and one value; the rows in `outbox` are those that show it and tell of it.

use std::time::Duration;

use super::{
    kinds::{
        By, FLAG, Number, Optional, Over, Unshown, Word, any_time, count, size, some_time, time_of_at_least,
        time_within,
    },
    none, table,
};
use crate::config::{
    ConfiguredEndpoint,
    check::{
        endpoint as check, network, outcomes, proxy as check_proxy, push, request, session as check_session, streams,
        tls,
    },
    table::{
        kept::{INBOX, RECEIPTS},
        outbox::{DELIVERY, OUTBOX},
        requests::REQUESTS,
        session,
        transport::{DIGEST, TLS},
    },
};
use wskeeper_core::{
    deflate::{LEAST_BITS, MOST_BITS, Takeover},
    link::UrlOrder,
};
use wskeeper_link::endpoint::{http2::Mode, network::Prefer};

/// Of a budget of attempts, which is counted in parts of it.
const LEAST_PER: Duration = Duration::from_secs(1);
const MOST_PER: Duration = Duration::from_hours(366 * 24);

/// Of an outbox or an inbox.
pub(super) const DURABILITY: Word<bool> = Word(&[("memory", false), ("disk", true)]);

table! {
    /// Keys that each endpoint has for itself.
    OWN of ConfiguredEndpoint, "" at (), rules none, {
        /// ws, wss, http or https. Userinfo becomes Basic authentication and is never shown. References are evaluated at each attempt.
        ///
        /// Needed, and without a fragment. `ws+unix:///run/x.sock:/path` is `/path` of the server on that socket.
        /// > url = "wss://feed.example/v2"
        url by request::URL, Rotate;
        /// Instead of `url`: several, the first is the primary.
        ///
        /// Where the server of one is known to be down a link goes on to the next instead of waiting, once round. `failback` says how it comes back.
        /// > #: urls = ["wss://feed.example/v2", "wss://backup.example/v2"]
        urls as "url" by request::URLS, Rotate;
    }
}

table! {
    /// Keys that `[defaults]` has too.
    ENDPOINT of ConfiguredEndpoint, "" at (), rules check::rules, {
        /// Lays a shipped set of keys under those of the endpoint: the login, heartbeat and outcomes of a service.
        ///
        /// `wskeeper presets` lists them, `wskeeper presets NAME` prints one; [docs/presets](presets/README.md) has a page of each.
        /// > #: preset = "nats"
        preset by session::PRESET, Rotate;
        /// The order of `urls`: "listed" (the first is every link's primary) or "shuffle" (each link begins at another, so that all have as many).
        ///
        /// Where one is lost, its links go to the others in equal parts. [Several URLs](failover.md) says more.
        url_order (link.url_order): Word(&[("listed", UrlOrder::Listed), ("shuffle", UrlOrder::Shuffle)]), Live;
        /// A link that another of `urls` has taken in goes back to its first once that is back, with a connection beside the one it has. Say false to
        /// have it stay where it is.
        ///
        /// Then it also comes back to where it was; `wskeeper rotate` takes it to the first.
        failback (link.failback): FLAG, Live;
        /// For so long, and up to a fifth more, the first URL has to have answered probes before links go back. A probe is an upgrade that is closed
        /// again, one at a time for all links of the endpoint: ten in this time, 30 s apart at most.
        ///
        /// Where it takes links in and does not keep them this doubles each time, up to 32 times.
        failback_after (link.failback_after): some_time(), Live;
        /// How many links to hold, 1 to 100000.
        links: count(1..=100_000), Links;
        /// Counts for `/readyz?links`, with `min_ready` links ready at least.
        critical: FLAG, Live;
        /// Links that must be ready then; at most `links`.
        min_ready: count(1..=100_000), Live;
        /// "now" (links dial at once and stay) or "lazy": a link has no connection until somebody sends, subscribes or listens.
        ///
        /// [Lazy links](lazy.md) says who counts, and what a message to a sleeping link meets.
        start (lazy): Word(&[("now", false), ("lazy", true)]), Live;
        /// A lazy link that nobody has used for so long is closed with 1000, and sleeps.
        ///
        /// At least 1 s. Whoever listens, or holds a key, uses it all the time; messages that arrive are no use of it.
        idle_timeout: time_of_at_least(Duration::from_secs(1)), Live;
        /// The whole attempt: name, TCP, TLS, upgrade. Waiting for admission does not count.
        connect_timeout (link.connect_timeout): some_time(), Live;
        /// The closing handshake; then TCP is aborted.
        close_timeout (link.close_timeout): some_time(), Live;
        /// Subprotocols to offer, the most wanted first. The server must choose one of them, unless `protocols_optional` is true.
        ///
        /// Another choice, or none, fails the attempt.
        protocols: By(request::protocols), Rotate;
        /// A server that chooses none of them is accepted.
        protocols_optional: FLAG, Live;
        /// Programs that open a connection as their own (`…/ws?transparent=true`): one at a time ("exclusive"), or several on the same one
        /// ("shared").
        transparent (transparent_shared): Word(&[("exclusive", false), ("shared", true)]), Live;
        /// Redirects to follow: same scheme or better, credentials dropped across origins.
        ///
        /// Another origin gets no userinfo, no headers but `Accept-Language`, `Cache-Control`, `Origin` and `User-Agent`, and nothing made
        /// of a `${…}`, subprotocols too.
        redirects: count(0..=20), Live;
        /// Cookies that a server sets, with its 101 or a refusal, go back to it with the next upgrade: a balancer that keeps clients by cookie has each
        /// link at the same server again.
        ///
        /// Each link has its own, in memory: 50 cookies and 16 KiB at most. A cookie goes to the host that set it only. A `Cookie` in `headers` goes
        /// along. [The same server again](addresses.md#the-same-server-again) says more.
        cookies: FLAG, Live;
        /// Headers of the upgrade request. Those that the handshake sets itself are refused.
        ///
        /// They are spelled as they are written here. `Host` may be set; `User-Agent` is `wskeeper/VERSION` unless it is; `false` leaves out
        /// one of `[defaults]`. What may be secret is shown as `***`.
        /// > [endpoints.trades.headers]
        /// > #: Authorization = "Bearer ${env:FEED_TOKEN}"
        headers: Over(request::headers), Rotate;
        /// The proxy on the way: "http://HOST:PORT" or "https://…" (asked by CONNECT), "socks5://…" (names are looked up here) or "socks5h://…"
        /// (by the proxy); "env", which is what HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say; or "none".
        ///
        /// User and password stand before the host, percent-encoded or as references: `http://${file:user}:${file:password}@HOST:3128`. HTTP calls
        /// of sessions and values go through it too. [Through a proxy](proxies.md) says more.
        proxy (proxy.choice): By(check_proxy::choice), Rotate;
        /// Headers of the CONNECT request to an HTTP proxy, which nobody else gets.
        ///
        /// They are spelled as they are written here; `false` leaves out one of `[defaults]`.
        /// > [endpoints.trades.proxy_headers]
        /// > #: Proxy-Authorization = "Bearer ${file:proxy-token}"
        proxy_headers (proxy.headers): Over(check_proxy::headers), Rotate;
        /// A PEM file of authorities that the certificate of an https:// proxy is of, instead of the platform's, read at each attempt.
        /// > #: proxy_ca = "proxy-ca.pem"
        proxy_ca (proxy.ca): Optional(By(tls::path)), Rotate;
        /// WebSockets over HTTP/2 (RFC 8441), many links on one connection: "auto" (where a server with TLS offers it; else HTTP/1.1), "require" (also
        /// without TLS) or "never".
        ///
        /// [Over HTTP/2](http2.md) says when it pays, and what it costs.
        http2 (http2.mode): Word(&[("never", Mode::Never), ("auto", Mode::Auto), ("require", Mode::Require)]), Rotate;
        /// Links on one connection by HTTP/2, at most; fewer where the server says so.
        http2_links (http2.links): count(1..=100_000), Live;
        /// Compression of messages (permessage-deflate, RFC 7692): "auto" (offered; a server without it is used without) or "off".
        ///
        /// [Compression](compression.md) says when it pays, and what it costs.
        compression (compression.is_offered): Word(&[("off", false), ("auto", true)]), Rotate;
        /// How hard what is sent is compressed: 1 is fastest, 9 smallest.
        compression_level (compression.level): count(1..=9), Rotate;
        /// Shorter messages are sent as they are.
        compression_threshold (compression.threshold): size(0..=1 << 30), Rotate;
        /// The largest window both ways, as a power of two: 9 to 15. A server may use a smaller one.
        compression_window_bits (compression.offer.window_bits): count(LEAST_BITS as u64..=MOST_BITS as u64), Rotate;
        /// Who may compress a message by those before it: "none", "peer" (the server; its window is kept here) or "both".
        compression_context (compression.offer.context):
            Word(&[("none", Takeover::Neither), ("peer", Takeover::Peer), ("both", Takeover::Both)]), Rotate;
        /// The family of addresses that is tried first: "ipv4", "ipv6", or "auto" (the resolver's choice). The other follows 250 ms later.
        prefer (network.prefer): Word(&[("auto", Prefer::Auto), ("ipv4", Prefer::Ipv4), ("ipv6", Prefer::Ipv6)]), Live;
        /// The address of this machine that connections come from. Only addresses of its family are dialled.
        ///
        /// HTTP calls of sessions and values come from it too.
        /// > #: source_address = "127.0.0.1"
        source_address (network.source): Optional(By(network::address)), Rotate;
        /// Networks where no server may be, whatever its name or a redirect says: attempts that would connect there fail with class `connect`.
        ///
        /// It is the address that is dialled that counts, also of HTTP calls of sessions and values. A proxy may be anywhere; of servers behind it only
        /// those whose address is known here are looked at.
        /// > #: deny = ["10.0.0.0/8", "169.254.0.0/16", "fd00::/8"]
        deny (network.deny): By(network::networks), Rotate;
        /// Addresses that stand for the look-up of a host at a port, as curl's `--resolve`.
        ///
        /// Certificate and `Host` are still for the host's name.
        /// > [endpoints.trades.resolve]
        /// > #: "feed.example:443" = ["10.0.0.7"]
        resolve (network.resolve): Over(network::resolve), Live;
        digest: section DIGEST;
        tls: section TLS;
        session: section SESSION;
        subscriptions: section SUBSCRIPTIONS;
        heartbeat: section HEARTBEAT;
        reconnect: section RECONNECT;
        rotation: section ROTATION;
        /// Your own rows before the built-in ones; the first that matches decides what follows an end. `match` takes `code` (1008 or
        /// "4000-4099"), `reason` (a regular expression), `status` (404 or "500-599") and `class` (dns, connect, tls, proxy, upgrade,
        /// subprotocol, session, pong_timeout, mute, protocol, too_big, reset, secret), `label` (what a session calls its failure), and, if the server refused the
        /// upgrade, `body` and `header` (regular expressions for the first 4 KiB of the body and for the values of a header).
        /// `then` is "backoff", "now", "slow", "park",
        /// "refresh", "next_url" or "stay_closed"; with `after = N` only from the Nth such end in a row on.
        ///
        /// `forget = ["NAME", …]` lets go of variables that the session keeps. More below.
        /// > #: [[endpoints.trades.outcomes]]
        /// > #: then = "park"
        /// > #: after = 3
        /// > #: forget = ["id"]
        /// > #: [endpoints.trades.outcomes.match]
        /// > #: code = "4000-4099"
        /// > #: reason = "(?i)banned"
        /// > #: status = "500-599"
        /// > #: class = "dns"
        /// > #: label = "unauthorized"
        /// > #: body = "(?i)too many connections"
        /// > #: [endpoints.trades.outcomes.match.header]
        /// > #: X-Reason = "banned"
        outcomes (link.outcomes): Over(outcomes::read), Live;
        delivery (link.outbox.delivery) as "outbox.delivery": Unshown(DELIVERY), Live;
        durability (link.outbox.durable) as "outbox.durability": Unshown(DURABILITY), Live;
        confirm_interval (link.confirm_interval) as "outbox.confirm_interval": Unshown(any_time()), Live;
        outbox: section OUTBOX;
        requests: section REQUESTS;
        inbox: section INBOX;
        /// Named parts of the inbox, each with a ring and cursors of its own: `?stream=NAME` reads one, and a busy neighbour costs it nothing.
        ///
        /// A stream has `name`, `match` (JSON pointers and the values that its messages have there: all of them), and `max_messages` (1024) and
        /// `max_bytes` (1 MiB), as the inbox. Streams are kept in memory. A message longer than `session.max_json` is in none.
        /// > #: [[endpoints.trades.streams]]
        /// > #: name = "btc"
        /// > #: max_messages = 1024
        /// > #: max_bytes = "1MiB"
        /// > #: [endpoints.trades.streams.match]
        /// > #: "/s" = "BTCUSDT"
        streams: Over(streams::read), Live;
        /// Where messages go by themselves: a POST each, or many in one, or lines to a program. docs/push.md teaches it.
        ///
        /// A push has `name`, and `url` or `command`. What it reads: `stream`, or `match` as a stream has it. What it hands over: `body`
        /// ("message", or "events" one a line), `batch` (messages in one request, 100 of events) and `max_bytes` (1 MiB). How: `headers`,
        /// `secret` (requests are signed with it), `tls` ("system" or "endpoint"), `proxy` with `proxy_headers` and `proxy_ca` (as an endpoint has
        /// them; none unless they are given here), `timeout` (30s), `retry` with `initial` (1s) and `max` (1min),
        /// and `on_refused`: what becomes of a message that the receiver refuses for good ("skip", "stop" or "retry").
        ///
        /// With inbox.durability = "disk" it goes on after a restart where it was; else it begins anew.
        /// > #: [[endpoints.trades.push]]
        /// > #: name = "orders"
        /// > #: url = "https://receiver.example/hook"
        /// > #: secret = "${file:push.secret}"
        /// > #: tls = "system"
        /// > #: proxy = "http://proxy.example:3128"
        /// > #: proxy_ca = "proxy-ca.pem"
        /// > #: body = "message"
        /// > #: timeout = "30s"
        /// > #: on_refused = "skip"
        /// > #: [endpoints.trades.push.headers]
        /// > #: Authorization = "Bearer ${env:RECEIVER_TOKEN}"
        /// > #: [endpoints.trades.push.proxy_headers]
        /// > #: Proxy-Authorization = "Bearer ${file:proxy-token}"
        /// > #: [endpoints.trades.push.match]
        /// > #: "/type" = "order"
        /// > #: [endpoints.trades.push.retry]
        /// > #: initial = "1s"
        /// > #: max = "1min"
        /// > #: [[endpoints.trades.push]]
        /// > #: name = "archive"
        /// > #: command = ["/usr/local/bin/archive", "--append"]
        /// > #: stream = "btc"
        /// > #: batch = 100
        /// > #: max_bytes = "1MiB"
        push: Over(push::read), Live;
        receipts: section RECEIPTS;
    }
}

table! {
    SESSION of ConfiguredEndpoint, "session." at (), rules none, {
        /// What is done before each attempt connects, within its `connect_timeout`: steps as those of `open`, but for `send` and `expect`.
        ///
        /// What they set is there for `url`, `headers`, `protocols` and the session.
        /// > #: dial = [{ http = { url = "https://api.example/ticket", extract = { ticket = "/ticket" } } }]
        dial by session::DIAL, Rotate;
        /// What is done from OPEN to `ready`, in order. Each step is one of `send`, `expect`, `set`, `forget`, `wait` and
        /// `http`, and may have `when = "NAME"` or "!NAME" (the variable is set, or not). docs/sessions.md teaches it.
        ///
        /// Messages of the outbox wait until the last step is done.
        /// > #: open = [{ send = "hello" }, { expect = { text = "welcome" } }]
        open by session::OPEN, Rotate;
        /// Rules that look at every message that arrives: the first whose `match` holds acts.
        ///
        /// It may `extract`, `set` and `forget` variables, `send`, `hide` the message from consumers, and say what becomes of the connection:
        /// `then` or `fail`.
        /// > #: on = [{ match = { text = "ping" }, send = "pong", hide = true }]
        on by session::ON, Rotate;
        /// Timers from `ready` on: `every`, `first` ("after", "now", "random"), `when_idle` ("in", "out", "both"), and `send` with an optional
        /// `expect`, or `steps`.
        ///
        /// An answer that does not come within the `timeout` of its `expect` ends the connection with label `keepalive`.
        /// > #: every = [{ every = "30s", send = "ping", expect = { text = "pong" }, hide = true }]
        every by session::EVERY, Rotate;
        /// No message that matches for so long: the probe is sent, and after as long again the link is lost.
        ///
        /// A section: `after`, `match` and `probe`. Without `match` any message counts; without `probe` the link is lost at once.
        /// > #: mute = { after = "1min", match = { text = "tick" }, probe = "ping" }
        mute by session::MUTE, Rotate;
        /// Steps before an orderly close: an operator's, a stop's, that of the old connection after a rotation.
        ///
        /// They get half of `close_timeout`.
        /// > #: leave = [{ send = "bye" }]
        leave by session::LEAVE, Rotate;
        /// Variables that the link keeps over a reconnect.
        /// > #: keep = ["id"]
        keep by session::KEEP, Rotate;
        /// Variables that outlive the daemon, too: they are in `keep` without being named there, and are written to storage.dir.
        ///
        /// They are written when they change, but once a second at most: after a kill what a session goes on with may be so much older.
        /// > #: durable = ["id"]
        durable by session::DURABLE, Rotate;
        /// The whole of `open` must end within this.
        timeout by session::TIMEOUT, Rotate;
        /// A longer message is not looked at as JSON.
        max_json by session::MAX_JSON, Rotate;
        /// What `${value:NAME}` stands for in the session: texts with references, evaluated at each attempt. Presets are given their
        /// secrets by it; of them references are shown.
        /// > [endpoints.trades.session.values]
        /// > #: token = "${file:token}"
        values by session::VALUES, Rotate;
    }
}

table! {
    SUBSCRIPTIONS of ConfiguredEndpoint, "subscriptions." at (), rules none, {
        /// What links are to have asked their peers for, in this order: after each `open`, before messages of the outbox leave. Programs add
        /// theirs by the API. docs/subscriptions.md teaches it.
        ///
        /// A change of them is followed at once. They stand beside those that programs hold, and are never released.
        /// > #: keys = ["btcusdt@trade"]
        keys by session::KEYS, Live;
        /// What asks for a key: as `send` of a session, with `${key}`; or `${keys}`, which is a list in `json` and has commas between them in
        /// `text`.
        ///
        /// Without it each key must come with a message of its own.
        /// > #: add = { json = { method = "SUBSCRIBE", params = "${keys}", id = "${seq}" } }
        add by check_session::ADD, Rotate;
        /// What ends the subscription of a key, once nobody holds it any more. Without it nothing is sent then.
        /// > #: remove = { json = { method = "UNSUBSCRIBE", params = "${keys}", id = "${seq}" } }
        remove by session::REMOVE, Rotate;
        /// So many keys go into one message, at most.
        batch by session::BATCH, Rotate;
        /// Messages a second on one connection, at most.
        ///
        /// They are a tenth further apart than that, so that none is too many where the network bunches them.
        /// > #: rate = 5
        rate by session::RATE, Rotate;
        /// What confirms keys: a matcher as of a session, with `key`, a JSON pointer to the key (or a list of keys) or a text with variables that
        /// says it; or with `id`, a pointer to what `${seq}` or `${uuid}` was in the message that asked. One, or a list.
        ///
        /// With neither it is the oldest message that asked for keys and has not been answered, so `remove`
        /// must have no such answer. `extract` sets variables, `hide` keeps the answer from consumers. Without `confirm` a key is active once it was asked for.
        /// > #: confirm = { json = { "/result" = "ok" }, id = "/id", hide = true }
        confirm by session::CONFIRM, Rotate;
        /// What refuses them, in the same way. A key that is refused is asked for again on the next connection.
        /// > #: refuse = { has = ["/error"], id = "/id" }
        refuse by session::REFUSE, Rotate;
        /// A key that is not confirmed within this is taken for refused, until it is.
        timeout by session::ANSWER_TIMEOUT, Rotate;
        /// A variable that, after `open`, says that the peer still has what the last connection asked for ("!NAME": that is not set): only what has
        /// changed since is sent then.
        /// > #: skip_when = "resumed"
        skip_when by session::SKIP_WHEN, Rotate;
        /// A link is ready once all is "sent", or once each key is "confirmed" or refused.
        ///
        /// In a rotation the new connection waits for the confirmations in any case.
        ready_when by session::READY_WHEN, Rotate;
        /// Keys that the endpoint has at most.
        max_keys by session::MAX_KEYS, Live;
        /// Keys that one link has at most. A key goes to the link with the fewest, and stays there.
        ///
        /// Without it one link takes them all.
        /// > #: per_link = 200
        per_link by session::PER_LINK, Live;
        /// A link that has not been ready for so long gives its keys to those that are, as far as they have room. Before that they wait for it.
        spread_after by session::SPREAD_AFTER, Live;
        /// How many links the endpoint has, by the keys: more are opened where no link has room.
        links: section SUBSCRIPTION_LINKS;
    }
}

table! {
    SUBSCRIPTION_LINKS of ConfiguredEndpoint, "subscriptions.links." at (), rules none, {
        /// At least so many. It takes the place of the endpoint's `links`, which it is unless given.
        ///
        /// Messages with a key go to these; a link beyond them may be gone tomorrow.
        /// > #: min = 1
        min by session::MIN_LINKS, Links;
        /// At most so many; unless given as many as `min`. A key for which none of them has room is refused.
        /// > #: max = 20
        max by session::MAX_LINKS, Live;
        /// A link beyond `min` that has had no key for so long, and holds no message, is closed.
        close_after by session::CLOSE_AFTER, Live;
    }
}

table! {
    HEARTBEAT of ConfiguredEndpoint, "heartbeat." at (link.heartbeat), rules check::heartbeat, {
        /// A ping once nothing has arrived, or nothing was sent, for so long.
        idle: some_time(), Live;
        /// The end if nothing at all arrives for so long after a ping.
        ///
        /// A pong must carry the payload of our ping to prove more than that something arrived.
        timeout by check::TIMEOUT, Live;
        /// Whose silence brings a ping: "in" (the peer's), "out" (ours: some servers end a connection on which they receive nothing) or "both".
        when_idle as "heartbeat.ping" by check::WHEN_IDLE, Live;
        /// false for peers that end a connection on any ping. Nothing is proved then: no message becomes `confirmed` without `outbox.ack`. TCP probes a
        /// silent peer; where `timeout` is set, silence of `idle` + `timeout` ends the connection.
        ///
        /// None is ever sent then; "at_least_once" without `outbox.ack` is an error, and `wait=confirmed` is refused. TCP probes from the next
        /// connection on, and `timeout` must be set beside it.
        ping by check::PING, Live;
        /// The Close code sent then (1000, or 3000 to 4999). Without it TCP is aborted after `close_timeout`.
        /// > #: abort_code = 4000
        abort_code: Optional(By(check::abort_code)), Live;
    }
}

table! {
    RECONNECT of ConfiguredEndpoint, "reconnect." at (link.backoff), rules check::reconnect, {
        /// The first retry comes after a random time of up to this.
        ///
        /// No bound is taken as less than 10 ms.
        first: any_time(), Live;
        /// Later ones after a random time of up to initial, initial × multiplier, … and never more than max.
        initial: some_time(), Live;
        /// Growth of that bound; at least 1.
        multiplier: Number(1.0..=1000.0), Live;
        /// The bound's bound.
        max: some_time(), Live;
        /// Ready for so long, a link starts over with `first`.
        ///
        /// At least 1 s.
        stable: any_time(), Live;
        /// A parked link tries this often.
        park_probe (link.park_probe): some_time(), Live;
        /// A server's Retry-After is obeyed up to this.
        ///
        /// By all links of the endpoint. It makes a delay longer, never shorter; with `urls` the others are tried meanwhile.
        retry_after_max (link.retry_after_max): any_time(), Live;
        /// After a Close with 1000, 1001 or no code from the server: "reconnect" or "stay_closed".
        ///
        /// A link that stays closed does so until it is resumed. Rows of `outcomes` go first.
        on_clean_close (stay_closed) as "outcomes": Unshown(Word(&[("reconnect", false), ("stay_closed", true)])), Live;
        /// How many attempts all links of the endpoint make together, for servers that count them. After that links wait, and say until when.
        budget: section RECONNECT_BUDGET;
    }
}

table! {
    RECONNECT_BUDGET of ConfiguredEndpoint, "reconnect.budget." at (attempts), rules none, {
        /// So many within any time as long as `per`, at most, and at least as many as there are `links`. Without it they are not counted.
        ///
        /// Rotations and probes of `failback` count too, and leave a tenth to links that are down. If the store is there, a restart goes on with the
        /// count. [A budget of attempts](operate.md#a-budget-of-attempts) says more.
        /// > #: attempts = 1000
        attempts: Optional(count(1..=1_000_000_000)), Live;
        /// The time within which they are counted: 1 s to 366 days.
        per: time_within(LEAST_PER, MOST_PER), Live;
    }
}

table! {
    ROTATION of ConfiguredEndpoint, "rotation." at (link), rules none, {
        /// A new connection that a change needs is opened before the old one is closed. Say false where the server takes one
        /// connection of a client at a time; then the old one is closed first.
        enabled (link.rotates): FLAG, Live;
        /// After the new one has taken over, the old one is read for so long: replies to what was sent on it come home.
        ///
        /// [Rotation](operate.md#rotation) says how.
        overlap: any_time(), Live;
        /// A connection is replaced once it has been the current one for so long, a tenth sooner at most: for servers that end each one
        /// after a day.
        ///
        /// From the next connection on, as `before_expiry`.
        /// > #: after = "23h"
        after (link.rotate_after): Optional(some_time()), Live;
        /// A connection is replaced so long before the first of the values ends that it was made with: a token in a header, say.
        ///
        /// Not before it has been there for `reconnect.stable`. [Values](sessions.md#values) are renewed in the last quarter of their time, so
        /// write less than a tenth of it.
        /// > #: before_expiry = "60s"
        before_expiry (link.rotate_before_expiry): Optional(some_time()), Live;
    }
}
