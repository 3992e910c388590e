//! What a machine of ownership is told, and what it wants done. Keys and records are those of the bucket that the members share.
//!
//! What a reader would get wrong: a command that writes is a compare-and-set on the revision that it names, and it is answered exactly once by
//! [`Input::Answered`]. Where no answer came in time, that is an answer too: the write may have been done, or may yet be.

use std::{collections::BTreeMap, sync::Arc};

use super::TakenFrom;
use crate::event::LinkId;

/// How many links each endpoint has.
pub type Links = BTreeMap<Arc<str>, u32>;

/// What a member is configured to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// The same for two members that have the same configuration.
    pub digest: Arc<str>,
    /// Its endpoints.
    pub links: Arc<Links>,
}

/// A key of the bucket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// `m.<member>`.
    Member(Arc<str>),
    /// `cfg.<digest>`.
    Configuration(Arc<str>),
    /// `c.<endpoint>.<n>`.
    Claim(LinkId),
}

/// What a member says of itself with each renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRecord {
    /// Drawn once for each member: two processes may think of the same name.
    pub nonce: u64,
    /// Whether it can be given links.
    pub state: MemberState,
    /// Of its configuration.
    pub digest: Arc<str>,
    /// How many links it owns.
    pub load: u32,
}

/// Whether a member can be given links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// It has not seen its own record through its watch: it would not notice.
    Joining,
    /// It can.
    Up,
    /// It gives its links away.
    Draining,
}

/// What stands at a key by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A member's record; `None`: it has left, or was declared dead.
    Member(Arc<str>, Option<MemberRecord>),
    /// What a configuration lists; `None`: it was taken away.
    Configuration(Arc<str>, Option<Arc<Links>>),
    /// Who owns a link; `None`: nobody.
    Claim(LinkId, Option<Arc<str>>),
}

/// How a compare-and-set went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It was done, and has this revision.
    Done(u64),
    /// Another revision stands there (`JetStream`'s 10071).
    Outdated,
    /// Another one on the same key is under way (10164), nobody leads, or nothing was heard in time.
    Unanswered,
}

/// What happens to a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchNews {
    /// This stands at a key, since this revision.
    Entry(u64, Seen),
    /// All that stood there when the watch began has been told.
    Current,
    /// It has ended, or could not be made.
    Ended,
}

/// What a machine is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Another configuration is in force.
    Configure(Configuration),
    /// Give all links away, then leave.
    Drain,
    /// The process may not have run for a while.
    Paused,
    /// Of the watch that has this number.
    Watch(u64, WatchNews),
    /// How a compare-and-set on a key went.
    Answered(Key, Answer),
    /// What a look at a key has found, with its revision: 0 where nothing has ever stood there.
    Found(u64, Seen),
    /// It could not be looked at.
    NotFound(Key),
    /// The chain of a link is taken over, and its backlog there.
    ChainTaken {
        /// Of this link.
        link: LinkId,
        /// Under this epoch.
        epoch: u64,
    },
    /// Somebody else has the chain of a link. Whoever says this has cut it.
    ChainLost {
        /// Of this link.
        link: LinkId,
        /// Under this epoch.
        epoch: u64,
    },
    /// A link does not act any more, and its chain goes up to there.
    Closed {
        /// This link.
        link: LinkId,
        /// Owned under this epoch.
        epoch: u64,
        /// The last mark.
        upto: Option<u64>,
    },
}

/// Why everything is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutCause {
    /// No renewal was answered in time.
    Deadline,
    /// The member was declared dead.
    Fenced,
}

/// How a link is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GivingUp {
    /// Hand it over to this member, or close it. Say [`Input::Closed`] when it does not act any more.
    Move(Arc<str>),
    /// Close it: there is nobody to hand it over to, or it is configured no more. Say [`Input::Closed`].
    Close,
    /// Cut it: it belongs to somebody else. Nothing is to be said.
    Cut,
}

/// What a machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Watch the whole bucket from what stands there now, and end the watch before. Tell of it by this number.
    Watch(u64),
    /// Read a key where writes are decided.
    Look(Key),
    /// Write what a configuration lists, over this revision.
    Describe(Configuration, u64),
    /// Write the record of a member that has none. From now on this process is that member.
    Join(Arc<str>, MemberRecord),
    /// Write it again, over this revision. Wait for the answer for a sixth of the lease at most.
    Renew(Arc<str>, MemberRecord, u64),
    /// Delete the own record, over this revision.
    Leave(Arc<str>, u64),
    /// Delete the record of another member, over the revision that was seen last: it is dead.
    Bury(Arc<str>, u64),
    /// Write that this member owns a link, over this revision.
    Claim(LinkId, Arc<str>, u64),
    /// Write that nobody owns it, over this revision, and up to where its chain goes.
    Free(LinkId, u64, Option<u64>),
    /// Take over the chain of a link, and read its backlog. Say [`Input::ChainTaken`] or [`Input::ChainLost`].
    TakeChain {
        /// Of this link.
        link: LinkId,
        /// Under this epoch.
        epoch: u64,
    },
    /// Act on a link from now on, while the tenure holds.
    Own {
        /// This link.
        link: LinkId,
        /// Under this epoch.
        epoch: u64,
        /// Who had it.
        from: TakenFrom,
    },
    /// Give up a link.
    Disown {
        /// This link.
        link: LinkId,
        /// Owned under this epoch.
        epoch: u64,
        /// In this way.
        how: GivingUp,
    },
    /// Cut all links at once: this member may not act.
    CutAll(CutCause),
    /// All links are given away and the member has left. Nothing more is to be done.
    Left,
}
