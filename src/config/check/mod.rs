//! The tree of values becomes a `Config`, or all its faults.
//!
//! The table of keys is read row by row; what a row cannot say stands here: rules over several keys, and kinds of one key. Nothing stops at the first fault: a bad value is reported and its default used, so that the rest is still looked at. The
//! result counts only if there is no fault at all.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytesize::ByteSize;
use config::Value;

use self::{
    item::Item,
    section::{Report, Section},
};
use super::{
    Base, Config, DynamicMode,
    fault::{Fault, Faults},
    reach::Reach,
    table::daemon::DAEMON,
    text::{NoFilter, log_filter},
};

pub(super) mod api;
pub(super) mod bridges;
pub(super) mod brokers;
mod compression;
pub(super) mod digest;
pub(super) mod endpoint;
pub(super) mod http2;
pub(super) mod item;
pub(super) mod network;
pub(super) mod outcomes;
pub(super) mod proxy;
pub(super) mod push;
pub(super) mod request;
pub(super) mod section;
pub(super) mod session;
pub(super) mod streams;
pub(super) mod tls;
pub(super) mod tracing;

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
    let sample = "[[api.tokens]]\n[endpoints.x.headers]\n[tracing.headers]\n[[endpoints.x.outcomes]]\n[[endpoints.x.streams]]\n[[endpoints.x.push]]\n[[endpoints.x.bridges]]\n[brokers.x]\n[endpoints.x.session.values]\n[values]";
    let root = super::source::parse(sample, "sample", config::FileFormat::Toml, &mut faults);
    read(&report, &root);
    report.keys.into_inner().into_iter().collect()
}

fn read(report: &Report, root: &Value) -> Config {
    let root = Section::root(report, root);
    let mut values = BTreeMap::new();
    session::values(&root, &mut values);
    brokers::note(&root);
    let defaults = endpoint::defaults(&root.section("defaults"), &values);
    let endpoints = endpoint::endpoints(&root.section("endpoints"), &defaults, &values);
    report.endpoints.borrow_mut().extend(endpoints.keys().cloned());
    let mut config = Config { endpoints, ..Config::default() };
    DAEMON.read(&root, &mut config);
    root.finish();
    let listed = Reach::new(&config.api.dynamic_references, values.values().map(|written| &written.value));
    if config.api.dynamic != DynamicMode::Off {
        endpoint::look_at_defaults(&root.section("defaults"), (&defaults, &values), &listed);
    }
    config.base = Arc::new(Base { defaults, shared: values, brokers: config.brokers.clone(), reach: listed });
    warn(report, &config);
    config
}

/// `log.level`
pub(in crate::config) fn log_level(item: &Item<'_>) -> Option<String> {
    let text = item.text()?;
    match log_filter(text) {
        Ok(_) => return Some(text.to_owned()),
        Err(NoFilter::Level { near, .. }) => {
            item.fault("is not a level", format!("write error, warn, info or debug{near}"));
        }
        Err(NoFilter::Empty | NoFilter::Form(_)) => {
            item.fault("is not a log filter", "write a level (\"info\") or levels by target (\"info,wskeeper=debug\")");
        }
    }
    None
}

/// Rules of `[admission]`.
pub(in crate::config) fn admission(section: &Section<'_>, config: &mut Config) {
    let policy = &config.admission;
    if (section.has("per_host") || section.has("total")) && policy.per_host > policy.total {
        section.fault("per_host", "is larger than admission.total", "raise admission.total to it at least");
    }
}

/// `storage.dir`
pub(in crate::config) fn folder(item: &Item<'_>) -> Option<PathBuf> {
    let text = item.text()?;
    if text.is_empty() || text.contains('\0') || text.contains("${") {
        item.fault("is not a folder", "write its path; references are not evaluated here");
        return None;
    }
    Some(item.report.folder_of(item.value.origin()).join(text))
}

/// What can be said only of the whole.
fn warn(report: &Report, config: &Config) {
    if config.endpoints.is_empty() && config.api.dynamic == DynamicMode::Off {
        report.warn("endpoints", "there is none, so there is nothing to hold");
    }
    let memory = config.limits.memory;
    let mut sum = 0_u64;
    for (name, endpoint) in &config.endpoints {
        let (outbox, inbox) = (endpoint.link.outbox.max_bytes, endpoint.inbox.max_bytes);
        sum = sum.saturating_add(outbox.saturating_mul(endpoint.max_links().into())).saturating_add(inbox);
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
    compression::warn_of_windows(report, config);
}

/// What is warned of, or wrong, in a file with one secure endpoint that has these keys besides.
#[cfg(test)]
fn read_keys(keys: &str) -> Result<Vec<String>, String> {
    let text = format!("[endpoints.a]\nurl = \"wss://h\"\n{keys}");
    super::parse_toml(&text, "test.toml").map(|loaded| loaded.warnings).map_err(|faults| faults.to_string())
}
