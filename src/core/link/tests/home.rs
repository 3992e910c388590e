//! A link with several URLs: where it begins, where it stays, and how it goes home.

use super::*;
use crate::failback::Whereabouts;

fn beside(input: ConnectionInput) -> Input {
    Input::Connection(Lane::Beside, input)
}

/// A link that its first URL has refused and its second has taken in.
fn away(policy: Policy) -> Bench {
    let mut bench = Bench::with(Policy { urls: 2, ..policy });
    bench.feed(Input::Start).feed(refused(None, None));
    bench.retry();
    bench.feed(dialled());
    assert_eq!((bench.link.url(), bench.link.whereabouts()), (1, Whereabouts::Away));
    bench
}

impl Bench {
    /// Waits for the next attempt of the current connection.
    fn wait_for_attempt(&mut self) -> &mut Self {
        let before = self.dials();
        while self.dials() == before {
            self.pass(Duration::from_millis(100));
        }
        self
    }

    fn last_dial(&self) -> Option<(Lane, To)> {
        self.said.iter().rev().find_map(|said| match said {
            Command::Dial { lane, to } => Some((*lane, *to)),
            _ => None,
        })
    }
}

#[test]
fn a_link_returns_by_a_connection_beside_and_nothing_is_lost() {
    let mut bench = away(Policy::default());
    bench.send("one");
    assert_eq!(bench.frames(), [text("one")]);
    bench.feed(Input::Return);
    assert_eq!(bench.link.whereabouts(), Whereabouts::Returning);
    assert_eq!(bench.last_dial(), Some((Lane::Beside, To { url: 0, ..To::default() })), "there, and nowhere else");
    bench.send("two");
    bench.feed(beside(dialled()));
    assert_eq!(bench.link.url(), 1, "what the old one has carried is to be proved first");
    bench.prove();
    assert_eq!((bench.link.url(), bench.link.whereabouts()), (0, Whereabouts::Home));
    assert_eq!(bench.link.phase(), Phase::Ready);
}

#[test]
fn a_home_that_is_not_to_be_had_leaves_the_link_where_it_is() {
    let mut bench = away(Policy::default());
    bench.feed(Input::Return).feed(beside(refused(Some(503), None)));
    assert_eq!((bench.link.url(), bench.link.whereabouts()), (1, Whereabouts::Away));
    assert!(bench.link.rotating().is_none(), "it is told again, and does not try by itself");
    // The same where it takes the link in, and loses it at once.
    bench.send("unproven");
    bench.frames();
    bench.feed(Input::Return).feed(beside(dialled())).feed(beside(ended()));
    assert_eq!((bench.link.url(), bench.link.phase()), (1, Phase::Ready));
    assert!(bench.link.rotating().is_none());
}

#[test]
fn a_link_that_is_at_home_or_nowhere_does_not_return() {
    let mut bench = Bench::with(Policy { urls: 2, ..Policy::default() });
    bench.feed(Input::Start).feed(Input::Return);
    assert_eq!(bench.dials(), 1);
    bench.feed(dialled()).feed(Input::Return);
    assert_eq!((bench.dials(), bench.link.whereabouts()), (1, Whereabouts::Home));
}

#[test]
fn a_reload_takes_the_place_of_a_return() {
    let mut bench = away(Policy::default());
    bench.feed(Input::Return).feed(Input::Renew);
    assert!(bench.last_dial().is_some_and(|(lane, to)| lane == Lane::Beside && to.round.is_some()));
    assert_eq!(bench.link.whereabouts(), Whereabouts::Away);
}

#[test]
fn a_link_that_may_have_one_connection_closes_the_old_one_first() {
    let mut bench = away(Policy { rotates: false, ..Policy::default() });
    bench.feed(Input::Return);
    assert_eq!(bench.link.phase(), Phase::Closing);
    bench.frames();
    bench.feed(ConnectionInput::CloseSent(Some(1000))).feed(close(1000)).feed(ended()).wait_for_attempt();
    assert_eq!(bench.link.url(), 0);
}

#[test]
fn a_link_that_its_home_takes_back_and_loses_is_at_the_other_url_after_two_attempts() {
    for rotates in [true, false] {
        let mut bench = away(Policy { rotates, ..Policy::default() });
        bench.last().feed(Input::Return);
        if rotates {
            bench.feed(beside(dialled()));
            assert_eq!(bench.link.generation(), 2);
        } else {
            bench.frames();
            bench.feed(ConnectionInput::CloseSent(Some(1000))).feed(close(1000)).feed(ended()).wait_for_attempt();
            bench.feed(dialled());
        }
        assert_eq!(bench.link.whereabouts(), Whereabouts::Home);
        let before = bench.urls().len();
        bench.feed(ended()).wait_for_attempt();
        while bench.link.url() == 0 {
            bench.feed(dialled()).feed(ended()).wait_for_attempt();
        }
        assert!(bench.urls().len() <= before + 2, "{:?}", bench.urls());
    }
}

#[test]
fn a_link_that_is_to_stay_comes_back_to_where_it_was_until_an_operator_says_otherwise() {
    let mut bench = away(Policy { failback: false, ..Policy::default() });
    bench.feed(Input::Return);
    assert!(bench.link.rotating().is_none());
    bench.last().feed(ended()).wait_for_attempt();
    assert_eq!(bench.link.url(), 1);
    bench.feed(refused(None, None)).wait_for_attempt();
    assert_eq!(bench.link.url(), 0, "the round goes on");
    bench.feed(refused(None, None)).wait_for_attempt();
    bench.feed(dialled()).feed(Input::Verb(Verb::Rotate));
    assert_eq!(bench.last_dial().map(|(lane, to)| (lane, to.url)), Some((Lane::Beside, 0)));
}

#[test]
fn links_of_a_shuffled_list_begin_at_different_urls_and_return_there() {
    let policy = Policy { url_order: UrlOrder::Shuffle, urls: 3, ..Policy::default() };
    for (place, tour) in [(0, [0, 1, 2, 0]), (1, [1, 2, 0, 1]), (3, [0, 2, 1, 0])] {
        let mut bench = Bench::with(policy.clone());
        bench.link.stand_at(place);
        bench.feed(Input::Start);
        let mut tried = vec![bench.link.url()];
        for _ in 0..3 {
            bench.feed(refused(None, None)).wait_for_attempt();
            tried.push(bench.link.url());
        }
        assert_eq!(tried, tour);
        bench.feed(refused(None, None)).wait_for_attempt();
        bench.feed(dialled()).feed(Input::Return);
        assert_eq!(bench.last_dial().map(|(_, to)| to.url), Some(tour[0]));
    }
}
