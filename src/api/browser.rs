//! What a browser's request says of its page: `Host` and `Origin`, and what a page of a declared origin is answered (CORS).
//!
//! `Host` is checked against DNS rebinding, `Origin` against cross-site requests: a page of another site can make a browser
//! send a request to the loopback address, but it can hide neither header. What a reader would get wrong: this listener speaks
//! plain HTTP, so behind a proxy with TLS the page's origin is another one, and has to be declared.

use std::net::{IpAddr, Ipv6Addr};

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header, request::Parts, uri::Authority};

use super::problem::Problem;
use crate::config::Api;

/// Probes come by whatever name or address their prober has.
const PROBES: [&str; 2] = ["/livez", "/readyz"];
const METHODS: &str = "GET, HEAD, POST, PUT, DELETE";
/// What a page may send beside what every page may.
const ACCEPTED: &str =
    "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, If-Match, If-None-Match, Cache-Control";
/// What a page may read beside what every page may.
const SHOWN: &str = "Location, Retry-After, WWW-Authenticate, Allow, ETag";
/// For how many seconds a browser need not ask again.
const MAX_AGE: &str = "600";
/// A page of the internet asks for this before it may come to a loopback address (Private Network Access).
const ASKS_PRIVATE: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOWS_PRIVATE: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// Whether this request may come from where it says.
pub(super) fn look(api: &Api, bound: Option<IpAddr>, head: &Parts) -> Result<(), Problem> {
    let host = host(head)?;
    // A unix socket has no name.
    if let Some(bound) = bound.filter(|_| !PROBES.contains(&head.uri.path())) {
        let full = host.unwrap_or_default();
        let named = name_of(full).ok_or_else(|| {
            Problem::bad_request(format!("the request's Host {full:?} is no name or address with a port or without"))
        })?;
        let is_allowed = |allowed: &String| allowed.eq_ignore_ascii_case(named) || allowed.eq_ignore_ascii_case(full);
        if !is_own(named, bound) && !api.allowed_hosts.iter().any(is_allowed) {
            return Err(Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                "host-not-allowed",
                "This Host is not served here",
                format!("the request names the host {named:?}; add it to api.allowed_hosts if it is yours"),
            ));
        }
    }
    let mut origins = head.headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return Ok(()) };
    if origins.next().is_none() && (is_declared(api, origin) || host.is_some_and(|host| is_same(origin, host))) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "origin-not-allowed",
        "Pages of this origin may not ask",
        format!(
            "the request comes from a page of {:?}; add it to api.allowed_origins if it is yours, scheme included",
            String::from_utf8_lossy(origin.as_bytes())
        ),
    ))
}

/// Whether a browser asks if a page may ask.
pub(super) fn is_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS
        && head.headers.contains_key(header::ORIGIN)
        && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// It may: [`look`] has said so. [`mark`] says to whom.
pub(super) fn preflight(head: &Parts) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ACCEPTED));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    if head.headers.contains_key(ASKS_PRIVATE) {
        headers.insert(ALLOWS_PRIVATE, HeaderValue::from_static("true"));
    }
    response
}

/// The origin of the page that asks; of a request that names two, which is refused, none.
#[derive(Debug)]
pub(super) struct Asker(Option<HeaderValue>);

impl Asker {
    /// `None`: no page asks.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let first = origins.next()?;
        Some(Self(origins.next().is_none().then(|| first.clone())))
    }
}

/// Lets the browser show an answer, whatever it says, to a page of a declared origin; never to others.
pub(super) fn mark(api: &Api, Asker(origin): Asker, headers: &mut HeaderMap) {
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin.filter(|origin| is_declared(api, origin)) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(SHOWN));
    }
}

/// The one host that a request names (RFC 9112 §3.2, RFC 9113 §8.3.1).
fn host(head: &Parts) -> Result<Option<&str>, Problem> {
    let mut named = head.headers.get_all(header::HOST).iter();
    let first = named.next();
    if named.next().is_some() {
        return Err(Problem::bad_request("the request has two Host headers; send one"));
    }
    let first = first.map(HeaderValue::to_str).transpose();
    let first = first.map_err(|_| Problem::bad_request("the request's Host is not ASCII"))?;
    let target = head.uri.authority().map(Authority::as_str);
    match (target, first) {
        (Some(target), Some(host)) if head.version == Version::HTTP_2 && !target.eq_ignore_ascii_case(host) => {
            Err(Problem::bad_request("the request's :authority and its Host differ"))
        }
        (target, host) => Ok(target.or(host)),
    }
}

/// The name or address in a `Host`.
fn name_of(host: &str) -> Option<&str> {
    let (name, port) = match host.strip_prefix('[') {
        Some(inner) => inner.split_once(']').filter(|(name, _)| name.parse::<Ipv6Addr>().is_ok())?,
        None => host.find(':').map_or((host, ""), |at| host.split_at(at)),
    };
    // None after the colon is the scheme's own.
    let is_port = |digits: &str| {
        digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits.is_empty() || digits.parse::<u16>().is_ok())
    };
    let is_whole = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    let has_more = name.contains(['/', '?', '#', '\\', ' ', '\t']);
    (is_whole && !has_more && !name.is_empty()).then_some(name)
}

