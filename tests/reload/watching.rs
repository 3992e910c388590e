//! `watch = true`: a file that is rewritten, renamed over or swapped by a symbolic link is followed; the same content is not.
//!
//! What a reader would get wrong: the look every 30 s is later than a test waits, so it is the system's word that is tested.

use std::{fs, os::unix::fs::symlink, path::Path};

use crate::{
    QUICK,
    peer::Peer,
    support::{daemon::Daemon, until},
};

/// The configuration of one endpoint whose path at the peer says which one it is.
fn text(folder: &Path, port: u16, path: &str) -> String {
    let socket = folder.join("api.sock");
    format!(
        "watch = true\n[api]\nlisten = \"unix:{}\"\n[log]\nlevel = \"debug\"\n{QUICK}\n[endpoints.a]\nurl = \"ws://127.0.0.1:{port}/{path}\"\n",
        socket.display()
    )
}

async fn reloads(daemon: &Daemon, result: &str) -> f64 {
    daemon.api.metric(&format!("wskeeper_config_reloads_total{{result=\"{result}\"}}")).await.unwrap()
}

async fn until_reloads(daemon: &Daemon, result: &str, count: f64) {
    until(&format!("{count} reloads with {result}"), || async {
        let seen = reloads(daemon, result).await;
        if seen >= count { Ok(()) } else { Err(seen) }
    })
    .await;
    assert!((reloads(daemon, result).await - count).abs() < 0.5, "one reload a change");
}

/// A daemon whose configuration is at `path` in its folder, as `install` puts it there.
async fn started(path: &str, peer: &Peer, install: impl Fn(&Path, &str)) -> Daemon {
    let mut daemon = Daemon::made("");
    let folder = daemon.folder().to_owned();
    daemon.read(path);
    install(&folder, &text(&folder, peer.port, "one"));
    daemon.launch();
    daemon.ready().await;
    daemon.api.ready_after("a/0", 0).await;
    daemon
}

#[tokio::test]
async fn a_file_that_is_rewritten_is_followed_and_a_new_comment_costs_no_connection() {
    let peer = Peer::listen().await;
    let write = |folder: &Path, text: &str| fs::write(folder.join("wskeeper.toml"), text).unwrap();
    let daemon = started("wskeeper.toml", &peer, write).await;
    write(daemon.folder(), &text(daemon.folder(), peer.port, "two"));
    daemon.api.ready_after("a/0", 1).await;
    until_reloads(&daemon, "ok", 2.0).await;
    write(daemon.folder(), &format!("# a comment\n{}", text(daemon.folder(), peer.port, "two")));
    until_reloads(&daemon, "ok", 3.0).await;
    assert_eq!(peer.counts(), [("/one".to_owned(), 1), ("/two".to_owned(), 1)].into());
}

#[tokio::test]
async fn an_editor_that_renames_a_new_file_over_the_old_one_is_followed_again_and_again() {
    let peer = Peer::listen().await;
    let replace = |folder: &Path, text: &str| {
        fs::write(folder.join(".wskeeper.toml.swp"), text).unwrap();
        fs::rename(folder.join(".wskeeper.toml.swp"), folder.join("wskeeper.toml")).unwrap();
    };
    let daemon = started("wskeeper.toml", &peer, replace).await;
    for (generation, path) in [(1, "two"), (2, "three"), (3, "four")] {
        replace(daemon.folder(), &text(daemon.folder(), peer.port, path));
        daemon.api.ready_after("a/0", generation).await;
    }
    until_reloads(&daemon, "ok", 4.0).await;
    assert_eq!(peer.total(), 4);
}

#[tokio::test]
async fn a_config_map_whose_link_is_swapped_is_followed_as_a_file_and_as_a_folder() {
    for path in ["mount/wskeeper.toml", "mount"] {
        let peer = Peer::listen().await;
        // As a kubelet does it: a new folder, then one rename of the link `..data`.
        let swap = |folder: &Path, text: &str| {
            let mount = folder.join("mount");
            fs::create_dir_all(&mount).unwrap();
            let count = fs::read_dir(&mount).unwrap().count();
            let old = fs::read_link(mount.join("..data"));
            let data = format!("..2026_{count}_{}", text.len());
            fs::create_dir_all(mount.join(&data)).unwrap();
            fs::write(mount.join(&data).join("wskeeper.toml"), text).unwrap();
            symlink(&data, mount.join("..data_tmp")).unwrap();
            fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
            match old {
                Ok(old) => fs::remove_dir_all(mount.join(old)).unwrap(),
                Err(_) => symlink("..data/wskeeper.toml", mount.join("wskeeper.toml")).unwrap(),
            }
        };
        let daemon = started(path, &peer, swap).await;
        for (generation, path) in [(1, "second"), (2, "the_third")] {
            swap(daemon.folder(), &text(daemon.folder(), peer.port, path));
            daemon.api.ready_after("a/0", generation).await;
        }
        until_reloads(&daemon, "ok", 3.0).await;
        assert_eq!(peer.total(), 3, "{path}");
    }
}

