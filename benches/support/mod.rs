//! What benches of the whole daemon share: the real binary as a child, its API over plain sockets, its cost by the kernel's count.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::{
    error::Error,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};

use nix::{
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};
use tokio::time::Instant;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_mins(2);
const LOOK: Duration = Duration::from_millis(50);

/// The daemon as it is released, in the profile of this program: built by the first who asks, from the sources as they are.
pub(crate) fn keeper() -> Result<&'static Path> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    if let Some(built) = BUILT.get() {
        return Ok(built);
    }
    let program = std::env::current_exe()?.with_file_name("wskeeper");
    let profile = program.parent().and_then(Path::file_name).and_then(|name| name.to_str()).ok_or("no profile")?;
    let profile = if profile == "debug" { "dev" } else { profile };
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--locked", "--bin", "wskeeper", "--profile", profile])
        .current_dir(workspace())
        .status()?;
    if status.success() { Ok(BUILT.get_or_init(|| program)) } else { Err("the daemon was not built".into()) }
}

/// Where the sources are.
pub(crate) fn workspace() -> &'static Path {
    let benches = Path::new(env!("CARGO_MANIFEST_DIR"));
    benches.parent().unwrap_or(benches)
}

/// For files that last as long as a run, on a disk.
pub(crate) fn scratch() -> Result<PathBuf> {
    let folder = workspace().join("target/tmp");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A daemon with these sections beside the usual ones, and the port of its API.
pub(crate) fn daemon(sections: &str) -> Result<(Running, u16)> {
    daemon_by(Command::new(keeper()?), sections)
}

/// The same, started by a command that ends in the daemon's own name.
pub(crate) fn daemon_by(mut command: Command, sections: &str) -> Result<(Running, u16)> {
    let api = free_port()?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("bench.toml");
    let usual = format!(
        "[api]\nlisten = \"127.0.0.1:{api}\"\n[admission]\nper_host = 64\ntotal = 64\n[log]\nlevel = \"error\"\n"
    );
    fs::write(&path, usual + sections)?;
    let keeper = Running(command.arg("run").arg("--config").arg(&path).spawn()?);
    wait_until(|| Ok(get(api, "/livez").is_ok()))?;
    Ok((keeper, api))
}

/// A child that does not outlive us.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// `wskeeper echo` on this port.
    pub(crate) fn peer(port: u16) -> Result<Self> {
        Self::peer_with(port, &[])
    }

    /// The same with faults.
    pub(crate) fn peer_with(port: u16, faults: &[&str]) -> Result<Self> {
        let child = Command::new(keeper()?)
            .args(["echo", "--listen", &format!("127.0.0.1:{port}")])
            .args(faults)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let running = Self(child);
        wait_until(|| Ok(TcpStream::connect(("127.0.0.1", port)).is_ok()))?;
        Ok(running)
    }

    pub(crate) fn resident_mb(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kilobytes: f64 = line.split_whitespace().next().ok_or("VmRSS is empty")?.parse()?;
        Ok(kilobytes * 1024.0 / 1e6)
    }

    /// Processor time of all its threads so far, also of those that have ended, to the nanosecond.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let pid = Pid::from_raw(i32::try_from(self.0.id())?);
        Ok(Duration::from(clock_gettime(clock_getcpuclockid(pid)?)?).as_secs_f64())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The sum over the series whose line begins so.
pub(crate) fn metric(api: u16, prefix: &str) -> Result<f64> {
    let text = get(api, "/metrics")?;
    let lines = text.lines().filter(|line| line.starts_with(prefix));
    Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

pub(crate) fn get(port: u16, path: &str) -> Result<String> {
    request(port, &format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"), "")
}

pub(crate) fn post(port: u16, path: &str, kind: &str, body: &str) -> Result<String> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    request(port, &head, body)
}

fn request(port: u16, head: &str, body: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

pub(crate) fn wait_until(mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !done()? {
        if Instant::now() > deadline {
            return Err("it took too long".into());
        }
        #[allow(clippy::disallowed_methods, reason = "no runtime here: the bench looks from outside")]
        thread::sleep(LOOK);
    }
    Ok(())
}

pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
