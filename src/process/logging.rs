//! Where log lines go: stderr in a form for people or machines, or the journal's native protocol; either way through a bounded
//! queue and a thread of its own, because nobody may wait for who reads a log.
//!
//! What a reader would get wrong: a panic is a line of the log too. The default hook writes to stderr from the thread that
//! panics, which is a worker of the runtime, and stderr may be a pipe that nobody reads.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    env,
    fs::File,
    io::{self, IsTerminal, Write},
    os::fd::AsFd as _,
    panic,
    path::Path,
    sync::{Arc, OnceLock, mpsc},
    thread,
    time::Duration,
};

use tracing_subscriber::{Layer, Registry, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt};
use wskeeper_link::endpoint::hide;

use crate::config::{
    Log, LogFormat,
    text::{NoFilter, log_filter},
};
use journal::{Entries, Journal};
use queue::{Queue, Sink};

mod journal;
mod queue;

/// The environment variable that stands before `log.level`.
pub const FILTER_VARIABLE: &str = "WSKEEPER_LOG";

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter cannot be read.
    #[error("{place} {filter:?} is no log filter ({error}): write a level such as info, or wskeeper=debug,hyper=warn")]
    Filter {
        /// `log.level` or the variable's name.
        place: &'static str,
        /// As written.
        filter: String,
        /// What is wrong with it.
        error: NoFilter,
    },
    /// Another part of the program has set up logging before.
    #[error("logging has been set up before")]
    Twice,
    /// There is no thread for it.
    #[error("the thread of the log cannot be started: {0}")]
    Thread(io::Error),
}

/// Rooms of `wskeeper-link` that filters may name as rooms of the daemon, `wskeeper::pool=debug`.
const ROOMS_OF_LINK: [&str; 4] = ["hub", "link", "pool", "store"];
/// The lines of this process.
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();
/// At the end, a reader that reads nothing for so long is not waited for.
const STILL: Duration = Duration::from_millis(500);
/// At the end, no reader is waited for longer than this.
const LAST_LINES: Duration = Duration::from_secs(3);
/// Before what is not ready to be written to is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// Logging, until it is dropped: then what waits is written, if somebody reads it.
#[derive(Debug)]
#[must_use = "dropped, it writes what waits"]
pub struct Logging(());

impl Drop for Logging {
    fn drop(&mut self) {
        flush();
    }
}

/// Sets up logging for the whole process, panics included. A journal that cannot be reached is a warning in the log, not an error.
pub fn start(log: &Log) -> Result<Logging, Error> {
    let (place, filter) = match env::var(FILTER_VARIABLE) {
        Ok(filter) if !filter.is_empty() => (FILTER_VARIABLE, filter),
        Ok(_) | Err(_) => ("log.level", log.level.clone()),
    };
    let filter = log_filter(&by_package(&filter)).map_err(|error| Error::Filter { place, filter, error })?;
    let wanted = chosen(log.format, env::var_os("JOURNAL_STREAM").is_some(), io::stderr().is_terminal());
    let queue = Arc::<Queue>::default();
    let (output, sink, warning) = output(wanted, &queue);
    tracing_subscriber::registry().with(output.with_filter(filter)).try_init().map_err(|_| Error::Twice)?;
    let writer = Arc::clone(&queue);
    let thread = thread::Builder::new().name("log".into());
    thread.spawn(move || writer.run(sink, tell_missing)).map_err(Error::Thread)?;
    // Only the first one gets so far.
    let _ = QUEUE.set(queue);
    panic::set_hook(Box::new(tell_panic));
    if let Some(error) = warning {
        tracing::warn!(error, "the journal cannot be reached, logging to stderr");
    }
    Ok(Logging(()))
}

/// The filter with rooms that are in a package of their own named as the code names them.
fn by_package(filter: &str) -> String {
    let directive = |directive: &str| {
        let rest = directive.trim().strip_prefix("wskeeper::");
        let moved =
            rest.filter(|rest| rest.split(['=', ':', '[']).next().is_some_and(|room| ROOMS_OF_LINK.contains(&room)));
        moved.map_or_else(|| directive.to_owned(), |rest| format!("wskeeper_link::{rest}"))
    };
    filter.split(',').map(directive).collect::<Vec<_>>().join(",")
}

/// Lines that were dropped because the log was not read.
pub fn dropped() -> u64 {
    QUEUE.get().map_or(0, |queue| queue.dropped())
}

/// Waits until what was logged is written, for as long as somebody reads it.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(STILL, LAST_LINES);
    }
}

/// Writes to stderr, or whatever `write` writes to, and does not wait for a reader that reads nothing.
pub fn last_words(write: impl FnOnce() + Send + 'static) {
    let (said, is_said) = mpsc::channel::<()>();
    thread::spawn(move || {
        write();
        drop(said);
    });
    // Both kinds of error are an end of the wait.
    let _ = is_said.recv_timeout(STILL);
}

fn tell_missing(lines: u64) {
    let were = if lines == 1 { "line was" } else { "lines were" };
    tracing::warn!(lines, "{lines} log {were} dropped while the log was not read");
}

