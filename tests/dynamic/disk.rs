//! Endpoints on disk: what is there after a restart, a kill, a damaged file and a full disk.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    keys, logged, names, path,
    peer::Peer,
    problem, put, sections, started,
    support::{daemon::Daemon, until},
    told,
};

fn file(daemon: &Daemon, name: &str) -> PathBuf {
    daemon.folder().join(format!("storage/endpoints/{name}.json"))
}

#[tokio::test]
async fn after_a_restart_those_on_disk_are_there_and_those_in_memory_are_not() {
    let (peer, mut daemon) = (Peer::listen().await, started("disk").await);
    put(&daemon, "kept", &keys(peer.port, "kept")).await.expect(201);
    put(&daemon, "gone", &keys(peer.port, "gone")).await.expect(201);
    daemon
        .api
        .put(&format!("{}?keep=memory", path("passing")), keys(peer.port, "passing").to_string())
        .await
        .expect(201);
    // From disk to memory.
    put(&daemon, "turned", &keys(peer.port, "turned")).await.expect(201);
    daemon.api.put(&format!("{}?keep=memory", path("turned")), keys(peer.port, "turned").to_string()).await.expect(200);
    daemon.api.delete(&path("gone")).await.expect(200);
    let etag = daemon.api.get(&path("kept")).await.headers["etag"].clone();
    assert_eq!(fs::metadata(file(&daemon, "kept")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(daemon.api.get(&path("passing")).await.json()["source"], "memory");
    assert_eq!(daemon.api.metric("wskeeper_endpoints{source=\"disk\"}").await, Some(1.0));

    daemon.signal(Signal::SIGTERM);
    assert!(daemon.end().await.success());
    daemon.relaunch().await;
    assert_eq!(names(&daemon).await, ["kept"]);
    let shown = daemon.api.get(&path("kept")).await.expect(200);
    assert_eq!((&shown.headers["etag"], &shown.json()["source"]), (&etag, &json!("disk")));
    daemon.api.ready_after("kept/0", 0).await;
    // What stands in the file is what was put.
    assert_eq!(told(&put(&daemon, "kept", &keys(peer.port, "kept")).await.expect(200).json()), ["kept/0 unchanged"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_there_is_what_was_answered_while_the_daemon_stopped() {
    let (peer, mut daemon) = (Peer::listen().await, started("disk").await);
    let putting: Vec<_> = (0..4)
        .map(|one| {
            let (api, port) = (daemon.api.clone(), peer.port);
            tokio::spawn(async move {
                let mut answers = Vec::new();
                for number in 0.. {
                    let name = format!("x{one}-{number}");
                    let Ok(answer) = api.try_put(&path(&name), keys(port, &name).to_string()).await else { break };
                    answers.push((name, answer.status));
                }
                answers
            })
        })
        .collect();
    until("some are there", || async {
        let there = names(&daemon).await.len();
        if there >= 20 { Ok(()) } else { Err(there) }
    })
    .await;
    daemon.signal(Signal::SIGTERM);
    let mut answers = Vec::new();
    for one in putting {
        answers.extend(one.await.unwrap());
    }
    assert!(daemon.end().await.success());
    daemon.relaunch().await;
    for (name, status) in answers {
        let found = daemon.api.get(&path(&name)).await.status;
        assert_eq!((status == 201, status == 503), (found == 200, found == 404), "{name}: {status}, then {found}");
    }
}

#[tokio::test]
async fn a_secret_in_clear_is_not_written_to_disk() {
    let daemon = started("disk").await;
    let url = "ws://127.0.0.1:9/";
    for (keys, key) in [
        (json!({ "url": url, "headers": { "Authorization": "Bearer hunter2" } }), "headers.Authorization"),
        (json!({ "url": "ws://u:hunter2@127.0.0.1:9/" }), "url"),
        (json!({ "url": "ws://127.0.0.1:9/?access_token=hunter2" }), "url"),
        (
            json!({ "url": url, "session": { "values": { "token": "hunter2" }, "open": [{ "send": "${value:token}" }] } }),
            "session.values.token",
        ),
        (json!({ "url": url, "session": { "open": [{ "send": "PASS hunter2" }] } }), "session.open[0].send"),
        (json!({ "url": url, "push": [{ "name": "p", "url": "http://h/", "secret": "hunter2" }] }), "push[0].secret"),
    ] {
        let answer = put(&daemon, "x", &keys).await;
        assert_eq!((answer.status, problem(&answer)), (422, "secret-in-clear".into()), "{keys}");
        assert_eq!(answer.json()["keys"], json!([key]));
        let kept = daemon.api.put(&format!("{}?keep=memory", path("x")), keys.to_string()).await;
        assert!([200, 201].contains(&kept.status), "{kept:?}");
        assert_eq!(kept.json()["source"], "memory");
    }
    let written = fs::read_dir(daemon.folder().join("storage/endpoints")).unwrap().count();
    assert_eq!(written, 1, "the lock");
    assert!(!daemon.log().contains("hunter2"));
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_the_daemon_starts_with_the_others() {
    let (peer, mut daemon) = (Peer::listen().await, started("disk").await);
    put(&daemon, "good", &keys(peer.port, "good")).await.expect(201);
    put(&daemon, "bad", &keys(peer.port, "bad")).await.expect(201);
    put(&daemon, "odd", &keys(peer.port, "odd")).await.expect(201);
    daemon.kill();
    let whole = fs::read(file(&daemon, "bad")).unwrap();
    fs::write(file(&daemon, "bad"), &whole[..whole.len() / 2]).unwrap();
    fs::write(file(&daemon, "odd"), "{\"url\":\"ws://h/\",\"no_such_key\":1}").unwrap();
    daemon.relaunch().await;
    assert_eq!(names(&daemon).await, ["good"]);
    assert!(daemon.folder().join("storage/endpoints/bad.json.damaged").exists());
    assert!(file(&daemon, "odd").exists(), "it is whole, and may be valid for another version");
    logged(&daemon, &["an endpoint on disk is damaged and was set aside", "bad.json"]).await;
    logged(&daemon, &["endpoints on disk do not fit the configuration", "no_such_key"]).await;
    put(&daemon, "bad", &keys(peer.port, "bad")).await.expect(201);
    // One that is not at work can be put in order, and taken away.
    put(&daemon, "odd", &keys(peer.port, "odd")).await.expect(200);
    daemon.api.delete(&path("odd")).await.expect(200);
    assert!(!file(&daemon, "odd").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_among_many_puts_leaves_each_as_it_was_answered_or_as_the_last_asked() {
    let (peer, mut daemon) = (Peer::listen().await, started("disk").await);
    for round in 0..4_u32 {
        let (stop, api, port) = (Arc::new(AtomicBool::new(false)), daemon.api.clone(), peer.port);
        let writers: Vec<_> = (0..8_u32)
            .map(|writer| {
                let (stop, api) = (Arc::clone(&stop), api.clone());
                tokio::spawn(async move {
                    // How many links were answered for, and asked for, last; 0: none.
                    let (mut answered, mut asked) = (None, 0);
                    for step in 1.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let links = 1 + (round * 7 + step) % 3;
                        let name = format!("w{writer}");
                        let body =
                            json!({ "url": format!("ws://127.0.0.1:{port}/{name}"), "links": links }).to_string();
                        asked = links;
                        match api.try_put(&path(&name), body).await {
                            Ok(answer) if [200, 201].contains(&answer.status) => answered = Some(links),
                            Ok(answer) => panic!("{answer:?}"),
                            Err(_) => break,
                        }
                    }
                    (writer, answered, asked)
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(150 + u64::from(round) * 37)).await;
        daemon.kill();
        stop.store(true, Ordering::Relaxed);
        daemon.relaunch().await;
        for writer in writers {
            let (writer, answered, asked) = writer.await.unwrap();
            let shown = daemon.api.get(&path(&format!("w{writer}"))).await;
            let links = (shown.status == 200).then(|| shown.json()["config"]["links"].as_u64().unwrap());
            let wanted = [answered.map(u64::from), Some(u64::from(asked))];
            assert!(
                round > 0 && answered.is_none() || wanted.contains(&links),
                "{writer}: {links:?}, not of {wanted:?}"
            );
        }
        let folder = fs::read_dir(daemon.folder().join("storage/endpoints")).unwrap();
        let odd: Vec<_> = folder
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .filter(|file| [".new", ".damaged"].iter().any(|ending| file.ends_with(*ending)))
            .collect();
        assert!(odd.is_empty(), "{odd:?}");
    }
}

/// A small file system in memory, unmounted when it is dropped.
struct Small(PathBuf);

impl Drop for Small {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_what_it_cannot_keep_and_holds_what_it_has() {
    let peer = Peer::listen().await;
    let mut daemon = Daemon::made(&sections("dynamic = \"disk\"", ""));
    let storage = daemon.folder().join("storage");
    fs::create_dir(&storage).unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&storage).output().unwrap();
    if !mounted.status.success() {
        eprintln!("SKIPPED: no tmpfs can be mounted here");
        return;
    }
    let _small = Small(storage.clone());
    daemon.launch();
    daemon.ready().await;
    put(&daemon, "a", &keys(peer.port, "a")).await.expect(201);
    fs::write(storage.join("filler"), vec![0; 256 << 10]).unwrap_err();
    let mut changed = keys(peer.port, "a");
    changed["links"] = json!(2);
    for (name, body) in [("a", &changed), ("b", &keys(peer.port, "b"))] {
        let answer = put(&daemon, name, body).await;
        assert_eq!((answer.status, problem(&answer)), (503, "disk".into()), "{answer:?}");
    }
    daemon.api.put(&format!("{}?keep=memory", path("c")), keys(peer.port, "c").to_string()).await.expect(201);
    daemon.api.ready_after("a/0", 0).await;
    assert_eq!(daemon.api.get(&path("a")).await.json()["config"]["links"], 1);
    // It can be removed from a full disk.
    daemon.api.delete(&path("a")).await.expect(200);
    fs::remove_file(storage.join("filler")).unwrap();
    put(&daemon, "b", &keys(peer.port, "b")).await.expect(201);
    daemon.kill();
}
