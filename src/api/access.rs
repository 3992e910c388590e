//! Who may ask for what: tokens, their scopes and their endpoints.
//!
//! What each call needs stands beside its route, in `openapi`. What a reader would get wrong: a token is looked at once for a
//! request, and again and again for a stream, which ends within a second when it would not be let in any more.

use std::{
    borrow::Cow,
    net::IpAddr,
    str,
    sync::{Arc, LazyLock},
};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{HeaderMap, StatusCode, header, request::Parts};
use percent_encoding::percent_decode_str;
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use super::{Shared, body, browser, openapi, page, problem::Problem, socket, tokens::Ruling, wire};
use crate::config::{Api, Scope};
use wskeeper_link::endpoint::Secret;

/// Without tokens, everyone may do everything.
static ALL: LazyLock<Arc<[Scope]>> = LazyLock::new(|| [Scope::Read, Scope::Send, Scope::Admin].into());

/// A subprotocol that begins so is no subprotocol: a token follows, in base64url without padding. It is never answered.
pub(super) const TOKEN_PROTOCOL: &str = "wskeeper.token.";

/// What a call needs of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// No token.
    Open,
    /// Any token: nothing is there.
    Any,
    Read,
    /// Of all endpoints at once, and cannot be told apart.
    ReadAll,
    /// The numbers of all endpoints: also for a token that is for none, as Prometheus has one.
    Metrics,
    Send,
    /// Who may send may ask what became of it.
    ReadOrSend,
    ReadAndSend,
    Admin,
    /// On all endpoints at once.
    AdminAll,
}

impl Need {
    /// One of these sets of scopes; none: any token.
    pub(super) const fn scopes(self) -> &'static [&'static [Scope]] {
        match self {
            Self::Open | Self::Any => &[],
            Self::Read | Self::ReadAll | Self::Metrics => &[&[Scope::Read]],
            Self::Send => &[&[Scope::Send]],
            Self::ReadOrSend => &[&[Scope::Read], &[Scope::Send]],
            Self::ReadAndSend => &[&[Scope::Read, Scope::Send]],
            Self::Admin | Self::AdminAll => &[&[Scope::Admin]],
        }
    }

    /// Whether it concerns all endpoints at once.
    pub(super) const fn is_of_all(self) -> bool {
        match self {
            Self::ReadAll | Self::Metrics | Self::AdminAll => true,
            Self::Open | Self::Any | Self::Read | Self::Send | Self::ReadOrSend | Self::ReadAndSend | Self::Admin => {
                false
            }
        }
    }
}

/// What the caller may see; in the extensions of every request that got through.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    /// The name of the token; `None`: there are no tokens.
    who: Option<Arc<str>>,
    scopes: Arc<[Scope]>,
    endpoints: Option<Arc<[Arc<str>]>>,
}

impl Grant {
    /// Whether this endpoint is the caller's business.
    pub(super) fn sees(&self, endpoint: &str) -> bool {
        self.endpoints.as_ref().is_none_or(|list| list.iter().any(|name| **name == *endpoint))
    }

