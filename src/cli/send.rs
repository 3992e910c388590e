//! `wskeeper send`: one message, or each line of stdin.
//!
//! What a reader would get wrong: a message that was given as an argument is tried once and its refusal is told, but lines
//! of stdin wait for room in the outbox: a pipe is the place to hold what is not wanted yet.

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::io::AsyncReadExt;

use super::{
    Failure, args,
    client::{self, Call, Client, ClientError, escape},
    output::Output,
    words,
};
use crate::api::wire::Receipt;

mod bulk;
mod input;
mod tally;

pub(super) use input::{Flaw, Input, Line};

/// Sends, and says what became of it.
pub(super) async fn run(args: args::Send, client: Client, output: &Output) -> Result<(), Failure> {
    match &args.text {
        Some(text) if text != "-" => one(&args, Bytes::from(text.clone()), client, output).await,
        Some(_) | None if args.binary => {
            let mut bytes = Vec::new();
            tokio::io::stdin().read_to_end(&mut bytes).await?;
            one(&args, Bytes::from(bytes), client, output).await
        }
        Some(_) | None if args.idempotency_key.is_some() => Err(Failure::Usage(
            "--idempotency-key is for one message: give it as TEXT, or on stdin with --binary".into(),
        )),
        Some(_) | None => bulk::run(&args, client, output).await,
    }
}

async fn one(args: &args::Send, body: Bytes, mut client: Client, output: &Output) -> Result<(), Failure> {
    let kind = if args.binary { "application/octet-stream" } else { "text/plain; charset=utf-8" };
    let headers = args.idempotency_key.iter().map(|key| ("Idempotency-Key", key.clone())).collect();
    let call = Call { path: &path(args), body: Some((kind, body)), headers };
    let (status, body) = client.exchange(Method::POST, call).await?;
    if status == StatusCode::GATEWAY_TIMEOUT {
        let wanted = args.wait.map_or("its state", args::Wait::as_str);
        let patience = words::span(args.timeout);
        let text = format!("accepted, but not {wanted} within {patience}; the message stays queued");
        return Err(Failure::Failed(text));
    }
    if !status.is_success() {
        return Err(ClientError::Problem(client::problem(status, &body)).into());
    }
    let receipt: Receipt = client.read(&body)?;
    if let Some((_, text)) = flop(&receipt) {
        return Err(Failure::Failed(format!("message {} {text}", receipt.id)));
    }
    if args.json {
        return Ok(output.line(String::from_utf8_lossy(&body))?);
    }
    if args.quiet {
        return Ok(());
    }
    Ok(output.line(format_args!("{} on {}/{}  {}", receipt.state, receipt.endpoint, receipt.link, receipt.id))?)
}

/// How a message ended that was accepted and then lost: a word for it, and a sentence's end.
fn flop(receipt: &Receipt) -> Option<(String, String)> {
    let Receipt { state, reason, .. } = receipt;
    let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let is_lost = matches!(state.as_str(), "dropped" | "expired" | "unknown" | "dead");
    is_lost.then(|| (format!("{state}{reason}"), format!("ended as {state}{reason}")))
}

fn path(args: &args::Send) -> String {
    let mut query = Vec::new();
    if let Some(wait) = args.wait {
        query.push(format!("wait={}", wait.as_str()));
        query.push(format!("timeout={}ms", args.timeout.as_millis()));
    }
    query.extend(args.key.as_ref().map(|key| format!("key={}", escape(key))));
    query.extend(args.ttl.map(|ttl| format!("ttl={}ms", ttl.as_millis())));
    query.extend(args.link.map(|link| format!("link={link}")));
    query.extend(args.generation.map(|generation| format!("generation={generation}")));
    let mark = if query.is_empty() { "" } else { "?" };
    format!("/v1/endpoints/{}/messages{mark}{}", escape(&args.endpoint), query.join("&"))
}
