//! What sessions need from outside of their connections, by who can give it: the daemon calls by HTTP, and a program that embeds links may.
//!
//! What a reader would get wrong: an answer is for the connection that asked. Its future is dropped with the connection.

use std::{fmt, sync::Arc, time::Instant};

use super::BoxFuture;
use crate::endpoint::{
    Endpoint,
    value::{Given, Unmade},
};
use wskeeper_core::session::{Brought, Errand};

/// What came of an errand; an error is a sentence for people, which the session shows without what it knows to be secret.
pub type Done = Result<Brought, Box<str>>;

/// Who does what sessions ask for.
pub trait Provider: fmt::Debug + Send + Sync {
    /// Does this for a link of this endpoint. Dropping the future abandons it.
    fn run(&self, errand: Errand, endpoint: Arc<Endpoint>) -> BoxFuture<Done>;

    /// The values of this endpoint, for an attempt of this link; what was made before `refused` is not good any more.
    fn values(
        &self,
        endpoint: Arc<Endpoint>,
        link: u32,
        refused: Option<Instant>,
    ) -> BoxFuture<Result<Vec<Given>, Unmade>>;
}

const NOBODY: &str = "nobody here makes calls and values for sessions: give `Settings` a `Provider`";

/// One who does nothing.
#[derive(Debug)]
pub struct Nobody;

impl Provider for Nobody {
    fn run(&self, _: Errand, _: Arc<Endpoint>) -> BoxFuture<Done> {
        Box::pin(std::future::ready(Err(NOBODY.into())))
    }

    fn values(&self, _: Arc<Endpoint>, _: u32, _: Option<Instant>) -> BoxFuture<Result<Vec<Given>, Unmade>> {
        Box::pin(std::future::ready(Err(Unmade { why: NOBODY.into(), is_refused: false })))
    }
}