fn is_own(name: &str, bound: IpAddr) -> bool {
    match name.parse::<IpAddr>() {
        Ok(address) => address == bound || bound.is_unspecified() || (address.is_loopback() && bound.is_loopback()),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}

fn is_declared(api: &Api, origin: &HeaderValue) -> bool {
    api.allowed_origins.iter().any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes()))
}

/// Whether a page of this origin came from this listener.
fn is_same(origin: &HeaderValue, host: &str) -> bool {
    // Of the scheme, 80 is the port that need not be said.
    let short = |authority: &str| authority.strip_suffix(":80").unwrap_or(authority).to_ascii_lowercase();
    let origin = origin.to_str().unwrap_or_default();
    origin.strip_prefix("http://").is_some_and(|authority| short(authority) == short(host))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::config::parse_toml;

    const LOOPBACK: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

    fn api(keys: &str) -> Api {
        parse_toml(&format!("[api]\n{keys}"), "test.toml").expect("valid").config.api
    }

    fn head(path: &str, pairs: &[(HeaderName, &str)]) -> Parts {
        let request = http::Request::builder().uri(path);
        let request = pairs.iter().fold(request, |request, (name, value)| request.header(name, *value));
        request.body(()).expect("a request").into_parts().0
    }

    fn status(api: &Api, path: &str, pairs: &[(HeaderName, &str)]) -> u16 {
        look(api, LOOPBACK, &head(path, pairs))
            .map_or_else(|problem| problem.into_response().status().as_u16(), |()| 200)
    }

    #[test]
    fn a_foreign_host_is_refused_and_the_loopback_names_are_not() {
        let api = api("allowed_hosts = [\"keeper.lan\", \"other.lan:8080\"]");
        for (host, wanted) in [
            ("localhost:7700", 200),
            ("127.0.0.1:7700", 200),
            ("[::1]:7700", 200),
            ("127.0.0.1", 200),
            ("localhost:", 200),
            ("KEEPER.lan:80", 200),
            ("other.lan:8080", 200),
            ("other.lan:81", 421),
            ("evil.example", 421),
            ("evil.example:7700", 421),
            ("10.0.0.1:7700", 421),
            ("localhost.evil", 421),
            ("user@localhost", 421),
            ("", 400),
            ("::1", 400),
            ("[::1].evil", 400),
            ("[::1]evil:7700", 400),
            ("[::1", 400),
            ("[localhost]:7700", 400),
            ("localhost:80@evil.example", 400),
            ("localhost:65535", 200),
            ("localhost:65536", 400),
            ("localhost:99999", 400),
            ("[::1]:99999", 400),
            ("keeper.lan:99999", 400),
            ("localhost:+80", 400),
            ("localhost/evil", 400),
            ("localhost?x", 400),
            ("localhost#x", 400),
            ("localhost evil", 400),
            ("localhost:evil", 400),
            ("localhost:7700:7700", 400),
        ] {
            assert_eq!(status(&api, "/v1/links", &[(header::HOST, host)]), wanted, "{host}");
        }
        let two = [(header::HOST, "localhost"), (header::HOST, "localhost")];
        assert_eq!(status(&api, "/v1/links", &two), 400);
        assert_eq!(status(&api, "/v1/links", &[]), 400);
    }

    #[test]
    fn a_probe_may_name_any_host_or_none() {
        let api = api("");
        for path in PROBES {
            assert_eq!(status(&api, path, &[]), 200);
            for host in ["10.1.2.3:7700", "wskeeper.wskeeper.svc", "_", ""] {
                assert_eq!(status(&api, path, &[(header::HOST, host)]), 200, "{host}");
            }
        }
    }

    #[test]
    fn a_request_whose_two_hosts_differ_is_none() {
        let api = api("");
        let mut head = head("http://localhost:7700/v1/links", &[(header::HOST, "evil.example")]);
        assert_eq!(look(&api, LOOPBACK, &head), Ok(()), "the target counts before Host");
        head.version = Version::HTTP_2;
        assert!(look(&api, LOOPBACK, &head).is_err());
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let api = api("allowed_origins = [\"https://desk.example\", \"https://Board.example:8443\"]");
        let ask = |host: &str, origin: &str| status(&api, "/", &[(header::HOST, host), (header::ORIGIN, origin)]);
        for (host, origin) in [
            ("localhost:7700", "http://localhost:7700"),
            ("LOCALHOST:7700", "http://localhost:7700"),
            ("localhost:80", "http://localhost"),
            ("localhost", "http://localhost"),
            ("localhost:7700", "https://desk.example"),
            ("localhost:7700", "https://board.example:8443"),
        ] {
            assert_eq!(ask(host, origin), 200, "{host} {origin}");
        }
        for origin in [
            "https://evil.example",
            "https://localhost:7700",
            "ws://localhost:7700",
            "http://localhost:9999",
            "http://localhost",
            "http://127.0.0.1:7700",
            "http://desk.example",
            "https://desk.example:444",
            "https://desk.example.evil",
            "null",
            "",
        ] {
            assert_eq!(ask("localhost:7700", origin), 403, "{origin}");
        }
        let two = [(header::HOST, "localhost"), (header::ORIGIN, "http://localhost"), (header::ORIGIN, "https://evil")];
        assert_eq!(status(&api, "/", &two), 403);
    }
}
