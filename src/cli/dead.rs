//! `wskeeper dead`: messages that their peers refused, listed, shown, sent again or dropped.
//!
//! What a reader would get wrong: one letter that cannot be sent again does not stop those behind it; the exit code says
//! that there was one.

use std::time::SystemTime;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use comfy_table::Cell;
use http::Method;
use serde_json::Value;

use super::{
    Failure,
    args::{DeadList, DeadShow, DeadVerb, Letters},
    client::{Call, Client, ClientError, escape},
    facts::moment,
    grid::{bold, empty, right, trimmed},
    output::{Output, Paint},
    words,
};
use crate::{
    api::wire::{DeadLetter, Receipt},
    observe::visible,
};
use wskeeper_link::clock::Calendar;

/// Where they are.
const PATH: &str = "/v1/dead-letters";
/// Bytes of a binary payload that are shown.
const DUMPED: usize = 4096;
/// Bytes in a line of a dump.
const ROW: usize = 16;

/// Does what is asked for.
pub(super) async fn run(verb: DeadVerb, client: Client, output: &Output) -> Result<(), Failure> {
    match verb {
        DeadVerb::List(args) => list(&args, client, output).await,
        DeadVerb::Show(args) => show(&args, client, output).await,
        DeadVerb::Retry(args) => {
            let json = args.json;
            each(args.letters, "sent again", client, output, async |client, id| {
                let path = format!("{PATH}/{}/retry", escape(id));
                let (_, body) = client.call(Method::POST, Call { path: &path, ..Call::default() }).await?;
                if json {
                    return Ok(String::from_utf8_lossy(&body).into_owned());
                }
                let Receipt { id: new, endpoint, link, state, .. } = client.read(&body)?;
                Ok(format!("{id} sent again: {state} on {endpoint}/{link}  {new}"))
            })
            .await
        }
        DeadVerb::Drop(args) => {
            each(args.letters, "dropped", client, output, async |client, id| {
                let path = format!("{PATH}/{}", escape(id));
                client.call(Method::DELETE, Call { path: &path, ..Call::default() }).await?;
                Ok(format!("{id} dropped"))
            })
            .await
        }
    }
}

async fn list(args: &DeadList, mut client: Client, output: &Output) -> Result<(), Failure> {
    let endpoint = args.endpoint.as_deref();
    if args.json {
        let letters: Vec<Value> = client.pages(&path(endpoint)).await?;
        known(endpoint, letters.is_empty(), &mut client).await?;
        return letters.iter().try_for_each(|letter| Ok(output.line(letter)?));
    }
    let letters: Vec<DeadLetter> = client.pages(&path(endpoint)).await?;
    known(endpoint, letters.is_empty(), &mut client).await?;
    if letters.is_empty() {
        return Ok(output.line("there are no dead letters")?);
    }
    Ok(output.line(table(&letters, Calendar::default().now(), output))?)
}

async fn show(args: &DeadShow, mut client: Client, output: &Output) -> Result<(), Failure> {
    let path = format!("{PATH}/{}", escape(&args.id));
    let (_, body) = client.call(Method::GET, Call { path: &path, ..Call::default() }).await?;
    if args.json {
        return Ok(output.line(String::from_utf8_lossy(&body))?);
    }
    let letter: DeadLetter = client.read(&body)?;
    let payload = payload(&letter).map_err(|error| ClientError::Answer { target: client.address(), error })?;
    if args.raw {
        return Ok(output.raw(&payload)?);
    }
    output.line(output.paint(&headline(&letter), Paint::Bold))?;
    for line in facts(&letter, Calendar::default().now()) {
        output.line(format_args!("  {line}"))?;
    }
    output.line("")?;
    Ok(output.line(shown(&letter, &payload))?)
}

/// Does something with each letter, and says what became of it.
async fn each(
    letters: Letters,
    done: &str,
    mut client: Client,
    output: &Output,
    act: impl AsyncFn(&mut Client, &str) -> Result<String, ClientError>,
) -> Result<(), Failure> {
    let ids = match &letters.all {
        Some(endpoint) => {
            let letters: Vec<DeadLetter> = client.pages(&path(Some(endpoint))).await?;
            known(Some(endpoint), letters.is_empty(), &mut client).await?;
            letters.into_iter().map(|letter| letter.id).collect()
        }
        None => letters.ids,
    };
    let mut failed = 0;
    for id in &ids {
        match act(&mut client, id).await {
            Ok(said) => output.line(said)?,
            Err(ClientError::Problem(problem)) => {
                failed += 1;
                output.note(format_args!("{id}: {problem}"), Paint::Red);
            }
            Err(error) => return Err(error.into()),
        }
    }
    if letters.all.is_some() {
        let succeeded = words::count(ids.len() as u64 - failed, "dead letter");
        let rest = if failed > 0 { format!(", {} not", words::grouped(failed)) } else { String::new() };
        output.note(format_args!("{succeeded} {done}{rest}"), Paint::Dim);
    }
    if failed > 0 { Err(Failure::Told) } else { Ok(()) }
}

/// Letters outlive their endpoint; where there are none, its name may be a slip.
async fn known(endpoint: Option<&str>, has_none: bool, client: &mut Client) -> Result<(), ClientError> {
    if let (Some(name), true) = (endpoint, has_none) {
        client.get::<Value>(&format!("/v1/endpoints/{}", escape(name))).await?;
    }
    Ok(())
}

