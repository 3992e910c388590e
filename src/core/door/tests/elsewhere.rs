//! Those who have other URLs: where they are sent, and when they may come back.

use super::*;

const LONG: Duration = Duration::from_mins(5);

impl Hall {
    fn ask_with(&mut self, ticket: u64, link: LinkId, at: u8, elsewhere: Elsewhere) {
        self.links.insert(ticket, link.clone());
        self.door.ask(self.now, ticket, Knock { elsewhere, ..knock(link, vec![address(at)]) });
    }

    fn words(&mut self) -> Vec<(u64, Word)> {
        std::iter::from_fn(|| self.door.poll_word()).collect()
    }
}

#[test]
fn who_has_another_url_goes_there_instead_of_being_held() {
    let mut hall = Hall::new(4);
    hall.learn(0, link("a", 0), 1, Verdict::Failing(Some(asking(LONG))));
    hall.ask_with(1, link("a", 1), 1, Elsewhere::Untried);
    hall.ask_with(2, link("a", 2), 1, Elsewhere::Nowhere);
    assert_eq!((hall.words(), hall.door.waiting()), (vec![(1, Word::Elsewhere)], 1));
    hall.ask_with(3, link("a", 1), 2, Elsewhere::Tried);
    assert_eq!(hall.granted(), [(3, address(2))]);
}

#[test]
fn who_stands_in_line_when_the_server_goes_down_goes_elsewhere_too() {
    let mut hall = Hall::new(1);
    for (ticket, index) in (0..3).zip(0..) {
        hall.ask_with(ticket, link("a", index), 1, Elsewhere::Untried);
    }
    hall.ask_with(3, link("a", 3), 1, Elsewhere::Tried);
    let looking = hall.granted();
    assert_eq!(looking, [(0, address(1))]);
    hall.end(looking[0], Verdict::Failing(Some(asking(LONG))));
    assert_eq!(hall.words(), [(1, Word::Elsewhere), (2, Word::Elsewhere)]);
    assert_eq!((hall.granted(), hall.door.waiting()), (vec![], 1));
}

#[test]
fn who_has_asked_everywhere_is_held_until_a_link_of_its_endpoint_gets_in_anywhere() {
    let mut hall = Hall::new(4);
    hall.learn(0, link("a", 0), 1, Verdict::Failing(Some(asking(LONG))));
    hall.ask_with(1, link("a", 1), 1, Elsewhere::Tried);
    hall.ask_with(2, link("a", 2), 1, Elsewhere::Nowhere);
    hall.learn(3, link("b", 0), 2, Verdict::Up);
    assert_eq!((hall.words(), hall.door.waiting()), (vec![], 2), "that is another endpoint's");
    hall.learn(4, link("a", 3), 2, Verdict::Up);
    assert_eq!((hall.words(), hall.door.waiting()), (vec![(1, Word::Again)], 1));
    hall.door.withdraw(2);
    assert!(hall.door.held.is_empty());
}

#[test]
fn who_was_asked_to_come_later_does_not_come_sooner_by_way_of_another_url() {
    let mut hall = Hall::new(1);
    hall.learn(0, link("a", 0), 1, Verdict::Failing(Some(asking(Duration::from_secs(7)))));
    hall.ask_with(1, link("a", 0), 1, Elsewhere::Untried);
    assert_eq!(hall.words(), [(1, Word::Elsewhere)]);
    hall.now += Duration::from_secs(7);
    hall.ask_with(2, link("a", 0), 1, Elsewhere::Untried);
    assert_eq!(hall.granted(), [(2, address(1))]);
}
