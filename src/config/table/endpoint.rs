//! Keys of an endpoint. Their defaults are those of the policies that the core has.
//!
//! What a reader would get wrong: `delivery`, `durability` and `confirm_interval` have two places, at the endpoint and in `outbox`,
//! and one value; the rows in `outbox` are those that show it and tell of it.

use std::time::Duration;

use super::{
    kinds::{
        By, DURABILITY, FLAG, Number, Optional, Over, Unshown, Word, any_time, count, size, some_time,
        time_of_at_least, time_within,
    },
    none, table,
};
use crate::config::{
    ConfiguredEndpoint,
    check::{
        bridges, endpoint as check, network, outcomes, proxy as check_proxy, push, request, session as check_session,
        streams, tls,
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
        /// If the server of one is known to be down, a link tries the next one at once, until it has tried all. `failback` says how it comes back.
        /// > #: urls = ["wss://feed.example/v2", "wss://backup.example/v2"]
        urls as "url" by request::URLS, Rotate;
    }
}

table! {
    /// Keys that `[defaults]` has too.
    ENDPOINT of ConfiguredEndpoint, "" at (), rules check::rules, {
        /// A ready-made set of keys for a service: its login, heartbeat and outcomes. Keys of the endpoint override those of the preset.
        ///
        /// `wskeeper presets` lists them, `wskeeper presets NAME` prints one; [docs/presets](presets/README.md) has a page of each.
        /// > #: preset = "nats"
        preset by session::PRESET, Rotate;
        /// The order of `urls`: "listed" (every link begins with the first) or "shuffle" (each link begins with another one, so that all servers get as many links).
        ///
        /// If a server is lost, its links spread over the others evenly. [Several URLs](failover.md) explains more.
        url_order (link.url_order): Word(&[("listed", UrlOrder::Listed), ("shuffle", UrlOrder::Shuffle)]), Live;
        /// A link that uses another of `urls` returns to its first URL when that server is up again. The new connection opens before the old one closes. With
        /// false it stays where it is.
        ///
        /// With false it also reconnects to the server that it had last; `wskeeper rotate` moves it to the first.
        failback (link.failback): FLAG, Live;
        /// Links return after the first URL has answered probes for this time, and up to a fifth longer. A probe opens a WebSocket and closes it again. An
        /// endpoint sends one probe at a time: ten in this time, at most 30 s apart.
        ///
        /// If the server accepts links and then loses them, this time doubles, up to 32 times the value.
        failback_after (link.failback_after): some_time(), Live;
        /// How many links to hold, 1 to 100000.
        links: count(1..=100_000), Links;
        /// `/readyz?links` succeeds only while at least `min_ready` links of this endpoint are ready.
        critical: FLAG, Live;
        /// Links that must be ready if the endpoint is critical; at most `links`.
        min_ready: count(1..=100_000), Live;
        /// "now" (links dial at once and stay) or "lazy": a link has a connection only while a program sends, subscribes or listens.
        ///
        /// [Lazy links](lazy.md) explains who counts, and what happens to a message for a sleeping link.
        start (lazy): Word(&[("now", false), ("lazy", true)]), Live;
        /// After this time without use, a lazy link is closed with 1000 and sleeps.
        ///
        /// At least 1 s. A program that listens or holds a key uses the link all the time. Messages that arrive do not count as use.
        idle_timeout: time_of_at_least(Duration::from_secs(1)), Live;
        /// Time limit of an attempt: look-up of the name, TCP, TLS and upgrade. The wait for admission does not count.
        connect_timeout (link.connect_timeout): some_time(), Live;
        /// Time limit of the closing handshake. After it, TCP is aborted.
        close_timeout (link.close_timeout): some_time(), Live;
        /// Subprotocols to offer, the most wanted first. The server must choose one of them, unless `protocols_optional` is true.
        ///
        /// If it chooses another one or none, the attempt fails.
        protocols: By(request::protocols), Rotate;
        /// Accept a server that chooses none of them.
        protocols_optional: FLAG, Live;
        /// How many programs may use a link as their own connection (`…/ws?transparent=true`) at the same time: one ("exclusive") or several
        /// ("shared").
        transparent (transparent_shared): Word(&[("exclusive", false), ("shared", true)]), Live;
        /// How many redirects to follow. A redirect to a weaker scheme is refused; another origin gets no credentials.
        ///
        /// Another origin gets no userinfo, no value made of a `${…}` (in headers or subprotocols), and of the headers only `Accept-Language`, `Cache-Control`,
        /// `Origin` and `User-Agent`.
        redirects: count(0..=20), Live;
        /// Keep cookies that a server sets, with its 101 or a refusal, and send them with the next upgrade. Then a load balancer with sticky cookies sends
        /// each link to the same server again.
        ///
        /// Each link has its own cookies, in memory: at most 50, and 16 KiB. A cookie goes only to the host that set it. A `Cookie` in `headers` is sent as
        /// well. [The same server again](addresses.md#the-same-server-again) explains more.
        cookies: FLAG, Live;
        /// Headers of the upgrade request. Headers that the handshake itself sets are a fault.
        ///
        /// They are sent as spelled here. `Host` may be set. `User-Agent` is `wskeeper/VERSION` unless you set it. `false` removes a header of
        /// `[defaults]`. Values that may be secret are shown as `***`.
        /// > [endpoints.trades.headers]
        /// > #: Authorization = "Bearer ${env:FEED_TOKEN}"
        headers: Over(request::headers), Rotate;
        /// The proxy: "http://HOST:PORT" or "https://…" (with CONNECT), "socks5://…" (wskeeper looks names up) or "socks5h://…" (the proxy looks
        /// names up); "env" for what HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say; or "none".
        ///
        /// User and password stand before the host, percent-encoded or as references: `http://${file:user}:${file:password}@HOST:3128`. HTTP calls
        /// of sessions and values use it too. [Through a proxy](proxies.md) explains more.
        proxy (proxy.choice): By(check_proxy::choice), Rotate;
        /// Headers of the CONNECT request to an HTTP proxy. Only the proxy gets them.
        ///
        /// They are sent as spelled here; `false` removes a header of `[defaults]`.
        /// > [endpoints.trades.proxy_headers]
        /// > #: Proxy-Authorization = "Bearer ${file:proxy-token}"
        proxy_headers (proxy.headers): Over(check_proxy::headers), Rotate;
        /// A PEM file of authorities for the certificate of an https:// proxy, instead of the platform's. It is read at each attempt.
        /// > #: proxy_ca = "proxy-ca.pem"
        proxy_ca (proxy.ca): Optional(By(tls::path)), Rotate;
        /// WebSockets over HTTP/2 (RFC 8441), many links on one connection: "auto" (if a server with TLS offers it, otherwise HTTP/1.1), "require"
        /// (also without TLS) or "never".
        ///
        /// [WebSockets over HTTP/2](http2.md) explains when it helps, and what it costs.
        http2 (http2.mode): Word(&[("never", Mode::Never), ("auto", Mode::Auto), ("require", Mode::Require)]), Rotate;
        /// At most this many links on one HTTP/2 connection; fewer if the server allows fewer.
        http2_links (http2.links): count(1..=100_000), Live;
        /// Compression of messages (permessage-deflate, RFC 7692): "auto" (wskeeper offers it, and a server without it is used without) or "off".
        ///
        /// [Compression](compression.md) explains when it helps, and what it costs.
        compression (compression.is_offered): Word(&[("off", false), ("auto", true)]), Rotate;
        /// Level of compression for messages that are sent: 1 is fastest, 9 gives the smallest.
        compression_level (compression.level): count(1..=9), Rotate;
        /// Messages shorter than this are sent without compression.
        compression_threshold (compression.threshold): size(0..=1 << 30), Rotate;
        /// The largest window both ways, as a power of two: 9 to 15. A server may use a smaller one.
        compression_window_bits (compression.offer.window_bits): count(LEAST_BITS as u64..=MOST_BITS as u64), Rotate;
        /// Who may use earlier messages as context to compress a message: "none", "peer" (the server; its window is kept here) or "both".
        compression_context (compression.offer.context):
            Word(&[("none", Takeover::Neither), ("peer", Takeover::Peer), ("both", Takeover::Both)]), Rotate;
        /// The family of addresses that is tried first: "ipv4", "ipv6", or "auto" (the resolver's choice). The other follows 250 ms later.
        prefer (network.prefer): Word(&[("auto", Prefer::Auto), ("ipv4", Prefer::Ipv4), ("ipv6", Prefer::Ipv6)]), Live;
        /// The local address that connections use. Only server addresses of its family are dialled.
        ///
        /// HTTP calls of sessions and values use it too.
        /// > #: source_address = "127.0.0.1"
        source_address (network.source): Optional(By(network::address)), Rotate;
        /// Networks that wskeeper does not connect to, whatever a name or a redirect says. Such an attempt fails with class `connect`.
        ///
        /// The address that is dialled counts, for HTTP calls of sessions and values too. A proxy may be anywhere. Servers behind it are checked only if
        /// wskeeper knows their addresses.
        /// > #: deny = ["10.0.0.0/8", "169.254.0.0/16", "fd00::/8"]
        deny (network.deny): By(network::networks), Rotate;
        /// Addresses to use for a host and port instead of a look-up, like curl's `--resolve`.
        ///
        /// The certificate and `Host` still use the host's name.
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
        /// Your own rows before the [built-in ones](configuration.md#outcomes); the first row that matches decides what follows after a connection or an attempt ends. `match` takes `code` (1008 or
        /// "4000-4099"), `reason` (a regular expression), `status` (404 or "500-599") and `class` (dns, connect, tls, proxy, upgrade,
        /// subprotocol, session, pong_timeout, mute, protocol, too_big, reset, secret), `label` (what a session calls its failure), and, if the server refused the
        /// upgrade, `body` and `header` (regular expressions for the first 4 KiB of the body and for the values of a header).
        /// `then` is "backoff", "now", "slow", "park",
        /// "refresh", "next_url" or "stay_closed". With `after = N` a row matches from the Nth such end in a row.
        ///
        /// `forget = ["NAME", …]` deletes variables that the session keeps. More below.
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
        /// Named parts of the inbox. Each has its own limits and cursors, so a busy stream costs the others nothing. `?stream=NAME` reads one.
        ///
        /// A stream has `name`, `match` (JSON pointers and the values that a message must have there, all of them), and `max_messages` (1024) and
        /// `max_bytes` (1 MiB), as the inbox has. Streams are in memory. A message longer than `session.max_json` is in no stream.
        /// > #: [[endpoints.trades.streams]]
        /// > #: name = "btc"
        /// > #: max_messages = 1024
        /// > #: max_bytes = "1MiB"
        /// > #: [endpoints.trades.streams.match]
        /// > #: "/s" = "BTCUSDT"
        streams: Over(streams::read), Live;
        /// Receivers to which wskeeper delivers messages: an HTTP server, by POST, or a program, by lines. [Push](push.md) shows how.
        ///
        /// A push has `name`, and `url` or `command`. What it reads: `stream`, or `match` as a stream has. What it delivers: `body`
        /// ("message", or "events", one a line), `batch` (messages in one request, 100 of events) and `max_bytes` (1 MiB). How: `headers`,
        /// `secret` (it signs the requests), `tls` ("system" or "endpoint"), `proxy` with `proxy_headers` and `proxy_ca` (as an endpoint
        /// has; the endpoint's own are not used), `timeout` (30s), `retry` with `initial` (1s) and `max` (1min),
        /// and `on_refused`: what to do with a message that the receiver refuses for good ("skip", "stop" or "retry").
        ///
        /// With inbox.durability = "disk" it continues after a restart where it was. Otherwise it starts again with the newest message.
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
        /// Brokers that messages go to. [Bridges](bridges.md) shows how.
        ///
        /// A bridge has `name`, `broker` (one of [brokers]) and `publish`: the subject to publish under, with values of the message in it. `jetstream` is the
        /// stream of JetStream that must store the messages; without it, nobody stores them. `gaps` is the subject for what is missing, by default that of
        /// `publish` with "gap" in place of each value. What it reads, and how: `stream`, `match`, `max_bytes`, `timeout`, `retry` and `on_refused`, as a push has, and
        /// `max_in_flight` (256): messages that are published and not acknowledged.
        /// > #: [[endpoints.trades.bridges]]
        /// > #: name = "md"
        /// > #: broker = "main"
        /// > #: publish = "md.${json:/s}"
        /// > #: jetstream = "MARKET"
        /// > #: gaps = "md.gap"
        /// > #: max_in_flight = 256
        /// > #: max_bytes = "1MiB"
        /// > #: timeout = "30s"
        /// > #: on_refused = "skip"
        /// > #: stream = "btc"
        /// > #: [endpoints.trades.bridges.match]
        /// > #: "/type" = "trade"
        /// > #: [endpoints.trades.bridges.retry]
        /// > #: initial = "1s"
        /// > #: max = "1min"
        bridges: Over(bridges::read), Live;
        receipts: section RECEIPTS;
    }
}

