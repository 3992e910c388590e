//! The keys that a local WebSocket holds: for as long as it is open, and no longer.
//!
//! What a reader would get wrong: they are released when this is dropped, whatever the end of the connection was.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use serde_json::{Value, json};

use super::{super::problem::Problem, envelope::Wanted};
use crate::api::convert;
use wskeeper_core::subscriptions::Holder;
use wskeeper_link::pool::{Pool, Subscribe};

/// Answers that a client has not taken.
const ANSWERS: usize = 64;

/// What one client holds, and what it has not been told yet.
pub(super) struct Holding {
    pool: Pool,
    endpoint: Arc<str>,
    holder: Holder,
    /// It may hold something.
    holds: bool,
    answers: std::collections::VecDeque<Value>,
}

impl Holding {
    pub(super) fn new(pool: Pool, endpoint: Arc<str>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let holder = Holder::Socket(NEXT.fetch_add(1, Ordering::Relaxed));
        Self { pool, endpoint, holder, holds: false, answers: std::collections::VecDeque::new() }
    }

    /// Whether another question may be taken.
    pub(super) fn has_room(&self) -> bool {
        self.answers.len() < ANSWERS
    }

    /// Does what is asked for; what is of messages comes back.
    pub(super) fn take(&mut self, wanted: Wanted) -> Option<Wanted> {
        let answer = match wanted {
            Wanted::Send(_) => return Some(wanted),
            Wanted::Subscribe { reference, key, message } => {
                self.holds = true;
                let subscribe = Subscribe { key, holder: self.holder.clone(), lease: None, message };
                match self.pool.subscribe_to(&self.endpoint, subscribe) {
                    Ok((view, _)) => {
                        let subscription = json!(convert::subscription(&view));
                        json!({ "type": "subscription", "ref": reference, "subscription": subscription })
                    }
                    Err(error) => told(reference.as_ref(), &error.into()),
                }
            }
            Wanted::Unsubscribe { reference, key, message } => {
                match self.pool.unsubscribe_from(&self.endpoint, &key, &self.holder, message) {
                    Ok(_) => json!({ "type": "unsubscribed", "ref": reference, "key": key }),
                    Err(error) => told(reference.as_ref(), &error.into()),
                }
            }
        };
        self.answers.push_back(answer);
        None
    }

    /// What the client is to be told next.
    pub(super) fn next_answer(&mut self) -> Option<Value> {
        self.answers.pop_front()
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        if self.holds {
            self.pool.unsubscribe_all(&self.endpoint, &self.holder);
        }
    }
}

fn told(reference: Option<&Value>, problem: &Problem) -> Value {
    json!({ "type": "problem", "ref": reference, "problem": problem.json() })
}