fn path(endpoint: Option<&str>) -> String {
    let filter = endpoint.map(|name| format!("&endpoint={}", escape(name))).unwrap_or_default();
    format!("{PATH}?limit=1000{filter}")
}

fn table(letters: &[DeadLetter], now: SystemTime, output: &Output) -> String {
    let mut table = empty(&["ID", "LINK", "DIED", "WHY", "KIND", "SIZE", "KEY"], output);
    for letter in letters {
        table.add_row(vec![
            bold(&letter.id),
            Cell::new(format!("{}/{}", letter.endpoint, letter.link)),
            right(ago(&letter.died_at, now)),
            Cell::new(&letter.reason),
            Cell::new(&letter.kind),
            right(words::bytes(letter.bytes)),
            Cell::new(letter.key.as_deref().map(visible).unwrap_or_default()),
        ]);
    }
    trimmed(&table)
}

fn headline(letter: &DeadLetter) -> String {
    let DeadLetter { id, endpoint, link, kind, bytes, .. } = letter;
    format!("{id}  {kind}, {}, for {endpoint}/{link}", words::bytes(*bytes))
}

fn facts(letter: &DeadLetter, now: SystemTime) -> Vec<String> {
    let why = match letter.reason.as_str() {
        "poison" => "poison: the peer closed the link on it three times in a row",
        other => other,
    };
    let mut facts = vec![format!("why       {why}")];
    facts.extend(letter.key.as_deref().map(|key| format!("key       {}", visible(key))));
    facts.push(format!("accepted  {}  ({})", letter.accepted_at, ago(&letter.accepted_at, now)));
    facts.push(format!("died      {}  ({})", letter.died_at, ago(&letter.died_at, now)));
    facts
}

fn ago(at: &str, now: SystemTime) -> String {
    moment(at).map(|at| format!("{} ago", words::between(at, now))).unwrap_or_default()
}

fn payload(letter: &DeadLetter) -> Result<Vec<u8>, String> {
    let data = letter.data.as_deref().unwrap_or_default();
    if letter.kind == "binary" {
        STANDARD.decode(data).map_err(|error| format!("data is not base64: {error}"))
    } else {
        Ok(data.as_bytes().to_vec())
    }
}

/// The payload as a terminal may see it.
fn shown(letter: &DeadLetter, payload: &[u8]) -> String {
    if letter.kind != "binary" {
        let lines: Vec<_> = letter.data.as_deref().unwrap_or_default().split('\n').map(visible).collect();
        return lines.join("\n");
    }
    let mut dump: Vec<String> = payload.chunks(ROW).take(DUMPED / ROW).enumerate().map(dumped).collect();
    if payload.len() > DUMPED {
        let more = words::bytes((payload.len() - DUMPED) as u64);
        dump.push(format!("… {more} more; `wskeeper dead show {} --raw` gives all", letter.id));
    }
    dump.join("\n")
}

fn dumped((row, bytes): (usize, &[u8])) -> String {
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let text: String =
        bytes.iter().map(|byte| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '.' }).collect();
    format!("{:08x}  {:<47}  |{text}|", row * ROW, hex.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(kind: &str, data: &str) -> DeadLetter {
        DeadLetter {
            id: "019a".into(),
            endpoint: "trades".into(),
            link: 1,
            key: Some("k\u{1b}".into()),
            kind: kind.into(),
            bytes: 1536,
            reason: "poison".into(),
            accepted_at: "2026-01-01T00:00:00.000Z".into(),
            died_at: "2026-01-01T00:00:50.000Z".into(),
            data: Some(data.into()),
        }
    }

    fn now() -> SystemTime {
        moment("2026-01-01T00:01:00.000Z").unwrap()
    }

    #[test]
    fn the_table_has_a_row_a_letter_and_nothing_that_a_terminal_obeys() {
        let text = table(&[letter("text", "")], now(), &Output::plain());
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0].join(" "), "ID LINK DIED WHY KIND SIZE KEY");
        assert!(lines[1].join(" ").starts_with("019a trades/1 10s ago poison text 1.5 KiB k"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn a_text_payload_keeps_its_lines_and_loses_its_control_characters() {
        let text = "{\n  \"a\": \"\u{1b}[2J\"\n}";
        let shown = shown(&letter("text", text), text.as_bytes());
        assert_eq!(shown.lines().count(), 3);
        assert!(!shown.contains('\u{1b}') && shown.contains("[2J"), "{shown:?}");
    }

    #[test]
    fn a_binary_payload_is_dumped_up_to_a_bound() {
        let letter = letter("binary", &STANDARD.encode(vec![b'A'; DUMPED + 1024]));
        let payload = payload(&letter).unwrap();
        let shown = shown(&letter, &payload);
        let first = shown.lines().next().unwrap();
        assert_eq!(first, "00000000  41 41 41 41 41 41 41 41 41 41 41 41 41 41 41 41  |AAAAAAAAAAAAAAAA|");
        assert_eq!(shown.lines().count(), DUMPED / ROW + 1);
        assert!(shown.ends_with("… 1.0 KiB more; `wskeeper dead show 019a --raw` gives all"), "{shown}");
        assert!(dumped((1, &[0, 0x1b])).ends_with("00 1b                                            |..|"));
    }

    #[test]
    fn data_that_is_not_base64_is_said() {
        assert!(payload(&letter("binary", "%")).is_err());
    }
}