table! {
    SESSION of ConfiguredEndpoint, "session." at (), rules none, {
        /// Steps before each attempt connects, within its `connect_timeout`: those of `open`, without `send` and `expect`.
        ///
        /// `url`, `headers`, `protocols` and the session can use the variables that they set.
        /// > #: dial = [{ http = { url = "https://api.example/ticket", extract = { ticket = "/ticket" } } }]
        dial by session::DIAL, Rotate;
        /// Steps on each connection before the link is ready, in order. Each step is one of `send`, `expect`, `set`, `forget`, `wait` and
        /// `http`, and may have `when = "NAME"` or "!NAME" (the variable is set, or not). [Sessions](sessions.md) shows how.
        ///
        /// Messages of the outbox wait until the last step is done.
        /// > #: open = [{ send = "hello" }, { expect = { text = "welcome" } }]
        open by session::OPEN, Rotate;
        /// Rules for every message that arrives. The first rule whose `match` applies acts.
        ///
        /// It may `extract`, `set` and `forget` variables, `send`, `hide` the message from consumers, and end the connection with `then` or
        /// `fail`.
        /// > #: on = [{ match = { text = "ping" }, send = "pong", hide = true }]
        on by session::ON, Rotate;
        /// Timers while the link is ready: `every`, `first` ("after", "now", "random"), `when_idle` ("in", "out", "both"), and `send` with an optional
        /// `expect`, or `steps`.
        ///
        /// If no answer comes within the `timeout` of its `expect`, the connection ends with label `keepalive`.
        /// > #: every = [{ every = "30s", send = "ping", expect = { text = "pong" }, hide = true }]
        every by session::EVERY, Rotate;
        /// If no message matches for this time, wskeeper sends the probe; after the same time again, the link is lost.
        ///
        /// A section with `after`, `match` and `probe`. Without `match` every message counts. Without `probe` the link is lost after the first time.
        /// > #: mute = { after = "1min", match = { text = "tick" }, probe = "ping" }
        mute by session::MUTE, Rotate;
        /// Steps before an orderly close: by an operator, when the daemon stops, or of the old connection after a rotation.
        ///
        /// They have half of `close_timeout`.
        /// > #: leave = [{ send = "bye" }]
        leave by session::LEAVE, Rotate;
        /// Variables that the link keeps when it reconnects.
        /// > #: keep = ["id"]
        keep by session::KEEP, Rotate;
        /// Variables that survive a restart of the daemon as well: they are written to storage.dir. They need not be in `keep`.
        ///
        /// They are written when they change, at most once a second. After a kill, a session may continue with values that are a second old.
        /// > #: durable = ["id"]
        durable by session::DURABLE, Rotate;
        /// Time limit of all steps of `open`.
        timeout by session::TIMEOUT, Rotate;
        /// Longer messages are not parsed as JSON.
        max_json by session::MAX_JSON, Rotate;
        /// Values for `${value:NAME}` in the session: texts with references, evaluated at each attempt. Presets get their secrets this way. wskeeper
        /// shows the references, never the secrets.
        /// > [endpoints.trades.session.values]
        /// > #: token = "${file:token}"
        values by session::VALUES, Rotate;
    }
}

