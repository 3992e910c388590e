//! One attempt by itself, for who wants a connection and no link: it dials as links do, and waits for nobody.
//!
//! What a reader would get wrong: nothing limits it in time but who waits for it, as the driver does by a link's `connect_timeout`.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{
    Admit, Aside, BoxFuture, Dial as _, Dialer, Permit, PreparePermit, Provider, Source, To, Transport, resolve,
    tls::{self, Under},
    tunnel::{self, Judging},
};
use crate::{
    clock::Calendar,
    endpoint::{
        Endpoint, Tls,
        compression::Compression,
        network::Network,
        proxy::{Proxy, ProxyScheme, Via},
        url::Target,
    },
};
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
    // Who is given the stream reads it without.
    let compression = Compression::default();
    let source = Fixed { endpoint: Arc::new(Endpoint { compression, ..Endpoint::clone(endpoint) }), provider };
    let dialer = Dialer::new(id, Arc::new(source), Arc::new(Alone));
    let dialled = dialer.dial(To::default(), None, Box::new(|_| {})).await?;
    let super::Dialled { stream, early, established, session, ends: _, compression: _, windows: _ } = dialled;
    Ok(Connected { stream: Box::new(stream), early, established, session })
}

/// Connects to a server for what is not the endpoint's WebSocket: through its proxy, and by TLS with these settings where the URL says so.
/// The error is for people.
pub async fn reach(target: &Target, endpoint: &Endpoint, tls: &Tls) -> Result<Box<dyn Duplex>, String> {
    let (network, aside) = (&endpoint.network, Aside::default());
    let via = way_to(target, &endpoint.proxy).await?;
    let (host, port) = via.as_ref().map_or((target.host.as_str(), target.port), |via| (via.host.as_str(), via.port));
    let is_exempt = endpoint.proxy.is_exempt(via.as_ref());
    let connected = dialled(network, (host, port), is_exempt, &aside);
    let named = |what: &dyn std::fmt::Display| match &via {
        Some(via) => format!("the proxy {} {what}", via.shown),
        None => what.to_string(),
    };
    let tcp = connected
        .await
        .map_err(|error| if via.is_some() { named(&format!("is not reached: {error}")) } else { error.to_string() })?;
    let under = match &via {
        None => Under::Tcp(tcp),
        Some(via) => {
            let address = behind(network, via, target, &aside).await.map_err(|error| error.to_string())?;
            let judging = Judging { retry_after_max: Duration::ZERO, calendar: Calendar::default() };
            let through = tunnel::through(Under::Tcp(tcp), via, target, address, (&aside, &judging));
            through.await.map_err(|fault| named(&fault))?
        }
    };
    if !target.tls {
        return Ok(Box::new(Transport::from(under)));
    }
    // The name of the settings is that of the endpoint's own server, and so are its pins and what it is offered.
    let is_its_own = endpoint.targets.iter().flatten().any(|own| own.host == target.host);
    let pins = if is_its_own { tls.pins.clone() } else { Vec::new() };
    let tls = Tls { server_name: None, pins, alpn: None, hides_name: false, ..tls.clone() };
    let secured = tls::secure(under, (&target.host, None), &tls, &aside).await.map_err(|fault| fault.to_string())?;
    Ok(Box::new(secured.stream))
}

/// Connects to a server that speaks in clear first, straight. The error is for people.
pub async fn reach_in_clear(host: &str, port: u16) -> Result<TcpStream, String> {
    dialled(&Network::default(), (host, port), false, &Aside::default()).await.map_err(|error| error.to_string())
}

/// Goes over to TLS with a server that has spoken in clear, and to which no protocol is offered unless one is set. The error is for people.
pub async fn secure(tcp: TcpStream, host: &str, tls: &Tls) -> Result<Box<dyn Duplex>, String> {
    let tls = Tls { alpn: Some(tls.alpn.clone().unwrap_or_default()), ..tls.clone() };
    let secured = tls::secure(Under::Tcp(tcp), (host, None), &tls, &Aside::default()).await;
    Ok(Box::new(secured.map_err(|fault| fault.to_string())?.stream))
}

/// The first of a host's addresses that can be connected to.
async fn dialled(network: &Network, to: (&str, u16), is_exempt: bool, aside: &Aside) -> io::Result<TcpStream> {
    let addresses = resolve::dialled(network, to, is_exempt, aside).await?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match resolve::connect(address, network.source).await {
            Ok(tcp) => {
                let _ = tcp.set_nodelay(true);
                return Ok(tcp);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The server's address, where a proxy is given it or it is known here.
async fn behind(network: &Network, via: &Via, target: &Target, aside: &Aside) -> io::Result<Option<SocketAddr>> {
    let is_known = network.known(&target.host, target.port).is_some() || target.host.parse::<IpAddr>().is_ok();
    if !is_known && via.scheme != ProxyScheme::Socks5 {
        return Ok(None);
    }
    // What is preferred, and where from, is about connections of this machine.
    let plain = Network { resolve: network.resolve.clone(), deny: network.deny.clone(), ..Network::default() };
    let found = resolve::dialled(&plain, (&target.host, target.port), false, aside).await?;
    Ok(found.first().copied())
}

/// It may read files.
async fn way_to(target: &Target, proxy: &Proxy) -> Result<Option<Arc<Via>>, String> {
    if proxy.is_none() {
        return Ok(None);
    }
    let (target, proxy) = (target.clone(), proxy.clone());
    let evaluated = Aside::default().run(move || proxy.way_to(&target)).await;
    evaluated.map_err(|error| error.to_string())?.map_err(|fault| fault.to_string())
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
