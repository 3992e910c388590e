//! When a consumer that says nothing counts as alive.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_consumer_that_lets_a_waiting_send_through_is_alive() {
    let mut heard = Instant::now();
    let waiting = async {
        tokio::time::sleep(2 * PING).await;
        Ok(())
    };
    assert!(noting(&mut heard, waiting).await.is_ok());
    assert_eq!(heard.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_send_that_a_buffer_took_at_once_or_that_failed_is_no_sign_of_life() {
    let mut heard = Instant::now();
    tokio::time::advance(PING).await;
    assert!(noting(&mut heard, async { Ok(()) }).await.is_ok());
    let failing = async {
        tokio::time::sleep(PING).await;
        Err(Farewell(1011, String::new()))
    };
    assert!(noting(&mut heard, failing).await.is_err());
    assert_eq!(heard.elapsed(), 2 * PING);
}
