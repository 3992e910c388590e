//! A pool for programs that hold their links themselves: a builder, an endpoint by its name, a message that is waited for.
//!
//! All of it is a few lines over [`Pool`], which can do more. What a reader would get wrong: a message is handed over when a future of
//! [`Sending`] is polled, not by [`Handle::send`]; once accepted it goes out also when nobody waits any more.

use std::{sync::Arc, time::Duration};

use crate::{
    endpoint::Endpoint,
    hub::{From, Reader},
    link::Provider,
    observer::{Observer, Silent},
    pool::{Pool, Refused, Send, Settings},
};
use wskeeper_core::{
    message::Payload,
    receipt::{Receipt, State},
};

/// Waited for an end by who says nothing else.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a pool is to hold, one after the other.
#[derive(Debug)]
#[must_use = "nothing is held before `start`"]
pub struct Builder {
    settings: Settings,
    observer: Arc<dyn Observer>,
}

impl Builder {
    /// Holds the links of this endpoint; of two with one name, the last.
    pub fn endpoint(mut self, mut endpoint: Endpoint) -> Self {
        endpoint.agree();
        self.settings.endpoints.insert(Arc::clone(&endpoint.name), Arc::new(endpoint));
        self
    }

    /// Tells this one what happens.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Lets this one do what sessions ask for.
    pub fn provider(mut self, provider: impl Provider + 'static) -> Self {
        self.settings.provider = Arc::new(provider);
        self
    }

    /// The links begin to dial. To be called within a tokio runtime.
    pub async fn start(self) -> Pool {
        let seed = uuid::Uuid::new_v4().as_u64_pair().0;
        Pool::start(self.settings, self.observer, seed).await
    }
}

/// An endpoint of a pool, by its name.
#[derive(Debug, Clone)]
pub struct Handle {
    pool: Pool,
    name: Arc<str>,
}

impl Pool {
    /// A pool of the endpoints that it is given, in memory, with the limits of [`Settings::default`].
    pub fn builder() -> Builder {
        Builder { settings: Settings::default(), observer: Arc::new(Silent) }
    }

    /// An endpoint, if there is one of this name.
    pub fn at(&self, endpoint: &str) -> Option<Handle> {
        let name = Arc::clone(&self.endpoint(endpoint)?.config.name);
        Some(Handle { pool: self.clone(), name })
    }
}

impl Handle {
    /// A message for the link with the least queued.
    pub fn send(&self, payload: impl Into<Payload>) -> Sending {
        let send = Send { patience: PATIENCE, ..Send::new(Arc::clone(&self.name), payload) };
        Sending { pool: self.pool.clone(), send }
    }

    /// What arrives; `None`: the endpoint is gone.
    pub fn events(&self, from: From) -> Option<Reader> {
        self.pool.subscribe(&self.name, from)
    }
}

/// A message that is about to be sent.
#[derive(Debug)]
#[must_use = "it is sent by `accepted`, `written` or `confirmed`"]
pub struct Sending {
    pool: Pool,
    send: Send,
}

/// Why a message has not come as far as was waited for.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It was not accepted, and will not be sent.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It has ended otherwise.
    #[error("the message is {}", .0.state)]
    Ended(Receipt),
    /// It is still under way, and may yet come so far.
    #[error("the message is {} and still under way", .0.state)]
    UnderWay(Receipt),
}

impl Sending {
    /// By this link and no other; from 0.
    pub fn link(mut self, index: u32) -> Self {
        self.send.link = Some(index);
        self
    }

    /// Waits at most this long, for room where `on_full` waits and then for the end; 30 s where nothing is said.
    pub fn within(mut self, patience: Duration) -> Self {
        self.send.patience = patience;
        self
    }

    /// Until the outbox has it, or the disk where the outbox is durable.
    pub async fn accepted(self) -> Result<Receipt, Refused> {
        self.pool.send(self.send).await
    }

    /// Until it has left.
    pub async fn written(self) -> Result<Receipt, SendError> {
        self.reached(State::Written).await
    }

    /// Until the peer has proved to have read it.
    pub async fn confirmed(mut self) -> Result<Receipt, SendError> {
        self.send.wants_confirmation = true;
        self.reached(State::Confirmed).await
    }

    async fn reached(self, wanted: State) -> Result<Receipt, SendError> {
        let patience = self.send.patience;
        let accepted = self.pool.send(self.send).await?;
        let receipt = self.pool.settle(accepted.id, wanted, patience).await.unwrap_or(accepted);
        if (wanted..=State::Confirmed).contains(&receipt.state) {
            Ok(receipt)
        } else if receipt.state.is_end() {
            Err(SendError::Ended(receipt))
        } else {
            Err(SendError::UnderWay(receipt))
        }
    }
}
