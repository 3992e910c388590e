//! Who is told that somebody listens, for as long as that one does.

use std::sync::{Arc, Weak};

/// Whoever is told.
pub(crate) trait Listened: std::fmt::Debug + Send + Sync {
    /// Somebody begins to listen to a link, or to all, or ends it.
    fn listens(&self, link: Option<u32>, begins: bool);
}

/// Somebody listens.
#[derive(Debug)]
pub(crate) struct Listening {
    to: Weak<dyn Listened>,
    link: Option<u32>,
}

impl Listening {
    /// Until this is dropped.
    pub(crate) fn to(listened: &Arc<impl Listened + 'static>, link: Option<u32>) -> Self {
        listened.listens(link, true);
        let to: Weak<dyn Listened> = Arc::downgrade(&(Arc::clone(listened) as Arc<dyn Listened>));
        Self { to, link }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(to) = self.to.upgrade() {
            to.listens(self.link, false);
        }
    }
}
