//! Random requests and random frames, a bounded number of each: every answer is one that the documents know, and nothing falls.
//!
//! The cases of a run are drawn anew, `PROPTEST_CASES` of them. A failure is made small, and its seed kept in `tests/regressions`:
//! commit it, for what is there is tried first in every run.

use std::time::Duration;

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner},
};
use tokio::{
    io::AsyncWriteExt,
    runtime::{Builder, Runtime},
    time::timeout,
};

use crate::{
    endpoint, one,
    support::{PATIENCE, daemon::Daemon, raw, raw::Raw},
};

mod requests;

#[test]
fn random_requests_get_a_documented_answer_and_disturb_no_other_link() {
    const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/regressions/requests.txt");
    let runtime = runtime();
    let daemon = runtime.block_on(async {
        let port = raw::honest().await;
        // Requests may operate `e`, which they can name, but not the other.
        let other = endpoint("undisturbed", &format!("ws://127.0.0.1:{port}/"), "");
        let daemon = Daemon::start(&one(port, "/", &other)).await;
        daemon.api.ready_after("undisturbed/0", 0).await;
        daemon
    });
    let socket = daemon.config().with_file_name("api.sock");
    let outcome = runner(REGRESSIONS).run(&requests::request(), |request| {
        let answer = runtime.block_on(requests::ask(&socket, &request));
        requests::judge(&request, &answer).map_err(TestCaseError::fail)
    });
    assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    runtime.block_on(async {
        daemon.api.get("/livez").await.expect(200);
        let link = daemon.api.link("undisturbed/0").await;
        assert_eq!((&link["phase"], &link["generation"]), (&"ready".into(), &1.into()), "{link}");
        no_panic(&daemon).await;
    });
}

#[test]
fn random_frames_end_a_connection_and_never_the_link() {
    const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/regressions/frames.txt");
    let runtime = runtime();
    let (peer, daemon) = runtime.block_on(async {
        let peer = Raw::listen().await;
        let honest = endpoint("honest", &format!("ws://127.0.0.1:{}/", raw::honest().await), "");
        let hasty = "[endpoints.e.reconnect]\nfirst = \"1ms\"\ninitial = \"1ms\"\nmax = \"5ms\"\npark_probe = \"5ms\"";
        let daemon = Daemon::start(&one(peer.port, "/", &format!("{hasty}{honest}"))).await;
        daemon.api.ready_after("honest/0", 0).await;
        (peer, daemon)
    });
    let outcome = runner(REGRESSIONS).run(&vec(frame(), 1..6), |frames| {
        let answered = async {
            let mut stream = peer.accept_and_send(&frames.concat()).await;
            let _ended = stream.shutdown().await;
            let mut answer = Vec::new();
            while let Some(frame) = raw::read_frame(&mut stream).await {
                answer.push(frame);
            }
            answer
        };
        match runtime.block_on(async { timeout(PATIENCE, answered).await }) {
            Ok(answer) => lawful(&answer).map_err(TestCaseError::fail),
            Err(_) => Err(TestCaseError::fail("the link holds on to a connection that the peer has ended")),
        }
    });
    assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    runtime.block_on(async {
        let _stream = peer.accept_and_send(b"").await;
        daemon.api.link_until("e/0", "ready", |link| link["phase"] == "ready").await;
        assert_eq!(daemon.api.link("honest/0").await["generation"], 1);
        no_panic(&daemon).await;
    });
}

/// Whether an idle client may say this: control frames that keep the rules, and nothing after a Close.
fn lawful(answer: &[(u8, Vec<u8>)]) -> Result<(), String> {
    for (index, (first, body)) in answer.iter().enumerate() {
        let fault = |what: &str| Err(format!("{what}: frame {index} of {answer:?}"));
        if ![0x88, 0x89, 0x8a].contains(first) || body.len() > 125 {
            return fault("no control frame");
        }
        if *first != 0x88 {
            continue;
        }
        if index + 1 < answer.len() {
            return fault("something follows the Close");
        }
        let code = body.first_chunk().map(|code| u16::from_be_bytes(*code));
        if code.is_some_and(|code| !(1000..5000).contains(&code) || [1005, 1006, 1015].contains(&code)) {
            return fault("a code that may not be sent");
        }
        if body.len() == 1 || std::str::from_utf8(body.get(2..).unwrap_or_default()).is_err() {
            return fault("a broken reason");
        }
    }
    Ok(())
}

async fn no_panic(daemon: &Daemon) {
    assert_eq!(daemon.api.metric("wskeeper_link_panics_total{endpoint=\"e\"}").await, Some(0.0));
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

fn runtime() -> Runtime {
    // A worker of its own: the honest peer answers also between two cases.
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn runner(regressions: &'static str) -> TestRunner {
    let failure_persistence = Some(Box::new(FileFailurePersistence::Direct(regressions)) as _);
    let most = Duration::from_mins(1);
    TestRunner::new(Config {
        failure_persistence,
        max_shrink_iters: 200,
        max_shrink_time: u32::try_from(most.as_millis()).unwrap(),
        ..Config::default()
    })
}

/// A frame with a head that is often right, a body, and sometimes a length that is not its own.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let first =
        prop_oneof![Just(0x81_u8), Just(0x82), Just(0x88), Just(0x89), Just(0x8a), Just(0x01), Just(0x00), any::<u8>()];
    let length = prop_oneof![4 => Just(None), 1 => any::<u8>().prop_map(Some)];
    (first, length, vec(any::<u8>(), 0..125)).prop_map(|(first, length, body)| {
        let length = length.unwrap_or(u8::try_from(body.len()).unwrap());
        [&[first, length], body.as_slice()].concat()
    })
}