table! {
    SUBSCRIPTIONS of ConfiguredEndpoint, "subscriptions." at (), rules none, {
        /// Keys that links subscribe to, in this order, after each `open` and before messages of the outbox leave. Programs add
        /// theirs by the API. [Subscriptions](subscriptions.md) shows how.
        ///
        /// A reload applies a change at once. These keys are never released, whatever programs hold.
        /// > #: keys = ["btcusdt@trade"]
        keys by session::KEYS, Live;
        /// The message that subscribes: like `send` of a session, with `${key}`, or with `${keys}` for several keys (a list in `json`, separated by commas in
        /// `text`).
        ///
        /// Without it, each key must bring its own message.
        /// > #: add = { json = { method = "SUBSCRIBE", params = "${keys}", id = "${seq}" } }
        add by check_session::ADD, Rotate;
        /// The message that unsubscribes, sent when nobody holds the key any more. Without it, nothing is sent.
        /// > #: remove = { json = { method = "UNSUBSCRIBE", params = "${keys}", id = "${seq}" } }
        remove by session::REMOVE, Rotate;
        /// At most this many keys in one message.
        batch by session::BATCH, Rotate;
        /// At most this many of these messages a second on one connection.
        ///
        /// wskeeper sends them a tenth slower than that, so that the server does not count too many when the network delays one.
        /// > #: rate = 5
        rate by session::RATE, Rotate;
        /// The answer that confirms keys: a matcher, as in a session, with `key` (a JSON pointer to the key or to a list of keys, or a text with variables that
        /// gives the key), or with `id` (a pointer to the value that `${seq}` or `${uuid}` had in the message). One matcher, or a list.
        ///
        /// With neither, the answer belongs to the oldest message that asked for keys and has no answer yet, so `remove`
        /// must have no such answer. `extract` sets variables, `hide` keeps the answer from consumers. Without `confirm`, a key is active as soon as the message is sent.
        /// > #: confirm = { json = { "/result" = "ok" }, id = "/id", hide = true }
        confirm by session::CONFIRM, Rotate;
        /// The answer that refuses keys, written in the same way. wskeeper asks for a refused key again on the next connection.
        /// > #: refuse = { has = ["/error"], id = "/id" }
        refuse by session::REFUSE, Rotate;
        /// A key that is not confirmed within this time counts as refused. A later confirmation still makes it active.
        timeout by session::ANSWER_TIMEOUT, Rotate;
        /// A variable that, if set after `open` ("!NAME": if not set), says that the peer still has the subscriptions of the last connection. Then only
        /// changes are sent.
        /// > #: skip_when = "resumed"
        skip_when by session::SKIP_WHEN, Rotate;
        /// When the link is ready: when all messages are "sent", or when each key is "confirmed" or refused.
        ///
        /// In a rotation, the new connection always waits for the confirmations.
        ready_when by session::READY_WHEN, Rotate;
        /// At most this many keys for the endpoint.
        max_keys by session::MAX_KEYS, Live;
        /// At most this many keys for one link. A new key goes to the link with the fewest keys, and stays there.
        ///
        /// Without it, one link has them all.
        /// > #: per_link = 200
        per_link by session::PER_LINK, Live;
        /// After a link has not been ready for this time, its keys move to ready links with room. Until then they wait for the link.
        spread_after by session::SPREAD_AFTER, Live;
        /// How many links the endpoint has, by the number of keys: if no link has room for a key, another link opens.
        links: section SUBSCRIPTION_LINKS;
    }
}

