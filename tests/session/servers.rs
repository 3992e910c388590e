//! Presets against servers that others wrote.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use crate::{
    explained_when_parked,
    support::{
        daemon::Daemon,
        peer::{Peer, Recipe, Script},
        until,
    },
    walk::{Case, WATCHING, walk},
    with_preset,
};

fn nats() -> Recipe {
    Recipe::Nats { user: "keeper".into(), password: "pass 1".into(), pings: "500ms" }
}

fn mosquitto() -> Recipe {
    Recipe::GuardedMosquitto { user: "keeper".into(), password: "pass 1".into() }
}

const GRAPHQL: Recipe = Recipe::Script(Script { file: "graphql.js", needs: "graphql-ws", words: &[] });

fn user(password: &str) -> String {
    format!("session.values = {{ user = \"keeper\", pass = \"{password}\" }}")
}

fn token(password: &str) -> String {
    format!("session.values.token = \"{password}\"")
}

/// Waits until the server has told this, and gives all that it told.
async fn told(peer: &Peer, what: &str) -> String {
    until(what, || async {
        let log = peer.log();
        if log.contains(what) { Ok(log) } else { Err(log) }
    })
    .await
}

#[tokio::test]
async fn nats_is_logged_into_and_subscribed_to_first_on_every_connection() {
    walk(Case {
        preset: "nats",
        recipe: nats(),
        url: |port, _| format!("ws://127.0.0.1:{port}"),
        keys: |password| format!("{}\nsubscriptions.keys = [\"news\"]", user(password)),
        password: "pass 1",
        refusal: "Authorization Violation",
        open: "",
        replay: ("", "<<- [SUB news news]"),
        login: "<<- [CONNECT {",
        message: |mark| (format!("PUB news 5\r\n{mark}\r\n"), true),
        heard: |mark| format!("<<- MSG_PAYLOAD: [\"{mark}\"]"),
        answer: str::to_owned,
        one_at_a_time: false,
        watch: None,
    })
    .await;
}

#[tokio::test]
async fn nats_is_answered_when_it_pings() {
    let Some(nats) = Peer::start(nats()).await else { return };
    let daemon = Daemon::start(&with_preset("nats", &format!("ws://127.0.0.1:{}", nats.port), &user("pass 1"))).await;
    daemon.api.ready_after("e/0", 0).await;
    // It pings twice a second, and would have ended a connection that does not answer.
    until("two answers", || async {
        let answers = nats.log().matches("<<- [PONG]").count();
        if answers >= 2 { Ok(()) } else { Err(answers) }
    })
    .await;
}

#[tokio::test]
async fn mosquitto_is_logged_into_and_subscribed_to_first_on_every_connection() {
    walk(Case {
        preset: "mqtt",
        recipe: mosquitto(),
        url: |port, _| format!("ws://127.0.0.1:{port}/mqtt"),
        keys: user,
        password: "pass 1",
        refusal: "unauthorized",
        open: "",
        replay: ("{ send = { hex = \"82 08 0001 0003 6d2f23 00\" } },", "Received SUBSCRIBE"),
        login: "New client connected",
        message: |mark| (format!("\x30\x0a\0\x07m/{mark}!"), true),
        heard: |mark| format!("'m/{mark}'"),
        answer: |mark| format!("m/{mark}!"),
        one_at_a_time: false,
        watch: None,
    })
    .await;
}

#[tokio::test]
async fn mosquitto_is_taken_leave_of() {
    let Some(mosquitto) = Peer::start(mosquitto()).await else { return };
    let url = format!("ws://127.0.0.1:{}/mqtt", mosquitto.port);
    let daemon = Daemon::start(&with_preset("mqtt", &url, &user("pass 1"))).await;
    daemon.api.ready_after("e/0", 0).await;
    daemon.api.post("/v1/links/e/0/pause", &[], "").await.expect(200);
    told(&mosquitto, "Received DISCONNECT").await;
}

#[tokio::test]
async fn mosquitto_without_users_takes_the_preset_without_them() {
    let Some(mosquitto) = Peer::start(Recipe::Mosquitto).await else { return };
    let url = format!("ws://127.0.0.1:{}/mqtt", mosquitto.port);
    let daemon = Daemon::start(&with_preset("mqtt-anonymous", &url, "")).await;
    daemon.api.ready_after("e/0", 0).await;
}

