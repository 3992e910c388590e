//! The look at a pool: what it forgives, and each fault that it must find.
//!
//! The clock is paused, so that a deadline that passed long ago costs no time.

use tokio::{net::TcpListener, time::sleep};

use super::*;
use crate::{observer::Silent, pool::rest::Rest, written};
use wskeeper_core::{
    link::Verb,
    phase::{Phase, Reason},
};

const TOLERANCE: Duration = Duration::from_secs(10);

/// Links that nobody listens for.
const DOWN: &str = r#"
    [defaults]
    links = 3
    [endpoints.a]
    url = "ws://127.0.0.1:9/"
    [endpoints.b]
    url = "ws://127.0.0.1:9/"
"#;

async fn pool(text: &str) -> Pool {
    let settings = written::settings(text);
    Pool::start(settings, Arc::new(Silent), 1).await
}

/// Whether the links of the first endpoint all rest like that.
fn all_of_a(pool: &Pool, so: impl Fn(Rest) -> bool) -> bool {
    (0..3).all(|index| so(pool.inner.parts.endpoints.slot("a", index).expect("it is configured").rest()))
}

fn a0() -> LinkId {
    LinkId { endpoint: "a".into(), index: 0 }
}

#[tokio::test(start_paused = true)]
async fn a_pool_whose_peers_are_all_away_is_well() {
    let pool = pool(DOWN).await;
    let mut watchdog = pool.watchdog(TOLERANCE);
    for _ in 0..100 {
        assert_eq!(watchdog.examine().await, Ok(()));
        sleep(TOLERANCE).await;
    }
    assert_eq!(pool.wedged(), None);
}

