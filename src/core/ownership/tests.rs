//! One machine, its bucket and one other member that the test speaks for. Whole clusters are in `simulation`.
//!
//! What a reader would get wrong: the bucket here does everything at once and in order, so what is not told here cannot have been seen.

use std::collections::VecDeque;

use super::*;

const LEASE: Duration = Duration::from_secs(15);

/// A machine with a bucket that answers at once.
struct Desk {
    machine: Ownership,
    now: Instant,
    revision: u64,
    watch: u64,
    records: BTreeMap<Key, (u64, Seen)>,
    /// What it is to be told next.
    inputs: VecDeque<Input>,
    /// What it wants of its process.
    wanted: Vec<Command>,
    /// It does not answer writes of this kind of key.
    silent: bool,
}

fn configuration(digest: &str, links: u32) -> Configuration {
    Configuration { digest: digest.into(), links: Arc::new([(Arc::from("feed"), links)].into()) }
}

fn link(index: u32) -> LinkId {
    LinkId { endpoint: "feed".into(), index }
}

impl Desk {
    fn new(links: u32) -> Self {
        let now = crate::epoch();
        let machine = Ownership::new(Policy::default(), "own_1".into(), configuration("a", links), 1, now);
        let (records, wanted) = (BTreeMap::new(), Vec::new());
        let mut desk =
            Self { machine, now, revision: 0, watch: 0, records, inputs: VecDeque::new(), wanted, silent: false };
        desk.wake();
        desk
    }

    /// A machine that owns everything.
    fn alone(links: u32) -> Self {
        let mut desk = Self::new(links);
        desk.pass(LEASE);
        assert_eq!(desk.machine.claims.load(), links);
        desk
    }

    /// Something happens, and all that follows from it.
    fn feed(&mut self, input: Input) {
        self.inputs.push_back(input);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(input) = self.inputs.pop_front() {
            let commands = self.machine.handle(self.now, input);
            self.obey(commands);
        }
    }

    fn obey(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Watch(number) => {
                    self.watch = number;
                    for (revision, seen) in self.records.clone().into_values() {
                        self.inputs.push_back(Input::Watch(number, WatchNews::Entry(revision, seen)));
                    }
                    self.inputs.push_back(Input::Watch(number, WatchNews::Current));
                }
                Command::TakeChain { link, epoch } => self.inputs.push_back(Input::ChainTaken { link, epoch }),
                Command::Look(key) => {
                    let (revision, seen) = self.records.get(&key).cloned().unwrap();
                    self.inputs.push_back(Input::Found(revision, seen));
                }
                Command::Describe(of, over) => {
                    self.write(
                        Key::Configuration(of.digest.clone()),
                        Seen::Configuration(of.digest, Some(of.links)),
                        over,
                    );
                }
                Command::Join(name, record) => {
                    self.write(Key::Member(name.clone()), Seen::Member(name, Some(record)), 0);
                }
                Command::Renew(name, record, over) => {
                    self.write(Key::Member(name.clone()), Seen::Member(name, Some(record)), over);
                }
                Command::Leave(name, over) | Command::Bury(name, over) => {
                    self.write(Key::Member(name.clone()), Seen::Member(name, None), over);
                }
                Command::Claim(link, name, over) => {
                    self.write(Key::Claim(link.clone()), Seen::Claim(link, Some(name)), over);
                }
                Command::Free(link, over, _) => self.write(Key::Claim(link.clone()), Seen::Claim(link, None), over),
                other => self.wanted.push(other),
            }
        }
    }

    fn write(&mut self, key: Key, seen: Seen, over: u64) {
        if self.silent {
            return self.inputs.push_back(Input::Answered(key, Answer::Unanswered));
        }
        let known = self.records.get(&key).map_or(0, |(revision, _)| *revision);
        if known != over {
            return self.inputs.push_back(Input::Answered(key, Answer::Outdated));
        }
        let revision = self.put(key.clone(), seen);
        self.inputs.push_back(Input::Answered(key, Answer::Done(revision)));
    }

    /// Somebody else writes a record.
    fn tell(&mut self, key: Key, seen: Seen) {
        self.put(key, seen);
        self.settle();
    }

    fn put(&mut self, key: Key, seen: Seen) -> u64 {
        self.revision += 1;
        let revision = self.revision;
        self.records.insert(key, (revision, seen.clone()));
        self.inputs.push_back(Input::Watch(self.watch, WatchNews::Entry(revision, seen)));
        revision
    }

    /// Another member joins, or renews.
    fn renew_other(&mut self) {
        let record = MemberRecord { nonce: 9, state: MemberState::Up, digest: "a".into(), load: 0 };
        self.tell(Key::Member("other_1_1".into()), Seen::Member("other_1_1".into(), Some(record)));
    }

    fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(at) = self.machine.poll_timeout().filter(|at| *at <= until) {
            assert!(at > self.now, "a deadline stayed due");
            self.now = at;
            self.wake();
        }
        self.now = until;
    }

    fn wake(&mut self) {
        let commands = self.machine.handle_timeout(self.now);
        self.obey(commands);
        self.settle();
    }

    fn take_wanted(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.wanted)
    }
}

#[test]
fn a_member_that_is_alone_owns_everything_after_it_has_settled() {
    let mut desk = Desk::new(3);
    desk.pass(Duration::from_millis(2_999));
    assert_eq!(desk.take_wanted(), []);
    desk.pass(Duration::from_millis(1));
    let owns: Vec<_> = desk.take_wanted();
    assert!(owns.iter().all(|command| matches!(command, Command::Own { from: TakenFrom::Free, .. })));
    assert_eq!(owns.len(), 3);
}

