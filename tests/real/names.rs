//! Names by a real dnsmasq, which the daemon alone asks: it has an `/etc/resolv.conf` of its own, in a mount namespace.

use std::{
    env, fs,
    net::Ipv4Addr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::Instant,
};
use tokio_tungstenite::accept_async;

use crate::{
    QUICK, endpoint,
    support::{daemon::Daemon, until, until_within},
};

const LINKS: u32 = 120;
const NAME: &str = "feed.moves.test";
/// How long the server is down.
const OUTAGE: Duration = Duration::from_secs(6);
/// Below this it is the machine that is measured.
const FLOOR: Duration = Duration::from_secs(1);

/// dnsmasq on an address of loopback, with one name.
struct Names {
    child: Child,
    folder: TempDir,
}

impl Names {
    /// `None`, with a line that says so, where it is not installed, or there is no right to a mount namespace, and need not be.
    async fn start(leads_to: Ipv4Addr) -> Option<Self> {
        let Some(program) = can_be_used() else {
            assert!(env::var_os("WSKEEPER_TEST_REAL").is_none(), "dnsmasq and unshare cannot be used as root");
            eprintln!(
                "SKIPPED: dnsmasq is not installed, or this is not root with a right to mount namespaces; tests/run installs it"
            );
            return None;
        };
        let folder = TempDir::new().unwrap();
        // Port 53 is what the resolver asks; the address is this test's own.
        let address = Ipv4Addr::new(127, 0, 53, u8::try_from(1 + std::process::id() % 250).unwrap());
        fs::write(folder.path().join("resolv.conf"), format!("nameserver {address}\noptions timeout:1 attempts:2\n"))
            .unwrap();
        fs::write(folder.path().join("hosts"), format!("{leads_to} {NAME}\n")).unwrap();
        let child = Command::new(program)
            .args(["-k", "-C", "/dev/null", "-p", "53", "-z", "-R", "-h", "-T", "0", "-u", "root", "--pid-file="])
            .args(["-a", &address.to_string(), "-H"])
            .arg(folder.path().join("hosts"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let names = Self { child, folder };
        until("dnsmasq to listen", || TcpStream::connect((address, 53))).await;
        Some(names)
    }

    /// The name leads elsewhere from now on.
    fn move_to(&self, address: Ipv4Addr) {
        fs::write(self.folder.path().join("hosts"), format!("{address} {NAME}\n")).unwrap();
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGHUP).unwrap();
    }

    /// A daemon that asks it.
    async fn daemon(&self, sections: &str) -> Daemon {
        let file = self.folder.path().join("resolv.conf");
        let mut daemon = Daemon::made(sections);
        let own = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
        daemon.run_under(&["unshare", "-m", "sh", "-c", own, file.to_str().unwrap()]);
        daemon.relaunch().await;
        daemon
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        let _sent = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn can_be_used() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut found = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]).map(|folder| folder.join("dnsmasq"));
    let program = found.find(|file| file.exists())?;
    let may = Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
    may.is_ok_and(|status| status.success()).then_some(program)
}

/// A server that keeps every link.
async fn well(address: Ipv4Addr, port: u16) -> JoinHandle<()> {
    let listener = TcpListener::bind((address, port)).await.unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.extend(accept_async(stream).await);
        }
    })
}

/// An outage of all links of an endpoint, from the first attempt on: how long it takes until all are ready once there is a server again,
/// where the name led before or where it leads by then.
async fn outage(moves: bool) -> Option<Duration> {
    let (before, after) = (Ipv4Addr::new(127, 0, 1, 1), Ipv4Addr::new(127, 0, 1, 2));
    let names = Names::start(before).await?;
    let port = crate::support::free_port();
    let section = endpoint("e", &format!("ws://{NAME}:{port}/"), &format!("links = {LINKS}"));
    let daemon = names.daemon(&format!("{QUICK}{section}")).await;
    until("links that are held", || async {
        let held = daemon.api.metric("wskeeper_admission_waiting").await;
        if held >= Some(f64::from(LINKS) * 0.9) { Ok(()) } else { Err(held) }
    })
    .await;
    tokio::time::sleep(OUTAGE).await;
    let home = if moves { after } else { before };
    if moves {
        names.move_to(after);
    }
    let server = well(home, port).await;
    let began = Instant::now();
    let ready = "wskeeper_links{endpoint=\"e\",phase=\"ready\"}";
    until_within(Duration::from_mins(1), "all links to be ready", || async {
        let count = daemon.api.metric(ready).await;
        if count == Some(f64::from(LINKS)) { Ok(()) } else { Err(count) }
    })
    .await;
    let took = began.elapsed();
    server.abort();
    Some(took)
}

#[tokio::test]
async fn links_held_by_an_outage_whose_name_moves_meanwhile_are_ready_as_soon_as_those_of_one_without_a_move() {
    let Some(stayed) = outage(false).await else { return };
    let moved = outage(true).await.unwrap();
    eprintln!("{LINKS} links were ready again after {stayed:?}, and where the name had moved after {moved:?}");
    assert!(moved <= 3 * stayed.max(FLOOR), "{moved:?}, and without a move {stayed:?}");
}
