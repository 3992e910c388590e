//! Table `idle`: ten thousand links on which nothing happens, and what of memory they keep resident.
//!
//! Each contestant alone, with the links and without; what a link costs is the difference. The kernel's memory for a socket, about
//! 5 KB, is in nobody's figure.

use std::time::Duration;

use super::{
    contestant::{Contestant, present},
    ingest,
    peer::{Kind, Peer},
    relay::KEEPER,
    results::Table,
    setup::Setup,
    tls::TlsPeer,
};
use crate::support::Result;

const LINKS: usize = 10_000;
const LINKS_QUICK: usize = 2_000;
const SETTLE: Duration = Duration::from_secs(1);
const COMPRESSING: &str = "wskeeper, compression on";
const BARE: &str = "tungstenite, 4 KiB";
const BARE_TLS: &str = "tungstenite + rustls, 4 KiB";
const GOAL_LINK_KB: f64 = 3.0;
const GOAL_EMPTY_MB: f64 = 10.0;

/// Starts a contestant with so many links to this port, unless it is not installed.
type Start = fn(u16, usize) -> Result<Option<Contestant>>;

/// Memory of ws links.
pub(crate) async fn idle(setup: &mut Setup) -> Result<Table> {
    let links = if setup.quick { LINKS_QUICK } else { LINKS };
    let how = format!("{links} idle ws links; resident memory of the contestant, with the links and without.");
    let columns = [("a link", "kB"), ("all", "MB"), ("without links", "MB")];
    let mut table = Table::new("idle", "Idle links: resident memory", &how, &setup.run(), &columns);
    let start: [Start; 5] = [keeper, compressing, bare, ingest::gorilla, ingest::node];
    for _ in 0..setup.rounds {
        for turn in setup.shuffled(start.len()) {
            let mut resident = [0.0; 2];
            let mut name = None;
            for (resident, links) in resident.iter_mut().zip([0, links]) {
                let peer = Peer::start(Kind::Sink)?;
                let Some(contestant) = present(start[turn](peer.port(), links)?)? else { continue };
                peer.wait_open(links).await?;
                tokio::time::sleep(SETTLE).await;
                *resident = contestant.process.resident_mb()?;
                name = Some(contestant.name);
            }
            if let Some(name) = name {
                note(&mut table, name, links, resident);
            }
        }
    }
    table.order(&[KEEPER, COMPRESSING, BARE]);
    table.at_most(0, COMPRESSING, 1.05, KEEPER);
    if let (Some(link), Some(empty)) = (table.median(KEEPER, 0), table.median(KEEPER, 2)) {
        table.judge("a link", &format!("≤ {GOAL_LINK_KB} kB"), link, link <= GOAL_LINK_KB);
        table.judge("the daemon without links", &format!("≤ {GOAL_EMPTY_MB} MB"), empty, empty <= GOAL_EMPTY_MB);
    }
    Ok(table)
}

/// Memory of wss links.
pub(crate) async fn idle_tls(setup: &mut Setup) -> Result<Table> {
    let links = if setup.quick { LINKS_QUICK / 4 } else { LINKS };
    let how = format!(
        "{links} idle wss links (rustls, TLS 1.3); resident memory of the contestant, with the links and without."
    );
    let columns = [("a link", "kB"), ("all", "MB"), ("without links", "MB")];
    let mut table = Table::new("idle-tls", "Idle links over TLS: resident memory", &how, &setup.run(), &columns);
    for _ in 0..setup.rounds {
        for turn in setup.shuffled(2) {
            let name = [KEEPER, BARE_TLS][turn];
            let mut resident = [0.0; 2];
            for (resident, links) in resident.iter_mut().zip([0, links]) {
                let peer = TlsPeer::start()?;
                let contestant = if turn == 0 { keeper_tls(&peer, links)? } else { bare_tls(&peer, links)? };
                peer.wait_open(links).await?;
                tokio::time::sleep(SETTLE).await;
                *resident = contestant.process.resident_mb()?;
            }
            note(&mut table, name, links, resident);
        }
    }
    table.order(&[KEEPER, BARE_TLS]);
    table.at_most(0, KEEPER, 1.05, BARE_TLS);
    Ok(table)
}

fn note(table: &mut Table, name: &str, links: usize, [empty, all]: [f64; 2]) {
    table.note(name, 0, (all - empty) * 1e3 / links as f64);
    table.note(name, 1, all);
    table.note(name, 2, empty);
}

fn keeper(peer: u16, links: usize) -> Result<Option<Contestant>> {
    Contestant::keeper(KEEPER, &hold(peer, links, "")).map(Some)
}

fn compressing(peer: u16, links: usize) -> Result<Option<Contestant>> {
    Contestant::keeper(COMPRESSING, &hold(peer, links, "compression = \"auto\"\n")).map(Some)
}

/// An endpoint of so many links, and more keys of it; or none.
fn hold(peer: u16, links: usize, more: &str) -> String {
    match links {
        0 => String::new(),
        _ => format!("[endpoints.hold]\nurl = \"ws://127.0.0.1:{peer}/\"\nlinks = {links}\n{more}"),
    }
}

fn bare(peer: u16, links: usize) -> Result<Option<Contestant>> {
    Contestant::role(BARE, &["count", "4096", &peer.to_string(), &links.to_string()]).map(Some)
}

fn keeper_tls(peer: &TlsPeer, links: usize) -> Result<Contestant> {
    let config = match links {
        0 => String::new(),
        _ => format!(
            "[endpoints.hold]\nurl = \"wss://127.0.0.1:{}/\"\nlinks = {links}\ntls.ca = \"{}\"\n",
            peer.port(),
            peer.authority().display()
        ),
    };
    Contestant::keeper(KEEPER, &config)
}

fn bare_tls(peer: &TlsPeer, links: usize) -> Result<Contestant> {
    let (port, authority) = (peer.port().to_string(), peer.authority().to_string_lossy());
    Contestant::role(BARE_TLS, &["count-tls", &authority, "4096", &port, &links.to_string()])
}
