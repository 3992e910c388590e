//! One attempt by itself, for who wants a connection and no link: it dials as links do, and waits for nobody.
//!
//! What a reader would get wrong: nothing limits it in time but who waits for it, as the driver does by a link's `connect_timeout`.

use std::{net::SocketAddr, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Admit, BoxFuture, Dial as _, Dialer, Permit, PreparePermit, Provider, Source, To};
use crate::endpoint::Endpoint;
use wskeeper_core::{
    admission::{Dismissal, Request},
    event::{DialFailure, Established, LinkId},
    session::Start,
};

/// A byte stream both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

/// A connection after its upgrade, of which nothing has been read.
#[allow(missing_debug_implementations, reason = "a stream shows nothing")]
pub struct Connected {
    /// The stream under the WebSocket.
    pub stream: Box<dyn Duplex>,
    /// Bytes of the first frames that came with the 101.
    pub early: Vec<u8>,
    /// What was agreed.
    pub established: Box<Established>,
    /// What is to follow, where the endpoint has a session.
    pub session: Option<Box<Start>>,
}

/// Dials the endpoint's first URL, redirects included, with values of this provider.
pub async fn connect(endpoint: &Arc<Endpoint>, provider: Arc<dyn Provider>) -> Result<Connected, DialFailure> {
    let id = LinkId { endpoint: Arc::clone(&endpoint.name), index: 0 };
    let source = Fixed { endpoint: Arc::clone(endpoint), provider };
    let dialer = Dialer::new(id, Arc::new(source), Arc::new(Alone));
    let to = To { url: 0, urgent: false, refused: None };
    let dialled = dialer.dial(to, None, Box::new(|_| {})).await?;
    let super::Dialled { stream, early, established, session, ends: _ } = dialled;
    Ok(Connected { stream: Box::new(stream), early, established, session })
}

/// An endpoint that stays as it is.
struct Fixed {
    endpoint: Arc<Endpoint>,
    provider: Arc<dyn Provider>,
}

impl Source for Fixed {
    fn endpoint(&self) -> Arc<Endpoint> {
        Arc::clone(&self.endpoint)
    }

    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.provider)
    }
}

/// Nobody else dials, so nobody waits.
struct Alone;

impl Admit for Alone {
    fn prepare(self: Arc<Self>, _: LinkId) -> BoxFuture<PreparePermit> {
        Box::pin(std::future::ready(PreparePermit::default()))
    }

    fn admit(self: Arc<Self>, request: Request) -> BoxFuture<Result<Box<Permit>, Dismissal>> {
        // A name has one address at least.
        let first = request.addresses.first().copied().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
        Box::pin(std::future::ready(Ok(Permit::new(first, None))))
    }

    fn admit_extra(self: Arc<Self>, _: LinkId, address: SocketAddr) -> BoxFuture<Box<Permit>> {
        Box::pin(std::future::ready(Permit::new(address, None)))
    }
}
