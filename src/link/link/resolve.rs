//! From a host to addresses, anew at every attempt.
//!
//! The order matters: families alternate (RFC 8305 §4), so that one family that leads nowhere costs one stagger, not many.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
};

use tokio::net::{TcpSocket, TcpStream};

use super::aside::Aside;
use crate::endpoint::network::{Network, alternate};

/// Addresses tried in one attempt at most; a name with more is served well enough by the first.
const MOST: usize = 16;

/// The addresses of `host`, which may be an address itself; at least one.
pub(super) async fn resolve(host: &str, port: u16, aside: &Aside) -> io::Result<Vec<SocketAddr>> {
    if let Some(address) = literal(host, port) {
        return Ok(vec![address]);
    }
    let name = host.to_owned();
    let found = aside.run(move || (name, port).to_socket_addrs()).await;
    let mut addresses = interleave(found.map_err(io::Error::other)??);
    addresses.truncate(MOST);
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

/// That of a host which is an address itself.
pub(super) fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    Some(SocketAddr::new(host.parse::<IpAddr>().ok()?, port))
}

/// The addresses that are to be dialled for `host`, as an endpoint's settings have it.
pub(super) async fn dialled(
    network: &Network,
    (host, port): (&str, u16),
    is_proxy: bool,
    aside: &Aside,
) -> io::Result<Vec<SocketAddr>> {
    let found = match network.known(host, port) {
        Some(known) => known,
        None => resolve(host, port, aside).await?,
    };
    network.dialled(found, is_proxy)
}

/// A connection to this address, from an address of this machine where one is wanted.
pub(super) async fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect(address).await };
    let socket = if source.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind(SocketAddr::new(source, 0)).map_err(|error| {
        io::Error::new(error.kind(), format!("source_address {source} cannot be used here: {error}"))
    })?;
    socket.connect(address).await
}

/// Alternates families, beginning with that of the first address; the order within a family is the resolver's (RFC 6724).
fn interleave(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut distinct: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !distinct.contains(&address) {
            distinct.push(address);
        }
    }
    let first_is_v6 = distinct.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = distinct.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    alternate(first, second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(addresses: &[&str]) -> Vec<String> {
        let parsed: Vec<SocketAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        interleave(parsed.into_iter()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn families_alternate_beginning_with_the_resolvers_choice() {
        assert_eq!(
            mixed(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"]),
            ["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]
        );
        assert_eq!(mixed(&["1.0.0.1:1", "1.0.0.2:1", "[::1]:1"]), ["1.0.0.1:1", "[::1]:1", "1.0.0.2:1"]);
    }

    #[test]
    fn an_address_found_twice_is_tried_once() {
        assert_eq!(mixed(&["1.0.0.1:1", "1.0.0.1:1"]), ["1.0.0.1:1"]);
    }

    #[tokio::test]
    async fn an_address_is_taken_as_it_is() {
        assert_eq!(resolve("::1", 9, &Aside::default()).await.unwrap(), ["[::1]:9".parse().unwrap()]);
        assert_eq!(resolve("127.0.0.1", 9, &Aside::default()).await.unwrap(), ["127.0.0.1:9".parse().unwrap()]);
    }

    #[tokio::test]
    async fn localhost_is_found() {
        assert!(
            resolve("localhost", 9, &Aside::default()).await.unwrap().iter().all(|address| address.ip().is_loopback())
        );
    }
}
