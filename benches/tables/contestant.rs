//! Contestants: programs under measurement, each on the one core that they take turns on.
//!
//! The harness, with the far and the near end in it, has the other core. Processor time is read from the kernel's clock of the
//! contestant's process: what the two ends cost is not in it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::support::{Result, Running, daemon_by, free_port, keeper, scratch, workspace};

/// Where contestants run, and where the harness does.
const CONTESTANTS_CORE: &str = "0";
const HARNESS_CORE: &str = "1";
/// A contestant has this long to come up.
const START: Duration = Duration::from_secs(30);
/// Memory that is this much more than before still grows, for so long at most.
const GROWS: f64 = 1.005;
const SETTLE: Duration = Duration::from_secs(20);

/// A program under measurement.
#[derive(Debug)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) process: Running,
    /// Where it listens, if it does.
    pub(crate) port: u16,
}

impl Contestant {
    /// wskeeper as it ships, with this configuration beside the usual.
    pub(crate) fn keeper(name: &'static str, sections: &str) -> Result<Self> {
        let (process, port) = daemon_by(pinned(&keeper()?.to_string_lossy()), sections)?;
        Ok(Self { name, process, port })
    }

    /// The same under valgrind, which counts its instructions and says how many there were when it ends.
    pub(crate) fn keeper_counted(name: &'static str, sections: &str, log: &Path) -> Result<Self> {
        // `rustix` asks the kernel where its page of the clock is, which valgrind has taken away. Refused, it asks as others do.
        let mut command = pinned("strace");
        command.args(["-D", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=prctl"]);
        command.args([
            "-e",
            "inject=prctl:error=EINVAL",
            "valgrind",
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
        ]);
        command.arg(format!("--log-file={}", log.display())).arg(keeper()?);
        let (process, port) = daemon_by(command, sections)?;
        Ok(Self { name, process, port })
    }

    /// Lets it work until its memory does not grow any more: then inboxes and receipts are full, as they are where a daemon has run for a
    /// while.
    pub(crate) async fn settle(&self, mut work: impl AsyncFnMut() -> Result<()>) -> Result<()> {
        let (mut before, began) = (0.0, Instant::now());
        loop {
            work().await.map_err(|error| format!("{}: {error}", self.name))?;
            let resident = self.process.resident_mb()?;
            if resident <= before * GROWS || began.elapsed() > SETTLE {
                return Ok(());
            }
            before = resident;
        }
    }

    /// A role of this program.
    pub(crate) fn role(name: &'static str, args: &[&str]) -> Result<Self> {
        let program = std::env::current_exe()?;
        let mut command = pinned(&program.to_string_lossy());
        command.arg("role").args(args);
        Self::start(name, command, 0)
    }

    pub(crate) fn start(name: &'static str, mut command: Command, port: u16) -> Result<Self> {
        let log = fs::File::create(log(name)?)?;
        let process = Running(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?);
        Ok(Self { name, process, port })
    }

    /// What it has said.
    pub(crate) fn said(&self) -> Result<String> {
        Ok(fs::read_to_string(log(self.name)?)?)
    }

    /// Waits until it takes connections.
    pub(crate) async fn listening(self) -> Result<Self> {
        let deadline = Instant::now() + START;
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            if Instant::now() > deadline {
                return Err(format!("{} does not listen; see its log in {}", self.name, folder()?.display()).into());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(self)
    }
}

fn log(name: &str) -> Result<PathBuf> {
    Ok(folder()?.join(format!("{}.log", name.replace(['/', ' '], "-"))))
}

/// A command on the contestants' core. The process is the program's own: `taskset` becomes it.
pub(crate) fn pinned(program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", CONTESTANTS_CORE, program]);
    command
}

/// Puts this process on the harness's core.
pub(crate) fn pin_harness() -> Result<()> {
    let me = std::process::id().to_string();
    let status =
        Command::new("taskset").args(["--cpu-list", "--pid", HARNESS_CORE, &me]).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err("the tables need two cores and taskset (Debian: util-linux)".into()) }
}

/// Files of this run: configurations of contestants, what they say.
pub(crate) fn folder() -> Result<PathBuf> {
    let folder = scratch()?.join("tables");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// What `benches/run` has installed.
pub(crate) fn installed() -> PathBuf {
    let default = || workspace().join("target/bench-env");
    std::env::var_os("WSKEEPER_BENCH_ENV").map_or_else(default, PathBuf::from)
}

/// A port for a contestant that has to be told one.
pub(crate) fn port() -> Result<u16> {
    free_port()
}

/// A contestant that is missing is left out, but for a run that has installed all.
pub(crate) fn present(contestant: Option<Contestant>) -> Result<Option<Contestant>> {
    if contestant.is_none() {
        if std::env::var_os("WSKEEPER_BENCH_ENV").is_some() {
            return Err("a contestant is missing that benches/run should have installed".into());
        }
        println!("a contestant is not installed and left out; benches/run installs all");
    }
    Ok(contestant)
}

/// A program that is there, in the usual places too that are not in everyone's path.
pub(crate) fn find(program: &str) -> Option<String> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/usr/local/sbin";
    let all: Vec<_> = path.split(':').map(|folder| format!("{folder}/{program}")).collect();
    all.into_iter().find(|path| fs::metadata(path).is_ok())
}

/// A script of `benches/contestants` by Node, if it and its modules are installed.
pub(crate) fn node(script: &str) -> Option<Command> {
    let modules = installed().join("node/node_modules");
    let mut command = pinned(&find("node").filter(|_| modules.exists())?);
    command.arg(scripts().join(script)).env("NODE_PATH", modules);
    Some(command)
}

/// The same by Python.
pub(crate) fn python(script: &str) -> Option<Command> {
    let program = installed().join("python/bin/python");
    let mut command = program.exists().then(|| pinned(&program.to_string_lossy()))?;
    command.arg(scripts().join(script));
    Some(command)
}

fn scripts() -> PathBuf {
    workspace().join("benches/contestants")
}

/// Waits until something is so; a contestant that takes longer is stuck.
pub(crate) async fn until(what: &str, patience: Duration, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + patience;
    while !done()? {
        if Instant::now() > deadline {
            return Err(format!("{what}: it took too long").into());
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
