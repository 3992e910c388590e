//! Which of several processes acts on which link: members, leases and claims in a bucket that they share, as one value for each process.
//!
//! ```text
//!  foreign ──free, or its holder is dead──► claiming ──written──► taking the chain ──► OWNED
//!     ▲                                        │ lost                  │                  │
//!     └────────────────────────────────────────┴── freed ◄── closed ◄──┼── desired elsewhere, drain
//!                                                  cut ◄───────────────┴── deadline, fenced, chain lost
//! ```
//! A member renews its record every third of a lease; its [`Tenure`] counts from when the last answered renewal was sent. A claim is written
//! only when its owner changes, by a compare-and-set; its revision is the link's *epoch*. Nobody takes the claim of a member that is not dead,
//! and a member is dead only by a compare-and-set on the revision of its record that was seen last. Which links a member is to own, each
//! computes from the members that can be given links (`placement`).
//!
//! The driver carries out each command of [`Ownership::handle`] and answers what is to be answered; it asks the [`Tenure`] itself before each
//! write to a socket. It will stand on NATS `JetStream` and comes in a later step: until then this is a value that a simulation drives.
//!
//! What a reader would get wrong: what was seen is always old. So nothing is decided by what is seen alone: it says what is worth a
//! compare-and-set, and only that one's answer, or a record that it must have written, makes an owner.

mod claims;
mod exchange;
mod follow;
mod life;
mod lookout;
mod members;
mod placement;
mod review;
#[cfg(test)]
mod simulation;
mod tenure;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

pub use self::{
    claims::TakenFrom,
    exchange::{
        Answer, Command, Configuration, CutCause, GivingUp, Input, Key, Links, MemberRecord, MemberState, Seen,
        WatchNews,
    },
    tenure::Tenure,
};
use self::{
    claims::{Flight, Follows, Mine, Register},
    life::{Life, Renewed},
    lookout::Lookout,
    members::{Meaning, Members},
    placement::Placement,
};
use crate::{chance::Chance, clock::Clock as _, event::LinkId};

/// How members share links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// A member that does not renew for so long is declared dead.
    pub lease: Duration,
    /// Links stay where they are for so long after members have changed.
    pub settle: Duration,
    /// So many links are given at once by all members together; at least one by each.
    pub moves: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self { lease: Duration::from_secs(15), settle: Duration::from_secs(3), moves: 50 }
    }
}

/// What has happened since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Renewals that were done.
    pub renewed: u64,
    /// Those without an answer in time.
    pub unanswered: u64,
    /// Own renewals whose answer was lost, and that were gone on from.
    pub adopted: u64,
    /// Tenures that were over before a renewal was answered.
    pub lapsed: u64,
    /// Lives that others have ended.
    pub fenced: u64,
    /// Members that this one has declared dead.
    pub buried: u64,
    /// Watches that were made.
    pub watches: u64,
    /// How often it was computed where all links are to be.
    pub placements: u64,
}

/// Whether the others know what the configuration lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Describing {
    Due(Instant),
    Asked,
    Done,
}

/// What has to be looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stale {
    No,
    /// All links.
    Links,
    /// Where they are to be, and then all links.
    Placement,
}

/// Whether a member claims links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opening {
    /// It has not seen its own record through its watch.
    Unseen,
    /// From then on: others may join at the same time.
    From(Instant),
    /// It does.
    Open,
}

/// The part of one process in the ownership of links.
#[derive(Debug)]
pub struct Ownership {
    policy: Policy,
    /// Members of this process have this name, and a number behind it.
    base: Arc<str>,
    number: u64,
    chance: Chance,
    life: Life,
    tenure: Tenure,
    lookout: Lookout,
    members: Members,
    configuration: Configuration,
    describing: Describing,
    /// The digest that the others know; `None`: none yet.
    described: Option<Arc<str>>,
    /// What configurations list, and since which revision.
    configurations: BTreeMap<Arc<str>, (u64, Arc<Links>)>,
    placement: Placement,
    stale: Stale,
    was_believed: bool,
    /// Links are not given before this; `None`: they can be.
    settles_at: Option<Instant>,
    opening: Opening,
    is_draining: bool,
    claims: Register,
    counts: Counts,
    commands: Vec<Command>,
}

impl Ownership {
    /// A process that is to join. No two processes that run at once have the same `base`; those that have are told apart by their seeds.
    pub fn new(policy: Policy, base: Arc<str>, configuration: Configuration, seed: u64, now: Instant) -> Self {
        let mut chance = Chance::new(seed);
        let life = Life::new(policy.lease, format!("{base}_1").into(), chance.bits(), now);
        Self {
            life,
            tenure: Tenure::Over,
            lookout: Lookout::new(policy.lease, now),
            members: Members::new(policy.lease),
            configuration,
            describing: Describing::Due(now),
            described: None,
            configurations: BTreeMap::new(),
            placement: Placement::default(),
            stale: Stale::No,
            was_believed: false,
            settles_at: None,
            opening: Opening::Unseen,
            is_draining: false,
            claims: Register::default(),
            counts: Counts::default(),
            commands: Vec::new(),
            policy,
            base,
            number: 1,
            chance,
        }
    }

    /// Until when this member may act. To be asked before each write, with the moment of the write.
    pub fn tenure(&self) -> Tenure {
        self.tenure
    }

    /// The member that this process is now.
    pub fn name(&self) -> &Arc<str> {
        &self.life.name
    }

    /// What has happened.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Something has happened.
    pub fn handle(&mut self, now: Instant, input: Input) -> Vec<Command> {
        self.lapse(now);
        match input {
            Input::Configure(configuration) => self.configure(now, configuration),
            Input::Drain => self.is_draining = true,
            Input::Paused => {
                self.members.doubt();
                self.life.hurry();
            }
            Input::Watch(number, watched) if self.lookout.is(number) => self.watched(now, watched),
            Input::Watch(..) => {}
            Input::Answered(Key::Member(name), answer) => self.member_answered(now, &name, answer),
            Input::Answered(Key::Configuration(digest), answer) => self.described(now, &digest, answer),
            Input::Answered(Key::Claim(link), answer) => self.claim_answered(now, &link, answer),
            Input::Found(revision, seen) => self.found(now, revision, seen),
            Input::NotFound(key) => self.not_found(now, &key),
            Input::ChainTaken { link, epoch } => self.chain_taken(now, &link, epoch),
            Input::ChainLost { link, epoch } => self.chain_lost(now, &link, epoch),
            Input::Closed { link, epoch, upto } => self.closed(now, &link, epoch, upto),
        }
        self.work(now)
    }

    /// It is the moment of [`Self::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Command> {
        self.work(now)
    }

    /// When to call [`Self::handle_timeout`] though nothing has happened.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.life.is_leaving() {
            return None;
        }
        let describes = match self.describing {
            Describing::Due(at) => Some(at),
            Describing::Asked | Describing::Done => None,
        };
        let opens = match self.opening {
            Opening::From(at) => Some(at),
            Opening::Unseen | Opening::Open => None,
        };
        let renews = self.life.next().filter(|_| self.described.is_some());
        let death = self.members.next_death(&self.life.name).filter(|_| self.was_believed);
        let own = [self.tenure.deadline(), renews, describes, opens, self.settles_at];
        own.into_iter().chain([self.lookout.next(), death, self.claims.next()]).flatten().min()
    }
}
