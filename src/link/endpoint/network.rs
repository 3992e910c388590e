//! Which addresses a host has, which of them may be dialled, and from where.
//!
//! What a reader would get wrong: the proxy is where its operator wants it, so `deny` is not asked about it; but about servers behind it, as
//! far as their addresses are known here.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

pub use ipnet::IpNet;
use wskeeper_core::hash;

/// `prefer`, `resolve`, `source_address`, `deny`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// The family that is tried first.
    pub prefer: Prefer,
    /// What stands for a look-up: host in small letters and port, and the addresses.
    pub resolve: Vec<(Box<str>, u16, Vec<IpAddr>)>,
    /// The address of this machine that connections come from.
    pub source: Option<IpAddr>,
    /// Networks where no server may be.
    pub deny: Vec<IpNet>,
}

/// `prefer`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Prefer {
    /// The resolver's choice (RFC 6724).
    #[default]
    Auto,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Network {
    /// What is written of this host and port.
    pub(crate) fn known(&self, host: &str, port: u16) -> Option<Vec<SocketAddr>> {
        let host = host.trim_end_matches('.');
        let (.., addresses) =
            self.resolve.iter().find(|(name, of, _)| *of == port && name.eq_ignore_ascii_case(host))?;
        Some(addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect())
    }

    /// Those of a host's addresses that may be dialled, in order; at least one.
    pub(crate) fn dialled(&self, addresses: Vec<SocketAddr>, is_proxy: bool) -> io::Result<Vec<SocketAddr>> {
        let mut allowed = addresses;
        if !is_proxy {
            allowed = self.allowed(allowed)?;
        }
        if let Some(source) = self.source {
            allowed.retain(|address| address.is_ipv4() == source.is_ipv4());
            if allowed.is_empty() {
                let family = if source.is_ipv4() { "IPv4" } else { "IPv6" };
                return Err(io::Error::other(format!("it has no {family} address, as source_address is one")));
            }
        }
        let first_is_v6 = match self.prefer {
            Prefer::Auto => return Ok(allowed),
            Prefer::Ipv4 => false,
            Prefer::Ipv6 => true,
        };
        // The families already take turns; where they begin with the other one, each pair changes places.
        let (first, second): (Vec<_>, Vec<_>) =
            allowed.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
        Ok(alternate(first, second))
    }

    /// Without those in `deny`.
    pub(crate) fn allowed(&self, mut addresses: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
        let denied = |address: &SocketAddr| {
            // An IPv4 address in the form of IPv6 leads to the same place, and no address to this machine.
            let ip = address.ip().to_canonical();
            let reached = match ip {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
                IpAddr::V4(_) | IpAddr::V6(_) => ip,
            };
            self.deny.iter().find(|network| network.contains(&ip) || network.contains(&reached))
        };
        let Some(network) = addresses.iter().find_map(denied) else { return Ok(addresses) };
        let all: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
        addresses.retain(|address| denied(address).is_none());
        if addresses.is_empty() {
            return Err(io::Error::other(format!("`deny` has {network} ({})", all.join(", "))));
        }
        Ok(addresses)
    }
}

/// What stands for a unix socket where connections are counted by their addresses: one that no packet is sent to (RFC 6666), for each path.
pub(crate) fn stand_in(socket: &str) -> SocketAddr {
    let prefix = u128::from(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0));
    SocketAddr::new(Ipv6Addr::from(prefix | u128::from(hash::stable([socket]))).into(), 0)
}

/// One of each in turn, beginning with the first.
pub(crate) fn alternate<T>(first: Vec<T>, second: Vec<T>) -> Vec<T> {
    let mut mixed = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let (one, other) = (first.next(), second.next());
        if one.is_none() && other.is_none() {
            return mixed;
        }
        mixed.extend(one.into_iter().chain(other));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialled(network: &Network, addresses: &[&str]) -> Result<Vec<String>, String> {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let dialled = network.dialled(addresses, false);
        dialled.map(|all| all.iter().map(ToString::to_string).collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_family_that_is_preferred_comes_first_and_they_take_turns() {
        let with = |prefer| Network { prefer, ..Network::default() };
        let both = ["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1"];
        assert_eq!(dialled(&with(Prefer::Auto), &both).unwrap(), both);
        assert_eq!(dialled(&with(Prefer::Ipv6), &both).unwrap(), both);
        assert_eq!(dialled(&with(Prefer::Ipv4), &both).unwrap(), ["1.0.0.1:1", "[::1]:1", "1.0.0.2:1", "[::2]:1"]);
        assert_eq!(dialled(&with(Prefer::Ipv4), &["[::1]:1"]).unwrap(), ["[::1]:1"], "it is no more than preferred");
    }

    #[test]
    fn what_is_denied_is_left_out_in_each_of_its_forms_and_a_proxy_is_not() {
        let network =
            Network { deny: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()], ..Network::default() };
        assert_eq!(dialled(&network, &["10.1.1.1:1", "11.1.1.1:1"]).unwrap(), ["11.1.1.1:1"]);
        let told = dialled(&network, &["[::ffff:10.9.9.9]:1", "[::1]:1"]).unwrap_err();
        assert_eq!(told, "`deny` has 10.0.0.0/8 (::ffff:10.9.9.9, ::1)");
        assert!(network.dialled(vec!["10.1.1.1:1".parse().unwrap()], true).is_ok());
        // The kernel connects these to this machine.
        let loopback = Network { deny: vec!["127.0.0.0/8".parse().unwrap()], ..Network::default() };
        assert!(dialled(&loopback, &["0.0.0.0:1", "[::ffff:0.0.0.0]:1"]).is_err());
        assert!(dialled(&network, &["[::]:1"]).is_err());
        assert!(dialled(&loopback, &["[::]:1"]).is_ok());
    }

    #[test]
    fn where_connections_come_from_says_which_family_they_are_of() {
        let network = Network { source: Some("127.0.0.9".parse().unwrap()), ..Network::default() };
        assert_eq!(dialled(&network, &["[::1]:1", "127.0.0.1:1"]).unwrap(), ["127.0.0.1:1"]);
        assert!(dialled(&network, &["[::1]:1"]).unwrap_err().contains("no IPv4 address"));
    }

    #[test]
    fn what_is_written_of_a_host_stands_for_its_look_up_at_that_port() {
        let resolve = vec![("feed.example".into(), 443, vec!["10.0.0.7".parse().unwrap(), "::7".parse().unwrap()])];
        let network = Network { resolve, ..Network::default() };
        let found = network.known("Feed.Example.", 443).unwrap();
        assert_eq!(found, ["10.0.0.7:443".parse().unwrap(), "[::7]:443".parse().unwrap()]);
        assert!(network.known("feed.example", 80).is_none() && network.known("b.example", 443).is_none());
    }
}
