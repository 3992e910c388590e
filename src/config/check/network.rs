//! `prefer`, `resolve`, `source_address`, `deny`: which addresses are dialled, and from where.

use std::net::IpAddr;

use super::{item::Item, section::Section};
use wskeeper_link::endpoint::network::IpNet;

/// `source_address`
pub(in crate::config) fn address(item: &Item<'_>) -> Option<IpAddr> {
    match item.text()?.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() || ip.is_multicast() => {
            item.fault("nothing can come from that address", "write one that this machine has, as \"10.0.0.5\"");
            None
        }
        Ok(ip) => Some(ip),
        Err(_) => {
            item.fault("is not an IP address", "write one that this machine has, as \"10.0.0.5\" or \"fd00::5\"");
            None
        }
    }
}

/// `deny`
pub(in crate::config) fn networks(item: &Item<'_>) -> Option<Vec<IpNet>> {
    let network = |item: &Item<'_>| {
        let text = item.text()?;
        let network = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        if network.is_none() {
            item.fault("is not a network", "write it like \"10.0.0.0/8\", \"fd00::/8\" or \"169.254.169.254\"");
        }
        network
    };
    Some(item.list()?.iter().filter_map(network).collect())
}

/// `resolve`, added up by host and port with what is there.
pub(in crate::config) fn resolve(section: &Section<'_>, known: &mut Vec<(Box<str>, u16, Vec<IpAddr>)>) {
    for (name, item) in section.section("resolve").entries() {
        let place = name.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        let Some((host, port)) = place.filter(|(host, port)| !host.is_empty() && *port > 0) else {
            item.fault("is not a host and port", "write it like \"feed.example:443\" = [\"10.0.0.7\"]");
            continue;
        };
        let Some(list) = item.list() else { continue };
        let mut addresses = Vec::new();
        for item in &list {
            match item.text().map(str::parse) {
                Some(Ok(ip)) => addresses.push(ip),
                Some(Err(_)) => item.fault("is not an IP address", "write it like \"10.0.0.7\" or \"fd00::7\""),
                None => {}
            }
        }
        if list.is_empty() {
            item.fault("there is no address in it", "list one at least, or leave it out");
        }
        let host = host.trim_start_matches('[').trim_end_matches([']', '.']).to_ascii_lowercase();
        known.retain(|(other, of, _)| (&**other, *of) != (host.as_str(), port));
        known.push((host.into(), port, addresses));
    }
    known.sort();
}
