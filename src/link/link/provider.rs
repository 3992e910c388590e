//! What sessions need from outside of their connections, by who can give it: the daemon calls by HTTP, and a program that embeds links may.
//!
//! What a reader would get wrong: an answer is for the connection that asked. Its future is dropped with the connection.

use std::{fmt, sync::Arc};

use super::BoxFuture;
use crate::endpoint::Endpoint;
use wskeeper_core::session::{Brought, Errand};

/// What came of an errand; an error is a sentence for people, which the session shows without what it knows to be secret.
pub type Done = Result<Brought, Box<str>>;

/// Who does what sessions ask for.
pub trait Provider: fmt::Debug + Send + Sync {
    /// Does this for a link of this endpoint. Dropping the future abandons it.
    fn run(&self, errand: Errand, endpoint: Arc<Endpoint>) -> BoxFuture<Done>;
}

/// One who does nothing.
#[derive(Debug)]
pub struct Nobody;

impl Provider for Nobody {
    fn run(&self, _: Errand, _: Arc<Endpoint>) -> BoxFuture<Done> {
        Box::pin(std::future::ready(Err(
            "nobody here makes HTTP calls for sessions: give `Settings` a `Provider`".into()
        )))
    }
}
