//! The operator's verbs: `close`, `reconnect`, `rotate`, `pause`, `resume`, `chaos`.

use serde_json::{Map, Value, json};

use super::{
    Failure,
    args::{self, LinkName},
    client::{Client, escape},
    output::Output,
};
use crate::api::wire::Link;
use wskeeper_core::close::CloseFrame;

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

fn tell(verb: &str, link: &LinkName, answer: &Value, output: &Output) -> Result<(), Failure> {
    let phase = serde_json::from_value::<Link>(answer.clone()).map(|link| link.phase).unwrap_or_default();
    if phase.is_empty() {
        return Ok(output.line(format_args!("{link}: {verb} accepted"))?);
    }
    Ok(output.line(format_args!("{link}: {verb} accepted, now {phase}"))?)
}

fn path(link: &LinkName, verb: &str) -> String {
    format!("/v1/links/{}/{}/{verb}", escape(&link.endpoint), link.index)
}
