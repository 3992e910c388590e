//! What the process tells its service manager: datagrams to `$NOTIFY_SOCKET`, as `sd_notify(3)` describes them.
//!
//! What a reader would get wrong: nothing here fails. A service manager that cannot be told is a warning in the log, never a
//! reason to stop or to wait for long. Without `$NOTIFY_SOCKET` every call is a no-op.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt::Write,
    io,
    os::unix::{ffi::OsStrExt, net::UnixDatagram as StdDatagram},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::net::UnixDatagram;

/// A service manager that takes nothing for so long is not waited for, and then not at all until it takes something again.
const PATIENCE: Duration = Duration::from_secs(2);
/// A longer status is cut: people read it in one line.
const STATUS_MAX: usize = 400;

/// One assignment of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State<'a> {
    /// The start, or a reload, is complete.
    Ready,
    /// A reload begins. Carries the time of the monotonic clock, without which systemd takes it for an older reload's.
    Reloading,
    /// The end begins. Final: no `Ready` and no `Reloading` is sent after it.
    Stopping,
    /// For people, in one line.
    Status(&'a str),
    /// The process is well.
    Watchdog,
    /// What is under way may take so long from now.
    Extend(Duration),
}

/// The way to the service manager; a cheap handle to clone.
#[derive(Debug, Clone, Default)]
pub struct Notify(Option<Arc<Channel>>);

#[derive(Debug)]
struct Channel {
    socket: UnixDatagram,
    watchdog: Option<Duration>,
    is_stopping: AtomicBool,
    is_deaf: AtomicBool,
}

