//! Minutes or days of busy links whose peer resets all of them three times a minute: what was taken must come back, no message may come twice,
//! and whoever reads an inbox gets all that arrived.
//!
//! `tests/soak/run` starts it. Memory, open files, threads and series are read when all is quiet, after a warm-up that fills every bounded thing
//! (inboxes, receipts, histories), and again at the end. What a reader would get wrong: the numbers under way may swing; only the two quiet
//! moments are compared.

#![allow(clippy::print_stdout, reason = "what a bench says goes to its user")]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use support::{Result, Running, daemon, free_port, get, metric, post, wait_until};
use tokio::time::Instant;

mod support;

const ENDPOINTS: u32 = 50;
/// Receipts are kept for five minutes.
const WARM_UP: Duration = Duration::from_mins(6);
const ROUND: Duration = Duration::from_secs(1);
/// Resident memory may end this much above where it began: allocators keep pages of their own.
const TOLERANCE: f64 = 1.05;

/// Rows of a table that nobody wants longer.
const ROWS_MAX: u64 = 120;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (mut minutes, mut links) = (20, 5_000);
    for pair in args.chunks(2) {
        match pair {
            [name, value] if name == "--minutes" => minutes = value.parse()?,
            [name, value] if name == "--links" => links = value.parse()?,
            _ => return Err("usage: soak [--minutes N] [--links N]".into()),
        }
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    soak(Duration::from_mins(minutes), (links / ENDPOINTS).max(1))
}

fn soak(lasting: Duration, links_each: u32) -> Result<()> {
    let peer_port = free_port()?;
    let _peer = Running::peer_with(peer_port, &["--drop-every", "20s"])?;
    let endpoint = |number: u32| {
        format!(
            "[endpoints.e{number}]\nurl = \"ws://127.0.0.1:{peer_port}/\"\nlinks = {links_each}\nheartbeat.idle = \"5s\"\n\
             reconnect = {{ initial = \"100ms\", max = \"1s\" }}\n"
        )
    };
    let (keeper, api) = daemon(&(0..ENDPOINTS).map(endpoint).collect::<String>())?;
    let daemon = Watched { keeper, api, links: f64::from(links_each * ENDPOINTS) };
    wait_until(|| daemon.is_quiet())?;
    Sample::head();
    daemon.sample()?.row("ready");
    let reader = Reader::of(api)?;
    let round = AtomicU64::new(0).into();
    daemon.load(links_each, WARM_UP, &round, |_| Ok(()))?;
    let first = daemon.quiet_sample()?;
    first.row("warm, quiet");
    let each = (lasting.as_secs() / 60 / ROWS_MAX).max(1);
    daemon.load(links_each, lasting, &round, |minute| {
        if minute % each == 0 {
            daemon.sample()?.row(&format!("minute {minute}"));
        }
        Ok(())
    })?;
    let last = daemon.quiet_sample()?;
    last.row("end, quiet");
    let resets = metric(api, "wskeeper_connect_attempts_total{")?;
    println!("\n{:.0} messages sent, {resets:.0} connection attempts", last.sent);
    let is_whole = reader.end(metric(api, "wskeeper_messages_total{direction=\"in\",endpoint=\"e0\"")?)?;
    last.compare(&first)?;
    if is_whole { Ok(()) } else { Err("a message came twice, or did not come to whoever reads".into()) }
}

/// The daemon under load.
struct Watched {
    keeper: Running,
    api: u16,
    links: f64,
}

impl Watched {
    /// Every link is ready and nothing is queued.
    fn is_quiet(&self) -> Result<bool> {
        let text = get(self.api, "/metrics")?;
        let ready = sum(&text, "wskeeper_links{", "phase=\"ready\"");
        Ok(ready >= self.links && sum(&text, "wskeeper_outbox_messages{", "") < 0.5)
    }

    /// Each link sends a message a second, which its peer sends back, for so long.
    fn load(
        &self,
        links_each: u32,
        lasting: Duration,
        round: &Arc<AtomicU64>,
        mut each_minute: impl FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let stop = Arc::new(AtomicBool::new(false));
        let sender = send(self.api, links_each, (Arc::clone(&stop), Arc::clone(round)));
        let began = Instant::now();
        let mut minute = 0;
        let outcome = loop {
            if began.elapsed() >= lasting {
                break Ok(());
            }
            pause(ROUND);
            if began.elapsed().as_secs() / 60 > minute {
                minute += 1;
                if let Err(error) = each_minute(minute) {
                    break Err(error);
                }
            }
        };
        stop.store(true, Ordering::Relaxed);
        sender.join().map_err(|_| "the sender panicked")??;
        outcome
    }

    fn quiet_sample(&self) -> Result<Sample> {
        // Long enough for the heartbeats to settle what was written.
        pause(Duration::from_secs(10));
        wait_until(|| self.is_quiet())?;
        self.sample()
    }

