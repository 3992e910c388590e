//! `wskeeper connect URL`: one link that is held from a terminal, with no file and no daemon.
//!
//! It is a pool of one endpoint, made by the same keys as those of a file; lines go in, messages come out. What a reader would get wrong:
//! nothing here reconnects, waits or decides: that is the link's, as in the daemon.

mod keys;
mod printing;
mod sending;
mod sink;
mod status;

use std::{
    io::{self, IsTerminal as _},
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures_util::{FutureExt as _, future::FusedFuture as _};
use serde_json::{Map, Value, json};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::timeout,
};

use self::{
    printing::Printer,
    sending::{FOREVER, Sender},
    sink::Sink,
    status::{Status, Teller},
};
use super::{
    Failure, args,
    output::{Output, Paint, unread},
    single, words,
};
use crate::{config::Loaded, provider::DaemonProvider};
use wskeeper_core::{close::CloseFrame, link::Verb, phase::Phase, receipt::State};
use wskeeper_link::{
    clock::{Calendar, Moment as _},
    endpoint::Endpoint,
    hub::{From, Item, Next, Reader},
    pace,
    pool::Pool,
};

/// Keys that `--set` does not take, and why.
const OWN: [(&str, &str); 3] = [
    ("url", "the URL is the argument itself: `wskeeper connect URL`"),
    ("urls", "the URL is the argument itself, and `connect` has one; a daemon can have several"),
    ("links", "`connect` holds one link; a daemon can hold several"),
];
/// What the endpoint is called in its events.
const NAME: &str = "connect";
/// The peer is given this long to answer what it has read, and to go on answering.
const SILENCE: Duration = Duration::from_millis(500);
/// After Ctrl-C, what is written but not read, and what is typed but not sent, get this long.
const GRACE: Duration = Duration::from_secs(1);

/// Why it ends.
#[derive(Debug)]
enum End {
    /// Ctrl-C, or SIGTERM.
    Stopped,
    /// Stdin has ended, and that was to end it.
    Eof,
    /// Enough is printed, or nothing more can be.
    Printed(io::Result<()>),
    /// The link will not open again.
    Rested,
}

/// Holds the link until there is an end.
pub(super) async fn run(args: args::Connect, output: &Output) -> Result<(), Failure> {
    let endpoint = endpoint(&args, output)?;
    // Before there is a link that is to be closed in order.
    let mut stops = stops()?;
    let status = Status::start(output, args.quiet || args.json)?;
    let out = {
        let output = output.clone();
        Sink::start(1, move |piece: Vec<u8>| output.raw(&piece))?
    };
    pace::keep();
    let pool = Pool::builder()
        .endpoint(endpoint.clone())
        .observer(Teller(Arc::clone(&status)))
        .provider(DaemonProvider::new(None, uuid::Uuid::new_v4().as_u64_pair().0, Calendar::default()))
        .start()
        .await;
    let gone = || Failure::Failed("the link could not be made".into());
    let (reader, phases) =
        pool.subscribe(NAME, From::Oldest).zip(pool.subscribe(NAME, From::Latest)).ok_or_else(gone)?;
    let heard = watch::Sender::new(0);
    let printer = Printer { args: &args, name: NAME, status: &status, heard: &heard, reader };
    let mut printing = pin!(printer.run(out));
    let (last, unsent, stop) = (None.into(), 0.into(), watch::Sender::new(false));
    let sender =
        Sender { pool: &pool, endpoint: NAME, status: &status, confirms: args.exit_on_eof, last, unsent, stop };
    let held = Held { args: &args, endpoint: &endpoint, status: &status, sender: &sender, heard: &heard };
    let mut sending = pin!(held.send().fuse());
    let end = tokio::select! {
        end = held.end(printing.as_mut(), sending.as_mut()) => end?,
        () = stopped(&mut stops, 1) => End::Stopped,
        () = unread() => End::Printed(Ok(())),
        never = keys::watch(&pool, &status), if !args.subscribe.is_empty() => match never {},
    };
    let closing = async {
        sender.stop.send_replace(true);
        // What is being sent is, or is refused by then.
        let rest = async {
            if !sending.is_terminated() {
                let _ = timeout(held.patience().saturating_add(3 * GRACE), sending).await;
            }
        };
        tokio::join!(held.leave(&end, phases), rest);
        match end {
            End::Printed(ended) => ended,
            End::Stopped => timeout(GRACE, printing).await.unwrap_or(Ok(())),
            End::Eof | End::Rested => printing.await,
        }
    };
    tokio::select! {
        finished = closing => finished?,
        () = stopped(&mut stops, 2) => return Err(Failure::Failed("stopped by a second signal".into())),
    }
    let verdict = verdict(&status, sender.unsent.get());
    // The process ends with this, and would take with it what its thread has not written.
    let _ = timeout(GRACE, status.told()).await;
    verdict
}

/// Counts the signals that ask for an end, from now on.
fn stops() -> io::Result<watch::Receiver<u32>> {
    let (mut typed, mut told) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (tell, stops) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = typed.recv() => {}
                _ = told.recv() => {}
            }
            tell.send_modify(|count| *count += 1);
        }
    });
    Ok(stops)
}

