//! Which link of several a message takes.

use super::*;

async fn three() -> Pool {
    let settings = written::settings("[endpoints.many]\nurl = 'ws://127.0.0.1:9/'\nlinks = 3");
    let pool = Pool::start(settings, Arc::new(Silent), 1).await;
    for link in 0..3 {
        pool.command("many", link, Verb::Pause).await.expect("the link obeys");
    }
    pool
}

#[tokio::test]
async fn links_that_are_as_good_as_each_other_take_turns() {
    let pool = three().await;
    let mut taken = [0; 3];
    for _ in 0..9 {
        // Without bytes, so that no message makes its link the worse choice.
        let receipt = pool.send(Send { payload: Payload::binary(""), ..send("many") }).await.expect("it is accepted");
        taken[receipt.link as usize] += 1;
    }
    assert_eq!(taken, [3; 3]);
}

#[tokio::test]
async fn a_key_has_the_link_that_it_has_always_had() {
    let pool = three().await;
    for (key, link) in [("", 1), ("a", 0), ("order-17", 1), ("Größe", 1), ("order-20", 2)] {
        let receipt = pool.send(Send { key: Some(key.into()), ..send("many") }).await.expect("it is accepted");
        assert_eq!(receipt.link, link, "{key}");
    }
}
