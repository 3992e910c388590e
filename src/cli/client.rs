//! The daemon's local API, asked by HTTP.
//!
//! What a reader would get wrong: one connection is kept between requests and made anew when the daemon has closed it, but
//! a request whose answer was lost is never repeated by itself: a message might be sent twice.

mod fault;
mod place;

use std::{io, sync::OnceLock};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use serde::de::DeserializeOwned;

pub(crate) use self::fault::{ClientError, Problem, problem};
use self::place::{Target, target, usual};
use super::args::Remote;
use crate::{
    api::wire::List,
    client::{Answer, Connection, Error, Server},
};

/// The longest answer that is read: a page of a list, or a dead letter in base64, with room.
const LONGEST: usize = 256 << 20;

/// A request to come.
#[derive(Debug, Default)]
pub(crate) struct Call<'a> {
    /// Path and query.
    pub(crate) path: &'a str,
    /// Sent with it.
    pub(crate) body: Option<(&'static str, Bytes)>,
    /// Further headers.
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// A client with at most one idle connection.
#[derive(Debug)]
pub(crate) struct Client {
    /// Where the daemon may be; never empty.
    targets: Vec<Target>,
    /// Which of them answered.
    found: OnceLock<usize>,
    token: Option<String>,
    idle: Option<Connection>,
}

/// Nobody listens there: a stopped service leaves its socket behind.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

impl Client {
    /// Reads the address and the token; connects with the first request.
    pub(crate) fn new(remote: &Remote) -> Result<Self, ClientError> {
        let token =
            match &remote.token_file {
                Some(path) => Some(std::fs::read_to_string(path).map_err(|error| ClientError::Token {
                    path: path.display().to_string(),
                    error: error.to_string(),
                })?),
                None => std::env::var("WSKEEPER_TOKEN").ok(),
            };
        let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        let targets = remote.api.as_deref().map_or_else(|| Ok(usual()), |api| target(api).map(|one| vec![one]))?;
        Ok(Self { targets, found: OnceLock::new(), token, idle: None })
    }

    /// A client of a daemon on this TCP port of the loopback address.
    pub(crate) fn local(port: u16) -> Self {
        let targets = vec![Server::plain("127.0.0.1", port).into()];
        Self { targets, found: OnceLock::new(), token: None, idle: None }
    }

    /// The address as people write it.
    pub(crate) fn address(&self) -> String {
        self.target().to_string()
    }

    /// The one that answered, else the first that is tried.
    fn target(&self) -> &Target {
        &self.targets[self.found.get().copied().unwrap_or_default()]
    }

    /// Reads a JSON resource.
    pub(crate) async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ClientError> {
        let (_, body) = self.call(Method::GET, Call { path, ..Call::default() }).await?;
        self.read(&body)
    }

    /// As [`Self::get`]; `None` where that is not for the token that is shown.
    pub(crate) async fn get_if_allowed<T: DeserializeOwned>(&mut self, path: &str) -> Result<Option<T>, ClientError> {
        match self.get(path).await {
            Err(ClientError::Problem(problem)) if problem.is_forbidden() => Ok(None),
            other => other.map(Some),
        }
    }

    /// Reads a list to its end, page by page; `path` has a query already.
    pub(crate) async fn pages<T: DeserializeOwned>(&mut self, path: &str) -> Result<Vec<T>, ClientError> {
        let (mut items, mut after) = (Vec::new(), String::new());
        loop {
            let page: List<T> = self.get(&format!("{path}{after}")).await?;
            let is_empty = page.items.is_empty();
            items.extend(page.items);
            match page.next {
                Some(next) if !is_empty => after = format!("&after={}", escape(&next)),
                Some(_) | None => return Ok(items),
            }
        }
    }

    /// Posts JSON, or nothing, and reads JSON; an empty answer reads as `null`.
    pub(crate) async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<T, ClientError> {
        let body = body.map(|value| ("application/json", Bytes::from(value.to_string())));
        let (_, body) = self.call(Method::POST, Call { path, body, headers: Vec::new() }).await?;
        self.read(if body.is_empty() { b"null" } else { &body })
    }

    /// A whole answer, if it is a success.
    pub(crate) async fn call(&mut self, method: Method, call: Call<'_>) -> Result<(StatusCode, Bytes), ClientError> {
        let (status, body) = self.exchange(method, call).await?;
        if status.is_success() { Ok((status, body)) } else { Err(ClientError::Problem(problem(status, &body))) }
    }

    /// A whole answer, whatever its status.
    pub(crate) async fn exchange(
        &mut self,
        method: Method,
        call: Call<'_>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let mut connection = self.connection().await?;
        let request = self.request(method, call)?;
        let answer = connection.send(request).await.map_err(|error| self.lost(error))?;
        let status = answer.status();
        let body = answer.whole(LONGEST).await.map_err(|error| self.lost(error))?;
        self.idle = Some(connection);
        Ok((status, body))
    }

    /// An answer whose body is read as it comes, on a connection of its own.
    pub(crate) async fn stream(&self, call: Call<'_>) -> Result<Answer, ClientError> {
        let mut connection = self.reach().await?;
        let request = self.request(Method::GET, call)?;
        let answer = connection.send(request).await.map_err(|error| self.lost(error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.whole(LONGEST).await.map_err(|error| self.lost(error))?;
        Err(ClientError::Problem(problem(status, &body)))
    }

    /// A body as JSON.
    pub(crate) fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(body)
            .map_err(|error| ClientError::Answer { target: self.address(), error: error.to_string() })
    }

    async fn connection(&mut self) -> Result<Connection, ClientError> {
        if let Some(mut idle) = self.idle.take()
            && idle.is_ready().await
        {
            return Ok(idle);
        }
        self.reach().await
    }

    /// A connection to the first that is there.
    async fn reach(&self) -> Result<Connection, ClientError> {
        let mut tried = Vec::new();
        let is_wanted = |at: &usize| self.found.get().is_none_or(|found| found == at);
        for (at, target) in self.targets.iter().enumerate().filter(|(at, _)| is_wanted(at)) {
            let error = match Connection::open(&target.server, None).await {
                Ok(connection) => {
                    let _ = self.found.set(at);
                    return Ok(connection);
                }
                Err(Error::Unreachable(error)) => error,
                Err(error) => return Err(self.lost(error)),
            };
            if error.kind() == io::ErrorKind::PermissionDenied {
                return Err(ClientError::Denied(target.to_string()));
            }
            tried.push(format!("{target} ({error})"));
            if !is_nobody(&error) {
                break;
            }
        }
        Err(ClientError::Unreachable(tried.join(", ")))
    }

    fn request(&self, method: Method, call: Call<'_>) -> Result<Request<Bytes>, ClientError> {
        let Target { server, prefix } = self.target();
        let uri = format!("{prefix}{}", call.path);
        let mut request = Request::builder().method(method).uri(uri).header(header::HOST, server.authority());
        if let Some(token) = &self.token
            && let Ok(mut value) = HeaderValue::try_from(format!("Bearer {token}"))
        {
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        let body = match call.body {
            Some((kind, body)) => {
                request = request.header(header::CONTENT_TYPE, kind);
                body
            }
            None => Bytes::new(),
        };
        request.body(body).map_err(|error| ClientError::Answer { target: self.address(), error: error.to_string() })
    }

    pub(super) fn lost(&self, error: Error) -> ClientError {
        let target = self.address();
        match error {
            Error::Unreachable(error) => ClientError::Unreachable(format!("{target} ({error})")),
            Error::Lost(error) => ClientError::Lost { target, error: error.to_string() },
            Error::Late | Error::TooLong(_) => ClientError::Answer { target, error: format!("it {error}") },
        }
    }
}

/// A name as one segment of a path, or as a value of a query.
pub(crate) fn escape(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_nobody_listens_on_is_passed_over_and_all_that_were_tried_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let stale = folder.path().join("stale.sock");
        drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tcp = Server::plain("127.0.0.1", port).into();
        let targets = vec![Server::Unix(folder.path().join("none.sock")).into(), Server::Unix(stale).into(), tcp];
        let client = Client { targets, found: OnceLock::new(), token: None, idle: None };
        client.reach().await.unwrap();
        assert_eq!(client.address(), format!("http://127.0.0.1:{port}"));
        drop(listener);
        // What has answered once is where the daemon is.
        let told = client.reach().await.unwrap_err().to_string();
        assert!(told.contains(&format!("at http://127.0.0.1:{port} (")) && !told.contains("none.sock"), "{told}");
        let told = Client { found: OnceLock::new(), ..client }.reach().await.unwrap_err().to_string();
        for part in
            ["none.sock (No such file", "stale.sock (Connection refused", &format!(":{port} (Connection refused")]
        {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}
