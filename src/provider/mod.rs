//! What sessions get from outside: answers to HTTP calls.
//!
//! The daemon's [`Provider`]: links know that trait only. What a reader would get wrong: an error may hold what is secret, a host that came
//! with a variable for one; the session that asked leaves out what it knows to be secret before anybody sees it.

mod call;

use std::sync::Arc;

use wskeeper_core::session::Errand;
use wskeeper_link::{
    endpoint::Endpoint,
    link::{BoxFuture, Done, Provider},
};

/// The daemon's.
#[derive(Debug, Default)]
pub struct Outside;

impl Provider for Outside {
    fn run(&self, errand: Errand, endpoint: Arc<Endpoint>) -> BoxFuture<Done> {
        match errand {
            Errand::Call(request) => Box::pin(async move { call::call(*request, &endpoint.tls).await }),
        }
    }
}
