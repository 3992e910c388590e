//! What stands in `dashboards/` and `docs/runbooks`, against the registry, Grafana's schema, promtool, and a real Prometheus that
//! scrapes the real daemon, and a real collector of its spans.
//!
//! What a reader would get wrong: a query for a metric that does not exist succeeds with nothing, so what counts is that there is
//! *data*. Prometheus, rotel, Chromium, nginx and Node's packages come from `tests/run`; without them their tests say that they are skipped.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(unreachable_pub, reason = "what tests share is as public as a library's items")]
#![allow(clippy::print_stderr, reason = "a skipped test and a failed one say why")]

#[path = "../support/mod.rs"]
mod support;

mod boards;
mod collector;
mod files;
mod look;
mod names;
mod peers;
mod prometheus;
mod rules;
mod scrape;
mod world;