#[tokio::test]
async fn a_file_that_comes_into_the_folder_and_goes_is_followed() {
    let peer = Peer::listen().await;
    let base = |folder: &Path, text: &str| {
        fs::create_dir_all(folder.join("conf.d")).unwrap();
        fs::write(folder.join("conf.d/10-base.toml"), text).unwrap();
    };
    let daemon = started("conf.d", &peer, base).await;
    let more = daemon.folder().join("conf.d/20-more.toml");
    fs::write(&more, format!("[endpoints.b]\nurl = \"ws://127.0.0.1:{}/b\"\n", peer.port)).unwrap();
    until_reloads(&daemon, "ok", 2.0).await;
    daemon.api.ready_after("b/0", 0).await;
    fs::write(daemon.folder().join("conf.d/README"), "no configuration").unwrap();
    fs::remove_file(&more).unwrap();
    until_reloads(&daemon, "ok", 3.0).await;
    daemon.api.get("/v1/links/b/0").await.expect(404);
    assert_eq!(daemon.api.link("a/0").await["generation"], 1);
}

#[tokio::test]
async fn an_invalid_file_changes_nothing_and_the_mended_one_is_followed() {
    let peer = Peer::listen().await;
    let write = |folder: &Path, text: &str| fs::write(folder.join("wskeeper.toml"), text).unwrap();
    let daemon = started("wskeeper.toml", &peer, write).await;
    let good = text(daemon.folder(), peer.port, "two");
    write(daemon.folder(), &good.replace("url = ", "ulr = "));
    until_reloads(&daemon, "error", 1.0).await;
    assert!(daemon.log().contains("reload refused"), "the log says so");
    assert!(daemon.log().contains("did you mean"), "and what is wrong");
    assert_eq!(daemon.api.metric("wskeeper_config_last_reload_successful").await, Some(0.0));
    assert_eq!(daemon.api.link("a/0").await["generation"], 1);
    write(daemon.folder(), &good);
    daemon.api.ready_after("a/0", 1).await;
    until_reloads(&daemon, "ok", 2.0).await;
    until_reloads(&daemon, "error", 1.0).await;
    assert_eq!(daemon.api.metric("wskeeper_config_last_reload_successful").await, Some(1.0));
    assert_eq!(peer.total(), 2);
}

#[tokio::test]
async fn what_is_written_again_unchanged_or_was_reloaded_already_is_not_reloaded() {
    let peer = Peer::listen().await;
    let write = |folder: &Path, text: &str| fs::write(folder.join("wskeeper.toml"), text).unwrap();
    let daemon = started("wskeeper.toml", &peer, write).await;
    let second = text(daemon.folder(), peer.port, "two");
    write(daemon.folder(), &text(daemon.folder(), peer.port, "one"));
    write(daemon.folder(), &second);
    daemon.api.post("/v1/reload", &[], "").await.expect(200);
    daemon.api.ready_after("a/0", 1).await;
    write(daemon.folder(), &second);
    // The watch goes on in order: what it follows now proves what it has let pass before.
    write(daemon.folder(), &text(daemon.folder(), peer.port, "three"));
    daemon.api.ready_after("a/0", 2).await;
    until_reloads(&daemon, "ok", 3.0).await;
    assert_eq!(peer.total(), 3);
}

#[tokio::test]
async fn the_watch_is_turned_on_and_off_by_a_reload() {
    let peer = Peer::listen().await;
    let write = |folder: &Path, text: &str| fs::write(folder.join("wskeeper.toml"), text).unwrap();
    let off = |text: String| text.replace("watch = true", "watch = false");
    let daemon = started("wskeeper.toml", &peer, |folder, text| write(folder, &off(text.to_owned()))).await;
    let on = text(daemon.folder(), peer.port, "one");
    write(daemon.folder(), &on);
    let report = daemon.api.post("/v1/reload", &[], "").await.expect(200).json();
    assert_eq!(report["live"], serde_json::json!(["watch"]));
    write(daemon.folder(), &off(text(daemon.folder(), peer.port, "two")));
    daemon.api.ready_after("a/0", 1).await;
    until_reloads(&daemon, "ok", 3.0).await;
    until("the end of the watch", || async {
        let log = daemon.log();
        if log.contains("the configuration is not watched any more") { Ok(()) } else { Err(log) }
    })
    .await;
}
