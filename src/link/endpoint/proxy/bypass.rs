//! Which hosts the environment's proxy is not for: `NO_PROXY`, as curl reads it, and with ports.
//!
//! What a reader would get wrong: a name is never looked up for it. A network in the list is for hosts that are written as addresses.

use std::net::IpAddr;

use ipnet::IpNet;

/// Whether this host and port are reached without the proxy.
pub(super) fn bypasses(list: &str, host: &str, port: u16) -> bool {
    let host = host.trim_end_matches('.');
    let address = host.parse::<IpAddr>().ok();
    list.split(|char: char| char == ',' || char.is_whitespace())
        .filter(|entry| !entry.is_empty())
        .any(|entry| is_named(entry, host, address, port))
}

fn is_named(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    let (name, only) = split_port(entry);
    if only.is_some_and(|only| only != port) {
        return false;
    }
    match address {
        _ if name == "*" => true,
        Some(address) => {
            let is_within = name.parse::<IpNet>().is_ok_and(|network| network.contains(&address));
            is_within || name.parse() == Ok(address)
        }
        None => is_within_domain(host, name),
    }
}

/// An entry without its port: `host:80`, `[::1]:80`.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    if let Some((address, rest)) = entry.strip_prefix('[').and_then(|entry| entry.split_once(']')) {
        return (address, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match entry.split_once(':') {
        // More colons are those of an address.
        Some((name, port)) if !port.contains(':') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (entry, None),
        },
        Some(_) | None => (entry, None),
    }
}

/// `a.example` is for itself and what ends in `.a.example`; so are `.a.example` and `*.a.example`.
fn is_within_domain(host: &str, name: &str) -> bool {
    let domain = name.trim_start_matches('*').trim_start_matches('.').trim_end_matches('.');
    if domain.is_empty() {
        return false;
    }
    let Some(at) = host.len().checked_sub(domain.len()) else { return false };
    let is_end = host.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(domain));
    is_end && (at == 0 || host.as_bytes().get(at - 1) == Some(&b'.'))
}

#[cfg(test)]
mod tests {
    use super::bypasses;

    #[test]
    fn the_list_is_read_as_curl_reads_it_and_with_ports() {
        for (list, host, port, wanted) in [
            ("", "a.example", 443, false),
            ("*", "a.example", 443, true),
            (" * ", "10.0.0.1", 80, true),
            ("a.example", "a.example", 443, true),
            ("A.Example", "a.example", 443, true),
            ("ample.com", "ample.com", 80, true),
            ("ample.com", "www.ample.com", 80, true),
            ("ample.com", "www.example.com", 80, false),
            ("ample.com", "ample.com.org", 80, false),
            (".a.example", "a.example", 443, true),
            ("*.a.example", "b.a.example", 443, true),
            ("a.example.", "a.example", 443, true),
            ("a.example", "a.example.", 443, true),
            ("b.example, a.example", "a.example", 443, true),
            ("b.example a.example", "a.example", 443, true),
            ("b.example,,", "a.example", 443, false),
            ("a.example:443", "a.example", 443, true),
            ("a.example:443", "b.a.example", 443, true),
            ("a.example:443", "a.example", 8443, false),
            ("a.example:wss", "a.example", 443, false),
            ("10.0.0.0/8", "10.1.2.3", 80, true),
            ("10.0.0.0/8", "11.1.2.3", 80, false),
            ("10.0.0.0/8", "ten.example", 80, false),
            ("10.1.2.3", "10.1.2.3", 80, true),
            ("10.1.2.3:80", "10.1.2.3", 81, false),
            ("1.2.3", "10.1.2.3", 80, false),
            ("fd00::/8", "fd12::1", 443, true),
            ("::1", "::1", 80, true),
            ("[::1]:80", "::1", 80, true),
            ("[::1]:80", "::1", 81, false),
            ("localhost,127.0.0.0/8", "127.0.0.9", 80, true),
            (".", "a.example", 443, false),
            ("\u{e4}.example", "a.example", 443, false),
        ] {
            assert_eq!(bypasses(list, host, port), wanted, "{host}:{port} and {list:?}");
        }
    }
}
