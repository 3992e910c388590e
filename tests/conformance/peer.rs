//! The server of the rows: it says what the row of a connection says, in one of the ways in which that can come in pieces, and keeps what
//! the client says.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::mpsc, time::timeout};

use crate::{
    row::{End, Lane, Row},
    support::{
        PATIENCE,
        raw::{Raw, read_frame},
    },
};

/// Pieces are mostly read apart. Nothing is awaited by it: however they come, the same follows.
const BETWEEN: Duration = Duration::from_millis(1);
/// Up to so many bytes are cut everywhere.
const SHORT: usize = 16;

/// A connection that the server has been through.
pub struct Report {
    /// Its path, which is the name of the endpoint.
    pub path: String,
    /// In which pieces it was told.
    pub pieces: Vec<usize>,
    /// What the client has said: first bytes and payloads.
    pub said: Vec<(u8, Vec<u8>)>,
}

/// The ways in which so many bytes may come: where they are cut.
pub fn splits(length: usize) -> Vec<Vec<usize>> {
    let whole = vec![length];
    let each = if length <= 64 { vec![1; length] } else { [vec![1; 16], vec![(length - 16) / 3; 3]].concat() };
    let two = |at| vec![at, length - at];
    match length {
        0 => vec![vec![]],
        1 => vec![whole],
        2..=SHORT => (1..length).map(two).chain([whole, each]).collect(),
        _ => vec![whole, each, two(1), two(length / 2), two(length - 1)],
    }
}

/// Serves rows by their path, and reports each connection.
pub fn serve(peer: Raw, rows: HashMap<String, (Row, Lane)>) -> mpsc::Receiver<Report> {
    let connections: usize = rows.values().map(|(row, _)| splits(row.bytes.len()).len()).sum();
    let (reports, all) = mpsc::channel(connections);
    let rows: Arc<HashMap<_, _>> =
        Arc::new(rows.into_iter().map(|(path, (row, lane))| (path, (row, lane, AtomicUsize::new(0)))).collect());
    tokio::spawn(async move {
        for _ in 0..connections {
            let (stream, request) = peer.accept().await;
            let (rows, reports) = (Arc::clone(&rows), reports.clone());
            tokio::spawn(async move {
                let path = request.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
                let (row, lane, count) = &rows[&path];
                let splits = splits(row.bytes.len());
                let pieces = splits[count.fetch_add(1, Relaxed) % splits.len()].clone();
                let said = timeout(PATIENCE, tell(stream, &request, (row, *lane), &pieces)).await;
                let said = said.unwrap_or_else(|_| panic!("{path}: the client ends nothing, {}", row.what));
                // Nobody listens where the test has failed.
                let _sent = reports.send(Report { path, pieces, said }).await;
            });
        }
    });
    all
}

async fn tell(mut stream: TcpStream, request: &str, (row, lane): (&Row, Lane), pieces: &[usize]) -> Vec<(u8, Vec<u8>)> {
    // The client may hang up in the middle of it.
    let _sent = say(&mut stream, request, (row, lane), pieces).await;
    let mut said = Vec::new();
    while let Some(frame) = read_frame(&mut stream).await {
        let is_close = frame.0 & 0x0F == 8;
        said.push(frame);
        // Nothing may follow, and the end of TCP is the server's.
        if is_close {
            break;
        }
    }
    said
}

async fn say(stream: &mut TcpStream, request: &str, (row, lane): (&Row, Lane), pieces: &[usize]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    Raw::upgrade_with(stream, request, lane.extension()).await?;
    stream.write_all(&lane.before()).await?;
    let mut rest = &row.bytes[..];
    for piece in pieces {
        let (piece, behind) = rest.split_at(*piece.min(&rest.len()));
        stream.write_all(piece).await?;
        rest = behind;
        tokio::time::sleep(BETWEEN).await;
    }
    stream.write_all(rest).await?;
    match row.end {
        End::GoesOn => stream.write_all(&[0x88, 2, 0x03, 0xE8]).await,
        End::Lost => stream.shutdown().await,
        End::Fails(..) | End::Closed(..) => Ok(()),
    }
}
