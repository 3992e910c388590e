//! Who may ask for what: tokens and their scopes, and the two checks that keep browsers' pages out.
//!
//! `Host` is checked against DNS rebinding, `Origin` against cross-site requests: a page of another site can make a browser
//! send a request to the loopback address, but it can hide neither header. On a unix socket there is no name to check.

use std::{
    net::IpAddr,
    sync::{Arc, LazyLock},
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Method, StatusCode, header, request::Parts, uri::Authority};
use percent_encoding::percent_decode_str;
use subtle::ConstantTimeEq;

use super::{Shared, page, problem::Problem, wire};
use crate::config::{Api, Scope, Secret};

/// Without tokens, everyone may do everything.
static ALL: LazyLock<Arc<[Scope]>> = LazyLock::new(|| [Scope::Read, Scope::Send, Scope::Admin].into());

/// What the caller may see; in the extensions of every request that got through.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    scopes: Arc<[Scope]>,
    endpoints: Option<Arc<[Arc<str>]>>,
}

impl Grant {
    /// Whether this endpoint is the caller's business.
    pub(super) fn sees(&self, endpoint: &str) -> bool {
        self.endpoints.as_ref().is_none_or(|list| list.iter().any(|name| **name == *endpoint))
    }

    /// Whether every endpoint is.
    pub(super) fn sees_all(&self) -> bool {
        self.endpoints.is_none()
    }

    /// Whether the caller may do what an admin may, where a call asks for that by a parameter.
    pub(super) fn is_admin(&self) -> bool {
        self.scopes.contains(&Scope::Admin)
    }

    /// For the wire.
    pub(super) fn shown(&self) -> wire::Access {
        wire::Access {
            scopes: self.scopes.iter().map(|scope| word(*scope).to_owned()).collect(),
            endpoints: self.endpoints.as_ref().map(|list| list.iter().map(ToString::to_string).collect()),
        }
    }
}

/// Lets a request through, or answers it with why not.
pub(super) async fn check(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let granted = admit(&shared, &head).await;
    let mut request = Request::from_parts(head, body);
    match granted {
        Ok(Some(grant)) => drop(request.extensions_mut().insert(grant)),
        Ok(None) => {}
        Err(problem) => return problem.into_response(),
    }
    next.run(request).await
}

/// Whether a request may get through, and with what grant; none where none is needed.
pub(super) async fn admit(shared: &Shared, head: &Parts) -> Result<Option<Grant>, Problem> {
    let config = shared.pool.config();
    let host = head.uri.authority().map(Authority::as_str);
    browser(&config.api, shared.bound, &head.headers, host)?;
    if is_open(head.uri.path()) {
        return Ok(None);
    }
    let secrets = if config.api.tokens.is_empty() { None } else { Some(shared.keys.secrets(&config).await) };
    authorize(&config.api, shared.bound, secrets.as_deref().unwrap_or_default(), head).map(Some)
}

/// What needs no token: probes, and the status page, which holds no data of its own.
fn is_open(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz") || page::is_at(path)
}

fn browser(api: &Api, bound: Option<IpAddr>, headers: &HeaderMap, authority: Option<&str>) -> Result<(), Problem> {
    let host = authority.or_else(|| headers.get(header::HOST)?.to_str().ok());
    if let Some(bound) = bound {
        let named = host.map(name_of).unwrap_or_default();
        if !is_own(named, bound) && !api.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(named)) {
            return Err(Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                "host-not-allowed",
                "This Host is not served here",
                format!("the request names the host {named:?}; add it to api.allowed_hosts if it is yours"),
            ));
        }
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let same = origin.split_once("://").is_some_and(|(_, authority)| Some(authority) == host);
    if same || api.allowed_origins.iter().any(|allowed| allowed == origin) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "origin-not-allowed",
        "Pages of this origin may not ask",
        format!("the request comes from a page of {origin:?}; add it to api.allowed_origins if it is yours"),
    ))
}

/// A `Host` without its port, in lower case where it matters.
fn name_of(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

fn is_own(name: &str, bound: IpAddr) -> bool {
    match name.parse::<IpAddr>() {
        Ok(address) => address == bound || bound.is_unspecified() || (address.is_loopback() && bound.is_loopback()),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}

fn authorize(api: &Api, bound: Option<IpAddr>, secrets: &[Option<Secret>], head: &Parts) -> Result<Grant, Problem> {
    let (method, path) = (&head.method, head.uri.path());
    let unauthorized =
        |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "A token is needed", detail.to_owned());
    if api.tokens.is_empty() {
        // A reload may have taken the tokens away, and left the socket where it was.
        return match bound {
            Some(address) if !address.to_canonical().is_loopback() => {
                Err(unauthorized("other machines can reach this address, and there are no api.tokens: add one"))
            }
            Some(_) | None => Ok(Grant { scopes: Arc::clone(&ALL), endpoints: None }),
        };
    }
    let given = head
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(|| unauthorized("send `Authorization: Bearer TOKEN` with one of api.tokens"))?;
    let mut found = None;
    // All are compared, whichever matches.
    for (token, secret) in api.tokens.iter().zip(secrets) {
        let Some(secret) = secret else { continue };
        if !secret.expose().is_empty() && bool::from(secret.expose().as_bytes().ct_eq(given.as_bytes())) {
            found = Some(token);
        }
    }
    let token = found.ok_or_else(|| unauthorized("this token is none of api.tokens"))?;
    let grant = Grant {
        scopes: token.scopes.as_slice().into(),
        endpoints: token.endpoints.as_ref().map(|list| list.as_slice().into()),
    };
    let forbidden =
        |detail: String| Problem::new(StatusCode::FORBIDDEN, "forbidden", "The token does not allow this", detail);
    for scope in needed(method, path) {
        if !token.scopes.contains(scope) {
            return Err(forbidden(format!("the token {:?} lacks the scope {}", token.name, word(*scope))));
        }
    }
    if let Some(endpoint) = endpoint_of(path)
        && !grant.sees(&endpoint)
    {
        return Err(forbidden(format!("the token {:?} is not for the endpoint {endpoint:?}", token.name)));
    }
    Ok(grant)
}

/// The scopes that a call needs.
fn needed(method: &Method, path: &str) -> &'static [Scope] {
    if path.starts_with("/v1/endpoints/") && path.ends_with("/ws") {
        &[Scope::Read, Scope::Send]
    } else if method == Method::GET || method == Method::HEAD {
        &[Scope::Read]
    } else if path.ends_with("/messages") || path.ends_with("/messages:batch") {
        &[Scope::Send]
    } else {
        &[Scope::Admin]
    }
}

