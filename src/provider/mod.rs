//! What sessions and attempts get from outside: answers to HTTP calls, values that are made.
//!
//! The daemon's [`Provider`]: links know that trait only. What a reader would get wrong: an error may hold what is secret, a host that came
//! with a variable for one; the session that asked leaves out what it knows to be secret before anybody sees it. Errors of [`Provider::values`]
//! are shown as they are, so nothing secret is left in them here.

mod call;
mod command;
mod follow;
mod jwt;
mod kept;

use std::{sync::Arc, time::Instant};

use wskeeper_core::session::{Brought, Errand};
use wskeeper_link::{
    clock::Calendar,
    endpoint::{
        Endpoint,
        value::{Given, Unmade},
    },
    link::{BoxFuture, Done, Provider},
};

use crate::observe::Families;
use follow::Trouble;
use kept::Kept;

/// The daemon's.
#[derive(Debug)]
pub struct DaemonProvider {
    kept: Arc<Kept>,
}

impl DaemonProvider {
    /// One that counts what it makes, if there is where. `seed` fixes all chance. To be called within a tokio runtime.
    pub fn new(families: Option<Arc<Families>>, seed: u64, calendar: Calendar) -> Self {
        Self { kept: Kept::new(families, seed, calendar) }
    }
}

impl Provider for DaemonProvider {
    fn run(&self, errand: Errand, endpoint: Arc<Endpoint>) -> BoxFuture<Done> {
        let kept = Arc::clone(&self.kept);
        Box::pin(async move {
            match errand {
                Errand::Call(request) => call::call(*request, &endpoint, &kept.calendar).await,
                Errand::Make(recipe) => {
                    let made = kept.counted(recipe.as_str(), Box::pin(follow::follow(*recipe, &endpoint))).await;
                    match made {
                        Ok((text, _)) => Ok(Brought::Made(text.into())),
                        Err(Trouble { why, is_refused: true }) => Ok(Brought::Refused(why.into())),
                        Err(Trouble { why, is_refused: false }) => Err(why.into()),
                    }
                }
            }
        })
    }

    fn values(
        &self,
        endpoint: Arc<Endpoint>,
        link: u32,
        refused: Option<Instant>,
    ) -> BoxFuture<Result<Vec<Given>, Unmade>> {
        let kept = Arc::clone(&self.kept);
        Box::pin(async move { kept.all(&endpoint, link, refused).await })
    }
}
