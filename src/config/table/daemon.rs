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
        /// Follow the file (or the folder it is in, where that was given) whenever its content has changed, as a reload would.
        ///
        /// Stands above all sections.
        watch: FLAG, Live;
        /// A reload that leaves no endpoint, or finds a file empty that was not, is refused unless this says that it is meant.
        ///
        /// Stands above all sections.
        allow_empty: FLAG, Live;
        api: section API;
        log: section LOG;
        metrics: section METRICS;
        admission: section ADMISSION;
        limits: section LIMITS;
        /// The store, for endpoints with outbox.durability or inbox.durability = "disk" or session.durable; where none has that, nothing is made on disk.
        storage: section STORAGE;
        tracing: section TRACING;
        /// Values for all endpoints, which `${value:NAME}` stands for in their sessions, URLs, headers and subprotocols: a text with
        /// references, or a section that says how it is made. docs/sessions.md has the kinds; those that are kept are made once for all.
        /// > [values]
        /// > #: token = "${file:token}"
        values by check::session::SHARED, Rotate;
    }
}

section! {
    /// `[api]`
    struct Api, API of Config, "api." at api, rules check::api::rules, {
        /// A token for each program. With one at least, every request needs one.
        ///
        /// A list, below.
        /// > #: [[api.tokens]]
        /// > #: name = "trader"
        /// > # Always a reference: ${file:PATH}, ${credential:NAME} or ${env:NAME}.
        /// > #: token = "${file:/etc/wskeeper/trader.token}"
        /// > # "read", "send", "admin".
        /// > #: scopes = ["read", "send"]
        /// > # Only for these; without the key, for all.
        /// > #: endpoints = ["trades"]
        tokens: Vec<Token> = Vec::new(), Hidden(check::api::tokens), Live;
        /// Permission bits of the unix socket. Whoever may write to the socket may use the API.
        /// > #: socket_mode = "0660"
        socket_mode as "api.listen" by with_another("\"0660\""), Restart;
        /// Group of the unix socket.
        /// > #: socket_group = "wskeeper"
        socket_group as "api.listen" by with_another(""), Restart;
        /// Where local programs reach the daemon: an IP address and port, or "unix:/run/wskeeper/api.sock".
        /// An address that other machines can reach is refused unless there are tokens.
        ///
        /// A socket that systemd passes stands for it ([systemd](systemd.md)).
        listen: Listen = Listen::default(), Unshown(Over(check::api::listen)), Restart;
        /// Lets admin tokens break connections on purpose (`wskeeper chaos`), to test what your programs make of it.
        ///
        /// Not for production.
        chaos: bool = false, FLAG, Live;
        /// Programs may create endpoints by the API (`PUT /v1/endpoints/NAME`): "off", "memory" (until the daemon ends), or "disk" (in storage.dir,
        /// over restarts). See docs/dynamic.md.
        dynamic: DynamicMode = DynamicMode::Off, Word(&DynamicMode::WORDS), Restart;
        /// What these endpoints may refer to: files, environment variables, credentials, and values of [values]. A `*` at the end matches any rest.
        /// A caller that creates endpoints can send all of it to any server. While `dynamic` is on, references in [defaults] must be listed too.
        ///
        /// Files of certificates and unix sockets are listed as `${file:PATH}`.
        /// > #: dynamic_references = ["${file:/etc/wskeeper/users/*}", "${value:app_token}"]
        dynamic_references: Vec<String> = Vec::new(), By(check::api::references), Live;
        /// Host names beside the listener's own that a request may name. A proxy in front needs its name here.
        ///
        /// Each is written out: there is no `*`.
        allowed_hosts: Vec<String> = Vec::new(), By(check::api::hosts), Live;
        /// Origins whose pages may use the API from a browser (CORS): "https://board.example". Behind a proxy with TLS the status page's own is one.
        ///
        /// Tokens are needed all the same. Scheme and port as the browser shows them.
        allowed_origins: Vec<String> = Vec::new(), By(check::api::origins), Live;
        /// What `/readyz` waits for: "process", or "links" for every critical endpoint too.
        readiness: Readiness = Readiness::Process, Word(&[("process", Readiness::Process), ("links", Readiness::Links)]), Live;
        /// A larger request body is refused with 413.
        max_body: usize = 16 << 20, size(1..=1 << 32), Restart;
        /// Connections at once, WebSockets and event streams included. More are refused with 503, but for health and metrics.
        ///
        /// Those are `/livez`, `/readyz` and `/metrics`.
        max_connections: usize = 1024, count(1..=1_000_000), Restart;
        /// A request's head must be complete within this; a connection without a request is closed after it too.
        header_timeout: Duration = Duration::from_secs(10), some_time(), Restart;
        /// A request's body must be complete within this, and each line of a batch.
        ///
        /// Else it is answered with 408.
        body_timeout: Duration = Duration::from_secs(30), some_time(), Restart;
        /// A client that takes nothing for so long is cut off.
        ///
        /// It may resume by its cursor.
        write_timeout: Duration = Duration::from_mins(5), some_time(), Restart;
        /// Compression of messages to and from clients of the local WebSocket that offer it (permessage-deflate, RFC 7692): "auto" or "off".
        ///
        /// Each client costs processor time for each message ([compression](compression.md#local-clients)).
        compression: bool = false, Word(&[("off", false), ("auto", true)]), Live;
        /// Quiet event streams carry a comment this often, so that proxies leave them open.
        keepalive: Duration = Duration::from_secs(15), some_time(), Live;
    }
}

