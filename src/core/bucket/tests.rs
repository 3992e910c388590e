//! A bucket beside what it promises: in no window of time more than its burst and what came meanwhile, and nobody waits longer than that takes.

use proptest::prelude::*;

use super::*;

#[allow(clippy::cast_precision_loss, reason = "counts of a test")]
fn number(count: usize) -> f64 {
    count as f64
}

fn pacing() -> impl Strategy<Value = Pacing> {
    let rate = prop::option::of(prop_oneof![0.01..2.0, 1.0..2000.0]);
    (rate, prop::option::of(1_u32..20), prop::option::of(1_u64..5000), prop::option::of(1_u64..9000))
        .prop_map(|(rate, burst, rate_bytes, burst_bytes)| Pacing { rate, burst, rate_bytes, burst_bytes })
}

/// Asks at these moments, milliseconds after each other; whoever must wait does so.
fn asked() -> impl Strategy<Value = Vec<(u64, Want)>> {
    let want = prop_oneof![1 => Just(Want::Ahead), 4 => (0_u64..4000).prop_map(Want::Data)];
    prop::collection::vec((prop_oneof![4 => Just(0), 4 => 0_u64..2000, 1 => Just(1 << 40)], want), 1..80)
}

fn bytes(want: Want) -> u64 {
    match want {
        Want::Ahead => 0,
        Want::Data(bytes) => bytes,
    }
}

proptest! {
    #[test]
    fn in_no_window_more_leaves_than_the_burst_and_what_came_meanwhile(pacing in pacing(), asked in asked()) {
        let (mut bucket, mut now, mut left) = (Bucket::new(pacing), crate::epoch(), Vec::new());
        let largest = asked.iter().map(|(_, want)| bytes(*want)).max().map_or(0.0, double);
        for (later, want) in asked {
            now += Duration::from_millis(later);
            now = bucket.next(now, want);
            prop_assert_eq!(bucket.next(now, want), now, "what was waited for is there");
            bucket.take(now, 1, bytes(want));
            left.push((now, bytes(want)));
        }
        for from in 0..left.len() {
            let mut sum = 0;
            for to in from..left.len() {
                sum += left[to].1;
                let (count, seconds) = (number(to - from + 1), left[to].0.saturating_duration_since(left[from].0).as_secs_f64());
                if let Some(rate) = pacing.rate {
                    prop_assert!(count <= pacing.most_messages() + rate * seconds + 1e-3, "{count} in {seconds} s");
                }
                if let Some(rate) = pacing.rate_bytes {
                    let most = pacing.most_bytes().max(largest) + double(rate) * seconds;
                    // What goes ahead does not wait for bytes, but has none here.
                    prop_assert!(double(sum) <= most + 1e-1, "{sum} bytes in {seconds} s");
                }
            }
        }
    }

    #[test]
    fn turns_of_a_shared_bucket_are_given_in_order_and_each_in_its_time(pacing in pacing(), asked in asked()) {
        let (mut bucket, start) = (Bucket::new(pacing), crate::epoch());
        let (mut last, mut count, mut sum) = (start, 0_u32, 0_u64);
        for (_, want) in asked {
            let at = bucket.next(start, want);
            prop_assert!(at >= last, "nobody is passed");
            bucket.take(at, 1, bytes(want));
            (last, count, sum) = (at, count + 1, sum + bytes(want));
            // Nobody starves: the wait is what those before it and the debt of the last one take.
            let of_messages = pacing.rate.map_or(0.0, |rate| f64::from(count) / rate);
            let of_bytes = pacing.rate_bytes.map_or(0.0, |rate| double(sum) / double(rate));
            let longest = of_messages + of_bytes + f64::from(count) * 1e-5 + 1e-3;
            prop_assert!((at - start).as_secs_f64() <= longest.min(2.0 * 86_400.0 * f64::from(count)), "{:?} {longest}", at - start);
        }
    }

    #[test]
    fn other_rates_give_nobody_a_second_burst(one in pacing(), other in pacing(), taken in 0_u32..30) {
        let (mut bucket, now) = (Bucket::new(one), crate::epoch());
        bucket.take(now, taken, 0);
        let before = bucket.messages;
        bucket.set(other);
        if one.rate.is_some() {
            prop_assert!(bucket.messages <= before.min(other.most_messages()));
        }
        prop_assert!(bucket.messages <= other.most_messages());
    }
}

#[test]
fn a_bucket_without_a_rate_lets_all_pass() {
    let (mut bucket, now) = (Bucket::new(Pacing::default()), crate::epoch());
    for _ in 0..1000 {
        assert_eq!(bucket.next(now, Want::Data(1 << 40)), now);
        bucket.take(now, 1, 1 << 40);
    }
}

#[test]
fn a_message_larger_than_the_burst_leaves_from_a_full_bucket_and_is_paid_after() {
    let pacing = Pacing { rate_bytes: Some(100), burst_bytes: Some(50), ..Pacing::default() };
    let (mut bucket, now) = (Bucket::new(pacing), crate::epoch());
    assert_eq!(bucket.next(now, Want::Data(1000)), now);
    bucket.take(now, 1, 1000);
    let wait = |bucket: &mut Bucket, want| bucket.next(now, want) - now;
    assert_eq!(wait(&mut bucket, Want::Data(10)), Duration::from_secs_f64(9.6) + ROUNDING);
    assert_eq!(wait(&mut bucket, Want::Ahead), Duration::ZERO, "a heartbeat of the session's is not held by a message");
}

#[test]
fn data_leaves_the_last_of_a_burst_to_what_goes_ahead() {
    let pacing = Pacing { rate: Some(1.0), burst: Some(3), ..Pacing::default() };
    let (mut bucket, now) = (Bucket::new(pacing), crate::epoch());
    bucket.take(now, 2, 0);
    assert!(bucket.next(now, Want::Data(0)) > now);
    assert_eq!(bucket.next(now, Want::Ahead), now);
}

#[test]
fn a_clock_that_jumps_gives_a_burst_and_no_more() {
    let pacing = Pacing { rate: Some(5.0), ..Pacing::default() };
    let (mut bucket, now) = (Bucket::new(pacing), crate::epoch());
    bucket.take(now, 5, 0);
    let later = now + Duration::from_hours(24 * 365);
    bucket.take(later, 5, 0);
    assert!(bucket.next(later, Want::Ahead) > later);
    assert_eq!(bucket.next(now, Want::Ahead), bucket.next(later, Want::Ahead), "it does not go back");
}
