//! How far the write-ahead log was when the last commit was acknowledged, kept beside it.
//!
//! A log that somebody cut at the end of a frame looks like one that ended there, and a file that is gone like one that never
//! was. The mark tells them apart. It is written after each commit without a sync, so it may lag behind the log and is never
//! ahead of it: a power cut cannot make it cry wolf. It speaks of one round of the log only, the one with its salts; and before
//! a log is emptied or removed, the mark is cleared and synced.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{WriteError, anchor, log::Log};

const LEN: usize = 20;

/// The mark's file, and the log that it speaks of.
#[derive(Debug)]
pub(super) struct Mark {
    path: PathBuf,
    file: File,
    log: PathBuf,
    open_log: Option<File>,
}

impl Mark {
    /// The mark at `path`, about the log at `log`.
    pub(super) fn open(path: &Path, log: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        Ok(Self { path: path.to_owned(), file, log, open_log: None })
    }

    /// Looks whether the mark and, once there is one, the log are still where they were.
    pub(super) fn look(&self) -> Result<(), WriteError> {
        anchor::look(&self.path, &self.file)?;
        self.open_log.as_ref().map_or(Ok(()), |log| anchor::look(&self.log, log))
    }

    /// Whether the log has less than was acknowledged. A mark that a crash tore, or that speaks of another round, says nothing.
    pub(super) fn contradicts(&self, log: &Log) -> bool {
        let Some((salts, frames)) = self.read() else { return false };
        match log.salts {
            Some(round) => round == salts && frames > log.frames,
            None => frames > 0,
        }
    }

    /// Whether there has been a store here: its first opening leaves a mark.
    pub(super) fn is_set(&self) -> bool {
        self.read().is_some()
    }

    /// The log is about to be emptied or removed.
    pub(super) fn clear(&self) -> io::Result<()> {
        self.write([0; 8], 0)?;
        self.file.sync_data()
    }

    /// The log has so many frames, and they are synced.
    pub(super) fn advance(&mut self, frames: u64) -> io::Result<()> {
        let log = match &mut self.open_log {
            Some(log) => log,
            none => none.insert(File::open(&self.log)?),
        };
        let mut salts = [0; 8];
        log.read_exact_at(&mut salts, 16)?;
        self.write(salts, frames)
    }

    fn read(&self) -> Option<([u8; 8], u64)> {
        let mut bytes = [0; LEN];
        self.file.read_exact_at(&mut bytes, 0).ok()?;
        let (body, sum) = bytes.split_at(LEN - 4);
        let (salts, frames) = body.split_at(8);
        let is_whole = crc32fast::hash(body).to_be_bytes() == *sum;
        is_whole.then_some((salts.try_into().ok()?, u64::from_be_bytes(frames.try_into().ok()?)))
    }

    fn write(&self, salts: [u8; 8], frames: u64) -> io::Result<()> {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(&salts);
        bytes[8..16].copy_from_slice(&frames.to_be_bytes());
        let sum = crc32fast::hash(&bytes[..16]).to_be_bytes();
        bytes[16..].copy_from_slice(&sum);
        self.file.write_all_at(&bytes, 0)
    }
}
