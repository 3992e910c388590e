//! An upgrade: the old process is stopped in order and a new one takes over configuration, storage and socket, while programs
//! send and read. `docs/upgrade.md` promises what is held here.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use nix::sys::signal::Signal;

use crate::{
    LEAST, QUICK,
    chance::Chance,
    consumer::{By, Consumer, agree, gaps, judge, numbers, read},
    endpoint,
    recorder::Recorder,
    sender::{Caller, Promise, faults, settle},
    support::daemon::Daemon,
    teller::Teller,
};

const UPGRADES: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_loses_nothing_that_was_accepted_and_consumers_are_complete() {
    let chance = Arc::new(Chance::new("upgrade"));
    let (recorder, teller) = (Recorder::listen().await, Teller::listen(0).await);
    let inbox = format!(
        "\n[endpoints.feed]\nurl = \"ws://127.0.0.1:{}/\"\n[endpoints.feed.inbox]\n\
         durability = \"disk\"\nmax_messages = 100000\nmax_bytes = \"16MiB\"\n",
        teller.port
    );
    let mut daemon = Daemon::start(&format!("{QUICK}{}{inbox}", endpoint("orders", recorder.port, LEAST))).await;
    let enough = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..3)
        .map(|number| Caller {
            name: format!("caller-{number}"),
            endpoint: "orders",
            api: daemon.api.clone(),
            recorder: recorder.clone(),
            chance: Arc::clone(&chance),
        })
        .map(|caller| tokio::spawn(caller.run(Arc::clone(&enough))))
        .collect();
    let consumers = [By::Events, By::Socket].map(|by| Consumer::follow(&daemon.api, "feed", by));
    teller.tell_on();
    for _ in 0..UPGRADES {
        consumers[0].until_told(teller.told() + 100).await;
        daemon.signal(Signal::SIGTERM);
        assert!(daemon.end().await.success());
        daemon.launch();
        daemon.ready().await;
    }
    let last = teller.told() + 100;
    for consumer in &consumers {
        consumer.until_told(last).await;
    }
    enough.store(true, Ordering::Relaxed);
    let mut sent = Vec::new();
    for caller in callers {
        sent.extend(caller.await.unwrap());
    }
    settle(&daemon.api, "orders").await;
    let (sums, faults) = faults(Promise::AtLeastOnce, &daemon.api, &recorder, &sent).await;
    assert!(faults.is_empty(), "{sums:?}: {faults:#?}");
    assert!(sums.certain > UPGRADES, "{sums:?}");
    let mut told = Vec::from(consumers.each_ref().map(Consumer::told));
    told.push(read(&daemon.api, "feed", "oldest", *numbers(&told[0]).last().unwrap()).await);
    for told in &told {
        judge(told);
        // Every entry is there: what the peer told while there was no link is all that is missing.
        assert!(gaps(told).iter().all(|kind| *kind == "link"), "{:?}", gaps(told));
        assert_eq!(gaps(told).len(), UPGRADES);
    }
    agree(&told);
}
