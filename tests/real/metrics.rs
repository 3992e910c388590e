//! `/metrics` of a daemon at work, judged by Prometheus' own tool.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use crate::{
    endpoint, one,
    support::{daemon::Daemon, raw},
};

#[tokio::test]
async fn promtool_finds_nothing_to_complain_about() {
    let port = raw::honest().await;
    let other = endpoint("other", &format!("ws://127.0.0.1:{port}/"), "links = 3");
    let daemon = Daemon::start(&one(port, "/", &other)).await;
    daemon.api.ready_after("e/0", 0).await;
    daemon.api.send_text("e", "hello").await.expect(202);
    let answer = daemon.api.get("/metrics").await.expect(200);
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(
        answer.headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"),
        "{:?}",
        answer.headers
    );
    for name in ["wskeeper_build_info", "wskeeper_links", "process_open_fds", "wskeeper_config_reloads_total"] {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name} is missing");
    }
    let checker =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut checker) = checker else {
        assert!(std::env::var_os("WSKEEPER_TEST_REAL").is_none(), "promtool is not installed");
        eprintln!("SKIPPED: promtool is not installed; tests/run installs it");
        return;
    };
    checker.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let verdict = checker.wait_with_output().unwrap();
    assert!(verdict.status.success() && verdict.stderr.is_empty(), "{}", String::from_utf8_lossy(&verdict.stderr));
}