async fn stopped(stops: &mut watch::Receiver<u32>, times: u32) {
    if stops.wait_for(|count| *count >= times).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The endpoint of the command line. Its own sizes are those of a terminal: one link has the memory of a whole pool.
fn endpoint(args: &args::Connect, output: &Output) -> Result<Endpoint, Failure> {
    let mut endpoint = single::endpoint(&args.url, args.preset.as_deref(), &args.values);
    let large = 64_u64 << 20;
    endpoint["inbox"] = json!({ "max_message": large, "max_bytes": large, "max_messages": 1 << 20 });
    endpoint["outbox"] = json!({ "max_message": large, "max_bytes": large, "on_full": "wait" });
    if !args.protocols.is_empty() {
        endpoint["protocols"] = json!(args.protocols);
    }
    if !args.headers.is_empty() {
        let headers = args.headers.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
        endpoint["headers"] = headers.collect::<Map<_, _>>().into();
    }
    for (key, written) in &args.keys {
        let first = key.split('.').next().unwrap_or_default();
        if let Some((_, why)) = OWN.iter().find(|(own, _)| *own == first) {
            return Err(Failure::Failed(format!("--set {key}: {why}")));
        }
        single::set(&mut endpoint, key, written);
    }
    keys::want(&mut endpoint, args)?;
    let Loaded { config, warnings } = single::loaded(NAME, &endpoint)?;
    for warning in warnings.iter().filter(|_| !args.quiet) {
        output.note(format_args!("warning: {warning}"), Paint::Yellow);
    }
    let endpoint = config.endpoints.into_values().next();
    endpoint
        .map(|endpoint| Arc::unwrap_or_clone(endpoint.held))
        .ok_or_else(|| Failure::Failed("there is no endpoint".into()))
}

/// What of the messages is to be told, and the exit code.
fn verdict(status: &Status, unsent: u64) -> Result<(), Failure> {
    let counts = [
        (unsent + status.unsent.load(Relaxed), "not sent"),
        (status.unknown.load(Relaxed), "sent when the link was lost, so read by the peer or not"),
    ];
    let told: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", words::count(*count, "message")))
        .collect();
    if told.is_empty() {
        return Ok(());
    }
    status.fault(told.join(", "), Paint::Red);
    Err(Failure::Told)
}

/// The link, and what is typed.
struct Held<'a> {
    args: &'a args::Connect,
    endpoint: &'a Endpoint,
    status: &'a Status,
    sender: &'a Sender<'a>,
    heard: &'a watch::Sender<u64>,
}

impl Held<'_> {
    async fn end(
        &self,
        mut printing: Pin<&mut impl Future<Output = io::Result<()>>>,
        sending: Pin<&mut impl Future<Output = Result<(), Failure>>>,
    ) -> Result<End, Failure> {
        tokio::select! {
            printed = printing.as_mut() => return Ok(End::Printed(printed)),
            () = self.status.rested() => return Ok(End::Rested),
            sent = sending => sent?,
        }
        let eof = async {
            let is_typed = io::stdin().is_terminal();
            if !self.args.exit_on_eof && !is_typed {
                self.status.note("stdin has ended; what arrives is printed until Ctrl-C", Paint::Dim);
                std::future::pending::<()>().await;
            }
            tokio::select! {
                () = self.answered() => {}
                // Who types Ctrl-D wants an end, and not one that may never come.
                () = self.down(), if is_typed => {}
            }
        };
        tokio::select! {
            printed = printing => Ok(End::Printed(printed)),
            () = self.status.rested() => Ok(End::Rested),
            () = eof => Ok(End::Eof),
        }
    }

    /// Sends what is typed.
    async fn send(&self) -> Result<(), Failure> {
        if self.args.binary { self.sender.bytes().await } else { self.sender.lines().await }
    }

    /// Waits until the peer has read all that was sent, and then says nothing for a while.
    async fn answered(&self) {
        self.settled(FOREVER).await;
        let mut heard = self.heard.subscribe();
        while timeout(SILENCE, heard.changed()).await.is_ok_and(|changed| changed.is_ok()) {}
    }

    /// Waits until the link is not ready.
    async fn down(&self) {
        let pool = self.sender.pool;
        // Read from now on, so that no change is missed.
        let Some(mut phases) = pool.subscribe(NAME, From::Latest) else { return };
        while pool.link(NAME, 0).is_some_and(|link| link.phase == Phase::Ready) {
            if matches!(phases.next().await, Next::Closed) {
                return;
            }
        }
    }

    async fn settled(&self, patience: Duration) {
        let Some(last) = self.sender.last.get() else { return };
        let proves = self.sender.confirms && self.endpoint.link.heartbeat.pings();
        let wanted = if proves { State::Confirmed } else { State::Written };
        self.sender.pool.settle(last, wanted, patience).await;
    }

    /// How long an orderly close may take.
    fn patience(&self) -> Duration {
        self.endpoint.link.close_timeout.saturating_add(GRACE)
    }

    /// Closes the link, once what was accepted has left if it can leave.
    async fn leave(&self, end: &End, mut phases: Reader) {
        let pool = self.sender.pool;
        let is_ready = pool.link(NAME, 0).is_some_and(|link| link.phase == Phase::Ready);
        if !matches!(end, End::Eof) && is_ready {
            self.settled(GRACE).await;
        }
        let normal = CloseFrame { code: 1000, reason: "".into() };
        for index in 0..self.endpoint.links {
            // It may rest already.
            let _ = pool.command(NAME, index, Verb::Close(Some(normal.clone()))).await;
        }
        let closed = || {
            (0..self.endpoint.links).all(|index| pool.link(NAME, index).is_none_or(|link| link.phase == Phase::Paused))
        };
        let waiting = async {
            while !closed() {
                match phases.next().await {
                    Next::Closed => break,
                    Next::Entry(entry) if matches!(entry.item, Item::Phase { .. }) => {}
                    Next::Entry(_) | Next::Gap { .. } => {}
                }
            }
        };
        let _ = timeout(self.patience(), waiting).await;
        pool.shut_down(tokio::time::Instant::now().later(GRACE)).await;
    }
}