fn tell_panic(panic: &panic::PanicHookInfo<'_>) {
    let thread = thread::current().name().unwrap_or("?").to_owned();
    // What it says may be of any value that the code had in hand.
    let panic = hide(&panic.to_string());
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!(%panic, thread, backtrace, "a thread panicked");
    } else {
        // The filter is for what goes on, not for a bug.
        let text = format!("thread {thread} {panic}\n{}", backtrace.unwrap_or_default());
        thread::spawn(move || io::stderr().write_all(text.as_bytes()));
    }
}

/// What `auto` means here; never answers with it.
fn chosen(format: LogFormat, under_journal: bool, on_terminal: bool) -> LogFormat {
    match format {
        LogFormat::Auto if under_journal => LogFormat::Journald,
        LogFormat::Auto if on_terminal => LogFormat::Pretty,
        LogFormat::Auto => LogFormat::Json,
        LogFormat::Pretty | LogFormat::Json | LogFormat::Journald => format,
    }
}

type Output = Box<dyn Layer<Registry> + Send + Sync>;

/// What makes lines of events, and what takes them.
fn output(format: LogFormat, queue: &Arc<Queue>) -> (Output, Box<dyn Sink + Send>, Option<String>) {
    let lines = || Lines(Arc::clone(queue));
    match format {
        LogFormat::Pretty => (pretty(lines()), Box::new(Stderr::get()), None),
        LogFormat::Journald => match Journal::at(Path::new(journal::SOCKET)) {
            Ok(journal) => (Entries(Arc::clone(queue)).boxed(), Box::new(journal), None),
            Err(error) => (json(lines()), Box::new(Stderr::get()), Some(error.to_string())),
        },
        LogFormat::Json | LogFormat::Auto => (json(lines()), Box::new(Stderr::get()), None),
    }
}

fn pretty<W: for<'w> MakeWriter<'w> + Send + Sync + 'static>(writer: W) -> Output {
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt::layer().compact().with_ansi(colours).with_target(false).with_writer(writer).boxed()
}

/// Fields beside `timestamp`, `level`, `target` and `message`; events name their link themselves, so spans are left out.
fn json<W: for<'w> MakeWriter<'w> + Send + Sync + 'static>(writer: W) -> Output {
    tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(writer)
        .boxed()
}

/// Takes lines for the queue. `tracing-subscriber` writes each by one call.
#[derive(Debug, Clone)]
struct Lines(Arc<Queue>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

/// Stderr by a descriptor of its own: that of the standard library has a lock, which nobody else must wait for.
#[derive(Debug)]
struct Stderr(Option<File>);

impl Stderr {
    fn get() -> Self {
        Self(io::stderr().as_fd().try_clone_to_owned().ok().map(File::from))
    }
}

impl Sink for Stderr {
    #[allow(clippy::disallowed_methods, reason = "it is the log's thread that sleeps")]
    fn write(&mut self, mut line: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.0 else { return Err(io::ErrorKind::NotConnected.into()) };
        while !line.is_empty() {
            match file.write(line) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => line = &line[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Who shares the terminal or pipe may have made it so.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(RETRY),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Sink for Box<dyn Sink + Send> {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        (**self).write(line)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'w> MakeWriter<'w> for Memory {
        type Writer = Self;

        fn make_writer(&'w self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn auto_is_the_journal_under_systemd_then_pretty_on_a_terminal_then_json() {
        assert_eq!(chosen(LogFormat::Auto, true, true), LogFormat::Journald);
        assert_eq!(chosen(LogFormat::Auto, false, true), LogFormat::Pretty);
        assert_eq!(chosen(LogFormat::Auto, false, false), LogFormat::Json);
        assert_eq!(chosen(LogFormat::Pretty, true, false), LogFormat::Pretty);
    }

    #[test]
    fn a_json_line_has_its_fields_beside_the_message() {
        let memory = Memory::default();
        let subscriber = tracing_subscriber::registry().with(json(memory.clone()));
        tracing::subscriber::with_default(subscriber, || tracing::info!(endpoint = "trades", link = 1, "ready"));
        let line: serde_json::Value = serde_json::from_slice(&memory.0.lock()).unwrap();
        assert_eq!(line["message"], "ready");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["endpoint"], "trades");
        assert_eq!(line["link"], 1);
        assert!(line["timestamp"].is_string() && line["target"].is_string());
    }

    #[test]
    fn a_filter_finds_the_rooms_of_all_packages() {
        let debug = |filter: &str, target: &str| {
            log_filter(&by_package(filter)).unwrap().would_enable(target, &tracing::Level::DEBUG)
        };
        assert!(
            debug("info,wskeeper=debug", "wskeeper::observe") && debug("wskeeper=debug", "wskeeper_link::pool::spool")
        );
        assert!(debug("info, wskeeper::pool=debug", "wskeeper_link::pool::spool"));
        assert!(debug("wskeeper::store::writer=debug,warn", "wskeeper_link::store::writer"));
        assert!(debug("wskeeper::link=trace", "wskeeper_link::link::dial"));
        assert!(!debug("info,wskeeper::pool=debug", "wskeeper_link::store::writer"));
        assert!(debug("info,wskeeper::observe=debug", "wskeeper::observe::telling"));
        assert!(!debug("info,wskeeper::observe=debug", "wskeeper_link::pool"));
    }

    #[test]
    fn a_bad_filter_says_where_it_stands() {
        let log = Log { level: "a=b=c".into(), format: LogFormat::Json };
        let error = start(&log).unwrap_err().to_string();
        assert!(error.starts_with("log.level"), "{error}");
    }
}
