//! What the door says goes to those who wait, also when somebody has left.

use std::time::Duration;

use futures_util::FutureExt as _;
use prometheus::Registry;

use super::*;
use wskeeper_core::door::Elsewhere;

fn knock(endpoint: &str, index: u32) -> Knock {
    let link = LinkId { endpoint: endpoint.into(), index };
    Knock { link, addresses: vec![SocketAddr::from(([127, 0, 0, 1], 9))], urgent: false, elsewhere: Elsewhere::Nowhere }
}

#[tokio::test(start_paused = true)]
async fn who_is_to_look_and_leaves_hands_that_on_at_once() {
    let families = Families::register(&Registry::new(), false).expect("metrics register");
    let keeper = Gatekeeper::new(Policy { per_host: 2, total: 64, rate: None }, families, Weak::new());
    let gate = PoolGate(Arc::clone(&keeper));
    let mut failing = gate.admit(knock("a", 0)).now_or_never().expect("it is let in").expect("to dial");
    let _busy = gate.admit(knock("b", 0)).now_or_never().expect("it is let in");
    failing.verdict = Some(Verdict::Failing(None));
    drop(failing);
    let _busy_too = gate.admit(knock("b", 1)).now_or_never().expect("it is let in");
    let (first, _second) = (gate.admit(knock("a", 1)), gate.admit(knock("a", 2)));
    tokio::time::advance(Duration::from_secs(1)).await;
    keeper.grant();
    let second = knock("a", 2).link;
    let standing = keeper.standing(&second).expect("it waits");
    assert_eq!(standing.awaited, Some((knock("a", 1).link, None)));
    drop(first);
    let standing = keeper.standing(&second).expect("it waits");
    assert_eq!((standing.awaited, standing.down_since), (None, None), "it is the one in line now");
}