impl Notify {
    /// Tells nobody.
    pub fn none() -> Self {
        Self(None)
    }

    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`. To be called within a tokio runtime.
    pub fn from_environment() -> Self {
        Self::new(|name| env::var_os(name))
    }

    /// As [`Self::from_environment`], with variables from elsewhere.
    pub(crate) fn new(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Self::none() };
        match connect(&name) {
            Ok(socket) => Self(Some(Arc::new(Channel {
                socket,
                watchdog: watchdog(&variable),
                is_stopping: AtomicBool::new(false),
                is_deaf: AtomicBool::new(false),
            }))),
            Err(error) => {
                tracing::warn!(%error, socket = %name.display(), "the service manager cannot be told anything");
                Self::none()
            }
        }
    }

    /// Whether somebody listens.
    pub fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    /// A `Watchdog` must come within this, again and again.
    pub fn watchdog(&self) -> Option<Duration> {
        self.0.as_ref()?.watchdog
    }

    /// Sends all of it as one message.
    pub async fn tell(&self, states: &[State<'_>]) {
        let Some(channel) = &self.0 else { return };
        if channel.is_stopping.load(Ordering::SeqCst)
            && states.iter().any(|state| matches!(state, State::Ready | State::Reloading))
        {
            return;
        }
        if states.contains(&State::Stopping) {
            channel.is_stopping.store(true, Ordering::SeqCst);
        }
        let patience = if channel.is_deaf.load(Ordering::Relaxed) { Duration::ZERO } else { PATIENCE };
        let sent = tokio::time::timeout(patience, channel.socket.send(text(states).as_bytes())).await;
        let failure = match sent {
            Ok(Ok(_)) => {
                channel.is_deaf.store(false, Ordering::Relaxed);
                return;
            }
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        // Said once, not with each refresh of the status.
        if !channel.is_deaf.swap(true, Ordering::Relaxed) {
            tracing::warn!(error = %failure, "the service manager does not take what it is told");
        }
    }
}

/// A name that begins with `@` is an abstract socket, which no file stands for.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let socket = StdDatagram::unbound()?;
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => connect_abstract(&socket, name)?,
        None => socket.connect(name)?,
    }
    socket.set_nonblocking(true)?;
    UnixDatagram::from_std(socket)
}

#[cfg(target_os = "linux")]
fn connect_abstract(socket: &StdDatagram, name: &[u8]) -> io::Result<()> {
    use std::os::{linux::net::SocketAddrExt as _, unix::net::SocketAddr};
    socket.connect_addr(&SocketAddr::from_abstract_name(name)?)
}

#[cfg(not(target_os = "linux"))]
fn connect_abstract(_: &StdDatagram, _: &[u8]) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "abstract sockets are Linux's"))
}

/// `None` also where the variables are meant for another process, whose environment this one has inherited.
fn watchdog(variable: impl Fn(&str) -> Option<OsString>) -> Option<Duration> {
    let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
    if variable("WATCHDOG_PID").is_some() && number("WATCHDOG_PID") != Some(u64::from(std::process::id())) {
        return None;
    }
    number("WATCHDOG_USEC").filter(|micros| *micros > 0).map(Duration::from_micros)
}

fn text(states: &[State<'_>]) -> String {
    let mut text = String::new();
    for state in states {
        // Writing to a string cannot fail.
        let _ = match state {
            State::Ready => writeln!(text, "READY=1"),
            State::Reloading => writeln!(text, "RELOADING=1\nMONOTONIC_USEC={}", monotonic().as_micros()),
            State::Stopping => writeln!(text, "STOPPING=1"),
            State::Status(words) => writeln!(text, "STATUS={}", line(words)),
            State::Watchdog => writeln!(text, "WATCHDOG=1"),
            State::Extend(time) => writeln!(text, "EXTEND_TIMEOUT_USEC={}", time.as_micros()),
        };
    }
    text
}

/// The clock that systemd compares with; the runtime's has no number.
fn monotonic() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

/// A second line would be read as another assignment.
fn line(status: &str) -> String {
    let mut line: String = status.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    if line.len() > STATUS_MAX {
        line.truncate(line.floor_char_boundary(STATUS_MAX));
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
        |wanted| pairs.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.into())
    }

    #[test]
    fn a_status_can_smuggle_no_second_assignment_in() {
        let message = text(&[State::Ready, State::Status("refused:\nMAINPID=1\r")]);
        assert_eq!(message, "READY=1\nSTATUS=refused: MAINPID=1 \n");
    }

    #[test]
    fn a_long_status_is_cut_between_characters() {
        let status = line(&"ü".repeat(STATUS_MAX));
        assert!(status.len() <= STATUS_MAX + '…'.len_utf8() && status.ends_with("ü…"));
    }

    #[test]
    fn a_reload_carries_its_time_in_the_same_message() {
        let before = monotonic().as_micros();
        let message = text(&[State::Reloading]);
        let time: u128 = message
            .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
            .and_then(|rest| rest.trim_end().parse().ok())
            .expect("both assignments");
        assert!((before..=monotonic().as_micros()).contains(&time));
    }

    #[test]
    fn a_watchdog_that_is_meant_for_another_process_is_none() {
        assert_eq!(watchdog(environment(&[("WATCHDOG_USEC", "3000000")])), Some(Duration::from_secs(3)));
        assert_eq!(watchdog(environment(&[("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "1")])), None);
        assert_eq!(watchdog(environment(&[("WATCHDOG_USEC", "0")])), None);
        assert_eq!(watchdog(environment(&[])), None);
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn an_abstract_socket_is_told_and_nothing_is_said_of_readiness_after_the_end_began() {
        use std::os::{linux::net::SocketAddrExt as _, unix::net::SocketAddr};
        let name = format!("wskeeper-test-{}", uuid::Uuid::new_v4());
        let address = SocketAddr::from_abstract_name(&name).expect("an address");
        let manager = StdDatagram::bind_addr(&address).expect("bound");
        let notify = Notify::new(move |wanted| (wanted == "NOTIFY_SOCKET").then(|| format!("@{name}").into()));
        for states in
            [&[State::Ready][..], &[State::Stopping], &[State::Reloading], &[State::Ready], &[State::Watchdog]]
        {
            notify.tell(states).await;
        }
        let mut heard = Vec::new();
        let mut buffer = [0; 128];
        while heard.last().is_none_or(|last| last != "WATCHDOG=1\n") {
            let length = manager.recv(&mut buffer).expect("a message");
            heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        assert_eq!(heard, ["READY=1\n", "STOPPING=1\n", "WATCHDOG=1\n"]);
    }

    #[tokio::test]
    async fn a_socket_that_is_not_there_is_no_reason_to_fail() {
        let notify = Notify::new(environment(&[("NOTIFY_SOCKET", "/nowhere/at/all")]));
        assert!(!notify.is_heard());
        notify.tell(&[State::Ready]).await;
    }
}
