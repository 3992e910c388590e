//! What can go wrong with a store, and what to do about it.
//!
//! No fault here has changed what is on disk: a store that cannot be understood is left as it is, for its operator.

use std::{io, path::PathBuf, sync::Arc};

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("another wskeeper{} uses the store in {dir}: stop it, or give this one a folder of its own", pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// The other's process id, where it can be read.
        pid: Option<u32>,
    },
    /// The file is something else.
    #[error("{0} is not a store of wskeeper: move it away, or use another folder")]
    NotOurs(PathBuf),
    /// A later version wrote it.
    #[error(
        "{path} has format {found}, and this version knows formats up to {known}: run the version that wrote it, or a later one"
    )]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// It is damaged. Nothing in it has been changed.
    #[error(
        "{path} is damaged ({detail}): copy the folder, then restore it from a backup or move it away to start with an empty store"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The folder or a file in it may not be read and written.
    #[error("no permission for {path}: give the daemon's user read and write access")]
    Permission {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file system takes no writes.
    #[error("{path} is on a read-only file system: remount it, or use another folder")]
    ReadOnly {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no room to begin a store.
    #[error("no space for a store in {path}: free some")]
    NoSpace {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused something else.
    #[error("cannot use {path}: look at the disk and at the path")]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The engine refused something that is not the file's fault.
    #[error("the store's engine cannot use {path}")]
    Engine {
        /// The file.
        path: PathBuf,
        /// What the engine said.
        source: rusqlite::Error,
    },
}

impl OpenError {
    /// The fault that an error of the system is.
    #[allow(clippy::wildcard_enum_match_arm, reason = "std's list of kinds grows")]
    pub(super) fn from_io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Permission { path, source },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path, source },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { path, source },
            _ => Self::Io { path, source },
        }
    }
}

/// Why a change did not come to be on disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// No room, or the disk refuses writes. It may be tried again: the store goes on once there is room.
    #[error("the store takes no more messages: {0}")]
    Full(Arc<str>),
    /// The disk said that it could not sync, or the file is damaged. Until a restart nothing more is written, because after a
    /// failed sync a later one may say yes to what was lost. What was asked for when it happened may be there after a restart.
    #[error("the store is out of order until a restart: {0}")]
    Broken(Arc<str>),
    /// Its files are not where they were opened, or others stand there. What it holds is in them; it goes on when they are back.
    #[error("the store is not where it was: {0}; put its folder back, or restart")]
    Away(Arc<str>),
    /// The store has been closed.
    #[error("the store is closed: the daemon stops")]
    Closed,
}

impl WriteError {
    /// Whether the same may be written later, without a restart.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Full(_) | Self::Away(_) => true,
            Self::Broken(_) | Self::Closed => false,
        }
    }
}

/// Why dead letters could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// What is on disk is damaged, or cannot be read.
    #[error("the dead letters cannot be read: {0}")]
    Unreadable(Arc<str>),
    /// The store has been closed.
    #[error("the store is closed: the daemon stops")]
    Closed,
}
