//! Servers that others wrote, as child processes that can be killed, frozen and started again on the same port.
//!
//! `tests/run` installs them and sets `WSKEEPER_TEST_REAL`; then a missing one fails the test. Without it the test is skipped, aloud.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::{PATIENCE, free_port, until, until_within};

/// A server under the test's control.
pub struct Peer {
    recipe: Recipe,
    child: Option<Child>,
    /// Where it listens.
    pub port: u16,
    folder: TempDir,
}

/// What to start.
#[derive(Clone)]
pub enum Recipe {
    /// Python's `websockets`.
    Python,
    /// Node's `ws`.
    Node,
    /// mosquitto with a listener of protocol `websockets`.
    Mosquitto,
    /// mosquitto that knows one user.
    GuardedMosquitto {
        /// The user's name.
        user: String,
        /// The password.
        password: String,
    },
    /// nats-server that knows one user, and tells what it hears.
    Nats {
        /// The user's name.
        user: String,
        /// The password.
        password: String,
        /// How often it asks whether its clients are there, which they must answer.
        pings: &'static str,
    },
    /// nats-server as a broker, with JetStream in a folder of its own, and these further lines of configuration.
    Broker(String),
    /// A script beside the tests, which starts a server of a package.
    Script(Script),
    /// nginx with TLS in front of a port; certificate and key are PEM.
    Nginx {
        /// Where it proxies to.
        upstream: u16,
        /// The chain.
        cert: String,
        /// The key.
        key: String,
        /// The authority of clients, where they must show a certificate.
        clients: Option<String>,
    },
    /// nginx before the daemon's API, with nothing set that need not be.
    Front {
        /// The API's.
        socket: PathBuf,
        /// The chain.
        cert: String,
        /// The key.
        key: String,
        /// Where it listens with TLS; the API is below `/keeper/` there.
        tls: u16,
    },
}

/// A script in `tests/real/peers`. How its name ends says what runs it; it is given a port, a folder where it is one of the shell, and words.
#[derive(Clone, Copy)]
pub struct Script {
    /// Its name.
    pub file: &'static str,
    /// The package that it needs, or for one of the shell the program.
    pub needs: &'static str,
    /// What it is given behind the port.
    pub words: &'static [&'static str],
}

impl Script {
    fn program(&self) -> Option<PathBuf> {
        let base = program_base();
        match self.ending() {
            "js" => installed("node").filter(|_| base.join("node/node_modules").join(self.needs).exists()),
            "py" => {
                let has = |folder: fs::DirEntry| folder.path().join("site-packages").join(self.needs).exists();
                let mut libraries = fs::read_dir(base.join("python/lib")).ok()?;
                libraries.any(|folder| folder.is_ok_and(has)).then(|| base.join("python/bin/python"))
            }
            _ => installed(self.needs).and(installed("bash")),
        }
    }

    fn ending(&self) -> &str {
        Path::new(self.file).extension().and_then(|ending| ending.to_str()).unwrap_or_default()
    }

    fn command(&self, program: &Path, port: u16, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder).env("NODE_PATH", program_base().join("node/node_modules"));
        command.arg(peers().join(self.file)).arg(port.to_string());
        if self.ending() == "sh" {
            command.arg(folder);
        }
        command.args(self.words);
        command
    }
}

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/peers")
}

impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Python => "python3 with websockets",
            Self::Node => "node with ws",
            Self::Mosquitto | Self::GuardedMosquitto { .. } => "mosquitto",
            Self::Nats { .. } | Self::Broker(_) => "nats-server",
            Self::Script(script) => script.needs,
            Self::Nginx { .. } | Self::Front { .. } => "nginx",
        })
    }
}

impl Recipe {
    fn program(&self) -> Option<PathBuf> {
        let base = program_base();
        match self {
            Self::Python => Some(base.join("python/bin/python")).filter(|path| path.exists()),
            Self::Node => installed("node").filter(|_| base.join("node/node_modules/ws").exists()),
            Self::Mosquitto | Self::GuardedMosquitto { .. } => installed("mosquitto"),
            Self::Nats { .. } | Self::Broker(_) => {
                Some(base.join("python/bin/nats-server")).filter(|path| path.exists())
            }
            Self::Script(script) => script.program(),
            Self::Nginx { .. } | Self::Front { .. } => installed("nginx"),
        }
    }

