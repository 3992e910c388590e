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

/// Takes a link out as the whole endpoint would go, but for the others.
async fn take_out(pool: &Pool, index: u32) {
    let runtime = pool.inner.parts.endpoints.get("many").expect("it is configured");
    let tasks = runtime.part_with(|slot| slot.id.index == index);
    pool.inner.supervisor.disown(&runtime, tasks, PATIENCE).await;
}

fn bring_back(pool: &Pool, index: u32) {
    let runtime = pool.inner.parts.endpoints.get("many").expect("it is configured");
    pool.inner.supervisor.own(&runtime, &runtime.config(), index);
}

#[tokio::test]
async fn a_key_keeps_its_link_while_other_links_are_not_here() {
    let pool = three().await;
    let keyed = |key: &str| pool.send(Send { key: Some(key.into()), ..send("many") });
    take_out(&pool, 0).await;
    assert_eq!(pool.links_of("many"), [1, 2]);
    for (key, link) in [("order-17", 1), ("order-20", 2)] {
        assert_eq!(keyed(key).await.map(|receipt| receipt.link), Ok(link), "{key}");
    }
    let gone = Refused::NoLink { endpoint: "many".to_owned(), links: 3 };
    assert_eq!(keyed("a").await, Err(gone), "its link is not here, and no other one takes it");
    take_out(&pool, 1).await;
    assert_eq!(pool.send(Send { link: Some(2), ..send("many") }).await.map(|receipt| receipt.link), Ok(2));
    bring_back(&pool, 0);
    assert_eq!((pool.links_of("many"), keyed("a").await.map(|receipt| receipt.link)), (vec![0, 2], Ok(0)));
}

#[tokio::test]
async fn a_message_for_one_connection_must_name_its_link_where_others_are_not_here() {
    let pool = three().await;
    take_out(&pool, 0).await;
    take_out(&pool, 2).await;
    let bound = Send { generation: Some(1), ..send("many") };
    let refused = pool.send(bound).await;
    assert_eq!(refused, Err(Refused::AnyGeneration { endpoint: "many".to_owned(), links: 3 }));
}
