//! `wskeeper demo`: the daemon, three peers that misbehave, and traffic, in one process on the loopback address.
//!
//! What a reader would get wrong: nothing here reaches into the daemon. The demo sends, listens and counts through the HTTP
//! API, as any program would, so that what it shows is what a user gets.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::Arc,
    time::Duration,
};

use tokio::{task::JoinHandle, time::timeout};

use super::{
    Failure, args,
    client::{Call, Client},
    output::{Output, Paint},
    words,
};
use crate::{
    app, config,
    process::{
        logging::{self, Logging},
        notify::Notify,
        signals::{Lever, Signals},
    },
};

mod news;
mod scene;
mod traffic;

/// The daemon must answer within this after its start.
const START: Duration = Duration::from_secs(5);
/// Messages under way get this long to be confirmed at the end.
const LAST_RECEIPTS: Duration = Duration::from_millis(500);
/// The daemon must have stopped within this.
const STOP: Duration = Duration::from_secs(3);

/// Runs until Ctrl-C or `--for`, then prints the summary.
pub(super) async fn run(args: args::Demo, output: &Output) -> Result<(), Failure> {
    let port = free_port(args.port, output)?;
    let scene = scene::Scene::start().await?;
    let mut daemon = Daemon::start(&scene.configuration(port)).await?;
    daemon.answers(port).await?;
    let program = std::env::current_exe().unwrap_or_else(|_| "wskeeper".into());
    output.line(scene::introduction(&program, port, args.lasting.is_some()))?;
    let tally = Arc::new(traffic::Tally::default());
    let playing = async {
        tokio::join!(traffic::send(port, &tally), traffic::report(&tally, output), news::follow(port, &tally, output))
    };
    let ended = tokio::select! {
        _ = playing => Ok(()),
        () = lasting(args.lasting) => Ok(()),
        () = super::stopped() => Ok(()),
        ended = &mut daemon.task => Err(failed(ended)),
    };
    ended?;
    tokio::select! {
        stopped = end(daemon, &tally) => stopped?,
        () = super::stopped() => return Err(Failure::Failed("stopped by a second signal".into())),
    }
    Ok(output.line(tally.summary())?)
}

/// The daemon in a task of its own.
struct Daemon {
    task: JoinHandle<Result<(), app::Error>>,
    lever: Lever,
    _log: Option<Logging>,
}

impl Daemon {
    #[allow(clippy::unused_async, reason = "it must be called inside the runtime")]
    async fn start(text: &str) -> Result<Self, Failure> {
        let loaded = config::parse_toml(text, "the demo's configuration")
            .map_err(|faults| Failure::Failed(super::check::listed(&faults)))?;
        let log = std::env::var_os(logging::FILTER_VARIABLE).map(|_| logging::start(&loaded.config.log)).transpose();
        let log = log.map_err(|error| Failure::Failed(error.to_string()))?;
        let (lever, signals) = Signals::by_hand();
        let options =
            app::Options { config: Arc::new(loaded.config), reload_from: None, socket: None, notify: Notify::none() };
        Ok(Self { task: tokio::spawn(app::run(options, signals)), lever, _log: log })
    }

    async fn answers(&mut self, port: u16) -> Result<(), Failure> {
        let mut client = Client::local(port);
        let asked = async {
            while client.exchange(http::Method::GET, Call { path: "/livez", ..Call::default() }).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            ended = &mut self.task => Err(failed(ended)),
            answered = timeout(START, asked) => {
                answered.map_err(|_| Failure::Failed("the daemon did not answer within 5 s of its start".into()))
            }
        }
    }
}

/// Waits for the last receipts and stops the daemon.
async fn end(daemon: Daemon, tally: &traffic::Tally) -> Result<(), Failure> {
    let _ = timeout(LAST_RECEIPTS, tally.settled()).await;
    daemon.lever.stop();
    match timeout(STOP, daemon.task).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(ended) => Err(failed(ended)),
        Err(_) => Err(Failure::Failed("the daemon did not stop within 3 s".into())),
    }
}

fn failed(ended: Result<Result<(), app::Error>, tokio::task::JoinError>) -> Failure {
    Failure::Failed(match ended {
        Ok(Ok(())) => "the daemon stopped by itself".into(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => format!("the daemon's task ended: {error}"),
    })
}

async fn lasting(lasting: Option<Duration>) {
    match lasting {
        Some(lasting) => tokio::time::sleep(lasting).await,
        None => std::future::pending().await,
    }
}

/// The port asked for, or a free one.
fn free_port(wanted: u16, output: &Output) -> Result<u16, Failure> {
    if wanted != 0 && TcpListener::bind((Ipv4Addr::LOCALHOST, wanted)).is_ok() {
        return Ok(wanted);
    }
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr())?.port();
    if wanted != 0 {
        let text = format!("Port {wanted} is taken (another wskeeper?), so this demo's API is on port {port}.");
        output.note(text, Paint::Yellow);
    }
    Ok(port)
}

/// `1:05` since the start, for the lines of the demo.
fn clock(since: Duration) -> String {
    format!("{:>6}", words::span(Duration::from_secs(since.as_secs())))
}
