//! Table `endpoints`: two thousand links of as many endpoints, beside those of one.
//!
//! What an endpoint costs beyond its link: memory, and series in a scrape. The first scrape is left out of both: buffers that it
//! leaves behind are there once, however often one scrapes.

use std::{fmt::Write as _, time::Duration};

use tokio::time::sleep;

use super::{
    contestant::Contestant,
    peer::{Kind, Peer},
    results::Table,
    setup::Setup,
};
use crate::support::{Result, get};

const NAMES: [&str; 2] = ["1 endpoint", "2,000 endpoints"];
const LINKS: usize = 2_000;
const SCRAPES: usize = 3;
/// A text that was much work serves for a second; each scrape here is to have one of its own.
const ANEW: Duration = Duration::from_millis(1_100);
const GOAL_ENDPOINT_KB: f64 = 8.0;
const GOAL_SCRAPE_MS: f64 = 50.0;

/// One endpoint with all links, and each link with an endpoint of its own.
pub(crate) async fn endpoints(setup: &mut Setup) -> Result<Table> {
    let how = "2,000 idle links, of one endpoint or of 2,000; resident memory a link, and GET /metrics.";
    let columns = [("memory a link", "kB"), ("a scrape", "ms"), ("its text", "MB")];
    let mut table = Table::new("endpoints", "Endpoints: what each costs beside its links", how, &setup.run(), &columns);
    let empty = Contestant::keeper("no links", "")?.process.resident_mb()?;
    for _ in 0..setup.rounds {
        for turn in setup.shuffled(NAMES.len()) {
            let peer = Peer::start(Kind::Sink)?;
            let contestant = Contestant::keeper(NAMES[turn], &sections(peer.port(), turn == 1))?;
            peer.wait_open(LINKS).await?;
            let memory = (contestant.process.resident_mb()? - empty) * 1e3 / LINKS as f64;
            let text = get(contestant.port, "/metrics")?.len() as f64 / 1e6;
            let figures = [memory, scrape(&contestant).await?, text];
            for (column, figure) in figures.into_iter().enumerate() {
                table.note(contestant.name, column, figure);
            }
        }
    }
    table.order(&NAMES);
    let [one, many] = NAMES;
    if let (Some(less), Some(more)) = (table.median(one, 0), table.median(many, 0)) {
        let endpoint = more - less;
        table.judge(
            "an endpoint beside its link",
            &format!("≤ {GOAL_ENDPOINT_KB} kB"),
            endpoint,
            endpoint <= GOAL_ENDPOINT_KB,
        );
    }
    if let Some(scrape) = table.median(many, 1) {
        table.judge("a scrape, 2,000 endpoints", &format!("< {GOAL_SCRAPE_MS} ms"), scrape, scrape < GOAL_SCRAPE_MS);
    }
    Ok(table)
}

fn sections(port: u16, is_each_its_own: bool) -> String {
    let url = format!("url = \"ws://127.0.0.1:{port}/\"\n");
    if !is_each_its_own {
        return format!("[endpoints.hold]\n{url}links = {LINKS}\n");
    }
    let mut sections = String::new();
    for index in 0..LINKS {
        // Writing to a `String` cannot fail.
        let _ = write!(sections, "[endpoints.hold-{index}]\n{url}");
    }
    sections
}

/// Milliseconds of the processor.
async fn scrape(contestant: &Contestant) -> Result<f64> {
    let mut spent = 0.0;
    for _ in 0..SCRAPES {
        sleep(ANEW).await;
        let before = contestant.process.cpu_seconds()?;
        get(contestant.port, "/metrics")?;
        spent += contestant.process.cpu_seconds()? - before;
    }
    Ok(spent * 1e3 / SCRAPES as f64)
}
