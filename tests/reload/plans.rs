//! What a plan says before, a reload says after, and it is what became of the links.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::Value;

use crate::{
    QUICK,
    peer::Peer,
    plan, reload,
    support::{chance::Chance, daemon::Daemon, until},
    told,
};

/// An endpoint as the chance has it.
#[derive(Clone, Debug, PartialEq)]
struct Endpoint {
    links: u64,
    path: u64,
    idle: u64,
}

type World = BTreeMap<&'static str, Endpoint>;

fn drawn(chance: &Chance, before: &World) -> World {
    let mut world = World::new();
    for name in ["a", "b", "c", "d"] {
        let new = Endpoint { links: 1 + chance.below(3), path: chance.below(3), idle: 20 + chance.below(3) };
        match (before.get(name), chance.below(5)) {
            (_, 0) => {}
            (Some(same), 1 | 2) => drop(world.insert(name, same.clone())),
            (Some(old), 3) => drop(world.insert(name, Endpoint { path: old.path, ..new })),
            (Some(_) | None, _) => drop(world.insert(name, new)),
        }
    }
    // A reload that leaves nothing is refused.
    if world.is_empty() {
        world.insert("a", Endpoint { links: 1, path: 0, idle: 20 });
    }
    world
}

fn sections(world: &World, port: u16, drain: u64) -> String {
    let mut text = format!("{QUICK}\n[limits]\ndrain = \"{drain}ms\"\n");
    for (name, Endpoint { links, path, idle }) in world {
        let url = format!("ws://127.0.0.1:{port}/{name}/{path}");
        write!(text, "[endpoints.{name}]\nurl = \"{url}\"\nlinks = {links}\nheartbeat.idle = \"{idle}s\"\n").unwrap();
    }
    text
}

/// What is to become of each link, by the rules and not by the code.
fn expected(old: &World, new: &World) -> Vec<String> {
    let mut lines = Vec::new();
    let names: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    for name in names {
        let (old, new) = (old.get(name), new.get(name));
        let count = |endpoint: Option<&Endpoint>| endpoint.map_or(0, |endpoint| endpoint.links);
        for index in 0..count(old).max(count(new)) {
            let whole = if old.is_none() || new.is_none() { "endpoint" } else { "links" };
            let line = match (index < count(old), index < count(new)) {
                (true, false) => format!("{name}/{index} removed {whole}"),
                (false, _) => format!("{name}/{index} added {whole}"),
                (true, true) => {
                    let (old, new) = (old.unwrap(), new.unwrap());
                    match (old.path != new.path, old.idle != new.idle) {
                        (true, true) => format!("{name}/{index} rotate url,heartbeat.idle"),
                        (true, false) => format!("{name}/{index} rotate url"),
                        (false, true) => format!("{name}/{index} applied live heartbeat.idle"),
                        (false, false) => continue,
                    }
                }
            };
            lines.push(line);
        }
    }
    lines
}

/// The generation of each link, once all are ready with the generations that `wanted` asks for.
async fn generations(daemon: &Daemon, wanted: &BTreeMap<String, u64>) {
    until("the links that the plan leads to", || async {
        let list = daemon.api.get("/v1/links").await.expect(200).json();
        let links = list["items"].as_array().unwrap().iter();
        let seen: BTreeMap<String, u64> = links
            .filter(|link| link["phase"] == "ready")
            .map(|link| {
                (
                    format!("{}/{}", link["endpoint"].as_str().unwrap(), link["index"]),
                    link["generation"].as_u64().unwrap(),
                )
            })
            .collect();
        if seen == *wanted { Ok(()) } else { Err(format!("{seen:?} and not {wanted:?}")) }
    })
    .await;
}

#[tokio::test]
async fn what_a_plan_says_before_a_reload_says_after_and_it_is_what_became_of_the_links() {
    let chance = Chance::new("plans");
    let peer = Peer::listen().await;
    let mut world = drawn(&chance, &World::new());
    let daemon = Daemon::start(&sections(&world, peer.port, 0)).await;
    let mut wanted: BTreeMap<String, u64> = world
        .iter()
        .flat_map(|(name, endpoint)| (0..endpoint.links).map(move |index| (format!("{name}/{index}"), 1)))
        .collect();
    generations(&daemon, &wanted).await;
    // The last generation of links that went while their endpoint stayed.
    let mut past = BTreeMap::new();
    for round in 1..=15 {
        let next = drawn(&chance, &world);
        daemon.configure(&sections(&next, peer.port, round));
        let planned = plan(&daemon).await;
        assert_eq!(told(&planned), expected(&world, &next), "{world:?} to {next:?}");
        assert_eq!(planned["live"], serde_json::json!(["limits.drain"]));
        generations(&daemon, &wanted).await;
        assert_eq!(reload(&daemon).await, planned);
        assert_eq!(told(&plan(&daemon).await), Vec::<String>::new(), "what was done is not to be done again");
        for change in planned["changes"].as_array().unwrap() {
            let link = change["link"].as_str().unwrap().to_owned();
            match change["action"].as_str().unwrap() {
                "unchanged" | "applied live" => {}
                "rotate" => *wanted.get_mut(&link).unwrap() += 1,
                "added" => drop(wanted.insert(link.clone(), past.remove(&link).unwrap_or(0) + 1)),
                "removed" if change["why"][0] == "links" => past.extend(wanted.remove_entry(&link)),
                "removed" => drop(wanted.remove(&link)),
                other => panic!("{other}"),
            }
        }
        past.retain(|link, _| next.contains_key(&link[..1]));
        generations(&daemon, &wanted).await;
        world = next;
    }
}

