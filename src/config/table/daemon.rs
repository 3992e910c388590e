//! Keys of the daemon itself: everything but the endpoints.

use std::{path::PathBuf, time::Duration};

use super::{
    kinds::{By, FLAG, Hidden, Number, Optional, Over, Unshown, Word, any_time, count, size, some_time},
    none, section, table,
    value::with_another,
};
use crate::config::{
    Config, DynamicMode, Listen, LogFormat, Readiness, Token,
    check::{self, MAX_SIZE},
};

table! {
    DAEMON of Config, "" at (), rules none, {
        /// Reload by itself whenever the content of the file, or of the folder that was given, has changed.
        ///
        /// It must stand above all sections.
        watch: FLAG, Live;
        /// Allow a reload that leaves no endpoint, or that finds a file empty which was not. Otherwise such a reload is refused.
        ///
        /// It must stand above all sections.
        allow_empty: FLAG, Live;
        api: section API;
        log: section LOG;
        metrics: section METRICS;
        admission: section ADMISSION;
        limits: section LIMITS;
        /// The store, for endpoints with outbox.durability or inbox.durability = "disk" or session.durable. If no endpoint needs it, wskeeper writes nothing to disk.
        storage: section STORAGE;
        tracing: section TRACING;
        /// Values for all endpoints: `${value:NAME}` uses them in sessions, URLs, headers and subprotocols. A value is a text with
        /// references, or a section that says how it is made. [Sessions](sessions.md#values) lists the kinds. Values that are kept are made once for all endpoints.
        /// > [values]
        /// > #: token = "${file:token}"
        values by check::session::SHARED, Rotate;
        /// Brokers that the bridges of endpoints name. [Bridges](bridges.md) shows how.
        ///
        /// `nats` lists the servers of one NATS. Who wskeeper is: `user` and `password`, `token`, or `credentials`, the text of a `.creds` file.
        /// `tls` has the words of an endpoint's `tls`, without `server_name`. `connect_timeout` (5s) is for one server.
        /// > #: [brokers.main]
        /// > #: nats = ["tls://broker.example:4222"]
        /// > #: user = "wskeeper"
        /// > #: password = "${file:nats.password}"
        /// > # In place of both:
        /// > #: token = "${env:NATS_TOKEN}"
        /// > #: credentials = "${file:/etc/wskeeper/nats.creds}"
        /// > #: tls = { ca = "ca.pem" }
        /// > #: connect_timeout = "5s"
        brokers: Hidden(check::brokers::read), Live;
    }
}

section! {
    /// `[api]`
    struct Api, API of Config, "api." at api, rules check::api::rules, {
        /// A token for each program. If there is at least one, every request needs one.
        ///
        /// A list, below.
        /// > #: [[api.tokens]]
        /// > #: name = "trader"
        /// > # Always a reference: ${file:PATH}, ${credential:NAME} or ${env:NAME}.
        /// > #: token = "${file:/etc/wskeeper/trader.token}"
        /// > # "read", "send", "admin".
        /// > #: scopes = ["read", "send"]
        /// > # Only for these endpoints; without the key, for all.
        /// > #: endpoints = ["trades"]
        tokens: Vec<Token> = Vec::new(), Hidden(check::api::tokens), Live;
        /// Permission bits of the unix socket. Whoever can write to the socket can use the API.
        /// > #: socket_mode = "0660"
        socket_mode as "api.listen" by with_another("\"0660\""), Restart;
        /// Group of the unix socket.
        /// > #: socket_group = "wskeeper"
        socket_group as "api.listen" by with_another(""), Restart;
        /// Where local programs reach the daemon: an IP address and port, or "unix:/run/wskeeper/api.sock".
        /// An address that other machines can reach is refused unless there are tokens.
        ///
        /// A socket that systemd passes replaces it ([systemd](systemd.md)).
        listen: Listen = Listen::default(), Unshown(Over(check::api::listen)), Restart;
        /// Admin tokens may break connections on purpose (`wskeeper chaos`), to test how your programs react.
        ///
        /// Not for production.
        chaos: bool = false, FLAG, Live;
        /// Programs may create endpoints by the API (`PUT /v1/endpoints/NAME`): "off", "memory" (until the daemon ends), or "disk" (in storage.dir,
        /// over restarts). [Dynamic endpoints](dynamic.md) explains more.
        dynamic: DynamicMode = DynamicMode::Off, Word(&DynamicMode::WORDS), Restart;
        /// What these endpoints may refer to: files, environment variables, credentials, and values of [values]. A `*` at the end matches any rest.
        /// A caller that creates endpoints can send all of it to any server. While `dynamic` is on, references in [defaults] must be listed too.
        ///
        /// Files of certificates and unix sockets are listed as `${file:PATH}`.
        /// > #: dynamic_references = ["${file:/etc/wskeeper/users/*}", "${value:app_token}"]
        dynamic_references: Vec<String> = Vec::new(), By(check::api::references), Live;
        /// Host names that a request may name, besides the listener's own. A reverse proxy in front needs its name here.
        ///
        /// Write out each name: there is no `*`.
        allowed_hosts: Vec<String> = Vec::new(), By(check::api::hosts), Live;
        /// Origins whose pages may use the API from a browser (CORS): "https://board.example". Behind a proxy with TLS the status page's own is one.
        ///
        /// Such pages need tokens as well. Write scheme and port as the browser shows them.
        allowed_origins: Vec<String> = Vec::new(), By(check::api::origins), Live;
        /// What `/readyz` checks: the "process", or "links": every critical endpoint as well.
        readiness: Readiness = Readiness::Process, Word(&[("process", Readiness::Process), ("links", Readiness::Links)]), Live;
        /// A larger request body is refused with 413.
        max_body: usize = 16 << 20, size(1..=1 << 32), Restart;
        /// At most this many connections at the same time, WebSockets and event streams included. More are refused with 503, except for health and metrics.
        ///
        /// Those are `/livez`, `/readyz` and `/metrics`.
        max_connections: usize = 1024, count(1..=1_000_000), Restart;
        /// A request's head must be complete within this time. A connection without a request is closed after it as well.
        header_timeout: Duration = Duration::from_secs(10), some_time(), Restart;
        /// A request's body, and each line of a batch, must be complete within this time.
        ///
        /// Otherwise the answer is 408.
        body_timeout: Duration = Duration::from_secs(30), some_time(), Restart;
        /// A client that reads nothing for this time is disconnected.
        ///
        /// It can continue with its cursor.
        write_timeout: Duration = Duration::from_mins(5), some_time(), Restart;
        /// Compression of messages to and from clients of the local WebSocket that offer it (permessage-deflate, RFC 7692): "auto" or "off".
        ///
        /// Each client costs processor time for each message ([compression](compression.md#local-clients)).
        compression: bool = false, Word(&[("off", false), ("auto", true)]), Live;
        /// A quiet event stream gets a comment this often, so that proxies keep it open.
        keepalive: Duration = Duration::from_secs(15), some_time(), Live;
    }
}

