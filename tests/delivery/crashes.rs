//! `kill -9` at random moments, on a wire that loses things: what was accepted, what arrived, and what receipts say of it.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinHandle, time::sleep};

use crate::{
    LEAST, MOST, QUICK,
    chance::Chance,
    compressing, endpoint,
    proxy::Proxy,
    recorder::Recorder,
    sender::{Caller, Promise, Sent, faults, settle},
    support::{PATIENCE, api::Api, daemon::Daemon, until, until_within},
};

/// Crashes of one daemon's life story; more than that are told as several.
const ROUND: u64 = 50;
/// Faults on the wire of a daemon that lives on.
const CUTS: u64 = 8;
/// Callers of each link.
const CALLERS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_a_durable_link_keeps_its_promise_and_receipts_tell_the_truth() {
    let chance = Arc::new(Chance::new("crashes"));
    let mut left: u64 = env::var("WSKEEPER_CRASHES").map_or(ROUND, |crashes| crashes.parse().unwrap());
    while left > 0 {
        let round = left.min(ROUND);
        crash(round, &chance).await;
        left -= round;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_most_once_in_memory_each_message_that_a_cut_lost_is_unknown_and_none_comes_twice() {
    cut("", CUTS).await;
}

/// Where lengths on the wire are not those of the messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_most_once_holds_for_compressed_messages_that_are_cut_at_any_byte() {
    for context in ["none", "both"] {
        cut(context, CUTS).await;
    }
}

/// Cuts a link so many times, or as often as `WSKEEPER_CUTS` says. Its messages are compressed in this context, where there is one.
async fn cut(context: &str, times: u64) {
    let times: u64 = env::var("WSKEEPER_CUTS").map_or(times, |cuts| cuts.parse().unwrap());
    let chance = Arc::new(Chance::new("cuts"));
    let wire = Wire::new("mem", Promise::AtMostOnce, !context.is_empty(), &chance).await;
    let quick = compressing(context);
    let daemon = Daemon::start(&format!("{quick}{}", endpoint("mem", wire.proxy.port, ""))).await;
    let enough = Arc::new(AtomicBool::new(false));
    let callers = wire.callers(&daemon.api, &chance, &enough);
    until_within(PATIENCE * 20, "faults on the wire", || async {
        let faults = wire.proxy.faults();
        if faults < times { Err(faults) } else { Ok(()) }
    })
    .await;
    // A wire that is cut every moment may leave nothing that a caller sees confirmed.
    wire.proxy.behave();
    let confirmed = async || {
        let series = "wskeeper_receipts_total{endpoint=\"mem\",outcome=\"confirmed\"}";
        daemon.api.metric(series).await.unwrap_or_default()
    };
    let wanted = confirmed().await + 100.0;
    until("messages to be confirmed", || async {
        let confirmed = confirmed().await;
        if confirmed < wanted { Err(confirmed) } else { Ok(()) }
    })
    .await;
    enough.store(true, Ordering::Relaxed);
    wire.judge(&daemon.api, callers).await;
    assert_eq!(wire.recorder.compressed() > 0, !context.is_empty());
}

/// Kills a daemon so many times, and then looks at everything.
async fn crash(times: u64, chance: &Arc<Chance>) {
    let least = Wire::new("least", Promise::AtLeastOnce, false, chance).await;
    let most = Wire::new("most", Promise::AtMostOnce, false, chance).await;
    let mut daemon = Daemon::start(&format!(
        "{QUICK}{}{}",
        endpoint("least", least.proxy.port, LEAST),
        endpoint("most", most.proxy.port, MOST)
    ))
    .await;
    let enough = Arc::new(AtomicBool::new(false));
    let callers = [&least, &most].map(|wire| wire.callers(&daemon.api, chance, &enough));
    for _ in 0..times {
        sleep(Duration::from_millis(chance.below(600))).await;
        daemon.kill();
        daemon.launch();
        // One in five is killed again before anybody knows whether it is up.
        if !chance.once_in(5) {
            daemon.alive().await;
        }
    }
    enough.store(true, Ordering::Relaxed);
    daemon.alive().await;
    for (wire, callers) in [&least, &most].into_iter().zip(callers) {
        wire.judge(&daemon.api, callers).await;
    }
}

/// A link's peer, the wire to it, and what it promised.
struct Wire {
    name: &'static str,
    promise: Promise,
    recorder: Recorder,
    proxy: Proxy,
}

impl Wire {
    async fn new(name: &'static str, promise: Promise, inflates: bool, chance: &Chance) -> Self {
        let recorder = if inflates { Recorder::that_inflates().await } else { Recorder::listen().await };
        let proxy = Proxy::to(recorder.port, chance.split()).await;
        Self { name, promise, recorder, proxy }
    }

    fn callers(&self, api: &Api, chance: &Arc<Chance>, enough: &Arc<AtomicBool>) -> Vec<JoinHandle<Vec<Sent>>> {
        let caller = |number| Caller {
            // So long that it becomes smaller by itself, where it is compressed.
            name: format!("{}-{number}", self.name.repeat(12)),
            endpoint: self.name,
            api: api.clone(),
            recorder: self.recorder.clone(),
            chance: Arc::clone(chance),
        };
        (0..CALLERS).map(|number| tokio::spawn(caller(number).run(Arc::clone(enough)))).collect()
    }

    /// Lets everything come to rest, and panics with all that is wrong.
    async fn judge(&self, api: &Api, callers: Vec<JoinHandle<Vec<Sent>>>) {
        self.proxy.behave();
        let mut sent = Vec::new();
        for caller in callers {
            sent.extend(caller.await.unwrap());
        }
        settle(api, self.name).await;
        let (sums, faults) = faults(self.promise, api, &self.recorder, &sent).await;
        let cuts = self.proxy.faults();
        eprintln!("{}: {sums:?}, {cuts} faults on the wire, {} connections", self.name, self.recorder.connections());
        let shown = faults.iter().take(20).map(String::as_str).collect::<Vec<_>>().join("\n");
        assert!(faults.is_empty(), "{}: {} faults:\n{shown}", self.name, faults.len());
        assert!(sums.seen_confirmed > 0 && cuts > 0, "nothing was tried");
    }
}
