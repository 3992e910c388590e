//! Servers that are shut down in order or reloaded: what they say is what is shown, and the link is back when they are.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    QUICK, endpoint, one,
    support::{
        daemon::Daemon,
        peer::{Peer, Recipe},
        tls::Authority,
    },
};

#[tokio::test]
async fn a_server_that_is_shut_down_in_order_says_1001_and_the_link_is_back_after_its_restart() {
    let Some(mut python) = Peer::start(Recipe::Python).await else { return };
    let daemon = Daemon::start(&one(python.port, "/", "")).await;
    daemon.api.ready_after("e/0", 0).await;
    python.stop(Signal::SIGTERM).await;
    let link = daemon.api.link_until("e/0", "refused", |link| link["lastClose"]["cause"] == "connect").await;
    assert_eq!(link["generation"], 1, "{link}");
    assert_eq!(daemon.api.metric(&closes("1001", true, "remote")).await, Some(1.0));
    python.restart().await;
    daemon.api.ready_after("e/0", 1).await;
    carries(&daemon).await;
}

#[tokio::test]
async fn a_mosquitto_that_is_restarted_in_order_has_its_link_back() {
    let Some(mut mosquitto) = Peer::start(Recipe::Mosquitto).await else { return };
    let daemon = Daemon::start(&one(mosquitto.port, "/mqtt", "protocols = [\"mqtt\"]")).await;
    daemon.api.ready_after("e/0", 0).await;
    mosquitto.stop(Signal::SIGTERM).await;
    daemon.api.link_until("e/0", "refused", |link| link["lastClose"]["cause"] == "connect").await;
    mosquitto.restart().await;
    let link = daemon.api.ready_after("e/0", 1).await;
    assert_eq!((&link["generation"], &link["protocol"]), (&2.into(), &"mqtt".into()), "{link}");
}

#[tokio::test]
async fn a_proxy_that_is_reloaded_costs_one_connection() {
    let Some((_python, nginx, daemon)) = behind_nginx().await else { return };
    nginx.signal(Signal::SIGHUP);
    // The old worker gives tunnels a second; a new one has long taken over.
    let link = daemon.api.ready_after("e/0", 1).await;
    assert_abnormal(&link);
    assert_eq!(link["generation"], 2, "{link}");
    carries(&daemon).await;
}

#[tokio::test]
async fn a_proxy_that_quits_in_order_is_dialled_until_it_is_back() {
    let Some((_python, mut nginx, daemon)) = behind_nginx().await else { return };
    nginx.stop(Signal::SIGQUIT).await;
    daemon.api.link_until("e/0", "refused", |link| link["lastClose"]["cause"] == "connect").await;
    nginx.restart().await;
    let link = daemon.api.ready_after("e/0", 1).await;
    assert_eq!(link["generation"], 2, "{link}");
    carries(&daemon).await;
}

async fn behind_nginx() -> Option<(Peer, Peer, Daemon)> {
    let authority = Authority::new();
    let python = Peer::start(Recipe::Python).await?;
    let nginx = authority.nginx("localhost", false, python.port).await?;
    let url = format!("wss://localhost:{}/", nginx.port);
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", &url, "tls = { insecure = true }"))).await;
    daemon.api.ready_after("e/0", 0).await;
    Some((python, nginx, daemon))
}

#[track_caller]
fn assert_abnormal(link: &Value) {
    assert_eq!((&link["lastClose"]["code"], &link["lastClose"]["wasClean"]), (&1006.into(), &false.into()), "{link}");
}

fn closes(code: &str, clean: bool, cause: &str) -> String {
    format!("wskeeper_closes_total{{cause=\"{cause}\",clean=\"{clean}\",code=\"{code}\",endpoint=\"e\"}}")
}

async fn carries(daemon: &Daemon) {
    let mut events = daemon.api.events("e", "from=latest&types=message").await;
    daemon.api.send_text("e", "still here").await.expect(202);
    assert_eq!(events.next_of("message").await.payload().0, b"still here");
}
