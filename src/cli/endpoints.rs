//! `wskeeper endpoints`: what there is, and what comes and goes while the daemon runs.
//!
//! What a reader would get wrong: nothing is judged here. The daemon says what is wrong, with the line of the file.

use std::{fs, io::Read as _, path::Path};

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use super::{
    Failure,
    args::{EndpointsList, EndpointsPut, EndpointsRemove, EndpointsShow, EndpointsVerb, Keep},
    client::{Call, Client, ClientError, escape},
    grid::{bold, empty, right, trimmed},
    output::{Output, Paint},
    plan, words,
};
use crate::api::wire::{EndpointPut, EndpointRemoved, Plan};

/// Does what is asked for.
pub(super) async fn run(verb: EndpointsVerb, client: Client, output: &Output) -> Result<(), Failure> {
    match verb {
        EndpointsVerb::List(args) => list(&args, client, output).await,
        EndpointsVerb::Show(args) => show(&args, client, output).await,
        EndpointsVerb::Put(args) => put(&args, client, output).await,
        EndpointsVerb::Remove(args) => remove(&args, client, output).await,
    }
}

async fn list(args: &EndpointsList, mut client: Client, output: &Output) -> Result<(), Failure> {
    let endpoints: Vec<Value> = client.pages("/v1/endpoints?limit=1000").await?;
    if args.json {
        return endpoints.iter().try_for_each(|endpoint| Ok(output.line(endpoint)?));
    }
    if endpoints.is_empty() {
        return Ok(output.line("there are no endpoints")?);
    }
    let mut table = empty(&["ENDPOINT", "FROM", "LINKS", "READY"], output);
    for endpoint in &endpoints {
        let text = |pointer| endpoint.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let phases = endpoint.pointer("/totals/phases").and_then(Value::as_object);
        let links: u64 = phases.into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum();
        let ready = phases.and_then(|phases| phases.get("ready")?.as_u64()).unwrap_or_default();
        table.add_row(vec![
            bold(text("/name")),
            text("/source").into(),
            right(words::grouped(links)),
            right(words::grouped(ready)),
        ]);
    }
    Ok(output.line(trimmed(&table))?)
}

async fn show(args: &EndpointsShow, mut client: Client, output: &Output) -> Result<(), Failure> {
    let endpoint: Value = client.get(&path(&args.endpoint)).await?;
    let text = serde_json::to_string_pretty(&endpoint).map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(output.line(text)?)
}

async fn put(args: &EndpointsPut, mut client: Client, output: &Output) -> Result<(), Failure> {
    let kind = if args.file.extension().is_some_and(|ending| ending == "json") {
        "application/json"
    } else {
        "application/toml"
    };
    let body = read(&args.file).map_err(|error| Failure::Failed(format!("{}: {error}", args.file.display())))?;
    let keep = args.keep.map(|keep| match keep {
        Keep::Memory => "keep=memory",
        Keep::Disk => "keep=disk",
    });
    let query: Vec<&str> = keep.into_iter().chain(args.dry_run.then_some("dry_run=true")).collect();
    let path = format!("{}?{}", path(&args.endpoint), query.join("&"));
    let headers = if args.new { vec![("if-none-match", "*".to_owned())] } else { Vec::new() };
    let call = Call { path: path.trim_end_matches('?'), body: Some((kind, body)), headers };
    let answer = match client.call(Method::PUT, call).await {
        Err(ClientError::Problem(problem)) if problem.more.contains_key("errors") => {
            output.note(format_args!("wskeeper endpoints: {problem}"), Paint::Red);
            for error in problem.more.get("errors").and_then(Value::as_array).into_iter().flatten() {
                output.note(format_args!("  {}", told(error, &args.file)), Paint::Plain);
            }
            return Err(Failure::Told);
        }
        answer => answer?.1,
    };
    if args.json {
        return Ok(output.line(String::from_utf8_lossy(&answer))?);
    }
    let EndpointPut { name, source, changes, warnings, etag: _ } = client.read(&answer)?;
    let done = Plan { changes, warnings, ..Plan::default() };
    let verb =
        if args.dry_run { format!("{name} would be kept in {source}") } else { format!("{name} is kept in {source}") };
    Ok(plan::tell(&verb.replace("in disk", "on disk"), &done, output)?)
}

async fn remove(args: &EndpointsRemove, mut client: Client, output: &Output) -> Result<(), Failure> {
    let query = args.drain.map(|drain| format!("?drain={}", escape(&humantime::format_duration(drain).to_string())));
    let path = format!("{}{}", path(&args.endpoint), query.unwrap_or_default());
    let (_, body) = client.call(Method::DELETE, Call { path: &path, ..Call::default() }).await?;
    let EndpointRemoved { name, links, unsent_messages } = client.read(&body)?;
    let unsent = match unsent_messages {
        0 => "all it had was sent".to_owned(),
        unsent => format!("{} not sent", words::count(unsent, "message")),
    };
    Ok(output.line(format_args!("{name} removed: {}, {unsent}", words::count(links.into(), "link")))?)
}

/// A fault as the daemon tells it, with its place in the file.
fn told(error: &Value, file: &Path) -> String {
    let text = |member| error.get(member).and_then(Value::as_str).unwrap_or_default();
    let line = error.get("line").and_then(Value::as_u64).map(|line| format!(":{line}")).unwrap_or_default();
    let key = match text("key") {
        "" => String::new(),
        key => format!("{key}: "),
    };
    format!("{}{line}: {key}{}", file.display(), text("detail"))
}

fn read(file: &Path) -> std::io::Result<Bytes> {
    if file == Path::new("-") {
        let mut text = Vec::new();
        std::io::stdin().read_to_end(&mut text)?;
        return Ok(text.into());
    }
    fs::read(file).map(Bytes::from)
}

fn path(name: &str) -> String {
    format!("/v1/endpoints/{}", escape(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fault_is_told_with_its_place_in_the_file() {
        let fault = |key: &str, line: Value| {
            told(&json!({ "key": key, "line": line, "detail": "is wrong" }), Path::new("a.toml"))
        };
        assert_eq!(fault("links", json!(3)), "a.toml:3: links: is wrong");
        assert_eq!(fault("", Value::Null), "a.toml: is wrong");
    }
}
