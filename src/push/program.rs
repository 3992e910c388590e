//! A program that receives: lines on its standard input, started again when it ends.
//!
//! What a reader would get wrong: a line is taken when the program has read it, not when it was written. The kernel says how much of the pipe
//! is unread, also once the program has ended; what it had not read goes to the next one.

use std::{process::Stdio, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStderr, ChildStdin},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use wskeeper_core::push::Verdict;
use wskeeper_link::{
    clock::Moment,
    endpoint::{Template, template::SecretError},
};

use super::{
    Whose,
    outlet::{Carried, Fate},
    parcel::Parcel,
};
use crate::process::child::{Group, start};

/// What a program gets to end after its input has, and again after it was asked to.
const PATIENCE: Duration = Duration::from_secs(5);
/// A program that has run for so long is well, though there was nothing to read for it.
const WELL: Duration = Duration::from_secs(5);
/// How long after its input was closed a program may be found to have ended.
const ENDING: Duration = Duration::from_millis(500);
/// How often it is asked whether the program has read, at first and at most.
const LOOK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));
/// A longer line of what it says is cut.
const MAX_LINE: u64 = 4096;
/// So many of its lines a second are logged.
const MAX_LINES: u32 = 100;
const SECOND: Duration = Duration::from_secs(1);

/// A program that receives.
#[derive(Debug)]
pub(super) struct Program {
    arguments: Vec<Template>,
    timeout: Duration,
    whose: Whose,
    running: Option<Running>,
}

#[derive(Debug)]
#[allow(dead_code, reason = "what says is held to be dropped")]
struct Running {
    child: Child,
    stdin: ChildStdin,
    group: Group,
    /// Until this is dropped.
    saying: Saying,
    /// When it is well; `None`: it is.
    well_at: Option<Instant>,
}

/// Listens to what a program says, until this is dropped.
#[derive(Debug)]
struct Saying(JoinHandle<()>);

impl Drop for Saying {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Program {
    pub(super) fn new(arguments: Vec<Template>, timeout: Duration, whose: Whose) -> Self {
        Self { arguments, timeout, whose, running: None }
    }

    pub(super) async fn carry(&mut self, parcel: &Parcel) -> Carried {
        let within = self.timeout;
        let running = match self.run().await {
            Ok(running) => running,
            Err(why) => return Carried::failed(0, why),
        };
        let mut written = 0;
        let carried = {
            let Running { child, stdin, .. } = &mut *running;
            let writing = hand_over(stdin, &parcel.body, &mut written);
            tokio::select! {
                biased;
                ended = child.wait() => Some(told(ended)),
                outcome = timeout(within, writing) => match outcome {
                    Ok(Ok(())) => None,
                    // Nearly always because it has ended, which says more.
                    Ok(Err(error)) => match timeout(ENDING, child.wait()).await {
                        Ok(ended) => Some(told(ended)),
                        Err(_) => Some(format!("the program does not read: {error}")),
                    },
                    Err(_) => Some(format!("the program had not read after {within:?}")),
                },
            }
        };
        let Some(why) = carried else {
            return Carried { taken: 0, verdict: Verdict::Taken, why: None };
        };
        let read = written.saturating_sub(unread(&running.stdin));
        let taken = parcel.ends.partition_point(|end| *end <= read);
        self.end(Instant::now().later(PATIENCE)).await;
        Carried::failed(taken, why)
    }

