//! How many files the process may have open: each link and each local connection is one.
//!
//! The soft limit is 1024 on most systems, for the sake of programs that use `select`; the hard one is what the
//! administrator means. A few below it are kept back, so that a daemon whose links have taken all others can still be asked for its
//! health: the soft limit is what counts when a file is opened, and is out of the way for a moment when one of these is needed.

use rlimit::Resource;

/// Descriptors that are nobody's connection: listeners, logs, the store, the runtime's own.
const OWN: u64 = 64;
/// Descriptors that are kept back, at most: a part of a small limit.
const KEPT: u64 = 64;
const PART: u64 = 4;

/// Raises the soft limit to the hard one but for what is kept back, and says so where `connections` at once do not fit under it.
pub fn raise_limit(connections: u64) {
    let raised = rlimit::increase_nofile_limit(rlimit::INFINITY).and_then(|limit| {
        let (_, hard) = Resource::NOFILE.get()?;
        let soft = limit - KEPT.min(limit / PART);
        Resource::NOFILE.set(soft, hard)?;
        Ok(soft)
    });
    match raised {
        Ok(limit) if limit < connections + OWN => tracing::warn!(
            limit,
            connections,
            "more connections are configured than files may be open: raise LimitNOFILE (systemd) or ulimit -n"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
}

/// Does what opens a file though no more may be opened: with those that are kept back.
pub fn with_spare<T>(open: impl FnOnce() -> T) -> T {
    let Ok((soft, hard)) = Resource::NOFILE.get() else { return open() };
    // Where that fails, the file is not opened, as it would not have been without.
    let _ = Resource::NOFILE.set(hard.min(soft.saturating_add(KEPT)), hard);
    let opened = open();
    let _ = Resource::NOFILE.set(soft, hard);
    opened
}
