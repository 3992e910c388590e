//! The real binary with a configuration of its own, on a unix socket in a folder of its own.
//!
//! Dropping it kills the child; when the test panics, its log is shown, and when the daemon panicked, the test does too.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use super::{api::Api, until};

/// A daemon that answers.
pub struct Daemon {
    child: Child,
    folder: TempDir,
    /// A client of its API.
    pub api: Api,
}

impl Daemon {
    /// Starts one with these sections below `[api]`, and waits until it says that it is ready.
    pub async fn start(sections: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("api.sock");
        let config = folder.path().join("wskeeper.toml");
        fs::write(
            &config,
            format!("[api]\nlisten = \"unix:{}\"\n[log]\nlevel = \"debug\"\n{sections}", socket.display()),
        )
        .unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_wskeeper"))
            .args(["run", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut daemon = Self { child, folder, api: Api::unix(socket) };
        daemon.ready().await;
        daemon
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Waits for its end.
    pub async fn end(&mut self) -> ExitStatus {
        let child = std::cell::RefCell::new(&mut self.child);
        until("the end of the daemon", || async { child.borrow_mut().try_wait().unwrap().ok_or("it runs") }).await
    }

    /// The most memory that it has ever had resident, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Where its configuration is.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("wskeeper.toml")
    }

    async fn ready(&mut self) {
        let (api, child, log) = (&self.api, std::cell::RefCell::new(&mut self.child), self.folder.path().join("log"));
        until("a ready daemon", || async {
            if let Some(status) = child.borrow_mut().try_wait().unwrap() {
                panic!("the daemon ended with {status}:\n{}", fs::read_to_string(&log).unwrap_or_default());
            }
            match api.try_get("/readyz").await {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- the daemon's last lines ---\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        } else {
            assert!(!self.log().contains("panicked at"), "the daemon panicked:\n{}", self.log());
        }
    }
}
