//! An attempt's way through a proxy, or to a socket of this machine.
//!
//! What a reader would get wrong: the address that was admitted is the proxy's. What servers behind it do is said of it for this endpoint
//! alone, and of an endpoint with several servers there is nothing to be said: one of them may be down, and the others not.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use tokio::{net::UnixStream, time::Instant};

use super::{Attempt, Setback, Verdict, ask::Ask, tls::Under};
use crate::{
    endpoint::proxy::{ProxyScheme, Via},
    link::{
        Permit, Progress,
        race::Admitted,
        tunnel::{self, Judging},
    },
};
use wskeeper_core::close::Cause;

impl Attempt {
    /// Asks the proxy for a way to the server.
    pub(super) async fn tunnel(
        &mut self,
        under: Under,
        via: &Via,
        ask: &Ask,
        permit: &mut Permit,
    ) -> Result<Under, Setback> {
        let target = &ask.goal.target;
        let began = Instant::now();
        let address = self.behind(via, ask).await?;
        let retry_after_max = self.endpoint.link.retry_after_max;
        let judging = Judging { retry_after_max, calendar: self.source.calendar() };
        let under = tunnel::through(under, via, target, address, (&self.aside, &judging)).await;
        self.timings.tcp = Some(self.timings.tcp.unwrap_or_default().saturating_add(began.elapsed()));
        under.map_err(|fault| {
            permit.verdict = self.judged(ask, fault.verdict());
            let (status, retry_after) = fault.status().unzip();
            let said = format!("the proxy {} {fault}", via.shown);
            Setback { status, retry_after: retry_after.flatten(), ..Setback::new(fault.cause(), &said) }
        })
    }

    /// Connects to a socket of this machine.
    pub(super) async fn connect_on(
        &mut self,
        socket: &str,
        admitted: Admitted,
    ) -> Result<(Under, Box<Permit>), Setback> {
        (self.report)(Progress::Connecting);
        let (mut permit, began) = (admitted.permit, Instant::now());
        let connected = UnixStream::connect(socket).await;
        self.timings.tcp = Some(self.timings.tcp.unwrap_or_default().saturating_add(began.elapsed()));
        match connected {
            Ok(unix) => Ok((Under::Unix(unix), permit)),
            Err(error) => {
                let is_gone = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
                permit.verdict = is_gone.then_some(Verdict::Unreachable);
                Err(Setback::new(Cause::Connect, &format!("{socket}: {error}")))
            }
        }
    }

    /// The server's address, where it is known here: as it is written, or looked up for a proxy that wants it.
    async fn behind(&mut self, via: &Via, ask: &Ask) -> Result<Option<SocketAddr>, Setback> {
        let (host, port) = (ask.goal.target.host.as_str(), ask.goal.target.port);
        let network = &self.endpoint.network;
        let found = match (network.known(host, port), host.parse::<IpAddr>(), via.scheme) {
            (Some(known), _, _) => known,
            (None, Ok(ip), _) => vec![SocketAddr::new(ip, port)],
            (None, Err(_), ProxyScheme::Socks5) => {
                let found = self.source.resolve(host, port).await;
                found.map_err(|error| Setback::new(Cause::Dns, &format!("{host} was not resolved: {error}")))?
            }
            (None, Err(_), ProxyScheme::Http | ProxyScheme::Https | ProxyScheme::Socks5h) => return Ok(None),
        };
        let allowed = network.allowed(found);
        let allowed =
            allowed.map_err(|error| Setback::new(Cause::Connect, &format!("{host} is not dialled: {error}")))?;
        Ok(allowed.first().copied())
    }

    /// What is said of the address that was admitted: of a proxy's as far as it speaks for all of the endpoint's servers.
    pub(super) fn judged(&self, ask: &Ask, verdict: Option<Verdict>) -> Option<Verdict> {
        match verdict {
            Some(Verdict::Failing(_)) if ask.goal.via.is_some() && self.endpoint.urls.len() > 1 => Some(Verdict::Up),
            other => other,
        }
    }
}
