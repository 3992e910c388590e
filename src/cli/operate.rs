//! The operator's verbs: `close`, `reconnect`, `pause`, `resume`, `chaos`, `reload`.

use serde_json::{Map, Value, json};

use super::{
    Failure,
    args::{self, LinkName},
    client::{Client, ClientError, escape},
    output::{Output, Paint},
};
use crate::{api::wire::Link, core::close::CloseFrame};

/// `close`: refuses here what the daemon would refuse, as a usage error.
pub(super) async fn close(args: &args::Close, mut client: Client, output: &Output) -> Result<(), Failure> {
    CloseFrame::from_caller(args.code, args.reason.as_deref()).map_err(|error| Failure::Usage(error.to_string()))?;
    let mut body = Map::new();
    if let Some(code) = args.code {
        body.insert("code".into(), code.into());
    }
    if let Some(reason) = &args.reason {
        body.insert("reason".into(), reason.as_str().into());
    }
    let answer: Value = client.post(&path(&args.link, "close"), Some(&Value::Object(body))).await?;
    tell("close", &args.link, &answer, output)
}

/// A verb without parameters.
pub(super) async fn verb(verb: &str, link: &LinkName, mut client: Client, output: &Output) -> Result<(), Failure> {
    let answer: Value = client.post(&path(link, verb), Some(&json!({}))).await?;
    tell(verb, link, &answer, output)
}

/// `chaos`: which fault takes which option is clap's business, whether its values are right the daemon's.
pub(super) async fn chaos(args: &args::Chaos, mut client: Client, output: &Output) -> Result<(), Failure> {
    let body = match &args.fault {
        args::Fault::Drop => json!({"fault": "drop"}),
        args::Fault::HalfOpen => json!({"fault": "half_open"}),
        args::Fault::Stall { lasting } => {
            json!({"fault": "stall", "for": humantime::format_duration(*lasting).to_string()})
        }
        args::Fault::Close { code, reason } => json!({"fault": "close", "code": code, "reason": reason}),
    };
    let answer: Value = client.post(&path(&args.link, "chaos"), Some(&body)).await?;
    tell("chaos", &args.link, &answer, output)
}

/// `reload`: one line per link that changed, or the faults.
pub(super) async fn reload(args: &args::Reload, mut client: Client, output: &Output) -> Result<(), Failure> {
    let answer: Value = match client.post("/v1/reload", None).await {
        Ok(answer) => answer,
        Err(ClientError::Problem(problem)) => {
            output.note(format_args!("wskeeper: {problem}"), Paint::Red);
            for fault in problem.more.values().filter_map(Value::as_array).flatten() {
                output.note(format_args!("  {}", plain(fault)), Paint::Plain);
            }
            return Err(Failure::Told);
        }
        Err(error) => return Err(error.into()),
    };
    if args.json {
        return Ok(output.line(answer)?);
    }
    let changes = ["changes", "items"].iter().find_map(|key| answer.get(key)).and_then(Value::as_array);
    let changes = changes.map(Vec::as_slice).unwrap_or_default();
    let is_unchanged = |change: &&Value| change.get("action").and_then(Value::as_str) == Some("unchanged");
    for change in changes.iter().filter(|change| !is_unchanged(change)) {
        let text = |key| change.get(key).and_then(Value::as_str).unwrap_or_default();
        let why: Vec<_> = change.get("why").and_then(Value::as_array).into_iter().flatten().map(plain).collect();
        output.line(format_args!("{}  {}  {}", text("link"), text("action"), why.join(", ")).to_string().trim_end())?;
    }
    Ok(output.line(format_args!("reloaded; {} unchanged", changes.iter().filter(is_unchanged).count()))?)
}

fn tell(verb: &str, link: &LinkName, answer: &Value, output: &Output) -> Result<(), Failure> {
    let phase = serde_json::from_value::<Link>(answer.clone()).map(|link| link.phase).unwrap_or_default();
    if phase.is_empty() {
        return Ok(output.line(format_args!("{link}: {verb} accepted"))?);
    }
    Ok(output.line(format_args!("{link}: {verb} accepted, now {phase}"))?)
}

/// A fault may be a string or an object with a place and a message.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let parts: Vec<_> = fields.values().filter_map(Value::as_str).collect();
            parts.join(": ")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => value.to_string(),
    }
}

fn path(link: &LinkName, verb: &str) -> String {
    format!("/v1/links/{}/{}/{verb}", escape(&link.endpoint), link.index)
}
