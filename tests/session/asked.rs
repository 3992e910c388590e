//! Requests by presets: several programs ask at once with the same ids, of servers that others wrote and of a stand-in that wants ids to rise.

use futures_util::future::join_all;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{
    stand::{Stand, text},
    support::{
        api::Answer,
        daemon::Daemon,
        peer::{Peer, Recipe, Script},
        until,
    },
    with_preset,
};

const PROGRAMS: u64 = 3;
const EACH: u64 = 20;

async fn asked(daemon: &Daemon, request: &Value) -> Answer {
    daemon.api.post("/v1/endpoints/e/requests", &[], request.to_string()).await
}

/// Each program asks with the ids 1, 2, …; `wants` says what the reply to one is.
async fn each_gets_its_own(
    daemon: &Daemon,
    request: impl Fn(u64, &str) -> Value,
    is_its_own: impl Fn(&Value, u64, &str) -> bool,
) {
    let asks = (0..PROGRAMS).flat_map(|program| (1..=EACH).map(move |id| (program, id))).map(async |(program, id)| {
        let mark = format!("program {program} call {id}");
        let reply = asked(daemon, &request(id, &mark)).await.expect(200).json();
        assert!(is_its_own(&reply, id, &mark), "{mark}: {reply}");
    });
    join_all(asks).await;
}

const RPC: Recipe = Recipe::Script(Script { file: "rpc.js", needs: "rpc-websockets", words: &[] });

#[tokio::test]
async fn programs_that_share_a_json_rpc_server_each_get_their_own_replies_and_errors() {
    let Some(server) = Peer::start(RPC).await else { return };
    let login = "session.values = { method = \"rpc.login\", params = '{\"token\":\"right\"}' }";
    let daemon = Daemon::start(&with_preset("json-rpc", &format!("ws://127.0.0.1:{}", server.port), login)).await;
    let call =
        |id: u64, method: &str, mark: &str| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": [mark] });
    each_gets_its_own(
        &daemon,
        |id, mark| call(id, "echo", mark),
        |reply, id, mark| reply["id"] == id && reply["result"] == mark,
    )
    .await;
    let refused = asked(&daemon, &call(7, "nothing.like.it", "")).await.expect(502).json();
    assert!(refused["id"] == 7 && refused["error"]["code"] == -32601, "{refused}");
}

#[tokio::test]
async fn a_query_of_graphql_is_answered_beside_a_subscription() {
    let recipe = Recipe::Script(Script { file: "graphql.js", needs: "graphql-ws", words: &[] });
    let Some(server) = Peer::start(recipe).await else { return };
    let keys = "subscriptions.keys = [\"subscription { ticks }\"]";
    let daemon = Daemon::start(&with_preset("graphql-ws", &format!("ws://127.0.0.1:{}", server.port), keys)).await;
    let query = |query: &str| json!({ "type": "subscribe", "payload": { "query": query } });
    let reply = asked(&daemon, &query("{ hello }")).await.expect(200).json();
    assert!(reply["type"] == "next" && reply["payload"]["data"]["hello"] == "world", "{reply}");
    let refused = asked(&daemon, &query("{ nothing }")).await.expect(502).json();
    assert_eq!(refused["type"], "error", "{refused}");
}

#[tokio::test]
async fn a_central_system_is_asked_one_call_at_a_time_heartbeats_among_them() {
    for (version, preset) in [(&["v16"], "ocpp1.6"), (&["v201"], "ocpp2.0.1")] {
        let recipe = Recipe::Script(Script { file: "csms.py", needs: "ocpp", words: version });
        let Some(server) = Peer::start(recipe).await else { return };
        let url = format!("ws://CP-1:right@127.0.0.1:{}/CP-1", server.port);
        let values = "session.values = { vendor = \"Example\", model = \"One\" }";
        let daemon = Daemon::start(&with_preset(preset, &url, values)).await;
        let beats = || server.log().matches("\"Heartbeat\"").count();
        // As long as it takes for two heartbeats, which the system wants one a second of.
        while beats() < 2 {
            each_gets_its_own(
                &daemon,
                |id, mark| json!([2, id.to_string(), "DataTransfer", { "vendorId": mark }]),
                |reply, id, mark| {
                    reply[0] == 3 && reply[1].as_str() == Some(&id.to_string()) && reply[2]["data"] == mark
                },
            )
            .await;
        }
        let refused = asked(&daemon, &json!([2, "x", "Authorize", {}])).await.expect(502).json();
        assert!(refused[0] == 4 && refused[1] == "x", "{refused}");
    }
}

