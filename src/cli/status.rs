//! `wskeeper status`: what the links are doing, as a table, once or each second.
//!
//! What a reader would get wrong: many links are shown as one row per endpoint, because nobody reads 10,000 rows; the API is
//! still asked for all of them, page by page, so that every number is a sum of what is. A terminal gets what fits it, a pipe
//! everything.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    Failure, args,
    client::{Client, ClientError, escape},
    output::{Output, folded},
};
use crate::api::wire::{Link, Status, Store};
use wskeeper_link::clock::Calendar;

mod table;

/// More links than this become one row per endpoint.
const MANY: usize = 40;
/// Where the daemon tells its version and uptime.
const DAEMON: &str = "/livez";
/// Where it tells how its store is.
pub(super) const STORE: &str = "/v1/store";
/// How often `--watch` looks.
const PERIOD: Duration = Duration::from_secs(1);
/// Lines that a screen keeps for the table.
const ROWS: usize = 6;
/// Alternate screen, cursor hidden; and back.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";
const LEAVE: &[u8] = b"\x1b[?25h\x1b[?1049l";

/// Shows the pool.
pub(super) async fn run(args: args::Status, mut client: Client, output: &Output) -> Result<(), Failure> {
    if args.json {
        let mut links: Vec<Value> = fetch(&args, &mut client).await?;
        links.retain(|link| args.shows(link.get("phase").and_then(Value::as_str).unwrap_or_default()));
        let endpoints: Vec<Value> = client.pages("/v1/endpoints?limit=1000").await?;
        let daemon: Value = client.get(DAEMON).await?;
        let store: Option<Value> = client.get_if_allowed(STORE).await?;
        return Ok(output.line(json!({ "daemon": daemon, "store": store, "endpoints": endpoints, "links": links }))?);
    }
    if !args.watch {
        let width = output.screen().map(|screen| screen.width);
        return Ok(output.line(drawn(&args, &mut client, output, width, None).await?)?);
    }
    if !output.draws_in_place() {
        // One picture after the other, for a pipe.
        return tokio::select! {
            ended = watch(&args, &mut client, output) => ended,
            () = super::stopped() => Ok(()),
        };
    }
    output.raw(ENTER)?;
    let ended = tokio::select! {
        ended = watch(&args, &mut client, output) => ended,
        () = super::stopped() => Ok(()),
    };
    output.raw(LEAVE)?;
    ended
}

impl args::Status {
    fn shows(&self, phase: &str) -> bool {
        self.phase.is_empty() || self.phase.iter().any(|wanted| wanted.as_str() == phase)
    }
}

async fn watch(args: &args::Status, client: &mut Client, output: &Output) -> Result<(), Failure> {
    let mut tick = tokio::time::interval(PERIOD);
    loop {
        tick.tick().await;
        // Asked each time: people make their windows larger.
        let screen = output.screen();
        let in_place = output.draws_in_place();
        let height = screen.filter(|_| in_place).map(|screen| screen.height);
        let picture = match drawn(args, client, output, screen.map(|screen| screen.width), height).await {
            Ok(picture) => picture,
            Err(error) if error.is_transport() => {
                let text = format!("{error}\n\ntrying again each second, Ctrl-C ends");
                folded(&text, screen.map_or(usize::MAX, |screen| screen.width), 0).join("\n")
            }
            Err(error) => return Err(error.into()),
        };
        if !in_place {
            output.line(format_args!("{picture}\n"))?;
            continue;
        }
        // Each line clears its rest, and the end clears what was longer before: no flicker.
        let picture = picture.replace('\n', "\x1b[K\r\n");
        output.raw(format!("\x1b[H{picture}\x1b[K\x1b[J").as_bytes())?;
    }
}

/// All links of the pool, or of the endpoint that is asked for, which must be there.
async fn fetch<T: DeserializeOwned>(args: &args::Status, client: &mut Client) -> Result<Vec<T>, ClientError> {
    let filter = args.endpoint.as_deref().map(|name| format!("&endpoint={}", escape(name))).unwrap_or_default();
    let links = client.pages(&format!("/v1/links?limit=1000{filter}")).await?;
    if let (Some(name), true) = (&args.endpoint, links.is_empty()) {
        client.get::<Value>(&format!("/v1/endpoints/{}", escape(name))).await?;
    }
    Ok(links)
}

/// What the daemon says of itself; `null` where this token may not see it, or the daemon does not have it yet.
async fn daemon_state(client: &mut Client) -> Value {
    client.get_if_allowed("/v1/daemon").await.ok().flatten().unwrap_or_default()
}

/// The picture: what is true of all, then the links, those in trouble first; of a screen's height where there is one.
async fn drawn(
    args: &args::Status,
    client: &mut Client,
    output: &Output,
    width: Option<usize>,
    height: Option<usize>,
) -> Result<String, ClientError> {
    let width = width.unwrap_or(usize::MAX);
    let daemon: Status = client.get(DAEMON).await?;
    let mut links: Vec<Link> = fetch(args, client).await?;
    let stored: Option<Store> = client.get_if_allowed(STORE).await?;
    let mut screen = table::summary(&daemon, &links, &client.address(), width);
    screen.extend(table::state(&daemon_state(client).await, Calendar::default().now(), width, output));
    let store = stored.map(|stored| table::store(&stored, width, output)).unwrap_or_default();
    // On a small screen some links say more.
    if height.is_none_or(|height| height >= screen.len() + store.len() + ROWS) {
        screen.extend(store);
    }
    let has_any = !links.is_empty();
    links.retain(|link| args.shows(&link.phase));
    if links.is_empty() {
        let hint = if has_any { "no link is in such a phase" } else { "the configuration has no endpoints" };
        screen.extend(folded(hint, width, 0));
        return Ok(screen.join("\n"));
    }
    screen.push(String::new());
    // The header of the table is a line, too.
    let room = height.map_or(usize::MAX, |height| height.saturating_sub(screen.len() + 1));
    let is_one = args.links || args.endpoint.is_some() || !args.phase.is_empty();
    if links.len() > MANY && !is_one {
        screen.extend(table::endpoints(&links, room, width, output));
    } else {
        links.sort_by_cached_key(|link| (table::urgency(link), link.endpoint.clone(), link.index));
        let shown = if links.len() > room { room.saturating_sub(1).max(1) } else { links.len() };
        screen.extend(table::links(&links[..shown], Calendar::default().now(), width, output));
        screen.extend((shown < links.len()).then(|| table::more(&links[shown..], width)));
    }
    screen.truncate(height.unwrap_or(usize::MAX));
    Ok(screen.join("\n"))
}
