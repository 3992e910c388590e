//! One attempt at a connection: secrets, name, admission, TCP, TLS, upgrade.
//!
//! Everything is done anew at each attempt, from the configuration in force then: a changed secret, address or certificate
//! counts from the next attempt on. The place in the gate is held until the upgrade is over (RFC 6455 §4.1).

use std::{fmt, future::poll_fn, pin::Pin, sync::Arc, task::Poll, time::Instant};

use http::HeaderName;
use tokio::sync::mpsc;

use super::{
    BoxFuture, Dial, Dialled, Gate, Permit, Progress,
    race::{Race, Won},
    resolve::resolve,
    tls,
    transport::Transport,
    upgrade::{UpgradeFault, Wish, upgrade},
};
use crate::{
    config::{Endpoint, Secret, SecretError, subprotocol, url::Target},
    core::{
        close::Cause,
        event::{DialFailure, Established, LinkId, Timings},
    },
};

/// Where a dialer finds the endpoint's configuration in force.
pub type Source = Arc<dyn Fn() -> Arc<Endpoint> + Send + Sync>;

/// Dials for one link.
pub struct Dialer {
    link: LinkId,
    endpoint: Source,
    gate: Arc<dyn Gate>,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("link", &self.link).finish_non_exhaustive()
    }
}

impl Dialer {
    /// A dialer for `link`, let in by `gate`.
    pub fn new(link: LinkId, endpoint: Source, gate: Arc<dyn Gate>) -> Self {
        Self { link, endpoint, gate }
    }
}

impl Dial for Dialer {
    type Stream = Transport;