table! {
    SUBSCRIPTION_LINKS of ConfiguredEndpoint, "subscriptions.links." at (), rules none, {
        /// At least this many links. It replaces the endpoint's `links`, which is the default.
        ///
        /// Messages with a key use these links only, because links above this number come and go.
        /// > #: min = 1
        min by session::MIN_LINKS, Links;
        /// At most this many links; by default as many as `min`. If none has room for a key, the key is refused.
        /// > #: max = 20
        max by session::MAX_LINKS, Live;
        /// A link above `min` is closed after this time without keys and messages.
        close_after by session::CLOSE_AFTER, Live;
    }
}

table! {
    HEARTBEAT of ConfiguredEndpoint, "heartbeat." at (link.heartbeat), rules check::heartbeat, {
        /// wskeeper sends a ping when nothing has arrived, or nothing was sent, for this time.
        idle: some_time(), Live;
        /// The link is lost if nothing arrives for this time after a ping.
        ///
        /// Anything that arrives shows that the peer lives. Only a pong with the payload of the ping confirms messages.
        timeout by check::TIMEOUT, Live;
        /// Which silence leads to a ping: "in" (nothing arrives), "out" (nothing is sent: some servers end a connection on which they receive nothing) or "both".
        when_idle as "heartbeat.ping" by check::WHEN_IDLE, Live;
        /// With false, no ping is sent, for peers that end a connection on any ping. Then no message becomes `confirmed` without `outbox.ack`. TCP keepalive probes a
        /// silent peer; if `timeout` is set, a silence of `idle` + `timeout` ends the connection.
        ///
        /// With false, "at_least_once" without `outbox.ack` is a fault, `wait=confirmed` is refused, and `timeout` must be given. TCP keepalive starts with the next
        /// connection.
        ping by check::PING, Live;
        /// The Close code that is sent when a ping times out (1000, or 3000 to 4999); TCP is aborted after `close_timeout`. Without it, TCP is aborted at once.
        /// > #: abort_code = 4000
        abort_code: Optional(By(check::abort_code)), Live;
    }
}