#[test]
fn everything_is_cut_at_nine_tenths_of_a_lease_and_claimed_again_when_a_renewal_is_answered() {
    let mut desk = Desk::alone(2);
    desk.take_wanted();
    let deadline = desk.machine.tenure().deadline().unwrap();
    desk.silent = true;
    desk.pass(deadline.saturating_duration_since(desk.now).saturating_sub(Duration::from_millis(1)));
    assert_eq!(desk.take_wanted(), []);
    desk.pass(Duration::from_millis(1));
    assert_eq!(desk.take_wanted(), [Command::CutAll(CutCause::Deadline)]);
    assert!(!desk.machine.tenure().holds(desk.now));
    desk.silent = false;
    desk.pass(LEASE / 6);
    let again = desk.take_wanted();
    assert!(again.iter().all(|command| matches!(command, Command::Own { from: TakenFrom::Again, .. })), "{again:?}");
    assert_eq!(again.len(), 2);
}

#[test]
fn who_was_declared_dead_cuts_everything_and_joins_as_another() {
    let mut desk = Desk::alone(2);
    desk.take_wanted();
    desk.tell(Key::Member("own_1_1".into()), Seen::Member("own_1_1".into(), None));
    assert_eq!(desk.take_wanted(), [Command::CutAll(CutCause::Fenced)]);
    assert_eq!(&**desk.machine.name(), "own_1_2");
    desk.pass(Duration::from_secs(3));
    let taken = desk.take_wanted();
    assert!(taken.iter().all(|command| matches!(command, Command::Own { from: TakenFrom::Dead, .. })), "{taken:?}");
    assert_eq!(taken.len(), 2);
}

#[test]
fn a_chain_that_somebody_else_has_is_claimed_anew_under_a_later_epoch() {
    let mut desk = Desk::alone(1);
    let Some(Command::Own { epoch: before, .. }) = desk.take_wanted().pop() else { panic!("it owns the link") };
    desk.feed(Input::ChainLost { link: link(0), epoch: before });
    assert_eq!(desk.take_wanted(), []);
    desk.pass(LEASE / 6);
    let Some(Command::Own { epoch, from: TakenFrom::Again, .. }) = desk.take_wanted().pop() else {
        panic!("it owns it again")
    };
    assert!(epoch > before);
}

#[test]
fn what_is_configured_no_more_is_closed_and_freed_at_once() {
    let mut desk = Desk::alone(2);
    desk.take_wanted();
    desk.feed(Input::Configure(configuration("b", 1)));
    let wanted = desk.take_wanted();
    let [Command::Disown { link: gone, epoch, how: GivingUp::Close }] = wanted.as_slice() else { panic!("{wanted:?}") };
    assert_eq!(*gone, link(1));
    desk.feed(Input::Closed { link: link(1), epoch: *epoch, upto: Some(7) });
    assert!(matches!(desk.records[&Key::Claim(link(1))].1, Seen::Claim(_, None)));
}

#[test]
fn a_link_is_given_to_a_member_that_joins_after_it_has_settled_and_one_at_a_time_where_there_are_many_members() {
    let mut desk = Desk::alone(40);
    desk.machine.policy.moves = 2;
    desk.take_wanted();
    desk.renew_other();
    desk.pass(Duration::from_millis(2_999));
    assert_eq!(desk.take_wanted(), []);
    desk.renew_other();
    desk.pass(Duration::from_millis(1));
    let wanted = desk.take_wanted();
    let [Command::Disown { link: first, epoch, how: GivingUp::Move(to) }] = wanted.as_slice() else {
        panic!("{wanted:?}")
    };
    assert_eq!(&**to, "other_1_1");
    desk.feed(Input::Closed { link: first.clone(), epoch: *epoch, upto: None });
    assert_eq!(desk.take_wanted(), [], "nobody has claimed the first");
    desk.tell(Key::Claim(first.clone()), Seen::Claim(first.clone(), Some("other_1_1".into())));
    assert_eq!(desk.take_wanted().len(), 1);
}

#[test]
fn ten_thousand_claims_and_renewals_do_not_place_all_links_again() {
    let mut desk = Desk::alone(10_000);
    let before = desk.machine.counts().placements;
    assert!(before <= 4, "{before}");
    desk.renew_other();
    desk.pass(Duration::from_secs(1));
    assert_eq!(desk.machine.counts().placements, before + 1);
    for index in 10_000..20_000 {
        desk.tell(Key::Claim(link(index)), Seen::Claim(link(index), Some("other_1_1".into())));
    }
    desk.renew_other();
    assert_eq!(desk.machine.counts().placements, before + 1);
}

#[test]
fn a_process_that_has_not_joined_frees_no_claim_in_the_name_that_it_would_have() {
    let mut desk = Desk::new(1);
    desk.machine = Ownership::new(Policy::default(), "own_1".into(), configuration("a", 0), 2, desk.now);
    desk.silent = true;
    desk.wake();
    let written = desk.records.len();
    desk.tell(Key::Claim(link(0)), Seen::Claim(link(0), Some("own_1_1".into())));
    desk.silent = false;
    desk.pass(Duration::from_secs(5));
    assert!(desk.records.len() > written);
    assert_eq!(desk.records[&Key::Claim(link(0))].1, Seen::Claim(link(0), Some("own_1_1".into())));
    assert_eq!(&**desk.machine.name(), "own_1_2");
}