    /// Who it is, for the log.
    pub(super) fn who(&self) -> Option<&Arc<str>> {
        self.who.as_ref()
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

/// What a caller came with and what for; in the extensions too, for what goes on for long.
#[derive(Debug, Clone)]
pub(super) struct Pass {
    asked: Arc<(Need, Option<Box<str>>, Option<Secret>)>,
    /// A parameter asks for what only an admin may have.
    needs_admin: bool,
    bound: Option<IpAddr>,
    rulings: watch::Receiver<Option<Ruling>>,
}

impl Pass {
    /// The same for what only an admin may have.
    #[must_use]
    pub(super) fn of_admin(self, needs_admin: bool) -> Self {
        Self { needs_admin, ..self }
    }

    /// Ends when the caller would not be let in any more, with why. Nothing is lost when the future is dropped.
    pub(super) async fn withdrawn(&mut self) -> String {
        while self.rulings.changed().await.is_ok() {
            let ruling = self.rulings.borrow_and_update().clone();
            if let Some(Err(problem)) = ruling.map(|ruling| self.judge(&ruling)) {
                return problem.detail().to_owned();
            }
        }
        // The API ends, which is told otherwise.
        std::future::pending().await
    }

    fn judge(&self, ruling: &Ruling) -> Result<(), Problem> {
        let (need, endpoint, given) = &*self.asked;
        let given = given.as_ref().map(Secret::expose);
        let grant = authorize(&ruling.config.api, self.bound, &ruling.secrets, given, *need, endpoint.as_deref())?;
        if self.needs_admin && !grant.is_admin() { Err(forbidden("the token lacks the scope admin")) } else { Ok(()) }
    }
}

/// Lets a request through, or answers it with why not.
pub(super) async fn check(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    match enter(&shared, &mut head).await {
        Ok(None) => next.run(Request::from_parts(head, body)).await,
        Ok(Some(answered)) => answered,
        Err(problem) => problem.into_response(),
    }
}

/// Looks at a request that a router has found the route of. Some are answered at once.
async fn enter(shared: &Shared, head: &mut Parts) -> Result<Option<Response>, Problem> {
    if browser::is_preflight(head) {
        browser::look(&shared.config.get().api, shared.bound, head)?;
        return Ok(Some(browser::preflight(head)));
    }
    let route = head.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
    let need = match route {
        _ if page::is_at(head.uri.path()) => Need::Open,
        Some(route) => openapi::need(&head.method, route).unwrap_or(Need::Any),
        None => Need::Any,
    };
    let endpoint = route.and_then(|route| endpoint_of(route, head.uri.path()));
    if let Some(grant) = admit(shared, head, need, endpoint.as_deref()).await? {
        let given = token(&head.headers).map(Secret::new);
        let asked = Arc::new((need, endpoint.map(|endpoint| endpoint.into_owned().into()), given));
        let (bound, rulings) = (shared.bound, shared.keys.rulings());
        head.extensions.insert(Pass { asked, needs_admin: false, bound, rulings });
        head.extensions.insert(grant);
    }
    Ok(None)
}

/// Whether a request may come in that needs this; `None`: nobody is asked who comes.
pub(super) async fn admit(
    shared: &Shared,
    head: &Parts,
    need: Need,
    endpoint: Option<&str>,
) -> Result<Option<Grant>, Problem> {
    let config = shared.config.get();
    let api = &config.api;
    browser::look(api, shared.bound, head)?;
    let grant = if need == Need::Open {
        None
    } else {
        let secrets = if api.tokens.is_empty() { None } else { Some(shared.keys.secrets(&config).await) };
        let secrets = secrets.as_deref().unwrap_or_default();
        Some(authorize(api, shared.bound, secrets, token(&head.headers).as_deref(), need, endpoint)?)
    };
    body::look_at_coding(&head.headers)?;
    Ok(grant)
}

/// The token that a request brings: as such, as the password of Basic authentication, which is all that a URL can say (RFC 7617), or
/// in a subprotocol, which is all that a page can say for a WebSocket.
fn token(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let Some(authorization) = headers.get(header::AUTHORIZATION) else {
        let given = socket::offered(headers).find_map(|offer| offer.strip_prefix(TOKEN_PROTOCOL))?;
        return String::from_utf8(URL_SAFE_NO_PAD.decode(given).ok()?).ok().map(Cow::Owned);
    };
    let (scheme, given) = authorization.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(given.trim().into());
    }
    let pair = STANDARD.decode(given.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let (_, password) = str::from_utf8(&pair).ok()?.split_once(':')?;
    Some(password.to_owned().into())
}

fn authorize(
    api: &Api,
    bound: Option<IpAddr>,
    secrets: &[Option<Secret>],
    given: Option<&str>,
    need: Need,
    endpoint: Option<&str>,
) -> Result<Grant, Problem> {
    let unauthorized =
        |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "A token is needed", detail.to_owned());
    if api.tokens.is_empty() {
        // A reload may have taken the tokens away, and left the socket where it was.
        return match bound {
            Some(address) if !address.to_canonical().is_loopback() => {
                Err(unauthorized("other machines can reach this address, and there are no api.tokens: add one"))
            }
            Some(_) | None => Ok(Grant { who: None, scopes: Arc::clone(&ALL), endpoints: None }),
        };
    }
    let given = given.ok_or_else(|| unauthorized("send `Authorization: Bearer TOKEN` with one of api.tokens"))?;
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
        who: Some(Arc::clone(&token.name)),
        scopes: token.scopes.as_slice().into(),
        endpoints: token.endpoints.as_ref().map(|list| list.as_slice().into()),
    };
    let has = |set: &&[Scope]| set.iter().all(|scope| token.scopes.contains(scope));
    if !need.scopes().is_empty() && !need.scopes().iter().any(has) {
        let sets = need.scopes().iter().map(|set| set.iter().copied().map(word).collect::<Vec<_>>().join(" and "));
        let sets = sets.collect::<Vec<_>>().join(" or ");
        return Err(forbidden(format!("the token {:?} lacks the scope {sets}", token.name)));
    }
    if let Some(endpoint) = endpoint.filter(|endpoint| !grant.sees(endpoint)) {
        return Err(forbidden(format!("the token {:?} is not for the endpoint {endpoint:?}", token.name)));
    }
    let is_for_none = grant.endpoints.as_ref().is_some_and(|list| list.is_empty());
    if need.is_of_all() && grant.endpoints.is_some() && !(need == Need::Metrics && is_for_none) {
        let detail = format!("this is of all endpoints, and the token {:?} is for some of them only", token.name);
        return Err(forbidden(detail));
    }
    Ok(grant)
}

/// The token is good, and not for this.
pub(super) fn forbidden(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "forbidden", "The token does not allow this", detail)
}

/// The endpoint that a path is about, where its route has one.
fn endpoint_of<'a>(route: &str, path: &'a str) -> Option<Cow<'a, str>> {
    let (_, name) = route.split('/').zip(path.split('/')).find(|(part, _)| *part == "{name}")?;
    Some(percent_decode_str(name).decode_utf8_lossy())
}

pub(super) const fn word(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Send => "send",
        Scope::Admin => "admin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_of_a_path_is_where_its_route_says() {
        for (route, path, endpoint) in [
            ("/v1/endpoints/{name}", "/v1/endpoints/ws", Some("ws")),
            ("/v1/endpoints/{name}/ws", "/v1/endpoints/messages/ws", Some("messages")),
            ("/v1/links/{name}/{index}/close", "/v1/links/a.b/0/close", Some("a.b")),
            ("/v1/orphans/{name}/{index}", "/v1/orphans/%61/0", Some("a")),
            ("/v1/endpoints/{name}", "/v1/endpoints/a%2Fb", Some("a/b")),
            ("/v1/messages/{id}", "/v1/messages/a", None),
        ] {
            assert_eq!(endpoint_of(route, path).as_deref(), endpoint, "{path}");
        }
    }
}
