//! Sockets that the service manager passes on.

use std::{
    net::{Ipv4Addr, TcpListener},
    os::{fd::OwnedFd, unix::net::UnixListener},
    path::PathBuf,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{api::Api, daemon::Daemon, until};

/// Moves descriptor 0 to 3, where sockets are passed, and becomes the daemon.
const PASS: &str =
    r#"exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=${FDS:-1}; export LISTEN_PID LISTEN_FDS; exec "$@""#;

fn launch_with(sections: &str, socket: impl Into<OwnedFd>) -> Daemon {
    let mut daemon = Daemon::made(sections);
    daemon.run_under(&["sh", "-c", PASS, "sh"]);
    daemon.hand_over(socket.into());
    daemon.launch();
    daemon
}

async fn get(port: u16, host: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let request = format!("GET /v1/daemon HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_passed_unix_socket_is_served_in_place_of_the_configured_one_and_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("passed.sock");
    // A client comes before the daemon, and waits.
    let socket = UnixListener::bind(&path).unwrap();
    let api = Api::unix(path.clone());
    let early = tokio::spawn(async move { api.try_get("/livez").await.unwrap().status });
    let mut daemon = launch_with("", socket);
    assert_eq!(early.await.unwrap(), 200);
    assert!(!daemon.folder().join("api.sock").exists(), "api.listen is not bound");
    assert!(daemon.log().contains(&format!("unix:{}", path.display())), "the log says where it listens");
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(daemon.end().await.success());
    assert!(path.exists(), "the file is the service manager's");
}

#[tokio::test]
async fn a_passed_tcp_socket_is_served_and_its_address_is_what_host_is_held_against() {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    let _daemon = launch_with("", socket);
    assert!(get(port, &format!("127.0.0.1:{port}")).await.starts_with("HTTP/1.1 200"));
    assert!(get(port, "rebound.example").await.starts_with("HTTP/1.1 421"));
}

#[tokio::test]
async fn a_passed_socket_that_other_machines_can_reach_demands_tokens() {
    let mut daemon = launch_with("", TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap());
    assert_eq!(daemon.end().await.code(), Some(1));
    assert!(daemon.log().contains("can be reached from other machines, and there are no tokens"), "{}", daemon.log());
}

#[tokio::test]
async fn tokens_that_a_reload_takes_away_do_not_open_the_api_to_other_machines() {
    let socket = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    let sections = "[[api.tokens]]\nname = \"t\"\ntoken = \"${env:WSKEEPER_TEST_TOKEN}\"\nscopes = [\"admin\"]\n";
    let daemon = launch_with(sections, socket);
    let status = |path: &'static str| async move {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    assert!(status("/v1/endpoints").await.starts_with("HTTP/1.1 401"));
    daemon.configure("[endpoints.e]\nurl = \"ws://127.0.0.1:1/\"");
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    until("the reload", || async { daemon.log().contains("configuration reloaded").then_some(()).ok_or("not yet") })
        .await;
    let answer = status("/v1/endpoints").await;
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("no api.tokens"), "{answer}");
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_with_what_to_do() {
    let (one_end, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut daemon = launch_with("", one_end);
    assert_eq!(daemon.end().await.code(), Some(1));
    assert!(daemon.log().contains("no listening stream socket"), "{}", daemon.log());

    let mut daemon = Daemon::made("");
    daemon.set_variable("FDS", "2");
    daemon.run_under(&["sh", "-c", PASS, "sh"]);
    daemon.hand_over(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().into());
    daemon.launch();
    assert_eq!(daemon.end().await.code(), Some(1));
    assert!(daemon.log().contains("2 sockets were passed"), "{}", daemon.log());
}

#[tokio::test]
async fn sockets_that_are_meant_for_another_process_are_left_alone() {
    let mut daemon = Daemon::made("");
    daemon.set_variable("LISTEN_PID", "1");
    daemon.set_variable("LISTEN_FDS", "1");
    daemon.launch();
    daemon.ready().await;
}
