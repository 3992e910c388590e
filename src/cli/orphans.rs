//! `wskeeper orphans`: stored messages whose link the configuration has no more.

use http::Method;
use serde_json::{Value, json};

use super::{
    Failure,
    args::{OrphansDiscard, OrphansList, OrphansMove, OrphansVerb},
    client::{Call, Client, escape},
    grid::{bold, empty, right, trimmed},
    output::Output,
    words,
};
use crate::api::wire::{Count, List, Orphans};

/// Where they are.
const PATH: &str = "/v1/orphans";

/// Does what is asked for.
pub(super) async fn run(verb: OrphansVerb, client: Client, output: &Output) -> Result<(), Failure> {
    match verb {
        OrphansVerb::List(args) => list(&args, client, output).await,
        OrphansVerb::Move(args) => relocate(&args, client, output).await,
        OrphansVerb::Discard(args) => discard(&args, client, output).await,
    }
}

async fn list(args: &OrphansList, mut client: Client, output: &Output) -> Result<(), Failure> {
    if args.json {
        let orphans: List<Value> = client.get(PATH).await?;
        return orphans.items.iter().try_for_each(|orphans| Ok(output.line(orphans)?));
    }
    let orphans: List<Orphans> = client.get(PATH).await?;
    if orphans.items.is_empty() {
        return Ok(output.line("there are no orphans: each stored message has its link")?);
    }
    Ok(output.line(table(&orphans.items, output))?)
}

async fn relocate(args: &OrphansMove, mut client: Client, output: &Output) -> Result<(), Failure> {
    let OrphansMove { from, to } = args;
    let path = format!("{PATH}/{}/{}/move", escape(&from.endpoint), from.index);
    let home = json!({ "endpoint": to.endpoint, "link": to.index });
    let Count { messages } = client.post(&path, Some(&home)).await?;
    Ok(output.line(format_args!("{} moved from {from} to {to}", words::count(messages, "message")))?)
}

async fn discard(args: &OrphansDiscard, mut client: Client, output: &Output) -> Result<(), Failure> {
    let OrphansDiscard { link } = args;
    let path = format!("{PATH}/{}/{}", escape(&link.endpoint), link.index);
    let (_, body) = client.call(Method::DELETE, Call { path: &path, ..Call::default() }).await?;
    let Count { messages } = client.read(&body)?;
    Ok(output.line(format_args!("{} of {link} discarded", words::count(messages, "message")))?)
}

fn table(orphans: &[Orphans], output: &Output) -> String {
    let mut table = empty(&["LINK", "MESSAGES", "SIZE"], output);
    for Orphans { endpoint, link, messages, bytes } in orphans {
        table.add_row(vec![
            bold(format!("{endpoint}/{link}")),
            right(words::grouped(*messages)),
            right(words::bytes(*bytes)),
        ]);
    }
    trimmed(&table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_a_link() {
        let orphans = Orphans { endpoint: "trades".into(), link: 3, messages: 1200, bytes: 1536 };
        let text = table(&[orphans], &Output::plain());
        let row: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row.join(" "), "trades/3 1,200 1.5 KiB");
    }
}
