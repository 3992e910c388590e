//! Client libraries that others wrote, unmodified, with a link's connection as their own, against servers that others wrote.
//!
//! Each hears what goes through its server, and hears it again by its own reconnect when the server was killed and has started again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(unreachable_pub, reason = "what tests share is as public as a library's items")]
#![allow(clippy::print_stderr, reason = "a failed test says why")]

#[path = "../support/mod.rs"]
mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use support::{
    PATIENCE,
    daemon::Daemon,
    peer::{Peer, Recipe, Script, program_base},
    until_within,
};
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// A library's client, as a child process.
struct Client {
    child: Child,
    log: PathBuf,
}

impl Client {
    /// Runs a program of `clients` against the API at this port.
    fn start(file: &str, port: u16, folder: &Path) -> Self {
        let (base, log) = (program_base(), folder.join("client.log"));
        let is_python = Path::new(file).extension() == Some("py".as_ref());
        let program = if is_python { base.join("python/bin/python") } else { "node".into() };
        let output = fs::File::create(&log).unwrap();
        let child = Command::new(program)
            .env("NODE_PATH", base.join("node/node_modules"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transparent/clients").join(file))
            .arg(port.to_string())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What it has told since it connected for the time of this number.
    fn since(&self, connected: usize) -> Option<String> {
        let log = self.log();
        let at = log
            .match_indices("connected")
            .filter(|(at, _)| log[..*at].ends_with(['\n']) || *at == 0)
            .nth(connected - 1)?
            .0;
        Some(log[at..].to_owned())
    }

    /// Waits until it hears something on its connection of this number.
    async fn hears(&self, connected: usize) {
        until_within(4 * PATIENCE, "the client to hear something", || async {
            let heard = self.since(connected).is_some_and(|told| told.contains("\nheard"));
            if heard { Ok(()) } else { Err(self.log()) }
        })
        .await;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- client ---\n{}", self.log());
        }
    }
}

/// A port of TCP that leads to the API: libraries know no unix sockets.
async fn door(daemon: &Daemon) -> u16 {
    let (listener, socket) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), daemon.folder().join("api.sock"));
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let socket = socket.clone();
            tokio::spawn(async move { through(&mut client, &socket).await });
        }
    });
    port
}

async fn through(client: &mut TcpStream, socket: &Path) -> std::io::Result<()> {
    let mut api = UnixStream::connect(socket).await?;
    tokio::io::copy_bidirectional(client, &mut api).await?;
    Ok(())
}

/// Whether the server can be started is `Peer`'s to say; its clients come with it.
async fn survives(recipe: Recipe, url: fn(u16) -> String, keys: &str, client: &str) {
    let Some(mut server) = Peer::start(recipe).await else { return };
    let quick = support::quick!("10min");
    let daemon = Daemon::start(&format!("{quick}\n[endpoints.e]\nurl = \"{}\"\n{keys}\n", url(server.port))).await;
    let client = Client::start(client, door(&daemon).await, daemon.folder());
    client.hears(1).await;
    let before = client.log().lines().filter(|line| line.starts_with("connected")).count();
    server.kill();
    server.restart().await;
    client.hears(before + 1).await;
}

fn script(file: &'static str, needs: &'static str, words: &'static [&'static str]) -> Recipe {
    Recipe::Script(Script { file, needs, words })
}

#[tokio::test]
async fn paho_survives_the_death_of_mosquitto() {
    let url = |port| format!("ws://127.0.0.1:{port}/mqtt");
    survives(Recipe::Mosquitto, url, "protocols = [\"mqtt\"]", "mqtt.py").await;
}

#[tokio::test]
async fn stomp_survives_the_death_of_rabbitmq() {
    let url = |port| format!("ws://127.0.0.1:{port}/ws");
    let rabbit = script("rabbitmq.sh", "rabbitmq-server", &[]);
    survives(rabbit, url, "protocols = [\"v12.stomp\"]", "stomp_client.py").await;
}

#[tokio::test]
async fn graphql_ws_survives_the_death_of_its_server() {
    let url = |port| format!("ws://127.0.0.1:{port}/");
    let keys = "protocols = [\"graphql-transport-ws\"]";
    survives(script("graphql.js", "graphql-ws", &[]), url, keys, "graphql.js").await;
}

#[tokio::test]
async fn a_charge_point_survives_the_death_of_its_central_system() {
    let url = |port| format!("ws://CP-1:right@127.0.0.1:{port}/CP-1");
    survives(script("csms.py", "ocpp", &["v16"]), url, "protocols = [\"ocpp1.6\"]", "ocpp_client.py").await;
}

#[tokio::test]
async fn nats_survives_the_death_of_its_server() {
    let nats = Recipe::Nats { user: "keeper".into(), password: "pass 1".into(), pings: "500ms" };
    survives(nats, |port| format!("ws://127.0.0.1:{port}"), "", "nats.js").await;
}

#[tokio::test]
async fn engine_io_survives_the_death_of_its_server() {
    let url = |port| format!("ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket");
    survives(script("socketio.js", "socket.io", &[]), url, "", "socketio.js").await;
}
