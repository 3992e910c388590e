//! What is done outside for the session of one connection.
//!
//! It lives with the socket, so nothing of it outlives the connection or comes to another one. What a reader would get wrong: a timer's
//! steps may ask while those of another are still waiting, so there may be several.

use std::{
    fmt,
    task::{Context, Poll},
};

use super::{BoxFuture, Done};

/// Errands under way. In a box: most connections have none.
#[derive(Default)]
#[expect(clippy::box_collection, reason = "a link without a session keeps one pointer, not three")]
pub(super) struct Errands(Option<Box<Vec<Errand>>>);

/// Its number in the session, and what comes of it.
type Errand = (u64, BoxFuture<Done>);

impl Errands {
    /// One more.
    pub(super) fn add(&mut self, id: u64, errand: BoxFuture<Done>) {
        self.0.get_or_insert_default().push((id, errand));
    }

    /// One that is done, and what came of it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Option<(u64, Done)> {
        let under_way = self.0.as_deref_mut()?;
        let done = under_way.iter_mut().enumerate().find_map(|(at, (_, errand))| match errand.as_mut().poll(cx) {
            Poll::Ready(done) => Some((at, done)),
            Poll::Pending => None,
        });
        let (at, done) = done?;
        let (id, _) = under_way.swap_remove(at);
        if under_way.is_empty() {
            self.0 = None;
        }
        Some((id, done))
    }
}

impl fmt::Debug for Errands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} errands", self.0.as_ref().map_or(0, |under_way| under_way.len()))
    }
}
