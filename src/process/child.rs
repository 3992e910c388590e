//! Programs that the daemon starts: without a shell, without what the environment has for the daemon alone, in a group of their own.
//!
//! What a reader would get wrong: a program may start others, so it is the group that is signalled, and killed when nobody holds it any more.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, process::Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// The processes of a program. They are killed when this is dropped.
#[derive(Debug)]
pub struct Group(Option<Pid>);

impl Group {
    /// Asks them to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // It may have ended by itself.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// What a program's three streams are, in order.
pub type Stdios = (Stdio, Stdio, Stdio);

/// Starts a program; the first argument is its path.
pub fn start(arguments: &[String], (stdin, stdout, stderr): Stdios) -> Result<(Child, Group), String> {
    let Some((program, rest)) = arguments.split_first() else { return Err("it names no program".into()) };
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_ours(name)) {
        command.env_remove(name);
    }
    let child = command
        .args(rest)
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("the program does not start: {error}"))?;
    let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    Ok((child, group))
}

/// Whether a variable of the environment is for the daemon alone: its own keys and tokens, and what its manager said to it. A program that
/// could speak for the daemon could declare it dead, or well.
fn is_ours(name: &OsStr) -> bool {
    const PREFIXES: [&[u8]; 3] = [b"WSKEEPER", b"WATCHDOG_", b"LISTEN_"];
    let name = name.as_bytes();
    name == b"NOTIFY_SOCKET" || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_the_daemon_alone_is_none_of_a_programs_business() {
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "WSKEEPER_TOKEN", "WSKEEPER__API__LISTEN"] {
            assert!(is_ours(OsStr::new(name)), "{name}");
        }
        for name in ["PATH", "HOME", "LANG", "CREDENTIALS_DIRECTORY", "AWS_PROFILE", "https_proxy", "XWSKEEPER"] {
            assert!(!is_ours(OsStr::new(name)), "{name}");
        }
    }
}
