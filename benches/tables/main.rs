//! The tables of `docs/performance.md`: wskeeper beside what people use or write in its place, in one run on one machine.
//!
//! `benches/run` installs the contestants and calls this. What a reader would get wrong: times in seconds on the wall say
//! little on a shared machine; what is compared is processor time by the kernel's count, on one core, contestants in a new
//! order each round, and only within a run.

#![allow(clippy::print_stdout, reason = "what a bench says goes to its user")]
#![allow(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^52")]

#[path = "../support/mod.rs"]
mod support;

mod contestant;
mod counts;
mod deflate;
mod endpoints;
mod fanout;
mod feed;
mod frames;
mod http;
mod idle;
mod ingest;
mod load;
mod market;
mod packed;
mod peer;
mod plot;
mod proxies;
mod publish;
mod relay;
mod results;
mod roles;
mod scale;
mod setup;
mod short;
mod sse;
mod storm;
mod tls;
mod wire;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use results::Table;
use setup::Setup;
use support::Result;
use tokio::task::LocalSet;

const USAGE: &str = "usage: benches/run [--quick] [--only TABLE,…] [--seed N] [--publish]";
/// In the order of the document.
const TABLES: [&str; 17] = [
    "relay",
    "pipeline",
    "latency",
    "feed",
    "ingest",
    "ingest-tls",
    "ingest-16k",
    "deflate",
    "fanout",
    "sse",
    "http",
    "idle",
    "idle-tls",
    "storm",
    "scale",
    "endpoints",
    "counts",
];

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    raise_file_limit()?;
    if let ["role", role @ ..] = &args[..] {
        return roles::play(role);
    }
    let asked = Asked::read(&args)?;
    support::keeper()?;
    contestant::pin_harness()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("seed {}; the order of contestants follows from it", asked.seed);
    let mut setup = Setup::new(asked.quick, asked.seed);
    for table in asked.tables {
        // A set for each: what a table leaves running ends with it.
        let table = LocalSet::new().block_on(&runtime, async {
            tokio::task::spawn_local(stay_awake());
            measure(&table, &mut setup).await
        })?;
        publish::show(&table);
        publish::keep(table)?;
    }
    if asked.publish { publish::publish() } else { Ok(()) }
}

async fn measure(table: &str, setup: &mut Setup) -> Result<Table> {
    match table {
        "relay" => relay::relay(setup).await,
        "pipeline" => relay::pipeline(setup).await,
        "latency" => relay::latency(setup).await,
        "ingest" => ingest::ingest(setup).await,
        "ingest-tls" => ingest::over_tls(setup).await,
        "ingest-16k" => ingest::long(setup).await,
        "deflate" => deflate::deflate(setup).await,
        "feed" => feed::feed(setup).await,
        "counts" => counts::counts(setup).await,
        "fanout" => fanout::fanout(setup).await,
        "http" => http::http(setup).await,
        "idle" => idle::idle(setup).await,
        "idle-tls" => idle::idle_tls(setup).await,
        "storm" => storm::storm(setup).await,
        "scale" => scale::scale(setup).await,
        "endpoints" => endpoints::endpoints(setup).await,
        "sse" => sse::sse(setup).await,
        _ => Err(format!("no such table: {table}; there are {}", TABLES.join(", ")).into()),
    }
}

/// Keeps the harness's core from sleeping. To wake a core costs several times what a message does, and the one who sends pays:
/// a contestant that is slow enough for the far end to fall asleep would pay for it, and a faster one would not.
async fn stay_awake() {
    loop {
        tokio::task::yield_now().await;
    }
}

/// What the caller wants.
struct Asked {
    tables: Vec<String>,
    quick: bool,
    seed: u64,
    publish: bool,
}

impl Asked {
    fn read(args: &[&str]) -> Result<Self> {
        let seed = u64::from(uuid::Uuid::new_v4().as_fields().0);
        let tables = TABLES.map(str::to_owned).into();
        let mut asked = Self { tables, quick: false, seed, publish: false };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match *arg {
                "--quick" => asked.quick = true,
                "--publish" => asked.publish = true,
                "--only" => {
                    let list = args.next().ok_or(USAGE)?;
                    asked.tables = list.split(',').filter(|table| !table.is_empty()).map(str::to_owned).collect();
                }
                "--seed" => asked.seed = args.next().ok_or(USAGE)?.parse()?,
                _ => return Err(USAGE.into()),
            }
        }
        Ok(asked)
    }
}

/// As high as it may be: ten thousand links have two ends, and one of them is ours.
fn raise_file_limit() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}