section! {
    /// `[log]`
    struct Log, LOG of Config, "log." at log, rules none, {
        /// "error", "warn", "info", "debug", or by target: "info,wskeeper=debug".
        level: String = "info".into(), By(check::log_level), Restart;
        /// "auto" (the journal under systemd, "pretty" on a terminal, else "json"), "pretty", "json", "journald".
        format: LogFormat = LogFormat::Auto, Word(&LogFormat::WORDS), Restart;
    }
}

section! {
    /// `[metrics]`
    struct Metrics, METRICS of Config, "metrics." at metrics, rules none, {
        /// Adds the label `link`. One series for each link and metric: dear with many links.
        per_link: bool = false, FLAG, Restart;
    }
}

table! {
    ADMISSION of Config, "admission." at (admission), rules check::admission, {
        /// Connections being opened at once to one IP address and port. RFC 6455 demands 1; raise it where the server is yours.
        ///
        /// While an address is known to be down, one link at a time tries it, whatever this says.
        per_host: count(1..=100_000), Live;
        /// Connections being opened at once altogether.
        total: count(1..=100_000), Live;
        /// New attempts a second. Without it there is no limit.
        /// > #: rate = 50.0
        rate: Optional(Number(0.001..=1_000_000.0)), Live;
    }
}

section! {
    /// `[limits]`
    struct Limits, LIMITS of Config, "limits." at limits, rules none, {
        /// Bytes of all that waits: outboxes, inboxes, what arrives and what has not left. At the limit inboxes lose their oldest first, then
        /// new messages are refused.
        ///
        /// [Memory](memory.md) says more.
        memory: u64 = 256 << 20, size(1 << 20..=MAX_SIZE), Restart;
        /// Receipts kept; the oldest ended ones go first.
        receipts: usize = 100_000, count(1..=100_000_000), Restart;
        /// Endpoints at most. A PUT of one more is refused; endpoints of the file are held even beyond the limit.
        endpoints: usize = 20_000, count(0..=1_000_000), Live;
        /// How long a stop waits for outboxes to empty before it closes the links with 1001.
        drain: Duration = Duration::from_secs(10), any_time(), Live;
    }
}

section! {
    /// `[storage]`
    struct Storage, STORAGE of Config, "storage." at storage, rules none, {
        /// Its folder, for one daemon at a time. It is made for the daemon's user alone where there is none; a relative path starts from
        /// the configuration file's folder.
        ///
        /// It is made with mode 0700.
        dir: PathBuf = "/var/lib/wskeeper".into(), By(check::folder), Store;
        /// The store's file may grow to this, 1 MiB at least. Messages are refused a little below it (16 MiB, or an eighth where that is
        /// less), so that what is held can still end.
        ///
        /// A log of a few MiB stands beside the file.
        max_bytes: u64 = 1 << 30, size(1 << 20..=MAX_SIZE), Store;
    }
}

table! {
    TRACING of Config, "tracing." at (), rules none, {
        /// Spans of connections go to an OpenTelemetry collector by OTLP over plain HTTP. Without it there are none.
        ///
        /// OTLP/HTTP with JSON; `/v1/traces` is added. A collector on this machine speaks TLS to the world.
        /// > #: otlp_endpoint = "http://127.0.0.1:4318"
        otlp_endpoint (tracing) as "tracing": Hidden(check::tracing::read), Restart;
        /// What the spans say that they are from.
        ///
        /// Their `service.name`.
        /// > #: service_name = "wskeeper"
        service_name as "tracing" by with_another("\"wskeeper\""), Restart;
        /// A request to the collector must be answered within this; else its spans are dropped and counted.
        /// > #: timeout = "10s"
        timeout as "tracing" by with_another("\"10s\""), Restart;
        /// Headers of each request to the collector.
        ///
        /// With references, as for endpoints.
        /// > #: [tracing.headers]
        /// > #: X-Api-Key = "${file:/etc/wskeeper/otlp.key}"
        headers as "tracing" by with_another(""), Restart;
    }
}