table! {
    RECONNECT of ConfiguredEndpoint, "reconnect." at (link.backoff), rules check::reconnect, {
        /// The first retry waits a random time up to this.
        ///
        /// A limit below 10 ms counts as 10 ms.
        first: any_time(), Live;
        /// Later retries wait a random time up to `initial`, then up to `initial` × `multiplier`, and so on, up to `max`.
        initial: some_time(), Live;
        /// How much that limit grows with each retry; at least 1.
        multiplier: Number(1.0..=1000.0), Live;
        /// Upper limit of any wait between retries.
        max: some_time(), Live;
        /// After a link has been ready for this time, its next retry starts with `first` again.
        ///
        /// At least 1 s.
        stable: any_time(), Live;
        /// A parked link tries once in this time.
        park_probe (link.park_probe): some_time(), Live;
        /// Upper limit for a server's Retry-After.
        ///
        /// All links of the endpoint obey it. It makes a delay longer, never shorter. With `urls`, links try the other servers meanwhile.
        retry_after_max (link.retry_after_max): any_time(), Live;
        /// After a Close with 1000, 1001 or no code from the server: "reconnect" or "stay_closed".
        ///
        /// A link that stays closed needs `wskeeper resume`. Rows of `outcomes` come first.
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
        /// If a change needs a new connection, it opens before the old one closes. Set false if the server allows a client only one
        /// connection; then the old one closes first.
        enabled (link.rotates): FLAG, Live;
        /// After the new connection has taken over, wskeeper reads the old one for this time, because replies may still arrive.
        ///
        /// [Rotation](operate.md#rotation) explains how.
        overlap: any_time(), Live;
        /// A connection is replaced when it is this old, or up to a tenth younger: for servers that end each connection
        /// after a day.
        ///
        /// A changed value counts from the next connection, as with `before_expiry`.
        /// > #: after = "23h"
        after (link.rotate_after): Optional(some_time()), Live;
        /// A connection is replaced this time before the first of its values expires, such as a token in a header.
        ///
        /// Not before the connection is `reconnect.stable` old. [Values](sessions.md#values) are renewed in the last quarter of their lifetime, so
        /// set less than a tenth of it.
        /// > #: before_expiry = "60s"
        before_expiry (link.rotate_before_expiry): Optional(some_time()), Live;
    }
}