section! {
    /// `[log]`
    struct Log, LOG of Config, "log." at log, rules none, {
        /// "error", "warn", "info", "debug", or by target: "info,wskeeper=debug".
        level: String = "info".into(), By(check::log_level), Restart;
        /// "auto" (the journal under systemd, "pretty" on a terminal, otherwise "json"), "pretty", "json", "journald".
        format: LogFormat = LogFormat::Auto, Word(&LogFormat::WORDS), Restart;
    }
}

section! {
    /// `[metrics]`
    struct Metrics, METRICS of Config, "metrics." at metrics, rules none, {
        /// Adds the label `link`: one series for each link and metric, which costs much with many links.
        per_link: bool = false, FLAG, Restart;
    }
}

table! {
    ADMISSION of Config, "admission." at (admission), rules check::admission, {
        /// Connections that may open at the same time to one IP address and port. RFC 6455 requires 1; raise it only for your own servers.
        ///
        /// While an address is known to be down, only one link at a time tries it.
        per_host: count(1..=100_000), Live;
        /// Connections that may open at the same time in all.
        total: count(1..=100_000), Live;
        /// At most this many new attempts a second. Without it there is no limit.
        /// > #: rate = 50.0
        rate: Optional(Number(0.001..=1_000_000.0)), Live;
    }
}

section! {
    /// `[limits]`
    struct Limits, LIMITS of Config, "limits." at limits, rules none, {
        /// Bytes of everything that waits: outboxes, inboxes, messages that arrive and messages that leave. At the limit, inboxes drop their oldest messages first; then
        /// new messages are refused.
        ///
        /// [Memory](memory.md) explains more.
        memory: u64 = 256 << 20, size(1 << 20..=MAX_SIZE), Restart;
        /// At most this many receipts. Beyond it, the receipts that ended first are dropped.
        receipts: usize = 100_000, count(1..=100_000_000), Restart;
        /// At most this many endpoints. A PUT of one more is refused. Endpoints of the file are held beyond the limit too.
        endpoints: usize = 20_000, count(0..=1_000_000), Live;
        /// When the daemon stops, it waits this long for outboxes to empty. Then it closes the links with 1001.
        drain: Duration = Duration::from_secs(10), any_time(), Live;
    }
}

section! {
    /// `[storage]`
    struct Storage, STORAGE of Config, "storage." at storage, rules none, {
        /// The store's folder, for one daemon at a time. wskeeper makes it, for the daemon's user alone. A relative path starts from
        /// the configuration file's folder.
        ///
        /// Its mode is 0700.
        dir: PathBuf = "/var/lib/wskeeper".into(), By(check::folder), Store;
        /// Upper limit of the store's file, at least 1 MiB. Messages are refused a little below it (by 16 MiB, or by an eighth if that is
        /// less), so that messages in the store can still end.
        ///
        /// There is a log of a few MiB beside the file.
        max_bytes: u64 = 1 << 30, size(1 << 20..=MAX_SIZE), Store;
    }
}

table! {
    TRACING of Config, "tracing." at (), rules none, {
        /// Spans of connections are sent to this OpenTelemetry collector, by OTLP over plain HTTP. Without it there are no spans.
        ///
        /// OTLP/HTTP with JSON; wskeeper adds `/v1/traces`. For TLS, run a collector on this machine.
        /// > #: otlp_endpoint = "http://127.0.0.1:4318"
        otlp_endpoint (tracing) as "tracing": Hidden(check::tracing::read), Restart;
        /// The `service.name` of the spans.
        /// > #: service_name = "wskeeper"
        service_name as "tracing" by with_another("\"wskeeper\""), Restart;
        /// The collector must answer a request within this time. Otherwise its spans are dropped and counted.
        /// > #: timeout = "10s"
        timeout as "tracing" by with_another("\"10s\""), Restart;
        /// Headers of each request to the collector.
        ///
        /// References work as in an endpoint.
        /// > #: [tracing.headers]
        /// > #: X-Api-Key = "${file:/etc/wskeeper/otlp.key}"
        headers as "tracing" by with_another(""), Restart;
    }
}
