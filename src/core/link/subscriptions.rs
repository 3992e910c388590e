//! What a link is to ask its peers for: kept here over its connections, passed on to the sessions of those it has, and told of as they go on.
//!
//! What a reader would get wrong: the connection beside the current one asks for all of it as well, and is told of once it takes the place.

use std::time::Instant;

use super::{Command, Commands, Lane, Link, connection::Stage};
use crate::subscriptions::{Change, Wanted};

impl Link {
    pub(super) fn on_subscriptions(&mut self, now: Instant, changes: &[Change], out: &mut Commands) {
        let wanted = self.shared.wanted.get_or_insert_default();
        for change in changes {
            wanted.follow(change);
        }
        for lane in [Lane::Current, Lane::Beside] {
            if let Some((connection, shared)) = self.connection(lane)
                && let Some(change) = connection.follow_subscriptions(now, changes, shared, out)
            {
                self.on_change(now, lane, change, out);
            }
        }
    }

    /// Says what became of keys since this was last said.
    pub(super) fn tell_subscriptions(&mut self, out: &mut Commands) {
        if self.shared.wanted.is_none() {
            return;
        }
        let generation = self.generation;
        let Some((connection, shared)) = self.connection(Lane::Current) else { return self.tell_lost(out) };
        let Some(wanted) = shared.wanted.as_deref_mut() else { return };
        if !matches!(connection.stage, Stage::Open(_)) {
            return self.tell_lost(out);
        }
        let is_new = !wanted.is_told(generation);
        let Some((reached, let_go)) = connection.reached_subscriptions(is_new) else {
            return if is_new {
                self.tell_lost(out);
            };
        };
        wanted.tell(generation);
        wanted.note(&reached);
        wanted.forget(&let_go);
        if !reached.is_empty() {
            // First: who sees that the link is ready sees the states of its keys.
            out.insert(0, Command::Subscribed(reached));
        }
    }

    /// There is no connection: all are to be asked for.
    fn tell_lost(&mut self, out: &mut Commands) {
        let lost = self.shared.wanted.as_deref_mut().map(Wanted::lose).unwrap_or_default();
        if !lost.is_empty() {
            out.insert(0, Command::Subscribed(lost));
        }
    }
}