/// The endpoint that a path is about.
fn endpoint_of(path: &str) -> Option<String> {
    let rest = ["/v1/endpoints/", "/v1/links/", "/v1/orphans/"].iter().find_map(|prefix| path.strip_prefix(prefix))?;
    Some(percent_decode_str(rest.split('/').next()?).decode_utf8_lossy().into_owned())
}

const fn word(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Send => "send",
        Scope::Admin => "admin",
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::api::tokens;

    const LOOPBACK: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    use crate::config::parse_toml;

    fn api(keys: &str) -> Api {
        parse_toml(&format!("[api]\n{keys}"), "test.toml").expect("valid").config.api
    }

    fn headers(pairs: &[(http::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().expect("a header value"))).collect()
    }

    fn with_tokens() -> (Api, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["reader", "admin"] {
            std::fs::write(folder.path().join(name), format!("secret-{name}\n")).expect("written");
        }
        let file = |name: &str| folder.path().join(name).display().to_string();
        let keys = format!(
            "[[api.tokens]]\nname = \"reader\"\ntoken = \"${{file:{}}}\"\nscopes = [\"read\"]\nendpoints = [\"a\"]\n\
             [[api.tokens]]\nname = \"admin\"\ntoken = \"${{file:{}}}\"\nscopes = [\"read\", \"send\", \"admin\"]\n\
             [endpoints.a]\nurl = \"ws://h\"\n",
            file("reader"),
            file("admin")
        );
        (api(&keys), folder)
    }

    fn asked(api: &Api, token: &str, method: &Method, path: &str) -> Result<Grant, Problem> {
        let request = http::Request::builder().method(method).uri(path);
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}")).body(()).expect("a request");
        authorize(api, LOOPBACK, &tokens::read(&api.tokens), &request.into_parts().0)
    }

    #[test]
    fn a_foreign_host_is_refused_and_the_loopback_names_are_not() {
        let api = api("allowed_hosts = [\"keeper.lan\"]");
        for host in ["localhost:7700", "127.0.0.1:7700", "[::1]:7700", "127.0.0.1", "KEEPER.lan:80"] {
            assert_eq!(browser(&api, LOOPBACK, &headers(&[(header::HOST, host)]), None), Ok(()), "{host}");
        }
        for host in ["evil.example", "evil.example:7700", "10.0.0.1:7700", ""] {
            assert!(browser(&api, LOOPBACK, &headers(&[(header::HOST, host)]), None).is_err(), "{host}");
        }
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let api = api("allowed_origins = [\"https://desk.example\"]");
        let ask = |origin: &str| {
            let pairs = [(header::HOST, "localhost:7700"), (header::ORIGIN, origin)];
            browser(&api, LOOPBACK, &headers(&pairs), None)
        };
        assert_eq!(ask("http://localhost:7700"), Ok(()));
        assert_eq!(ask("https://desk.example"), Ok(()));
        assert!(ask("https://evil.example").is_err());
        assert!(ask("null").is_err());
        assert!(ask("http://localhost:9999").is_err());
    }

    #[test]
    fn a_token_opens_what_its_scopes_and_endpoints_say() {
        let (api, _folder) = with_tokens();
        assert!(asked(&api, "secret-reader", &Method::GET, "/v1/endpoints/a").is_ok());
        assert!(asked(&api, "secret-reader", &Method::GET, "/v1/endpoints/b").is_err());
        assert!(asked(&api, "secret-reader", &Method::GET, "/v1/endpoints/%62/events").is_err());
        assert!(asked(&api, "secret-reader", &Method::POST, "/v1/endpoints/a/messages").is_err());
        assert!(asked(&api, "secret-reader", &Method::GET, "/v1/endpoints/a/ws").is_err());
        assert!(asked(&api, "secret-reader", &Method::GET, "/v1/dead-letters/1").is_ok());
        assert!(asked(&api, "secret-reader", &Method::DELETE, "/v1/dead-letters/1").is_err());
        assert!(asked(&api, "secret-reader", &Method::POST, "/v1/orphans/a/0/move").is_err());
        assert!(asked(&api, "secret-admin", &Method::POST, "/v1/dead-letters/1/retry").is_ok());
        assert!(asked(&api, "secret-admin", &Method::DELETE, "/v1/orphans/a/0").is_ok());
        assert!(asked(&api, "secret-admin", &Method::POST, "/v1/reload").is_ok());
        assert!(asked(&api, "secret-admin", &Method::POST, "/v1/endpoints/b/messages").is_ok());
        assert!(asked(&api, "wrong", &Method::GET, "/v1/links").is_err());
        let bare = http::Request::builder().uri("/metrics").body(()).expect("a request");
        assert!(authorize(&api, LOOPBACK, &tokens::read(&api.tokens), &bare.into_parts().0).is_err());
    }
}
