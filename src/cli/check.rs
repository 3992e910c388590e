//! `wskeeper check PATH`: every fault with its place, or what the configuration would do.

use super::{
    Failure, args,
    output::{Output, Paint},
    words,
};
use crate::{
    app,
    config::{self, Config, Faults, Listen},
};
use wskeeper_link::endpoint::Template;

/// Validates; nothing is connected, opened or evaluated.
pub(super) fn run(args: &args::Check, output: &Output) -> Result<(), Failure> {
    let loaded = match config::load(&args.path, &app::environment()) {
        Ok(loaded) => loaded,
        Err(faults) => {
            for fault in faults.iter() {
                output.note(fault, Paint::Plain);
            }
            output.note(words::count(faults.iter().count() as u64, "fault"), Paint::Red);
            return Err(Failure::Told);
        }
    };
    for warning in &loaded.warnings {
        output.note(format_args!("warning: {warning}"), Paint::Yellow);
    }
    for line in summary(&loaded.config) {
        output.line(line)?;
    }
    Ok(())
}

/// The faults as lines of one text.
pub(super) fn listed(faults: &Faults) -> String {
    let lines: Vec<String> = faults.iter().map(|fault| format!("\n  {fault}")).collect();
    format!("the configuration has {}:{}", words::count(lines.len() as u64, "fault"), lines.concat())
}

fn summary(config: &Config) -> Vec<String> {
    let links: u64 = config.endpoints.values().map(|endpoint| u64::from(endpoint.links)).sum();
    let listen = match &config.api.listen {
        Listen::Tcp(address) => format!("http://{address}"),
        Listen::Unix { path, .. } => format!("unix:{}", path.display()),
    };
    let endpoints = words::count(config.endpoints.len() as u64, "endpoint");
    let mut shown = vec![format!("fine: {endpoints}, {}; the API listens on {listen}", words::count(links, "link"))];
    shown.extend(config.endpoints.values().map(|endpoint| {
        let url = endpoint.urls.first().map(Template::shown).unwrap_or_default();
        format!("  {}  {}  {url}", endpoint.name, words::count(endpoint.links.into(), "link"))
    }));
    shown
}
