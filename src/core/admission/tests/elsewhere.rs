//! Those who have other URLs: where they are sent, and when they may come back.

use super::*;

const LONG: Duration = Duration::from_mins(5);

impl Trial {
    fn ask_with(&mut self, ticket: u64, link: LinkId, at: u8, elsewhere: Elsewhere) {
        self.links.insert(ticket, link.clone());
        self.admission.ask(self.now, ticket, Request { elsewhere, ..request(link, vec![address(at)]) });
    }

    fn dismissals(&mut self) -> Vec<(u64, Dismissal)> {
        std::iter::from_fn(|| self.admission.poll_dismissal()).collect()
    }
}

#[test]
fn who_has_another_url_goes_there_instead_of_being_held() {
    let mut trial = Trial::new(4);
    trial.learn(0, link("a", 0), 1, Verdict::Failing(Some(asking(LONG))));
    trial.ask_with(1, link("a", 1), 1, Elsewhere::Untried);
    trial.ask_with(2, link("a", 2), 1, Elsewhere::Nowhere);
    assert_eq!((trial.dismissals(), trial.admission.waiting()), (vec![(1, Dismissal::Elsewhere)], 1));
    trial.ask_with(3, link("a", 1), 2, Elsewhere::Tried);
    assert_eq!(trial.granted(), [(3, address(2))]);
}

#[test]
fn who_stands_in_line_when_the_server_goes_down_goes_elsewhere_too() {
    let mut trial = Trial::new(1);
    for (ticket, index) in (0..3).zip(0..) {
        trial.ask_with(ticket, link("a", index), 1, Elsewhere::Untried);
    }
    trial.ask_with(3, link("a", 3), 1, Elsewhere::Tried);
    let probing = trial.granted();
    assert_eq!(probing, [(0, address(1))]);
    trial.end(probing[0], Verdict::Failing(Some(asking(LONG))));
    assert_eq!(trial.dismissals(), [(1, Dismissal::Elsewhere), (2, Dismissal::Elsewhere)]);
    assert_eq!((trial.granted(), trial.admission.waiting()), (vec![], 1));
}

#[test]
fn who_has_asked_everywhere_is_held_until_a_link_of_its_endpoint_gets_in_anywhere() {
    let mut trial = Trial::new(4);
    trial.learn(0, link("a", 0), 1, Verdict::Failing(Some(asking(LONG))));
    trial.ask_with(1, link("a", 1), 1, Elsewhere::Tried);
    trial.ask_with(2, link("a", 2), 1, Elsewhere::Nowhere);
    trial.learn(3, link("b", 0), 2, Verdict::Up);
    assert_eq!((trial.dismissals(), trial.admission.waiting()), (vec![], 2), "that is another endpoint's");
    trial.learn(4, link("a", 3), 2, Verdict::Up);
    assert_eq!((trial.dismissals(), trial.admission.waiting()), (vec![(1, Dismissal::Again)], 1));
    trial.admission.withdraw(2);
    assert!(trial.admission.held.is_empty());
}

#[test]
fn who_was_asked_to_come_later_does_not_come_sooner_by_way_of_another_url() {
    let mut trial = Trial::new(1);
    trial.learn(0, link("a", 0), 1, Verdict::Failing(Some(asking(Duration::from_secs(7)))));
    trial.ask_with(1, link("a", 0), 1, Elsewhere::Untried);
    assert_eq!(trial.dismissals(), [(1, Dismissal::Elsewhere)]);
    trial.now += Duration::from_secs(7);
    trial.ask_with(2, link("a", 0), 1, Elsewhere::Untried);
    assert_eq!(trial.granted(), [(2, address(1))]);
}
