//! A collector that others wrote, rotel, gets the real daemon's spans: what it writes of them is what a user would find.
//!
//! `tests/trouble/spans.rs` holds requests to the protocol's own types; this asks whether a whole other implementation takes them.
//!
//! What a reader would get wrong: rotel is from `tests/run`, which pins its version, because its output is read here line by line.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use wskeeper::cli::echo::{Faults, Peer, Refusal, Refusing};

use crate::{
    files::python_package,
    support::{daemon::Daemon, free_port, until},
};

#[tokio::test]
async fn a_collector_that_others_wrote_finds_each_span_under_its_parent() {
    let Some(collector) = Collector::start().await else { return };
    let refusal = Refusing { refusal: Refusal { status: 403, retry_after: None }, lasting: None, every: None };
    let refusing = Faults { refuse: Some(refusal), ..Faults::default() };
    let [honest, refusing] = [peer(Faults::default()).await, peer(refusing).await];
    let mut daemon = Daemon::start(&format!(
        "[tracing]\notlp_endpoint = \"http://localhost:{}\"\nservice_name = \"keeper-1\"\n\
         [endpoints.feed]\nurl = \"{}\"\n[endpoints.feed.reconnect]\nfirst = \"20ms\"\n\
         [endpoints.refused]\nurl = \"{}\"\n",
        collector.port,
        honest.url(),
        refusing.url()
    ))
    .await;
    daemon.api.ready_after("feed/0", 0).await;
    daemon.api.post("/v1/links/feed/0/reconnect", &[], "").await.expect(200);
    daemon.api.ready_after("feed/0", 1).await;
    until("a refused attempt and a closed connection", || async {
        let exported = daemon.api.metric("wskeeper_spans_exported_total").await;
        let log = collector.log();
        if exported > Some(0.0) && log.contains("Str(refused)") && log.contains("Str(operator)") {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;
    assert_eq!(daemon.api.metric("wskeeper_spans_dropped_total").await, Some(0.0));
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.end().await.success());

    let all = collector.end().await;
    let ids: BTreeSet<_> = all.iter().map(|told| &told.id).collect();
    assert_eq!(ids.len(), all.len(), "a span came twice");
    for told in &all {
        assert_eq!(
            (told.scope.as_str(), told.kind.as_str()),
            (concat!("wskeeper ", env!("CARGO_PKG_VERSION")), "SPAN_KIND_CLIENT")
        );
        assert_eq!(told.resource["service.name"], "Str(keeper-1)");
        assert_eq!(told.resource["service.version"], concat!("Str(", env!("CARGO_PKG_VERSION"), ")"));
    }
    connection_is_whole(&all, "Int(1)", "Str(operator)");
    connection_is_whole(&all, "Int(2)", "Str(shutdown)");
    let failed =
        one(&all, |told| told.has("wskeeper.endpoint", "Str(refused)") && told.has("wskeeper.attempt", "Int(1)"));
    assert_eq!((failed.name.as_str(), failed.parent.as_str()), ("websocket.connect", ""), "{failed:?}");
    assert_eq!(failed.status, "STATUS_CODE_ERROR", "{failed:?}");
    assert!(failed.has("http.response.status_code", "Int(403)") && failed.has("error.type", "Str(403)"), "{failed:?}");
}

/// A root, below it the attempt, below that its steps; all of one trace.
fn connection_is_whole(all: &[Told], generation: &str, cause: &str) {
    let whole = one(all, |told| told.name == "websocket.connection" && told.has("wskeeper.generation", generation));
    assert_eq!(whole.parent, "", "{whole:?}");
    for (key, value) in [
        ("wskeeper.close.cause", cause),
        ("wskeeper.close.clean", "Bool(true)"),
        ("wskeeper.endpoint", "Str(feed)"),
        ("wskeeper.link", "Int(0)"),
    ] {
        assert!(whole.has(key, value), "{key} is not {value} in {whole:?}");
    }
    let connect = one(all, |told| told.name == "websocket.connect" && told.parent == whole.id);
    assert!(connect.has("network.peer.address", "Str(127.0.0.1)"), "{connect:?}");
    let steps = ["dns", "tcp", "upgrade"].map(|name| one(all, |told| told.name == name && told.parent == connect.id));
    for (inner, outer) in steps.map(|step| (step, connect)).into_iter().chain([(connect, whole)]) {
        assert!(outer.begin <= inner.begin && inner.end <= outer.end, "{inner:?} in {outer:?}");
        assert_eq!((&inner.trace, inner.status.as_str()), (&whole.trace, "STATUS_CODE_UNSET"), "{inner:?}");
    }
}

/// The only one that is like this.
fn one(all: &[Told], is: impl Fn(&Told) -> bool) -> &Told {
    let found: Vec<_> = all.iter().filter(|told| is(told)).collect();
    assert_eq!(found.len(), 1, "{found:?} of {all:?}");
    found[0]
}

async fn peer(faults: Faults) -> Peer {
    Peer::start("127.0.0.1:0", faults, Arc::new(|_| {})).await.unwrap()
}

/// A span as the collector tells it.
#[derive(Clone, Debug, Default)]
struct Told {
    resource: BTreeMap<String, String>,
    scope: String,
    trace: String,
    parent: String,
    id: String,
    name: String,
    kind: String,
    begin: u128,
    end: u128,
    status: String,
    attributes: BTreeMap<String, String>,
}

impl Told {
    fn has(&self, key: &str, value: &str) -> bool {
        self.attributes.get(key).is_some_and(|found| found == value)
    }

    fn take(&mut self, key: &str, value: &str) {
        let at = |value: &str| value.parse().expect("nanoseconds");
        match key {
            "Trace ID" => self.trace = value.into(),
            "Parent ID" => self.parent = value.into(),
            "ID" => self.id = value.into(),
            "Name" => self.name = value.into(),
            "Kind" => self.kind = value.into(),
            "Status code" => self.status = value.into(),
            "Start time" => self.begin = at(value),
            "End time" => self.end = at(value),
            _other => {}
        }
    }
}

/// A rotel that writes all that comes to its log.
struct Collector {
    child: Child,
    folder: TempDir,
    port: u16,
}

impl Collector {
    /// `None` where it is not installed and need not be.
    async fn start() -> Option<Self> {
        let program = python_package("rotel")?.join("rotel-agent");
        let (folder, port) = (TempDir::new().unwrap(), free_port());
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(program)
            .args(["start", "--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed"])
            .arg(format!("--otlp-http-endpoint=127.0.0.1:{port}"))
            .arg(format!("--otlp-grpc-endpoint=127.0.0.1:{}", free_port()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let collector = Self { child, folder, port };
        let log = || collector.log();
        until("the collector to listen", || async { TcpStream::connect(("127.0.0.1", port)).await.map_err(|_| log()) })
            .await;
        Some(collector)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Stops it, so that all that came is told to the last line, and reads the spans.
    async fn end(mut self) -> Vec<Told> {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
        let child = RefCell::new(&mut self.child);
        until("the collector's end", || async { child.borrow_mut().try_wait().unwrap().ok_or("it runs") }).await;
        read(&self.log())
    }
}

/// The spans of a log.
fn read(log: &str) -> Vec<Told> {
    let (mut all, mut resource, mut scope) = (Vec::<Told>::new(), BTreeMap::new(), "");
    let mut is_of_resource = true;
    for line in log.lines().map(str::trim) {
        if line.starts_with("ResourceSpans #") {
            (resource, is_of_resource) = (BTreeMap::new(), true);
        } else if let Some(name) = line.strip_prefix("InstrumentationScope ") {
            scope = name;
        } else if line.starts_with("Span #") {
            is_of_resource = false;
            all.push(Told { resource: resource.clone(), scope: scope.into(), ..Told::default() });
        } else if let Some((key, value)) = line.strip_prefix("-> ").and_then(|pair| pair.split_once(": ")) {
            let last = all.last_mut().map(|told| &mut told.attributes).filter(|_| !is_of_resource);
            last.unwrap_or(&mut resource).insert(key.into(), value.into());
        } else if let Some((told, (key, value))) = all.last_mut().zip(line.split_once(':')).filter(|_| !is_of_resource)
        {
            told.take(key.trim(), value.trim());
        }
    }
    all
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
