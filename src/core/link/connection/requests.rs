//! Requests on a connection: the id that each gets as it leaves, and the replies among what arrives.
//!
//! What a reader would get wrong: requests and the session share the connection, so they share its counter of ids, and what may wait for an
//! answer at once. The session hears replies as well, for it may be told by them that the peer is there.

use std::sync::Arc;

use super::{Connection, Shared, session::Running};
use crate::{
    chance::Chance,
    link::{Command, Commands, Lane, Policy},
    outbox::Outbox,
    run::Run,
    session::{self, Session},
};

impl Connection {
    /// Whether what arrives may be a reply.
    #[inline]
    pub(super) fn expects_replies(&self, shared: &Shared) -> bool {
        // What an old connection still has to say is for nobody: all that was asked on it had ended when it was replaced.
        let requests = &shared.policy.requests;
        self.lane == Lane::Current
            && requests.reply.is_some()
            && shared.outbox.as_deref().is_some_and(|outbox| outbox.expects_replies(requests.stamp))
    }

    /// Finds the replies to requests; answers with what consumers are not to see.
    pub(super) fn find_replies(&self, run: &Run, shared: &mut Shared, out: &mut Commands) -> Vec<bool> {
        if !self.expects_replies(shared) {
            return Vec::new();
        }
        let policy = Arc::clone(&shared.policy);
        let requests = &policy.requests;
        let take = |payload: crate::message::Payload| {
            let (key, mut ended) = (requests.key_of(payload.bytes())?, Vec::new());
            let (id, waiting) = shared.outbox.as_deref_mut()?.replied(&key, &mut ended)?;
            out.push(Command::Reply(Box::new(requests.reply(id, &payload, waiting.own.as_ref()))));
            self.tell_receipts(ended, out);
            Some(requests.hide)
        };
        run.payloads().map(take).map(|hides| hides == Some(true)).collect()
    }

    /// Gives the request at the head of the outbox its id, if it may leave now.
    #[inline(never)]
    pub(super) fn give_id(&mut self, policy: &Policy, chance: &mut Chance, outbox: &mut Outbox) {
        let mut session = match self.session.as_deref_mut() {
            Some(Running::Begun(session, _)) => Some(session),
            Some(Running::Prepared(_)) | None => None,
        };
        if let Some(most) = policy.requests.in_flight {
            let by_timers = session.as_deref().map_or(0, Session::asks);
            let is_turn = session.as_deref().is_none_or(|session| !session.waits_for_turn());
            if !is_turn || outbox.asked().saturating_add(by_timers) >= most as usize {
                return;
            }
        }
        let number = |next| session.as_deref_mut().map_or(next, Session::next_number);
        outbox.give_id(number, || session::uuid(chance.bits(), chance.bits()));
    }
}
