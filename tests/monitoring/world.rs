//! A daemon that has something to tell by every metric: links that stay up, flap, go silent, are refused and are fed poison.
//!
//! Traffic goes on until the world is dropped, because rates need it.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;
use wskeeper::cli::echo::{Closing, Faults, Peer, Refusal, Refusing};

use crate::{
    peers,
    support::{api::Api, daemon::Daemon, tls::Authority},
};

pub struct World {
    pub daemon: Daemon,
    sections: String,
    _peers: Vec<Peer>,
    _authority: Authority,
    traffic: JoinHandle<()>,
}

const SECTIONS: &str = r#"
[storage]
dir = "{folder}/store"
[defaults]
connect_timeout = "5s"
close_timeout = "1s"
[defaults.reconnect]
first = "50ms"
initial = "50ms"
max = "1s"
stable = "5s"
park_probe = "2s"
"#;

/// A session on every connection, with a heartbeat that the peer echoes.
const SESSION: &str = r#"[endpoints.flapping.session]
open = [{ send = "hello" }]
every = [{ every = "100ms", send = "beat", expect = { text = "beat" }, hide = true }]
[endpoints.flapping.subscriptions]
keys = ["tick"]
add = "watch ${key}""#;

impl World {
    /// One whose links are where they should be.
    pub async fn start() -> Self {
        let faulty = |faults| Peer::start("127.0.0.1:0", faults, Arc::new(|_| {}));
        let restart = Closing { code: 1012, reason: "restart".into(), after: Duration::from_millis(700) };
        let refusal = Refusing { refusal: Refusal { status: 403, retry_after: None }, lasting: None, every: None };
        let peers = vec![
            faulty(Faults::default()).await.unwrap(),
            faulty(Faults { close: Some(restart), ..Faults::default() }).await.unwrap(),
            faulty(Faults { half_open: true, ..Faults::default() }).await.unwrap(),
            faulty(Faults { refuse: Some(refusal), ..Faults::default() }).await.unwrap(),
            faulty(Faults { drop_every: Some(Duration::from_secs(2)), ..Faults::default() }).await.unwrap(),
        ];
        let authority = Authority::new();
        let secure = format!("wss://localhost:{}/", peers::under_tls(authority.acceptor()).await);
        let poison = format!("ws://127.0.0.1:{}/", peers::that_refuses_poison().await);
        let url = |index: usize| peers[index].url();
        let sections = [
            SECTIONS.to_owned(),
            endpoint(
                "trades",
                &url(0),
                "requests = { id = \"/id\", reply = \"/id\" }\nlinks = 3\ncritical = true\nmin_ready = 2\noutbox.total = { rate = 20, burst = 1 }\nreconnect.budget = { attempts = 1000, per = \"1h\" }\n[endpoints.trades.inbox]\nmax_messages = 16\n[[endpoints.trades.push]]\nname = \"pipe\"\ncommand = [\"/bin/cat\"]\n[brokers.away]\nnats = [\"nats://127.0.0.1:1\"]\n[[endpoints.trades.bridges]]\nname = \"md\"\nbroker = \"away\"\npublish = \"md\"",
            ),
            endpoint("flapping", &url(1), SESSION),
            endpoint("silent", &url(2), "[endpoints.silent.heartbeat]\nidle = \"300ms\"\ntimeout = \"300ms\""),
            endpoint("refused", &url(3), "[endpoints.refused.outbox]\nmax_messages = 2"),
            format!("\n[endpoints.reset]\nurls = [\"{0}\", \"{0}\"]\nlinks = 2\n", url(4)),
            endpoint(
                "orders",
                &poison,
                "[endpoints.orders.outbox]\ndelivery = \"at_least_once\"\ndurability = \"disk\"",
            ),
            endpoint("secure", &secure, &format!("http2 = \"auto\"\n{}", authority.trust_and_show("secure"))),
        ];
        let daemon = Daemon::start(&sections.concat()).await;
        for ready in ["trades/0", "trades/2", "orders/0", "secure/0"] {
            daemon.api.ready_after(ready, 0).await;
        }
        let traffic = tokio::spawn(traffic(daemon.api.clone()));
        Self { daemon, sections: sections.concat(), _peers: peers, _authority: authority, traffic }
    }

    /// A good and a refused reload, and a message that its peer refuses. An increase is seen only from one scrape to a later
    /// one, so this is for when the first has been.
    pub async fn count_what_happens_once(&self) {
        let api = &self.daemon.api;
        api.post("/v1/reload", &[], "").await.expect(200);
        self.daemon.configure(&format!("{}\n[endpoints.trades.typo]\n", self.sections));
        api.post("/v1/reload", &[], "").await.expect(422);
        api.send_text("orders", "poison").await.expect(202);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.traffic.abort();
    }
}

/// A little of everything, five times a second. What is refused is meant to be.
async fn traffic(api: Api) {
    for number in 0_u64.. {
        for endpoint in ["trades", "trades", "flapping", "reset", "orders", "secure", "refused", "silent"] {
            api.send_text(endpoint, &format!("message {number}")).await;
        }
        api.send_binary("trades", vec![7; 200]).await;
        if number % 5 == 0 {
            api.post(
                "/v1/endpoints/trades/messages?wait=confirmed&timeout=2s",
                &[("content-type", "text/plain")],
                "and?",
            )
            .await;
            api.post("/v1/endpoints/trades/requests", &[], "{}").await;
            // It asks for more than the window has, and is told so.
            api.events("trades", "from=1").await.within(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn endpoint(name: &str, url: &str, more: &str) -> String {
    format!("\n[endpoints.{name}]\nurl = \"{url}\"\n{more}\n")
}
