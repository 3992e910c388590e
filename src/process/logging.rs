//! Where log lines go: stderr in a form for people or machines, or the journal's native protocol.
//!
//! What a reader would get wrong: the writer claims success even when stderr is closed. `tracing-subscriber` reports a
//! failed write with `eprintln!`, which panics on a closed stderr, and a daemon must outlive its terminal.

use std::{
    env,
    io::{self, IsTerminal, Write},
};

use tracing_subscriber::{
    Layer, Registry, filter::Targets, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::config::{Log, LogFormat};

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
        /// What the parser says.
        error: String,
    },
    /// Another part of the program has set up logging before.
    #[error("logging has been set up before")]
    Twice,
}

/// Sets up logging for the whole process. A journal that cannot be reached is a warning in the log, not an error.
pub fn start(log: &Log) -> Result<(), Error> {
    let (place, filter) = match env::var(FILTER_VARIABLE) {
        Ok(filter) if !filter.is_empty() => (FILTER_VARIABLE, filter),
        Ok(_) | Err(_) => ("log.level", log.level.clone()),
    };
    let filter: Targets = filter.parse().map_err(|error: tracing_subscriber::filter::ParseError| Error::Filter {
        place,
        filter: filter.clone(),
        error: error.to_string(),
    })?;
    let wanted = chosen(log.format, env::var_os("JOURNAL_STREAM").is_some(), io::stderr().is_terminal());
    let (output, warning) = output(wanted);
    tracing_subscriber::registry().with(output.with_filter(filter)).try_init().map_err(|_| Error::Twice)?;
    if let Some(error) = warning {
        tracing::warn!(error, "the journal cannot be reached, logging to stderr");
    }
    Ok(())
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

fn output(format: LogFormat) -> (Output, Option<String>) {
    match format {
        LogFormat::Pretty => (pretty(Stderr), None),
        LogFormat::Journald => match tracing_journald::layer() {
            Ok(layer) => (layer.with_syslog_identifier("wskeeper".into()).boxed(), None),
            Err(error) => (json(Stderr), Some(error.to_string())),
        },
        LogFormat::Json | LogFormat::Auto => (json(Stderr), None),
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

/// Stderr, whose loss is nobody's problem.
#[derive(Debug, Clone, Copy)]
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().lock().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Stderr {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
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
        let line: serde_json::Value = serde_json::from_slice(&memory.0.lock().unwrap()).unwrap();
        assert_eq!(line["message"], "ready");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["endpoint"], "trades");
        assert_eq!(line["link"], 1);
        assert!(line["timestamp"].is_string() && line["target"].is_string());
    }

    #[test]
    fn a_bad_filter_says_where_it_stands() {
        let log = Log { level: "a=b=c".into(), format: LogFormat::Json };
        let error = start(&log).unwrap_err().to_string();
        assert!(error.starts_with("log.level"), "{error}");
    }
}
