//! The tree of values becomes a `Config`, or all its faults.
//!
//! Nothing stops at the first fault: a bad value is reported and its default used, so that the rest is still looked at. The
//! result counts only if there is no fault at all.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bytesize::ByteSize;
use config::Value;
use tracing_subscriber::filter::Targets;

use self::section::{Report, Section};
use super::{
    Config, Limits, Log, LogFormat, Metrics, Storage,
    fault::{Fault, Faults},
};
use crate::core::admission;

mod api;
mod endpoint;
mod item;
mod outcomes;
mod request;
mod section;
mod tls;
mod tracing;

/// The longest duration that any key takes: what is longer is a mistake, and sums of these cannot overflow a clock.
pub(crate) const MAX_DURATION: Duration = Duration::from_hours(8766);

/// The largest size that any key takes, in bytes.
pub(crate) const MAX_SIZE: u64 = 1 << 40;

/// Checks the tree. `folder` is where relative paths of environment variables start.
pub(crate) fn check(root: &Value, folder: &Path, faults: Vec<Fault>) -> Result<(Config, Vec<String>), Faults> {
    let report = Report { folder: folder.to_owned(), faults: faults.into(), ..Report::default() };
    let config = read(&report, root);
    match Faults::new(report.faults.into_inner()) {
        Some(faults) => Err(faults),
        None => Ok((config, report.warnings.into_inner().into_iter().collect())),
    }
}

/// Every key there is, names replaced by `*` and a list's place by `[]`, in order.
pub fn keys() -> Vec<String> {
    let report = Report::default();
    let mut faults = Vec::new();
    let sample = "[[api.tokens]]\n[endpoints.x.headers]\n[tracing.headers]\n[[endpoints.x.outcomes]]";
    let root = super::source::parse(sample, "sample", config::FileFormat::Toml, &mut faults);
    read(&report, &root);
    report.keys.into_inner().into_iter().collect()
}

fn read(report: &Report, root: &Value) -> Config {
    let root = Section::root(report, root);
    let defaults = endpoint::defaults(&root.section("defaults"));
    let endpoints = endpoint::endpoints(&root.section("endpoints"), &defaults);
    let names: Vec<&str> = endpoints.keys().map(|name| &**name).collect();
    let config = Config {
        watch: root.bool("watch").unwrap_or(false),
        allow_empty: root.bool("allow_empty").unwrap_or(false),
        api: api::read(&root.section("api"), &names),
        log: log(&root.section("log")),
        metrics: metrics(&root.section("metrics")),
        admission: admission(&root.section("admission")),
        limits: limits(&root.section("limits")),
        storage: storage(&root.section("storage")),
        tracing: tracing::read(&root.section("tracing")),
        endpoints,
    };
    root.finish();
    warn(report, &config);
    config
}

fn log(section: &Section<'_>) -> Log {
    let mut log = Log { level: "info".into(), format: LogFormat::Auto };
    if let Some(item) = section.get("level")
        && let Some(text) = item.text()
    {
        match text.parse::<Targets>() {
            Ok(_) if !text.trim().is_empty() => text.clone_into(&mut log.level),
            Ok(_) | Err(_) => {
                item.fault(
                    "is not a log filter",
                    "write a level (\"info\") or levels by target (\"info,wskeeper=debug\")",
                );
            }
        }
    }
    let formats = [
        ("auto", LogFormat::Auto),
        ("pretty", LogFormat::Pretty),
        ("json", LogFormat::Json),
        ("journald", LogFormat::Journald),
    ];
    log.format = section.get("format").and_then(|item| item.word(&formats)).unwrap_or(log.format);
    section.finish();
    log
}

fn metrics(section: &Section<'_>) -> Metrics {
    let per_link = section.bool("per_link").unwrap_or(false);
    section.finish();
    Metrics { per_link }
}

fn admission(section: &Section<'_>) -> admission::Policy {
    let default = admission::Policy::default();
    let policy = admission::Policy {
        per_host: section.count("per_host", 1..=100_000).unwrap_or(default.per_host),
        total: section.count("total", 1..=100_000).unwrap_or(default.total),
        rate: section.get("rate").and_then(|item| item.number(0.001..=1_000_000.0)).or(default.rate),
    };
    if (section.has("per_host") || section.has("total")) && policy.per_host > policy.total {
        section.fault("per_host", "is larger than admission.total", "raise admission.total to it at least");
    }
    section.finish();
    policy
}

fn limits(section: &Section<'_>) -> Limits {
    let limits = Limits {
        memory: section.get("memory").and_then(|item| item.size(1 << 20..=MAX_SIZE)).unwrap_or(256 << 20),
        receipts: section.count("receipts", 1..=100_000_000).unwrap_or(100_000),
        drain: section.duration("drain", Duration::ZERO..=MAX_DURATION).unwrap_or(Duration::from_secs(10)),
    };
    section.finish();
    limits
}

fn storage(section: &Section<'_>) -> Storage {
    let storage = Storage {
        dir: folder(section, "dir").unwrap_or_else(|| "/var/lib/wskeeper".into()),
        max_bytes: section.get("max_bytes").and_then(|item| item.size(1 << 20..=MAX_SIZE)).unwrap_or(1 << 30),
    };
    section.finish();
    storage
}

fn folder(section: &Section<'_>, key: &'static str) -> Option<PathBuf> {
    let item = section.get(key)?;
    let text = item.text()?;
    if text.is_empty() || text.contains('\0') || text.contains("${") {
        item.fault("is not a folder", "write its path; references are not evaluated here");
        return None;
    }
    Some(item.report.folder_of(item.value.origin()).join(text))
}

/// What can be said only of the whole.
fn warn(report: &Report, config: &Config) {
    if config.endpoints.is_empty() {
        report.warn("endpoints", "there is none, so there is nothing to hold");
    }
    let memory = config.limits.memory;
    let mut sum = 0_u64;
    for (name, endpoint) in &config.endpoints {
        let (outbox, inbox) = (endpoint.link.outbox.max_bytes, endpoint.inbox.max_bytes);
        sum = sum.saturating_add(outbox.saturating_mul(endpoint.links.into())).saturating_add(inbox);
        if outbox.max(inbox) > memory {
            report.warn(
                &format!("endpoints.{name}"),
                "a queue may hold more than limits.memory, which will refuse messages first",
            );
        }
    }
    if sum > memory {
        report.warn(
            "limits.memory",
            &format!(
                "is {}, and all outboxes and inboxes together may hold {}: when it is used up, inboxes lose their oldest \
                 and then sends are refused; raise it, or lower outbox.max_bytes and inbox.max_bytes",
                ByteSize::b(memory).display().iec(),
                ByteSize::b(sum).display().iec(),
            ),
        );
    }
}