#[tokio::test(start_paused = true)]
async fn links_that_a_rate_holds_back_are_well_and_cost_nothing_until_its_moment() {
    // The clock moves only while every task rests: one that looks again and again would stop it here.
    let pool = pool(&format!("[admission]\nrate = 0.01\n{DOWN}")).await;
    let mut watchdog = pool.watchdog(TOLERANCE);
    for _ in 0..100 {
        assert_eq!(watchdog.examine().await, Ok(()));
        sleep(TOLERANCE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_without_links_is_well() {
    assert_eq!(pool("").await.watchdog(TOLERANCE).examine().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_lets_its_deadline_pass_is_found() {
    let pool = pool(DOWN).await;
    let mut watchdog = pool.watchdog(TOLERANCE);
    assert_eq!(watchdog.examine().await, Ok(()));
    // One that waits to be let in has no deadline that it could miss.
    while !all_of_a(&pool, |rest| rest.due.is_some()) {
        sleep(Duration::from_millis(1)).await;
    }
    pool.wedge_an_endpoint();
    sleep(Duration::from_mins(2)).await;
    let found = watchdog.examine().await;
    assert!(
        matches!(&found, Err(Wedged::Overdue(link, late)) if &*link.endpoint == "a" && *late > TOLERANCE),
        "{found:?}"
    );
    assert!(pool.wedged().expect("it is known").contains(" should have acted "));
}

#[tokio::test(start_paused = true)]
async fn a_paused_link_whose_task_does_not_answer_is_found() {
    let pool = pool(DOWN).await;
    for index in 0..3 {
        pool.command("a", index, Verb::Pause).await.expect("the link obeys");
    }
    let mut watchdog = pool.watchdog(TOLERANCE);
    assert_eq!(watchdog.examine().await, Ok(()));
    pool.wedge_an_endpoint();
    assert_eq!(watchdog.examine().await, Err(Wedged::Deaf(a0())));
}

#[tokio::test(start_paused = true)]
async fn of_many_links_each_is_asked_in_its_turn() {
    let pool = pool("[endpoints.a]\nurl = \"ws://127.0.0.1:9/\"\nlinks = 300").await;
    for index in 0..300 {
        pool.command("a", index, Verb::Pause).await.expect("the link obeys");
    }
    // The last one hears nothing any more.
    let last = pool.inner.parts.endpoints.slot("a", 299).expect("it is configured");
    while last.orders.try_send(Box::new(Order::Disk)) {}
    let mut watchdog = pool.watchdog(TOLERANCE);
    let asked: Vec<usize> = [0; 4].map(|_| watchdog.look_at_all(now()).expect("all rest").len()).into();
    assert_eq!(asked, [128; 4], "without turns the first ones are asked again");
    watchdog.next = 256;
    assert_eq!(watchdog.look_at_all(now()).expect("all rest").len(), 44);
    assert_eq!(watchdog.examine().await, Ok(()));
    assert_eq!(watchdog.next, 0, "after the last come the first");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_has_ended_under_its_link_is_found() {
    let pool = pool(DOWN).await;
    pool.inner.parts.endpoints.get("a").expect("it is configured").tasks()[0].handle.abort();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(pool.watchdog(TOLERANCE).examine().await, Err(Wedged::Ended(a0())));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_serves_all_links_and_has_ended_is_found() {
    let pool = pool(DOWN).await;
    pool.inner.servants[0].1.abort();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(pool.watchdog(TOLERANCE).examine().await, Err(Wedged::Servant("lets links in")));
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_does_not_move_is_found_and_one_that_does_is_well() {
    let pool = pool(DOWN).await;
    let held = pool.inner.supervisor.hold().await;
    let mut watchdog = pool.watchdog(TOLERANCE);
    for _ in 0..60 {
        assert_eq!(watchdog.examine().await, Ok(()));
        pool.inner.supervisor.step();
        sleep(TOLERANCE).await;
    }
    let mut last = Ok(());
    for _ in 0..60 {
        last = watchdog.examine().await;
        sleep(TOLERANCE).await;
    }
    assert!(matches!(last, Err(Wedged::Reload(_))), "{last:?}");
    drop(held);
    assert_eq!(watchdog.examine().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_waits_for_admission_is_well_until_admission_forgets_it() {
    // It accepts, and never answers the upgrade.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = silent.local_addr().expect("an address").port();
    let text = format!(
        "[admission]\ntotal = 1\n[defaults]\nconnect_timeout = \"1h\"\nlinks = 2\n[endpoints.a]\nurl = \"ws://127.0.0.1:{port}/\""
    );
    let pool = pool(&text).await;
    let mut watchdog = pool.watchdog(TOLERANCE);
    let waits = |pool: &Pool| {
        let views: Vec<_> = (0..2).filter_map(|index| pool.link("a", index)).collect();
        views.iter().any(|view| view.reason == Reason::Admission)
    };
    while !waits(&pool) {
        tokio::task::yield_now().await;
    }
    for _ in 0..5 {
        sleep(TOLERANCE).await;
        assert_eq!(watchdog.examine().await, Ok(()));
    }
    assert!(waits(&pool), "the look was at a link that waits");
    pool.inner.parts.admission.forget_all();
    assert_eq!(watchdog.examine().await, Ok(()), "it may have been let in this very moment");
    assert!(matches!(watchdog.examine().await, Err(Wedged::Forgotten(_))));
}

#[tokio::test(start_paused = true)]
async fn that_nobody_looks_any_more_is_found_too() {
    let pool = pool(DOWN).await;
    assert_eq!(pool.wedged(), None, "nobody has begun");
    pool.watchdog(TOLERANCE).examine().await.expect("all is well");
    assert_eq!(pool.wedged(), None);
    sleep(TOLERANCE * 7).await;
    assert_eq!(pool.wedged().as_deref(), Some("the daemon has not looked after its links for 70 s"));
}

#[test]
fn a_state_that_no_timer_will_ever_end_needs_a_reason() {
    let then = tokio::time::Instant::now().into_std();
    let verdict = |phase, reason, after| Rest { phase, reason, due: None, since: then }.judge(then + after, TOLERANCE);
    let long = TOLERANCE * 2;
    for phase in [Phase::Waiting, Phase::Connecting, Phase::Opening, Phase::Ready, Phase::Closing, Phase::Parked] {
        assert_eq!(verdict(phase, Reason::Underway, long), Soundness::Adrift, "{phase}");
        assert_eq!(
            verdict(phase, Reason::Underway, TOLERANCE),
            Soundness::Well,
            "{phase}: a moment between two states"
        );
    }
    assert_eq!(verdict(Phase::Paused, Reason::Operator, long), Soundness::Well);
    assert_eq!(verdict(Phase::Waiting, Reason::Admission, long), Soundness::AsksToBeLetIn);
}
