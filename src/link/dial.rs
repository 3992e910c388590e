//! Makes connections: not yet.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{BoxFuture, Dial, Dialled, Gate, Progress};
use crate::core::event::{DialFailure, LinkId};

/// stub
pub struct Dialer;
#[allow(missing_docs, unused_variables, clippy::all, clippy::pedantic, reason = "stub")]
impl Dialer {
    pub fn new(
        id: LinkId,
        endpoint: Arc<dyn Fn() -> Arc<crate::config::Endpoint> + Send + Sync>,
        gate: Arc<dyn Gate>,
    ) -> Self {
        Self
    }
}
impl Dial for Dialer {
    type Stream = tokio::net::TcpStream;
    fn dial(
        &self,
        url: usize,
        progress: mpsc::Sender<Progress>,
    ) -> BoxFuture<Result<Dialled<Self::Stream>, DialFailure>> {
        let _ = (url, progress);
        unimplemented!()
    }
}
