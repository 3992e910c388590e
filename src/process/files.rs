//! How many files the process may have open: each link and each local connection is one.
//!
//! The soft limit is 1024 on most systems, for the sake of programs that use `select`; the hard one is what the
//! administrator means.

/// Descriptors that are nobody's connection: listeners, logs, the store, the runtime's own.
const OWN: u64 = 64;

/// Raises the soft limit to the hard one, and says so where `connections` at once do not fit under it.
pub fn raise_limit(connections: u64) {
    match rlimit::increase_nofile_limit(rlimit::INFINITY) {
        Ok(limit) if limit < connections + OWN => tracing::warn!(
            limit,
            connections,
            "more connections are configured than files may be open: raise LimitNOFILE (systemd) or ulimit -n"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
}