    fn dial(&self, url: usize, progress: mpsc::Sender<Progress>) -> BoxFuture<Result<Dialled<Transport>, DialFailure>> {
        let mut attempt = Attempt {
            endpoint: (self.endpoint)(),
            link: self.link.clone(),
            gate: Arc::clone(&self.gate),
            progress,
            timings: Timings::default(),
            began: now(),
        };
        Box::pin(async move {
            let outcome = attempt.run(url).await;
            let waited = attempt.timings.admission.unwrap_or_default();
            attempt.timings.total = now().saturating_duration_since(attempt.began).saturating_sub(waited);
            match outcome {
                Ok(mut dialled) => {
                    dialled.established.timings = attempt.timings;
                    Ok(dialled)
                }
                Err(fault) => Err(fault.into_failure(attempt.timings)),
            }
        })
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

struct Attempt {
    endpoint: Arc<Endpoint>,
    link: LinkId,
    gate: Arc<dyn Gate>,
    progress: mpsc::Sender<Progress>,
    timings: Timings,
    began: Instant,
}

/// What the secrets of one attempt came to.
struct Request {
    target: Target,
    headers: Vec<(HeaderName, Secret)>,
    protocols: Vec<Secret>,
}

impl Attempt {
    async fn run(&mut self, url: usize) -> Result<Dialled<Transport>, Fault> {
        let mut request = self.evaluate(url)?;
        let mut redirects = self.endpoint.redirects;
        loop {
            match self.reach(&request).await {
                Err(Fault::Upgrade(UpgradeFault::Status { status, location: Some(location), .. }))
                    if status.is_redirection() && redirects > 0 =>
                {
                    redirects -= 1;
                    request.follow(&location)?;
                }
                ended => return ended,
            }
        }
    }

    fn evaluate(&self, url: usize) -> Result<Request, Fault> {
        let endpoint = &self.endpoint;
        let template = endpoint.urls.get(url).or(endpoint.urls.first()).ok_or(Fault::NoUrl)?;
        let target = Target::parse(template.evaluate()?.expose()).map_err(|fault| Fault::Url(fault.to_string()))?;
        let headers = endpoint.headers.iter().map(|(name, value)| Ok((name.clone(), value.evaluate()?)));
        let headers = headers.collect::<Result<_, SecretError>>()?;
        let protocols = endpoint.protocols.iter().map(crate::config::Template::evaluate);
        let protocols = protocols.collect::<Result<Vec<_>, SecretError>>()?;
        let words: Vec<&str> = protocols.iter().map(Secret::expose).collect();
        subprotocol::check(&words).map_err(|fault| Fault::Protocols(fault.to_string()))?;
        Ok(Request { target, headers, protocols })
    }

    /// Connects to where the request leads now, and asks for the upgrade.
    async fn reach(&mut self, request: &Request) -> Result<Dialled<Transport>, Fault> {
        let target = &request.target;
        let start = now();
        self.tell(Progress::Resolving).await;
        let addresses = resolve(&target.host, target.port).await.map_err(|error| Fault::Dns(error.to_string()))?;
        let resolved = now();
        self.timings.dns = Some(resolved - start);
        let permit = self.admitted(self.gate.admit(self.link.clone(), addresses.clone(), false)).await;
        let admitted = now();
        self.timings.admission = Some(admitted - resolved);
        let heartbeat = &self.endpoint.link.heartbeat;
        let race = Race {
            link: self.link.clone(),
            gate: Arc::clone(&self.gate),
            unacknowledged: heartbeat.idle + heartbeat.timeout,
        };
        let Won { tcp, permit } = race.run(permit, &addresses, &self.progress).await.map_err(Fault::Connect)?;
        let connected = now();
        self.timings.tcp = Some(connected - admitted);
        let stream = if target.tls {
            self.tell(Progress::Securing).await;
            let tls = tls::secure(tcp, &target.host, &self.endpoint.tls).await;
            let tls = tls.map_err(|fault| Fault::Tls(fault.to_string()))?;
            self.timings.tls = Some(now() - connected);
            Transport::Tls(tls)
        } else {
            Transport::Plain(tcp)
        };
        let secured = now();
        self.tell(Progress::Upgrading).await;
        let wish = Wish {
            target,
            headers: &request.headers,
            protocols: &request.protocols,
            protocols_optional: self.endpoint.protocols_optional,
        };
        let agreed = upgrade(stream, &wish).await.map_err(Fault::Upgrade)?;
        self.timings.upgrade = Some(now() - secured);
        let protocol = agreed.protocol.and_then(|index| request.protocols.get(index)).map(Secret::expose);
        let established = Established {
            url: target.shown.as_str().into(),
            address: Some(permit.address),
            protocol: protocol.unwrap_or_default().into(),
            extensions: "".into(),
            timings: self.timings,
        };
        Ok(Dialled { stream: agreed.stream, early: agreed.early, established })
    }

    /// Waits for admission, and says so only if there is a wait.
    async fn admitted(&self, mut admission: BoxFuture<Permit>) -> Permit {
        let at_once = poll_fn(|cx| match Pin::new(&mut admission).poll(cx) {
            Poll::Ready(permit) => Poll::Ready(Some(permit)),
            Poll::Pending => Poll::Ready(None),
        });
        if let Some(permit) = at_once.await {
            return permit;
        }
        self.tell(Progress::Queued).await;
        let permit = admission.await;
        self.tell(Progress::Admitted).await;
        permit
    }

    async fn tell(&self, step: Progress) {
        // Nobody listens once the attempt has been given up, and then this future is dropped too.
        let _ = self.progress.send(step).await;
    }
}

impl Request {
    /// Goes where a redirect leads: never from `wss` to `ws`, and without credentials to another origin.
    fn follow(&mut self, location: &str) -> Result<(), Fault> {
        let next = self.target.url.join(location).map_err(|error| Fault::Redirect(error.to_string()))?;
        let mut next = Target::parse(next.as_str()).map_err(|fault| Fault::Redirect(fault.to_string()))?;
        if self.target.tls && !next.tls {
            return Err(Fault::Redirect("it leads from wss to ws".into()));
        }
        if self.target.same_origin(&next) {
            next.basic_auth = next.basic_auth.or_else(|| self.target.basic_auth.clone());
        } else {
            self.headers.retain(|(name, _)| {
                ![http::header::AUTHORIZATION, http::header::COOKIE, http::header::HOST].contains(name)
            });
        }
        self.target = next;
        Ok(())
    }
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the endpoint has no url")]
    NoUrl,
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("the url, as evaluated: {0}")]
    Url(String),
    #[error("the protocols, as evaluated: {0}")]
    Protocols(String),
    #[error("{0}")]
    Dns(String),
    #[error("{0}")]
    Connect(String),
    #[error("{0}")]
    Tls(String),
    #[error("{0}")]
    Upgrade(UpgradeFault),
    #[error("the redirect is not followed: {0}")]
    Redirect(String),
}

impl Fault {
    fn cause(&self) -> Cause {
        match self {
            Self::NoUrl | Self::Secret(_) | Self::Url(_) | Self::Protocols(_) => Cause::Secret,
            Self::Dns(_) => Cause::Dns,
            Self::Connect(_) => Cause::Connect,
            Self::Tls(_) => Cause::Tls,
            Self::Upgrade(fault) => fault.cause(),
            Self::Redirect(_) => Cause::Upgrade,
        }
    }

    fn into_failure(self, timings: Timings) -> DialFailure {
        let (status, retry_after) = match &self {
            Self::Upgrade(UpgradeFault::Status { status, retry_after, .. }) => (Some(status.as_u16()), *retry_after),
            Self::NoUrl
            | Self::Secret(_)
            | Self::Url(_)
            | Self::Protocols(_)
            | Self::Dns(_)
            | Self::Connect(_)
            | Self::Tls(_)
            | Self::Upgrade(_)
            | Self::Redirect(_) => (None, None),
        };
        DialFailure { cause: self.cause(), status, retry_after, detail: self.to_string().into(), timings }
    }
}