#[tokio::test]
async fn a_domain_of_node_stays_enabled_and_calls_have_their_results() {
    let recipe = Recipe::Script(Script { file: "inspected.js", needs: "ws", words: &[] });
    let Some(server) = Peer::start(recipe).await else { return };
    let port = server.port;
    let keys =
        format!("session.values.list = \"http://127.0.0.1:{port}/json/list\"\nsubscriptions.keys = [\"Debugger\"]");
    let daemon =
        Daemon::start(&with_preset("devtools", &format!("ws://127.0.0.1:{port}/${{value:target}}"), &keys)).await;
    let call = |id: u64, method: &str, params: Value| json!({ "id": id, "method": method, "params": params });
    each_gets_its_own(
        &daemon,
        |id, mark| call(id, "Runtime.evaluate", json!({ "expression": format!("'{mark}'") })),
        |reply, id, mark| reply["id"] == id && reply["result"]["result"]["value"] == mark,
    )
    .await;
    for _ in 0..2 {
        until("the domain", || async {
            let view = daemon.api.get("/v1/endpoints/e/subscriptions/Debugger").await.expect(200).json();
            if view["state"] == "active" { Ok(()) } else { Err(view) }
        })
        .await;
        // Only an enabled debugger can be paused so.
        asked(&daemon, &call(1, "Debugger.setAsyncCallStackDepth", json!({ "maxDepth": 1 }))).await.expect(200);
        let before = daemon.api.link("e/0").await["generation"].as_u64().unwrap();
        daemon.api.post("/v1/links/e/0/reconnect", &[], "").await.expect(200);
        daemon.api.ready_after("e/0", before).await;
    }
    let unknown = asked(&daemon, &call(1, "Nothing.likeIt", json!({}))).await.expect(502).json();
    assert!(unknown["id"] == 1 && unknown["error"].is_object(), "{unknown}");
}

#[tokio::test]
async fn home_assistant_hears_ids_that_rise_whoever_asks() {
    let last = Mutex::new(0);
    let home = move |heard: Option<&str>| {
        let Some(heard) = heard else {
            *last.lock() = 0;
            return vec![text(r#"{"type":"auth_required"}"#)];
        };
        let command: Value = serde_json::from_str(heard).unwrap_or_default();
        if command["type"] == "auth" {
            return vec![text(r#"{"type":"auth_ok"}"#)];
        }
        let (id, mut last) = (command["id"].as_u64().unwrap(), last.lock());
        let reply = if id <= std::mem::replace(&mut *last, id) {
            let error = json!({ "code": "id_reuse", "message": "Identifier values have to increase." });
            json!({ "id": id, "type": "result", "success": false, "error": error })
        } else {
            json!({ "id": id, "type": "result", "success": true, "result": command["mark"] })
        };
        vec![text(&reply.to_string())]
    };
    let stand = Stand::start("", home).await;
    let keys = "session.values.token = \"right\"\nsubscriptions.keys = [\"a\", \"b\"]";
    let url = format!("ws://127.0.0.1:{}/api/websocket", stand.port);
    let daemon = Daemon::start(&with_preset("home-assistant", &url, keys)).await;
    let put = async {
        for key in 0..EACH {
            daemon.api.put(&format!("/v1/endpoints/e/subscriptions/more{key}"), "").await.expect(201);
        }
    };
    let ask = each_gets_its_own(
        &daemon,
        |id, mark| json!({ "id": id, "type": "get_states", "mark": mark }),
        |reply, id, mark| reply["id"] == id && reply["success"] == true && reply["result"] == mark,
    );
    futures_util::join!(put, ask);
    until("all keys", || async {
        let series = "wskeeper_subscriptions{endpoint=\"e\",state=\"active\"}";
        let active = daemon.api.metric(series).await;
        if active == Some(22.0) { Ok(()) } else { Err(active) }
    })
    .await;
}