    fn sample(&self) -> Result<Sample> {
        let process = format!("/proc/{}", self.keeper.0.id());
        let text = get(self.api, "/metrics")?;
        let series = |line: &&str| !line.is_empty() && !line.starts_with('#');
        Ok(Sample {
            resident_mb: self.keeper.resident_mb()?,
            files: fs::read_dir(format!("{process}/fd"))?.count(),
            threads: fs::read_dir(format!("{process}/task"))?.count(),
            series: text.lines().filter(series).count(),
            sent: sum(&text, "wskeeper_messages_total{", "direction=\"out\""),
        })
    }
}

/// The sum over the series of this name whose labels contain this.
fn sum(text: &str, name: &str, with: &str) -> f64 {
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(with));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Sends as long as it is not stopped: to every link of every endpoint one message a round, with the number of the round.
fn send(
    api: u16,
    links_each: u32,
    (stop, round): (Arc<AtomicBool>, Arc<AtomicU64>),
) -> JoinHandle<std::result::Result<(), String>> {
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            let round = round.fetch_add(1, Ordering::Relaxed);
            let line = |link| format!("{{\"data\":\"{round:064}\",\"link\":{link}}}\n");
            let body: String = (0..links_each).map(line).collect();
            for number in 0..ENDPOINTS {
                post(api, &format!("/v1/endpoints/e{number}/messages:batch"), "application/x-ndjson", &body)
                    .map_err(|error| error.to_string())?;
            }
            pause(ROUND.saturating_sub(began.elapsed()));
        }
        Ok(())
    })
}

/// Reads the inbox of the first endpoint. Its peer sends back what it gets, in order: so of each link the rounds grow.
struct Reader(JoinHandle<std::result::Result<Seen, String>>, TcpStream);

#[derive(Debug, Default)]
struct Seen {
    messages: u64,
    /// Messages whose round had come before.
    again: u64,
    /// Entries that it was told to have missed.
    missed: u64,
    rounds: BTreeMap<u64, u64>,
}

impl Reader {
    fn of(api: u16) -> Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", api))?;
        // By HTTP/1.0 no line is divided into chunks.
        let ask = "GET /v1/endpoints/e0/events?from=oldest&types=message HTTP/1.0\r\nHost: localhost\r\n\r\n";
        stream.write_all(ask.as_bytes())?;
        let lines = BufReader::new(stream.try_clone()?).lines();
        let read = move || {
            let mut seen = Seen::default();
            for line in lines {
                seen.line(&line.map_err(|error| error.to_string())?)?;
            }
            Ok(seen)
        };
        Ok(Self(thread::spawn(read), stream))
    }

    /// Whether it has seen as many as have arrived, and none twice.
    fn end(self, arrived: f64) -> Result<bool> {
        // It is behind by what is on its way.
        pause(Duration::from_secs(2));
        self.1.shutdown(std::net::Shutdown::Both)?;
        let seen = self.0.join().map_err(|_| "the reader panicked")??;
        #[allow(clippy::cast_precision_loss, reason = "it is for people, and less than 2^53")]
        let lost = arrived - seen.messages as f64;
        println!(
            "the reader of e0: {} messages of {arrived:.0} that arrived, {} twice, {} missed",
            seen.messages, seen.again, seen.missed
        );
        Ok(lost.abs() < 0.5 && seen.again == 0 && seen.missed == 0)
    }
}

impl Seen {
    fn line(&mut self, line: &str) -> std::result::Result<(), String> {
        let Some(data) = line.strip_prefix("data:") else { return Ok(()) };
        let data: serde_json::Value = serde_json::from_str(data).map_err(|error| format!("{error}: {data}"))?;
        let Some(round) = data["data"].as_str().and_then(|text| text.parse::<u64>().ok()) else {
            self.missed += u64::from(data["kind"] == "lag");
            return Ok(());
        };
        let number = data["link"].as_u64().ok_or_else(|| format!("no link: {data}"))?;
        self.messages += 1;
        match self.rounds.insert(number, round) {
            Some(before) if before >= round => self.again += 1,
            Some(_) | None => {}
        }
        Ok(())
    }
}

/// What the daemon holds at one moment.
struct Sample {
    resident_mb: f64,
    files: usize,
    threads: usize,
    series: usize,
    sent: f64,
}

impl Sample {
    fn head() {
        println!("{:<14}{:>14}{:>8}{:>9}{:>8}{:>14}", "", "resident (MB)", "files", "threads", "series", "sent");
    }

    fn row(&self, when: &str) {
        let Self { resident_mb, files, threads, series, sent } = self;
        println!("{when:<14}{resident_mb:>14.1}{files:>8}{threads:>9}{series:>8}{sent:>14.0}");
    }

    fn compare(&self, first: &Self) -> Result<()> {
        let grown = self.resident_mb / first.resident_mb;
        println!("memory at the end: {grown:.3} of the beginning (goal: at most {TOLERANCE})");
        let counts = |sample: &Self| (sample.files, sample.threads, sample.series);
        if grown > TOLERANCE || counts(self) != counts(first) {
            return Err("not all that was taken came back".into());
        }
        println!("files, threads and series: as at the beginning");
        Ok(())
    }
}

fn pause(lasting: Duration) {
    #[allow(clippy::disallowed_methods, reason = "no runtime here: the bench looks from outside")]
    thread::sleep(lasting);
}