const GUARDED_GRAPH: &str = "\
{ send = { json = { type = \"connection_init\", payload = { token = \"${value:token}\" } } } },
{ expect = { json = { \"/type\" = \"connection_ack\" } }, hide = true },";

#[tokio::test]
async fn graphql_ws_is_opened_and_subscribed_to_first_on_every_connection() {
    walk(Case {
        preset: "graphql-ws",
        recipe: GRAPHQL,
        url: |port, _| format!("ws://127.0.0.1:{port}/guarded"),
        keys: |password| format!("{}\nsubscriptions.keys = [\"subscription {{ ticks }}\"]", token(password)),
        password: "right",
        refusal: "4403",
        open: GUARDED_GRAPH,
        replay: ("", "subscription { ticks }"),
        login: "connection_init",
        message: |mark| (format!(r#"{{"id":"{mark}","type":"subscribe","payload":{{"query":"{{ hello }}"}}}}"#), false),
        heard: |mark| format!(r#"heard {{"id":"{mark}""#),
        answer: |mark| format!(r#""id":"{mark}","type":"next""#),
        one_at_a_time: false,
        watch: None,
    })
    .await;
}

#[tokio::test]
async fn graphql_ws_is_opened_as_the_preset_says_and_answered_when_it_pings() {
    let Some(server) = Peer::start(GRAPHQL).await else { return };
    let daemon = Daemon::start(&with_preset("graphql-ws", &format!("ws://127.0.0.1:{}", server.port), "")).await;
    daemon.api.ready_after("e/0", 0).await;
    told(&server, r#"heard {"type":"pong"}"#).await;
}

#[tokio::test]
async fn a_password_that_a_reload_brings_and_the_server_refuses_parks_the_link_at_the_next_connection() {
    let Some(server) = Peer::start(GRAPHQL).await else { return };
    let url = format!("ws://127.0.0.1:{}/guarded", server.port);
    let with = |password: &str| {
        with_preset("graphql-ws", &url, &format!("{}\nsession.open = [\n{GUARDED_GRAPH}\n]", token(password)))
    };
    let daemon = Daemon::start(&with("right")).await;
    daemon.api.ready_after("e/0", 0).await;
    daemon.configure(&with("wrong"));
    daemon.api.post("/v1/reload", &[], "").await.expect(200);
    // The old connection is in use until a new one is ready, and none becomes so.
    daemon.api.post("/v1/links/e/0/reconnect", &[], "").await;
    let explained = explained_when_parked(&daemon).await;
    assert!(explained.contains("4403"), "{explained}");
}

/// A subscriber of its own, whose queue outlives it and the broker: what the broker passes on, as lines of the record.
fn watch_stomp(port: u16, record: std::path::PathBuf) {
    tokio::spawn(async move {
        loop {
            let _ended = watch_once(port, &record).await;
            // It comes back when the broker does.
            tokio::time::sleep(std::time::Duration::from_millis(15)).await;
        }
    });
}

async fn watch_once(port: u16, record: &std::path::Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut request = format!("ws://127.0.0.1:{port}/ws").into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("v12.stomp"));
    let mut socket = client_async(request, TcpStream::connect(("127.0.0.1", port)).await?).await?.0;
    socket.send(Message::text("CONNECT\naccept-version:1.2\nhost:/\nlogin:watcher\npasscode:watcher\n\n\0")).await?;
    let queue = "id:watcher\ndurable:true\nauto-delete:false\nack:client-individual";
    socket.send(Message::text(format!("SUBSCRIBE\ndestination:/topic/news\n{queue}\nreceipt:1\n\n\0"))).await?;
    while let Some(message) = socket.next().await {
        let text = message?.into_text()?;
        // A broker that is still starting says so, and leaves the connection as it is.
        if text.trim_start().starts_with("ERROR\n") {
            return Err("refused".into());
        }
        let mut file = std::fs::OpenOptions::new().append(true).open(record)?;
        // The queue is there, and outlives the broker.
        if text.trim_start().starts_with("RECEIPT\n") {
            std::io::Write::write_all(&mut file, WATCHING.as_bytes())?;
        }
        let Some((head, body)) = text.split_once("\n\n") else { continue };
        let Some(id) = head.lines().find_map(|line| line.strip_prefix("ack:")) else { continue };
        std::io::Write::write_all(
            &mut file,
            format!("passed on {}\n", body.trim_end_matches(['\0', '\n'])).as_bytes(),
        )?;
        socket.send(Message::text(format!("ACK\nid:{id}\n\n\0"))).await?;
    }
    Ok(())
}

#[tokio::test]
async fn rabbitmq_is_logged_into_and_subscribed_to_first_on_every_connection() {
    walk(Case {
        preset: "stomp",
        recipe: Recipe::Script(Script { file: "rabbitmq.sh", needs: "rabbitmq-server", words: &[] }),
        url: |port, _| format!("ws://127.0.0.1:{port}/ws"),
        keys: |password| {
            format!("{}\nsubscriptions = {{ keys = [\"/topic/news\"], ready_when = \"confirmed\" }}", user(password))
        },
        password: "pass 1",
        refusal: "Access refused for user 'keeper'",
        open: "",
        replay: ("", ""),
        login: "User 'keeper' authenticated successfully",
        message: |mark| (format!("SEND\ndestination:/topic/news\npersistent:true\n\n{mark}\0"), false),
        heard: |mark| format!("passed on {mark}\n"),
        answer: |mark| format!("\n\n{mark}\0"),
        one_at_a_time: false,
        watch: Some(watch_stomp),
    })
    .await;
}

const fn central_system(version: &'static [&'static str]) -> Recipe {
    Recipe::Script(Script { file: "csms.py", needs: "ocpp", words: version })
}

fn charge_point(version: &'static [&'static str], preset: &'static str) -> Case {
    Case {
        preset,
        recipe: central_system(version),
        url: |port, password| format!("ws://CP-1:{password}@127.0.0.1:{port}/CP-1"),
        keys: |_| "session.values = { vendor = \"Example\", model = \"One\" }".to_owned(),
        password: "right",
        refusal: "401 Unauthorized",
        open: "",
        replay: ("", ""),
        login: "\"BootNotification\"",
        message: |mark| (format!(r#"[2,"{mark}","DataTransfer",{{"vendorId":"{mark}"}}]"#), false),
        heard: |mark| format!(r#"heard [2,"{mark}""#),
        answer: |mark| format!(r#"[3,"{mark}""#),
        one_at_a_time: true,
        watch: None,
    }
}

#[tokio::test]
async fn a_central_system_of_ocpp_1_6_hears_of_a_boot_first_on_every_connection() {
    walk(charge_point(&["v16"], "ocpp1.6")).await;
}

#[tokio::test]
async fn a_central_system_of_ocpp_2_0_1_hears_of_a_boot_first_on_every_connection() {
    walk(charge_point(&["v201"], "ocpp2.0.1")).await;
}

#[tokio::test]
async fn a_central_system_hears_heartbeats_as_often_as_it_says_and_consumers_see_no_answer_to_them() {
    let Some(server) = Peer::start(central_system(&["v16"])).await else { return };
    let url = format!("ws://CP-1:right@127.0.0.1:{}/CP-1", server.port);
    let values = "session.values = { vendor = \"Example\", model = \"One\" }";
    let daemon = Daemon::start(&with_preset("ocpp1.6", &url, values)).await;
    told(&server, "\"Heartbeat\"").await;
    daemon.api.send_text("e", r#"[2,"mine","DataTransfer",{"vendorId":"mine"}]"#).await.expect(202);
    let mut events = daemon.api.events("e", "from=oldest&types=message").await;
    let (answer, _) = events.next_of("message").await.payload();
    assert!(String::from_utf8_lossy(&answer).contains("mine"), "{answer:?}");
}

#[tokio::test]
async fn a_central_system_that_takes_no_such_model_is_asked_again_slowly() {
    let Some(server) = Peer::start(central_system(&["v201"])).await else { return };
    let url = format!("ws://CP-1:right@127.0.0.1:{}/CP-1", server.port);
    let mut daemon =
        Daemon::made(&with_preset("ocpp2.0.1", &url, "session.values = { vendor = \"Example\", model = \"Two\" }"));
    daemon.launch();
    daemon.alive().await;
    let link = daemon.api.link_until("e/0", "slow", |link| link["phaseReason"] == "slow").await;
    assert!(link["lastClose"]["detail"].to_string().contains("Rejected"), "{link}");
}

#[tokio::test]
async fn socket_io_is_joined_and_subscribed_to_first_on_every_connection() {
    walk(Case {
        preset: "socket.io",
        recipe: Recipe::Script(Script { file: "socketio.js", needs: "socket.io", words: &[] }),
        url: |port, _| format!("ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"),
        keys: |password| format!("session.values.auth = '{{\"token\":\"{password}\"}}'"),
        password: "right",
        refusal: "this token is not known",
        open: "",
        replay: ("{ send = '42[\"subscribe\",\"news\"]' },", "heard message 2[\"subscribe\""),
        login: "heard message 0{\"token\"",
        message: |mark| (format!("42[\"echo\",\"{mark}\"]"), false),
        heard: |mark| format!("heard message 2[\"echo\",\"{mark}\"]"),
        answer: |mark| format!("42[\"echo\",\"{mark}\"]"),
        one_at_a_time: false,
        watch: None,
    })
    .await;
}

#[tokio::test]
async fn json_rpc_is_logged_into_and_subscribed_to_first_on_every_connection() {
    walk(Case {
        preset: "json-rpc",
        recipe: Recipe::Script(Script { file: "rpc.js", needs: "rpc-websockets", words: &[] }),
        url: |port, _| format!("ws://127.0.0.1:{port}"),
        keys: |password| {
            format!("session.values = {{ method = \"rpc.login\", params = '{{\"token\":\"{password}\"}}' }}")
        },
        password: "right",
        refusal: "unauthorized",
        open: "",
        replay: (
            "{ send = { json = { jsonrpc = \"2.0\", id = \"news\", method = \"rpc.on\", params = [\"news\"] } } },",
            "\"rpc.on\"",
        ),
        login: "\"rpc.login\"",
        message: |mark| (format!(r#"{{"jsonrpc":"2.0","id":"{mark}","method":"echo","params":["{mark}"]}}"#), false),
        heard: |mark| format!(r#""id":"{mark}""#),
        answer: |mark| format!(r#""result":"{mark}""#),
        one_at_a_time: false,
        watch: None,
    })
    .await;
}

#[tokio::test]
async fn prosody_is_logged_into_and_told_of_presence_first_on_every_connection() {
    walk(Case {
        preset: "xmpp",
        recipe: Recipe::Script(Script { file: "prosody.sh", needs: "prosody", words: &[] }),
        url: |port, _| format!("ws://127.0.0.1:{port}/xmpp-websocket"),
        keys: |password| {
            format!("session.values = {{ domain = \"localhost\", user = \"keeper\", pass = \"{password}\" }}")
        },
        password: "pass 1",
        refusal: "Unable to authorize you",
        open: "",
        replay: ("{ send = '<presence xmlns=\"jabber:client\"/>' },", "Received[c2s]: <presence xml:lang"),
        login: "Authenticated as keeper@localhost",
        message: |mark| {
            (
                format!("<iq xmlns=\"jabber:client\" type=\"get\" id=\"{mark}\"><ping xmlns=\"urn:xmpp:ping\"/></iq>"),
                false,
            )
        },
        heard: |mark| format!("id='{mark}'"),
        answer: |mark| format!("id='{mark}'"),
        one_at_a_time: false,
        watch: None,
    })
    .await;
}

#[tokio::test]
async fn the_inspector_of_node_is_found_anew_for_every_connection() {
    walk(Case {
        preset: "devtools",
        recipe: Recipe::Script(Script { file: "inspected.js", needs: "ws", words: &[] }),
        url: |port, _| format!("ws://127.0.0.1:{port}/${{value:target}}"),
        keys: |_| "session.values.list = \"http://127.0.0.1:PORT/json/list\"".to_owned(),
        password: "",
        refusal: "",
        open: "",
        replay: (
            "{ send = { json = { id = 9999, method = \"Runtime.evaluate\", params = { expression = \"console.log('again')\" } } } },",
            "\nagain\n",
        ),
        login: "Debugger attached.",
        message: |mark| {
            let number = mark[1..].parse::<u32>().unwrap();
            let evaluate = format!(r#"{{"expression":"console.log('{mark}')"}}"#);
            (format!(r#"{{"id":{number},"method":"Runtime.evaluate","params":{evaluate}}}"#), false)
        },
        heard: |mark| format!("\n{mark}\n"),
        answer: |mark| format!("{{\"id\":{},\"result\"", mark[1..].parse::<u32>().unwrap()),
        one_at_a_time: true,
        watch: None,
    })
    .await;
}

#[tokio::test]
async fn a_notebooks_kernel_is_there_before_anything_else_on_every_connection() {
    walk(Case {
        preset: "jupyter",
        recipe: Recipe::Script(Script { file: "notebooks.py", needs: "jupyter_server", words: &[] }),
        url: |port, _| format!("ws://127.0.0.1:{port}/api/kernels/${{value:kernel}}/channels"),
        keys: |password| {
            format!(
                "session.values = {{ server = \"http://127.0.0.1:PORT\", token = \"{password}\" }}"
            )
        },
        password: "right",
        refusal: "status 403",
        open: "",
        replay: ("", ""),
        login: "Connecting to kernel",
        message: |mark| {
            let header = format!(
                r#"{{"msg_id":"{mark}","msg_type":"execute_request","username":"me","session":"me","date":"2026-11-29T00:00:00Z","version":"5.3"}}"#
            );
            let code = format!(r"open('log','a').write('ran {mark}\\n')");
            let content = format!(
                r#"{{"code":"{code}","silent":false,"store_history":false,"user_expressions":{{}},"allow_stdin":false,"stop_on_error":true}}"#
            );
            (format!(r#"{{"channel":"shell","header":{header},"parent_header":{{}},"metadata":{{}},"content":{content}}}"#), false)
        },
        heard: |mark| format!("ran {mark}\n"),
        answer: |mark| format!("\"msg_id\": \"{mark}\""),
        one_at_a_time: true,
        watch: None,
    })
    .await;
}