    fn command(&self, program: &Path, port: u16, folder: &Path) -> Command {
        let (peers, mut command) = (peers(), Command::new(program));
        match self {
            Self::Script(script) => return script.command(program, port, folder),
            Self::Python => command.arg(peers.join("peer.py")).arg(port.to_string()),
            Self::Node => {
                let modules = program_base().join("node/node_modules");
                command.env("NODE_PATH", modules).arg(peers.join("peer.js")).arg(port.to_string())
            }
            Self::Mosquitto => {
                let config = folder.join("mosquitto.conf");
                // This version does not start with a WebSocket listener alone, hence the other; as another user it could not read the
                // folder; and where it may use IPv6 its WebSocket listener takes no address and listens on all.
                let text = format!(
                    "user root\nlistener 0 {}\nlistener {port} 127.0.0.1\nsocket_domain ipv4\nprotocol websockets\nallow_anonymous true\npersistence false\n",
                    folder.join("plain.sock").display()
                );
                fs::write(&config, text).unwrap();
                command.arg("-c").arg(config)
            }
            Self::GuardedMosquitto { user, password } => {
                command.arg("-c").arg(guarded_mosquitto(port, folder, user, password))
            }
            Self::Nats { user, password, pings } => command.arg("-c").arg(nats(port, folder, (user, password), pings)),
            Self::Broker(lines) => {
                let (config, store) = (folder.join("nats.conf"), folder.join("store").display().to_string());
                let text = format!("host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: \"{store}\" }}\n{lines}\n");
                fs::write(&config, text).unwrap();
                command.arg("-c").arg(config)
            }
            Self::Nginx { upstream, cert, key, clients } => {
                fs::write(folder.join("cert.pem"), cert).unwrap();
                fs::write(folder.join("key.pem"), key).unwrap();
                let config = folder.join("nginx.conf");
                let verify = clients.as_ref().map_or_else(String::new, |authority| {
                    let file = folder.join("clients.pem");
                    fs::write(&file, authority).unwrap();
                    format!("ssl_verify_client on; ssl_client_certificate {};", file.display())
                });
                fs::write(&config, nginx_config(port, *upstream, folder, &verify)).unwrap();
                command.arg("-e").arg(folder.join("error.log")).arg("-c").arg(config)
            }
            Self::Front { socket, cert, key, tls } => {
                fs::write(folder.join("cert.pem"), cert).unwrap();
                fs::write(folder.join("key.pem"), key).unwrap();
                let config = folder.join("nginx.conf");
                fs::write(&config, front_config(port, *tls, socket, folder)).unwrap();
                command.arg("-e").arg(folder.join("error.log")).arg("-c").arg(config)
            }
        };
        command
    }
}

impl Peer {
    /// Starts it on a free port; `None`, with a line that says so, where it is not installed and need not be.
    pub async fn start(recipe: Recipe) -> Option<Self> {
        if recipe.program().is_none() {
            assert!(env::var_os("WSKEEPER_TEST_REAL").is_none(), "{recipe:?} is not installed");
            eprintln!("SKIPPED: {recipe:?} is not installed; tests/run installs it");
            return None;
        }
        let mut peer = Self { recipe, child: None, port: free_port(), folder: TempDir::new().unwrap() };
        peer.restart().await;
        Some(peer)
    }

