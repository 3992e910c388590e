//! A terminal of a reader: a block of a document in a shell of its own, and what it prints.
//!
//! It is a process group of its own, so that its end is also that of what the block has started.

#![allow(dead_code, unreachable_pub, reason = "each test crate uses its own part")]

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use parking_lot::Mutex;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// A block that runs, or has run.
pub struct Terminal {
    /// What was typed.
    pub block: String,
    child: Child,
    printed: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Terminal {
    /// Types a block into this shell.
    pub fn open(mut shell: Command, block: &str) -> Self {
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = shell.spawn().unwrap();
        let printed = Arc::new(Mutex::new(String::new()));
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let streams = [Box::new(stdout) as Box<dyn Read + Send>, Box::new(stderr)];
        let readers = streams.map(|stream| {
            let printed = Arc::clone(&printed);
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    printed.lock().push_str(&(line + "\n"));
                }
            })
        });
        Self { block: block.to_owned(), child, printed, readers: readers.into() }
    }

    /// All that it has printed so far, on stdout and stderr.
    pub fn printed(&self) -> String {
        self.printed.lock().clone()
    }

    /// All that it has printed, if it has ended: what it has started must have ended too.
    pub fn all_printed(&mut self) -> String {
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        self.printed()
    }

    /// How the block has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Ends it by a signal, and waits until all that the block has started have ended: none of them prints any more.
    pub fn end(&mut self, signal: Signal) {
        let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), signal);
        let _ = self.child.wait();
        patiently(|| self.readers.iter().all(JoinHandle::is_finished));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.end(Signal::SIGKILL);
    }
}

/// Whether it comes true while a reader would still wait.
pub fn patiently(mut is_so: impl FnMut() -> bool) -> bool {
    (0..1500).any(|_| {
        is_so() || {
            #[allow(clippy::disallowed_methods, reason = "no runtime here; the loop waits for a condition")]
            thread::sleep(PAUSE);
            false
        }
    })
}
