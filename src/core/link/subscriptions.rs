//! What a link is to ask its peers for: kept here over its connections, passed on to the sessions of those it has, and told of as they go on.
//!
//! What a reader would get wrong: the connection beside the current one asks for all of it as well, and is told of once it takes the place.

use std::time::Instant;

use super::{Command, Commands, Lane, Link, connection::Stage};
use crate::{
    session::News,
    subscriptions::{Change, Wanted},
};

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

    /// Once a new connection has the keys that stood when it began, the old one asks for no more, and the new one for those that the old
    /// one has asked for meanwhile. So both come to an end, however fast programs put keys, and nothing is missing for a moment.
    pub(super) fn hand_keys_over(&mut self, now: Instant, out: &mut Commands) {
        if self.shared.wanted.is_none() {
            return;
        }
        let takes_over =
            self.is_coming() && self.connection(Lane::Beside).is_some_and(|(new, _)| new.takes_keys_over());
        let Some((old, _)) = self.connection(Lane::Current) else { return };
        let has_asked = old.hold_keys(takes_over).unwrap_or_default();
        if takes_over
            && let Some((new, shared)) = self.connection(Lane::Beside)
            && let Some(change) = new.take_keys_over(now, &has_asked, shared, out)
        {
            self.on_change(now, Lane::Beside, change, out);
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
        let Some(News { reached, held }) = connection.news_of_subscriptions(is_new) else {
            return if is_new {
                self.tell_lost(out);
            };
        };
        wanted.tell(generation);
        wanted.note(held);
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