    /// Has it run, and waits until it is well, once, or does not run any more. Nothing is lost when the future is dropped.
    pub(super) async fn fate(&mut self) -> Fate {
        let ended = match self.run().await {
            Ok(Running { child, well_at, .. }) => {
                let well = async {
                    match *well_at {
                        Some(at) => sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    ended = child.wait() => told(ended),
                    () = well => {
                        *well_at = None;
                        return Fate::Well;
                    }
                }
            }
            Err(why) => return Fate::Lost(why),
        };
        self.running = None;
        Fate::Lost(ended)
    }

    /// Ends its input, asks it to end, and kills it then.
    pub(super) async fn end(&mut self, deadline: Instant) {
        let Some(running) = self.running.take() else { return };
        let Running { mut child, group, stdin, saying: _saying, well_at: _ } = running;
        drop(stdin);
        let soon = deadline.min(Instant::now().later(PATIENCE));
        let half = Instant::now().later(soon.saturating_duration_since(Instant::now()) / 2);
        if timeout_at(half, child.wait()).await.is_err() {
            group.terminate();
            // What comes after this is SIGKILL, by the group's end.
            let _ = timeout_at(soon, child.wait()).await;
        }
        drop(group);
        let _ = timeout(PATIENCE, child.wait()).await;
    }

    async fn run(&mut self) -> Result<&mut Running, String> {
        let running = if let Some(running) = self.running.take() {
            running
        } else {
            let arguments = self.arguments.clone();
            let evaluating = tokio::task::spawn_blocking(move || {
                let evaluated = arguments.iter().map(|argument| Ok(argument.evaluate()?.expose().to_owned()));
                evaluated.collect::<Result<Vec<_>, SecretError>>()
            });
            let arguments = evaluating.await.map_err(|error| error.to_string())?;
            self.start(&arguments.map_err(|error| error.to_string())?)?
        };
        Ok(self.running.insert(running))
    }

    fn start(&self, arguments: &[String]) -> Result<Running, String> {
        let (mut child, group) = start(arguments, (Stdio::piped(), Stdio::null(), Stdio::piped()))?;
        let stdin = child.stdin.take().ok_or("the program has no input")?;
        let stderr = child.stderr.take().ok_or("the program has nowhere to say something")?;
        let (endpoint, push) = (&self.whose.0, &self.whose.1);
        tracing::info!(%endpoint, %push, pid = child.id(), "the program of a push has started");
        let saying = Saying(tokio::spawn(say(stderr, self.whose.clone())));
        Ok(Running { child, stdin, group, saying, well_at: Some(Instant::now().later(WELL)) })
    }
}

/// Writes all of it, and waits until it was read.
async fn hand_over(stdin: &mut ChildStdin, body: &[u8], written: &mut usize) -> std::io::Result<()> {
    while let Some(rest) = body.get(*written..).filter(|rest| !rest.is_empty()) {
        *written += stdin.write(rest).await?;
    }
    let mut pause = LOOK.0;
    while unread(stdin) > 0 {
        sleep(pause).await;
        pause = (pause * 2).min(LOOK.1);
    }
    Ok(())
}

/// Bytes in the pipe that the program has not read.
fn unread(stdin: &ChildStdin) -> usize {
    let unread = rustix::io::ioctl_fionread(stdin).unwrap_or_default();
    usize::try_from(unread).unwrap_or(usize::MAX)
}

fn told(ended: std::io::Result<std::process::ExitStatus>) -> String {
    match ended {
        Ok(status) => format!("the program ended with {status}"),
        Err(error) => format!("the program is lost: {error}"),
    }
}

/// Logs what a program says, line by line; of a flood, how much was left out.
async fn say(stderr: ChildStderr, (endpoint, push): (Arc<str>, Arc<str>)) {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    let (mut until, mut lines) = (Instant::now().later(SECOND), 0_u32);
    loop {
        let mut piece = (&mut stderr).take(MAX_LINE);
        let reading = piece.read_until(b'\n', &mut line);
        // What was left out is told though nothing more comes.
        let read = if lines > MAX_LINES { timeout_at(until, reading).await.ok() } else { Some(reading.await) };
        let is_over = matches!(read, Some(Ok(0) | Err(_)));
        if is_over || Instant::now() >= until {
            let left_out = lines.saturating_sub(MAX_LINES);
            if left_out > 0 {
                tracing::warn!(%endpoint, %push, left_out, "the program of a push says more lines than are logged");
            }
            (until, lines) = (Instant::now().later(SECOND), 0);
        }
        if is_over {
            return;
        }
        if read.is_none() {
            continue;
        }
        lines = lines.saturating_add(1);
        if lines <= MAX_LINES {
            let said = String::from_utf8_lossy(&line);
            tracing::info!(%endpoint, %push, said = said.trim_end(), "the program of a push says something");
        }
        line.clear();
    }
}
