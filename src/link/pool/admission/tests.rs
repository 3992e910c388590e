//! What admission says goes to those who wait, also when somebody has left.

use std::time::Duration;

use futures_util::FutureExt as _;

use super::*;
use crate::clock::Calendar;
use crate::observer::Silent;
use wskeeper_core::admission::Elsewhere;

fn request(endpoint: &str, index: u32) -> Request {
    let link = LinkId { endpoint: endpoint.into(), index };
    Request {
        link,
        addresses: vec![SocketAddr::from(([127, 0, 0, 1], 9))],
        urgent: false,
        elsewhere: Elsewhere::Nowhere,
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_to_look_and_leaves_hands_that_on_at_once() {
    let control = AdmissionControl::new(Policy { per_host: 2, total: 64, rate: None }, Arc::new(Silent), Weak::new());
    let gate = || Arc::clone(&control);
    let mut failing = gate().admit(request("a", 0)).now_or_never().expect("it is let in").expect("to dial");
    let _busy = gate().admit(request("b", 0)).now_or_never().expect("it is let in");
    failing.verdict = Some(Verdict::Failing(None));
    drop(failing);
    let _busy_too = gate().admit(request("b", 1)).now_or_never().expect("it is let in");
    let (first, _second) = (gate().admit(request("a", 1)), gate().admit(request("a", 2)));
    tokio::time::advance(Duration::from_secs(1)).await;
    control.grant();
    let second = request("a", 2).link;
    let standing = control.standing(&second, Calendar::default().now()).expect("it waits");
    assert_eq!(standing.awaited, Some((request("a", 1).link, None)));
    drop(first);
    let standing = control.standing(&second, Calendar::default().now()).expect("it waits");
    assert_eq!((standing.awaited, standing.down_since), (None, None), "it is the one in line now");
}
