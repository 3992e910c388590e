//! How far the write-ahead log was when the last commit was acknowledged, kept beside it.
//!
//! A log that somebody cut at the end of a frame looks like one that ended there. The mark tells them apart. It is written after
//! each commit and never synced, so it may lag behind the log and is never ahead of it: a power cut cannot make it cry wolf. It
//! speaks of one round of the log only, the one with its salts.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::log::Log;

const LEN: usize = 20;

/// The mark's file, and the log that it speaks of.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    log: PathBuf,
    open_log: Option<File>,
}

impl Mark {
    /// The mark at `path`, about the log at `log`.
    pub(super) fn open(path: &Path, log: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        Ok(Self { file, log, open_log: None })
    }

    /// Whether the log has less than was acknowledged. A mark that a crash tore, or that speaks of another round, says nothing.
    pub(super) fn contradicts(&self, log: &Log) -> bool {
        let mut bytes = [0; LEN];
        if self.file.read_exact_at(&mut bytes, 0).is_err() {
            return false;
        }
        let (body, sum) = bytes.split_at(LEN - 4);
        let (salts, frames) = body.split_at(8);
        crc32fast::hash(body).to_be_bytes() == *sum
            && log.salts.is_some_and(|round| round == *salts)
            && frames.try_into().is_ok_and(|frames| u64::from_be_bytes(frames) > log.frames)
    }

    /// The log has so many frames, and they are synced.
    pub(super) fn advance(&mut self, frames: u64) -> io::Result<()> {
        let log = match &mut self.open_log {
            Some(log) => log,
            none => none.insert(File::open(&self.log)?),
        };
        let mut bytes = [0; LEN];
        log.read_exact_at(&mut bytes[..8], 16)?;
        bytes[8..16].copy_from_slice(&frames.to_be_bytes());
        let sum = crc32fast::hash(&bytes[..16]).to_be_bytes();
        bytes[16..].copy_from_slice(&sum);
        self.file.write_all_at(&bytes, 0)
    }
}
