//! The real binary with a configuration of its own, on a unix socket in a folder of its own.
//!
//! Dropping it kills the child; when the test panics, its log is shown, and when the daemon panicked, the test does too.

use std::{
    fs::{self, OpenOptions},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use super::{api::Api, until};

/// A daemon that answers, or one that was killed and can be started again in its folder.
pub struct Daemon {
    child: Option<Child>,
    folder: TempDir,
    /// Where in the folder its configuration is.
    config: PathBuf,
    /// A program and its arguments that run the daemon, where it does not run by itself.
    under: Vec<String>,
    environment: Vec<(String, String)>,
    /// What it finds at descriptor 0.
    input: Option<OwnedFd>,
    /// Where its log goes at the next start, in place of the file.
    output: Option<OwnedFd>,
    /// A client of its API.
    pub api: Api,
}

impl Daemon {
    /// Starts one with these further keys of `[api]` and sections, and waits until it says that it is ready.
    pub async fn start(sections: &str) -> Self {
        let mut daemon = Self::made(sections);
        daemon.launch();
        daemon.ready().await;
        daemon
    }

    /// One that does not run yet. `{folder}` in the sections is its folder.
    pub fn made(sections: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let api = Api::unix(folder.path().join("api.sock"));
        let (config, under, environment) = ("wskeeper.toml".into(), Vec::new(), Vec::new());
        let daemon = Self { child: None, folder, config, under, environment, input: None, output: None, api };
        daemon.configure(sections);
        daemon
    }

    /// Writes its configuration, which it reads at the next start or reload.
    pub fn configure(&self, sections: &str) {
        let (socket, sections) = (self.folder.path().join("api.sock"), sections.replace("{folder}", &self.text()));
        let text = format!("[log]\nlevel = \"debug\"\n[api]\nlisten = \"unix:{}\"\n{sections}", socket.display());
        fs::write(self.config(), text).unwrap();
    }

    /// From the next start on, its configuration is this file or folder of its folder.
    pub fn read(&mut self, path: &str) {
        self.config = path.into();
    }

    /// From the next start on, runs it by this program with these arguments before its own.
    pub fn run_under(&mut self, words: &[&str]) {
        self.under = words.iter().map(|&word| word.to_owned()).collect();
    }

    /// From the next start on, has this variable.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// At the next start, finds this at descriptor 0.
    pub fn hand_over(&mut self, input: OwnedFd) {
        self.input = Some(input);
    }

    /// At the next start, has this as descriptor 2.
    pub fn log_to(&mut self, output: OwnedFd) {
        self.output = Some(output);
    }

    /// Starts the process, and does not wait for it.
    pub fn launch(&mut self) {
        let log = OpenOptions::new().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let binary = env!("CARGO_BIN_EXE_wskeeper").to_owned();
        let mut words = self.under.iter().chain([&binary]);
        let child = Command::new(words.next().unwrap())
            .args(words)
            .args(["run", "--config"])
            .arg(self.config())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(self.input.take().map_or_else(Stdio::null, Stdio::from))
            .stdout(log.try_clone().unwrap())
            .stderr(self.output.take().map_or_else(|| Stdio::from(log), Stdio::from))
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// Starts it again where it was, and waits until it answers, ready or not.
    pub async fn relaunch(&mut self) {
        self.launch();
        self.alive().await;
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ended = child.kill();
            child.wait().unwrap();
        }
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.id()).unwrap()), signal).unwrap();
    }

    /// Waits for its end.
    pub async fn end(&mut self) -> ExitStatus {
        let child = std::cell::RefCell::new(self.child.as_mut().expect("a running daemon"));
        until("the end of the daemon", || async { child.borrow_mut().try_wait().unwrap().ok_or("it runs") }).await
    }

    /// The most memory that it has ever had resident, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// The memory that it has resident now, in bytes.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    fn status(&self, line: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let found = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
        found.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Where its configuration is.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join(&self.config)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until it is ready.
    pub async fn ready(&mut self) {
        self.answers("/readyz").await;
    }

    /// Waits until it answers.
    pub async fn alive(&mut self) {
        self.answers("/livez").await;
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("a running daemon").id()
    }

    fn text(&self) -> String {
        self.folder.path().display().to_string()
    }

    async fn answers(&mut self, path: &str) {
        let child = std::cell::RefCell::new(self.child.as_mut().expect("a running daemon"));
        let (api, log) = (&self.api, self.folder.path().join("log"));
        until(&format!("200 from {path}"), || async {
            if let Some(status) = child.borrow_mut().try_wait().unwrap() {
                panic!("the daemon ended with {status}:\n{}", fs::read_to_string(&log).unwrap_or_default());
            }
            match api.try_get(path).await {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- the daemon's last lines ---\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        } else {
            assert!(!self.log().contains("panicked at"), "the daemon panicked:\n{}", self.log());
        }
    }
}
