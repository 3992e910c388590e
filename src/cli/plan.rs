//! `wskeeper plan` and `wskeeper reload`: what a reload would do, or did, in one form.
//!
//! What a reader would get wrong: links are lines only where something becomes of them, and neighbours of one endpoint with the
//! same end reason are one line; nobody reads 10,000.

use std::io;

use http::Method;
use serde_json::Value;

use super::{
    Failure, args,
    client::{Call, Client, ClientError},
    grid,
    output::{Output, Paint},
    words,
};
use crate::{api::wire, config::ReloadAction};

/// `plan`: exit code 0 says that a reload would be carried out.
pub(super) async fn plan(args: &args::Plan, mut client: Client, output: &Output) -> Result<(), Failure> {
    let answer = client.call(Method::GET, Call { path: "/v1/plan", ..Call::default() }).await;
    show("plan", args, answer.map(|(_, body)| body), output)
}

/// `reload`
pub(super) async fn reload(args: &args::Plan, mut client: Client, output: &Output) -> Result<(), Failure> {
    let answer = client.call(Method::POST, Call { path: "/v1/reload", ..Call::default() }).await;
    show("reload", args, answer.map(|(_, body)| body), output)
}

fn show(
    verb: &str,
    args: &args::Plan,
    answer: Result<bytes::Bytes, ClientError>,
    output: &Output,
) -> Result<(), Failure> {
    let body = match answer {
        Ok(body) => body,
        Err(ClientError::Problem(problem)) if problem.more.contains_key("faults") => {
            output.note(format_args!("wskeeper {verb}: {problem}"), Paint::Red);
            let faults = problem.more.get("faults").and_then(Value::as_array);
            for fault in faults.into_iter().flatten().filter_map(Value::as_str) {
                output.note(format_args!("  {fault}"), Paint::Plain);
            }
            return Err(Failure::Told);
        }
        Err(error) => return Err(error.into()),
    };
    if args.json {
        return Ok(output.line(String::from_utf8_lossy(&body))?);
    }
    let plan: wire::Plan =
        serde_json::from_slice(&body).map_err(|error| Failure::Failed(format!("the answer is no plan: {error}")))?;
    let done = if verb == "reload" { "reloaded" } else { verb };
    Ok(tell(done, &plan, output)?)
}

/// Prints what was done, or would be.
pub(super) fn tell(done: &str, plan: &wire::Plan, output: &Output) -> io::Result<()> {
    for warning in &plan.warnings {
        output.note(format_args!("warning: {warning}"), Paint::Yellow);
    }
    let rows = rows(plan);
    if !rows.is_empty() {
        let mut table = grid::empty(&["LINK", "WHAT", "WHY"], output);
        for [link, what, why] in rows {
            table.add_row(vec![grid::bold(link), what.into(), why.into()]);
        }
        output.line(grid::trimmed(&table))?;
    }
    output.line(summary(done, plan))
}

/// What changes: runs of links with one end reason, then the daemon's own keys.
fn rows(plan: &wire::Plan) -> Vec<[String; 3]> {
    let mut rows: Vec<[String; 3]> = Vec::new();
    let changes: Vec<_> =
        plan.changes.iter().filter(|change| change.action != ReloadAction::Unchanged.as_str()).collect();
    let end_reason = |change: &wire::Change| (endpoint(change).to_owned(), change.action.clone(), change.why.clone());
    for run in changes.chunk_by(|one, other| end_reason(one) == end_reason(other)) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        let links = match run.len() {
            1 => first.link.clone(),
            more => {
                let index = last.link.rsplit('/').next().unwrap_or_default();
                format!("{}…{index} ({})", first.link, words::count(more as u64, "link"))
            }
        };
        rows.push([links, first.action.clone(), first.why.join(", ")]);
    }
    for (keys, what) in [(&plan.live, ReloadAction::AppliedLive.as_str()), (&plan.restart, "takes a restart")] {
        if !keys.is_empty() {
            rows.push(["the daemon".into(), what.into(), keys.join(", ")]);
        }
    }
    rows
}

fn endpoint(change: &wire::Change) -> &str {
    change.link.rsplit_once('/').map_or("", |(endpoint, _)| endpoint)
}

/// How many links of each end reason, the hardest first.
fn summary(verb: &str, plan: &wire::Plan) -> String {
    let count = |action: ReloadAction| plan.changes.iter().filter(|change| change.action == action.as_str()).count();
    let told = |action: &ReloadAction| match count(*action) {
        0 => None,
        count => Some(format!("{count} {}", action.as_str())),
    };
    let mut parts: Vec<String> = ReloadAction::ALL.iter().rev().filter_map(told).collect();
    if parts.is_empty() {
        parts.push("no links".into());
    }
    format!("{verb}: {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(link: &str, action: &str, why: &[&str]) -> wire::Change {
        wire::Change {
            link: link.into(),
            action: action.into(),
            why: why.iter().map(|key| (*key).to_owned()).collect(),
        }
    }

    #[test]
    fn neighbours_with_one_fate_are_one_row_and_the_unchanged_are_counted() {
        let plan = wire::Plan {
            changes: vec![
                change("a/0", "reconnect", &["url"]),
                change("a/1", "reconnect", &["url"]),
                change("a/2", "removed", &["links"]),
                change("b/0", "unchanged", &[]),
                change("c/0", "reconnect", &["url"]),
            ],
            live: vec!["limits.drain".into()],
            restart: vec!["api.listen".into()],
            warnings: Vec::new(),
        };
        let expected = [
            ["a/0…1 (2 links)", "reconnect", "url"],
            ["a/2", "removed", "links"],
            ["c/0", "reconnect", "url"],
            ["the daemon", "applied live", "limits.drain"],
            ["the daemon", "takes a restart", "api.listen"],
        ];
        assert_eq!(rows(&plan), expected);
        assert_eq!(summary("plan", &plan), "plan: 1 removed, 3 reconnect, 1 unchanged");
        assert_eq!(summary("plan", &wire::Plan::default()), "plan: no links");
    }
}