#[tokio::test]
async fn a_message_for_a_connection_of_a_link_that_went_is_refused_once_the_link_is_back() {
    let peer = Peer::listen().await;
    let with = |links| sections(&World::from([("a", Endpoint { links, path: 0, idle: 20 })]), peer.port, 0);
    let daemon = Daemon::start(&with(2)).await;
    assert_eq!(daemon.api.ready_after("a/1", 0).await["generation"], 1);
    let send = || daemon.api.post("/v1/endpoints/a/messages?link=1&generation=1", &[], "x");
    send().await.expect(202);
    for links in [1, 2] {
        daemon.configure(&with(links));
        reload(&daemon).await;
    }
    assert_eq!(daemon.api.ready_after("a/1", 1).await["generation"], 2);
    let problem: Value = send().await.expect(409).json();
    assert_eq!(problem["type"], "urn:wskeeper:problem:other-connection", "{problem}");
}

#[tokio::test]
async fn a_key_that_needs_a_restart_is_told_of_until_there_is_one() {
    let peer = Peer::listen().await;
    let world = World::from([("a", Endpoint { links: 1, path: 0, idle: 20 })]);
    let sections = |more: &str| format!("{more}{}", sections(&world, peer.port, 0));
    let mut daemon = Daemon::start(&sections("")).await;
    daemon.configure(&sections("[metrics]\nper_link = true\n"));
    for _ in 0..2 {
        let report = reload(&daemon).await;
        assert_eq!(report["restart"], serde_json::json!(["metrics.per_link"]));
        assert_eq!(plan(&daemon).await, report);
    }
    daemon.kill();
    daemon.relaunch().await;
    assert_eq!(plan(&daemon).await["restart"], serde_json::json!([]));
}

#[tokio::test]
async fn a_plan_of_an_invalid_file_names_every_fault_and_counts_nothing() {
    let peer = Peer::listen().await;
    let world = World::from([("a", Endpoint { links: 1, path: 0, idle: 20 })]);
    let daemon = Daemon::start(&sections(&world, peer.port, 0)).await;
    daemon.configure("[endpoints.a]\nurl = 5\nlinks = \"many\"\n");
    let problem: Value = daemon.api.get("/v1/plan").await.expect(422).json();
    assert_eq!(problem["type"], "urn:wskeeper:problem:configuration-invalid");
    assert_eq!(problem["faults"].as_array().unwrap().len(), 2, "{problem}");
    assert_eq!(daemon.api.metric("wskeeper_config_reloads_total{result=\"error\"}").await, Some(0.0));
    daemon.api.post("/v1/reload", &[], "").await.expect(422);
    assert_eq!(daemon.api.metric("wskeeper_config_reloads_total{result=\"error\"}").await, Some(1.0));
    assert_eq!(daemon.api.ready_after("a/0", 0).await["generation"], 1);
}

#[tokio::test]
async fn of_many_reloads_at_once_the_last_written_file_is_in_force() {
    let peer = Peer::listen().await;
    let world = |idle| World::from([("a", Endpoint { links: 1, path: 0, idle })]);
    let daemon = Daemon::start(&sections(&world(20), peer.port, 0)).await;
    let mut reloads = Vec::new();
    for idle in 21..=40 {
        daemon.configure(&sections(&world(idle), peer.port, 0));
        let api = daemon.api.clone();
        reloads.push(tokio::spawn(async move { api.post("/v1/reload", &[], "").await.status }));
        daemon.signal(nix::sys::signal::Signal::SIGHUP);
        tokio::task::yield_now().await;
    }
    for reload in reloads {
        // A file that is written while it is read may be half of itself.
        assert!(matches!(reload.await.unwrap(), 200 | 422));
    }
    until("the last file in force", || async {
        let endpoint = daemon.api.get("/v1/endpoints/a").await.expect(200).json();
        let idle = endpoint["config"]["heartbeat"]["idleMs"].clone();
        if idle == 40_000 { Ok(()) } else { Err(idle) }
    })
    .await;
    assert_eq!(told(&plan(&daemon).await), Vec::<String>::new());
    assert_eq!(daemon.api.ready_after("a/0", 0).await["generation"], 1);
}