    /// Starts it again on the same port, and waits until it accepts.
    pub async fn restart(&mut self) {
        self.kill();
        let program = self.recipe.program().expect("it was there before");
        let log = self.folder.path().join("log");
        fs::write(&log, "").unwrap();
        // What it tells goes to the end, also where a test has noted something.
        let log = fs::OpenOptions::new().append(true).open(log).unwrap();
        let child = self
            .recipe
            .command(&program, self.port, self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let port = self.port;
        // Erlang's take seconds, and more beside other tests.
        until_within(4 * PATIENCE, "the peer to listen", || TcpStream::connect(("127.0.0.1", port))).await;
        assert_on_loopback(port);
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            if matches!(self.recipe, Recipe::Nginx { .. } | Recipe::Front { .. }) {
                // nginx's workers outlive a killed master.
                let _sent = kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM);
            } else {
                let _sent = child.kill();
            }
            let _reaped = child.wait();
        }
    }

    /// Asks it to end as a server does that is shut down in order, and waits until it has.
    pub async fn stop(&mut self, signal: Signal) {
        self.signal(signal);
        let child = std::cell::RefCell::new(self.child.take().expect("a running peer"));
        until("the end of the peer", || async { child.borrow_mut().try_wait().unwrap().ok_or("it runs") }).await;
    }

    /// What it has told since it was started.
    pub fn log(&self) -> String {
        // Not all of them write UTF-8: RabbitMQ's "µs" is as its locale has it.
        let log = fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Where that is written down.
    pub fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// SIGSTOP, SIGCONT: a peer that is there and does nothing.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("a running peer");
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            for name in ["log", "error.log"] {
                let text = fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
                eprintln!("--- {:?}: {name} ---\n{text}", self.recipe);
            }
        }
    }
}

/// The configuration file of a mosquitto that knows one user.
fn guarded_mosquitto(port: u16, folder: &Path, user: &str, password: &str) -> PathBuf {
    let (config, known) = (folder.join("mosquitto.conf"), folder.join("known"));
    let made = Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(&known).args([user, password]).status();
    assert!(made.unwrap().success(), "mosquitto_passwd");
    let text = format!(
        "user root\nlistener 0 {}\nlistener {port} 127.0.0.1\nsocket_domain ipv4\nprotocol websockets\n\
         allow_anonymous false\npassword_file {}\npersistence false\nlog_type all\n",
        folder.join("plain.sock").display(),
        known.display()
    );
    fs::write(&config, text).unwrap();
    config
}

/// The configuration file of a nats-server that knows one user.
fn nats(port: u16, folder: &Path, (user, password): (&str, &str), pings: &str) -> PathBuf {
    let config = folder.join("nats.conf");
    let text = format!(
        "host: 127.0.0.1\nport: -1\nwebsocket {{ host: 127.0.0.1, port: {port}, no_tls: true, compression: true }}\n\
         max_payload: 32MB\nmax_pending: 128MB\nmax_traced_msg_len: 100\n\
         authorization {{ user: {user:?}, password: {password:?} }}\nping_interval: {pings:?}\ndebug: true\ntrace: true\n"
    );
    fs::write(&config, text).unwrap();
    config
}

fn front_config(port: u16, tls: u16, socket: &Path, folder: &Path) -> String {
    let (socket, folder) = (socket.display(), folder.display());
    format!(
        "daemon off; user root; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://unix:{socket}:/; }} }}
  server {{
    listen 127.0.0.1:{tls} ssl; ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    location /keeper/ {{ proxy_pass http://unix:{socket}:/; }}
  }}
}}
"
    )
}

/// What tests start is nobody else's business.
fn assert_on_loopback(port: u16) {
    let local = |table: &str| {
        let rows = fs::read_to_string(table).unwrap_or_default();
        rows.lines().filter_map(|row| row.split_whitespace().nth(1).map(str::to_owned)).collect::<Vec<_>>()
    };
    let ours = format!(":{port:04X}");
    let everywhere =
        |address: &String| address.strip_suffix(&ours).is_some_and(|host| host.bytes().all(|digit| digit == b'0'));
    let found = [local("/proc/net/tcp"), local("/proc/net/tcp6")].concat().into_iter().find(everywhere);
    assert_eq!(found, None, "it listens on all addresses");
}

pub fn program_base() -> PathBuf {
    env::var_os("WSKEEPER_TEST_ENV")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-env"), PathBuf::from)
}

fn installed(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(name))
        .find(|file| file.exists())
}

/// Idle tunnels are cut after 5 s, as by many proxies after 60; a worker that is replaced or stopped gives them one second.
fn nginx_config(port: u16, upstream: u16, folder: &Path, verify: &str) -> String {
    let folder = folder.display();
    format!(
        "daemon off; user root; worker_processes 1; worker_shutdown_timeout 1s; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl; ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem; {verify}
    location / {{
      proxy_pass http://127.0.0.1:{upstream}; proxy_http_version 1.1; proxy_read_timeout 5s;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
    }}
  }}
}}
"
    )
}
