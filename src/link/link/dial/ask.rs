//! What an attempt asks for, evaluated, and what becomes of it on a redirect.
//!
//! Across origins everything that may be a credential stays behind, and it stays behind for the rest of the attempt: all
//! headers but a few, and whatever is made of a secret, subprotocols too.

use std::{sync::Arc, time::Duration};

use super::Setback;
use crate::{
    clock::Calendar,
    endpoint::{
        Digest, Endpoint, FieldName, Secret, Session,
        proxy::{NoProxy, Proxy, ProxyChoice, Via},
        subprotocol,
        template::Template,
        url::{Target, UNIX},
        value::{Given, find},
    },
    link::{
        aside::Aside,
        memory::{Credentials, Memory},
        upgrade::{MayFollow, UpgradeFault, Wish},
    },
};
use http::{HeaderName, header};
use wskeeper_core::{
    close::Cause,
    deflate::Proposal,
    session::{Kept, Start},
};

/// Headers that another origin may see, unless they are made of a secret.
const HARMLESS: [HeaderName; 4] = [header::ACCEPT_LANGUAGE, header::CACHE_CONTROL, header::ORIGIN, header::USER_AGENT];

/// How a failure begins of what was evaluated, and cannot be used.
const EVALUATED: &str = "the evaluated ";
/// What is said of a redirect that is one too many, and of one that is less safe.
const TOO_MANY: &str = "no more redirects are allowed";
const UNSAFE: &str = "which would give up TLS";
/// What is said of one that leads where the secrets of a session must not go.
const FOREIGN: &str = "another origin, where the secrets of the session do not go";
/// How one that is not followed begins.
const REDIRECTS: &str = "the server redirects (status ";
/// What stands before the URL in the failure of an attempt that was redirected.
const REDIRECTED: &str = "; the URL's server had redirected to ";

/// Whether a failure of secrets is of a value that was read and cannot be used, and not of one that could not be read.
pub fn was_read(detail: &str) -> bool {
    detail.starts_with(EVALUATED)
}

/// Where the server of the URL had redirected to, of which the failure then is.
pub fn redirected_to(detail: &str) -> Option<&str> {
    detail.rsplit_once(REDIRECTED).map(|(_, url)| url)
}

/// The failure of an attempt that had been redirected there.
pub(super) fn after_redirect(detail: &str, shown: &str) -> String {
    format!("{detail}{REDIRECTED}{shown}")
}

/// Why a redirect was not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectTrouble {
    /// More than `redirects` allows.
    TooMany,
    /// It leads away from TLS.
    Unsafe,
    /// It leads to nothing that can be dialled.
    Unusable,
    /// It does not say where it leads, or its status is none that is followed.
    Nowhere,
}

impl RedirectTrouble {
    /// Reads it from the detail of a failure whose status is a redirect's.
    pub fn of(detail: &str) -> Self {
        if detail.contains(TOO_MANY) {
            Self::TooMany
        } else if detail.contains(UNSAFE) {
            Self::Unsafe
        } else if detail.starts_with(REDIRECTS) {
            Self::Unusable
        } else {
            Self::Nowhere
        }
    }
}

/// Where an attempt leads, and through which proxy.
#[derive(Debug, Clone)]
pub(super) struct Goal {
    pub(super) target: Arc<Target>,
    pub(super) via: Option<Arc<Via>>,
}

impl Goal {
    /// The host and port that TCP connects to, or a socket.
    pub(super) fn first_hop(&self) -> (&str, u16) {
        match (&self.target.unix, &self.via) {
            (Some(socket), _) => (socket, 0),
            (None, Some(via)) => (&via.host, via.port),
            (None, None) => (&self.target.host, self.target.port),
        }
    }
}

/// An evaluated request.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) goal: Goal,
    headers: Vec<(FieldName, Secret)>,
    protocols: Vec<Secret>,
    /// User and password for Digest authentication.
    digest: Option<Credentials>,
    /// The protocols as people may see them; one made of a secret is seen as its reference.
    shown: Vec<String>,
    /// Headers and protocols that another origin may see.
    open: (Vec<HeaderName>, Vec<bool>),
    /// What follows the upgrade has secrets, which are for this origin alone.
    is_bound: bool,
}

/// What templates are evaluated with.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    /// What sessions have left.
    pub(super) kept: Option<&'a Kept>,
    /// The session of this attempt, with what its `dial` has brought.
    pub(super) start: Option<&'a Start>,
    /// Values that were made for it.
    pub(super) given: &'a [Given],
}

impl Known<'_> {
    fn secret(self, template: &Template) -> Result<Secret, Setback> {
        let variable = |name: &str| match self.start {
            Some(start) => start.variable(name, self.kept),
            None => self.kept?.text(name),
        };
        let value = |name: &str| find(self.given, name).map(str::to_owned);
        template.evaluate_for(&variable, &value).map_err(|error| Setback::new(Cause::Secret, &error))
    }
}

/// Does what may read files, and so block, on a thread where that is allowed.
pub(super) async fn aside<T: Send + 'static>(
    aside: &Aside,
    reads: bool,
    evaluate: impl FnOnce() -> Result<T, Setback> + Send + 'static,
) -> Result<T, Setback> {
    if !reads {
        return evaluate();
    }
    let evaluated = aside.run(evaluate).await;
    evaluated.unwrap_or_else(|_| Err(Setback::new(Cause::Secret, "the secrets were not read: the daemon is stopping")))
}

/// Whether the evaluation of what is asked for reads files.
pub(super) fn reads_files(endpoint: &Endpoint) -> bool {
    let headers = endpoint.headers.iter().map(|(_, value)| value);
    let proxy = endpoint.proxy.templates().chain(endpoint.digest_templates());
    endpoint.urls.iter().chain(headers).chain(&endpoint.protocols).chain(proxy).any(Template::reads_files)
}

/// A session with all that it needs from outside.
pub(super) fn start(
    session: &Session,
    (endpoint, link): (&Arc<str>, u32),
    (at, wall): (std::time::Instant, Duration),
    given: &[Given],
) -> Result<Box<Start>, Setback> {
    let known = Known { kept: None, start: None, given };
    let value = |template| Ok(known.secret(template)?.expose().into());
    Ok(Box::new(Start {
        plan: Arc::clone(&session.plan),
        secrets: session.secrets.iter().map(value).collect::<Result<_, Setback>>()?,
        wall,
        at,
        endpoint: Arc::clone(endpoint),
        link,
        dialled: None,
        is_watched: false,
    }))
}

impl Ask {
    pub(super) fn evaluate(endpoint: &Endpoint, url: usize, known: Known<'_>) -> Result<Box<Self>, Setback> {
        let goal = goal(endpoint, url, known)?;
        let headers: Result<_, Setback> =
            endpoint.headers.iter().map(|(name, template)| Ok((name.clone(), known.secret(template)?))).collect();
        let protocols: Vec<Secret> =
            endpoint.protocols.iter().map(|template| known.secret(template)).collect::<Result<_, _>>()?;
        let digest = match endpoint.digest.as_deref() {
            Some(Digest { user, password }) => {
                Some(Credentials { user: known.secret(user)?, password: known.secret(password)? })
            }
            None => None,
        };
        let texts: Vec<&str> = protocols.iter().map(Secret::expose).collect();
        subprotocol::check(&texts).map_err(|fault| {
            Setback::new(Cause::Secret, &format!("{EVALUATED}subprotocols cannot be offered: {fault}"))
        })?;
        let shown = endpoint
            .protocols
            .iter()
            .zip(&texts)
            .map(|(template, text)| if template.has_references() { template.shown() } else { (*text).to_owned() });
        let harmless =
            endpoint.headers.iter().filter(|(name, value)| HARMLESS.contains(&**name) && !value.has_references());
        let open_headers = harmless.map(|(name, _)| (**name).clone()).collect();
        let open_protocols = endpoint.protocols.iter().map(|template| !template.has_references()).collect();
        let open = (open_headers, open_protocols);
        let is_bound = known
            .start
            .is_some_and(|start| !start.secrets.is_empty() || start.dialled.iter().any(|dialled| dialled.has_set()));
        let shown = shown.collect();
        Ok(Box::new(Self { goal, headers: headers?, digest, shown, protocols, open, is_bound }))
    }

    /// The request of the upgrade, with what is remembered of its server.
    pub(super) fn wish<'a>(
        &'a self,
        endpoint: &Endpoint,
        calendar: Calendar,
        (next, patience): (MayFollow, Duration),
        (memory, compression): (Option<&'a Memory>, Option<Proposal>),
    ) -> Wish<'a> {
        Wish {
            target: &self.goal.target,
            headers: &self.headers,
            open: &self.open,
            authorization: self.authorization(memory),
            jar: memory.map(|memory| &memory.jar).filter(|_| endpoint.cookies),
            protocols: &self.protocols,
            protocols_optional: endpoint.protocols_optional,
            compression,
            retry_after_max: endpoint.link.retry_after_max,
            next,
            patience,
            calendar,
        }
    }

    /// What goes as `Authorization`: the user's own header, or an answer to what the server has asked for before, or the URL's userinfo. What is
    /// for Digest does not go in clear.
    fn authorization(&self, memory: Option<&Memory>) -> Option<Secret> {
        let credentials = self.credentials();
        let answer = || memory?.challenge.lock().as_mut()?.answer(&self.goal.target, credentials.as_ref()?);
        let basic = || self.goal.target.basic_auth.clone().filter(|_| self.digest.is_none());
        if self.is_authorized() { None } else { answer().or_else(basic) }
    }

    /// What a Digest challenge of this server is answered with.
    pub(super) fn credentials(&self) -> Option<Credentials> {
        let own = || self.digest.clone().or_else(|| Credentials::of(&self.goal.target));
        if self.is_authorized() { None } else { own() }
    }

    fn is_authorized(&self) -> bool {
        self.headers.iter().any(|(name, _)| *name == header::AUTHORIZATION)
    }

    /// The chosen subprotocol, for people and consumers.
    pub(super) fn protocol_shown(&self, index: Option<usize>) -> &str {
        index.and_then(|index| self.shown.get(index)).map_or("", String::as_str)
    }

    /// Where a refusal leads, if `left` redirects may yet be followed.
    pub(super) fn redirected(
        mut self: Box<Self>,
        fault: UpgradeFault,
        left: u32,
        proxy: &Proxy,
    ) -> Result<Box<Self>, Setback> {
        let Some((status, location)) = fault.leads() else { return Err(fault.into()) };
        let refused = |why: String| Setback {
            status: Some(status.as_u16()),
            ..Setback::new(Cause::Upgrade, &format!("{REDIRECTS}{status}) {why}"))
        };
        let mut url = self.goal.target.url.join(location).map_err(|_| refused("to what is no URL".into()))?;
        url.set_fragment(None);
        let mut target =
            Target::parse(url.as_str()).map_err(|fault| refused(format!("to what cannot be used: {fault}")))?;
        if target.unix.is_some() {
            return Err(refused("to a unix socket, which a server cannot name".into()));
        }
        // What is said of paths on a socket stays on it.
        if let Some(socket) =
            self.goal.target.unix.as_ref().filter(|_| target.url.origin() == self.goal.target.url.origin())
        {
            target.move_to(Arc::clone(socket));
        }
        if left == 0 {
            return Err(refused(format!("to {}, and {TOO_MANY}", target.shown)));
        }
        if self.goal.target.tls && !target.tls {
            return Err(refused(format!("to {}, {UNSAFE}", target.shown)));
        }
        if target.same_origin(&self.goal.target) {
            target.basic_auth.clone_from(&self.goal.target.basic_auth);
        } else {
            if self.is_bound {
                return Err(refused(format!("to {}, {FOREIGN}", target.shown)));
            }
            target.basic_auth = None;
            self.leave_credentials();
        }
        // What the environment says of one server it need not say of another.
        if proxy.choice == ProxyChoice::Environment {
            self.goal.via = way_to(proxy, &target)?;
        }
        self.goal.target = Arc::new(target);
        Ok(self)
    }

    fn leave_credentials(&mut self) {
        self.digest = None;
        let (headers, protocols) = &mut self.open;
        self.headers.retain(|(name, _)| headers.contains(&**name));
        let mut open = protocols.iter();
        self.protocols.retain(|_| open.next().is_some_and(|open| *open));
        let mut open = protocols.iter();
        self.shown.retain(|_| open.next().is_some_and(|open| *open));
        protocols.retain(|open| *open);
    }
}

/// Where the URL of this index leads, and through which proxy.
pub(super) fn goal(endpoint: &Endpoint, url: usize, known: Known<'_>) -> Result<Goal, Setback> {
    let target = target(endpoint, url, known)?;
    let via = way_to(&endpoint.proxy, &target)?;
    Ok(Goal { target, via })
}

fn way_to(proxy: &Proxy, target: &Target) -> Result<Option<Arc<Via>>, Setback> {
    proxy.way_to(target).map_err(|fault| match fault {
        NoProxy::Secret(error) => Setback::new(Cause::Secret, &error),
        NoProxy::Evaluated(_) => Setback::new(Cause::Secret, &format!("{EVALUATED}{fault}")),
        NoProxy::Environment(..) => Setback::new(Cause::Proxy, &fault),
    })
}

/// Where the URL of this index leads; without such a one, the first.
fn target(endpoint: &Endpoint, url: usize, known: Known<'_>) -> Result<Arc<Target>, Setback> {
    let index = if url < endpoint.urls.len() { url } else { 0 };
    if let Some(Some(known)) = endpoint.targets.get(index) {
        return Ok(Arc::clone(known));
    }
    let template = endpoint.urls.get(index).ok_or_else(|| Setback::new(Cause::Connect, "the endpoint has no URL"))?;
    let text = known.secret(template)?;
    let unusable =
        |fault: &dyn std::fmt::Display| Setback::new(Cause::Secret, &format!("{EVALUATED}URL cannot be used: {fault}"));
    let mut target = Target::parse(text.expose()).map_err(|fault| unusable(&fault))?;
    if target.unix.is_some() && !template.literals().next().is_some_and(|first| first.starts_with(UNIX)) {
        return Err(unusable(
            &"it leads to a unix socket, which only the configuration may name: write `ws+unix:` there",
        ));
    }
    if is_private(endpoint, template) && !template.literals().any(|literal| literal.contains(target.url.path())) {
        target.hide_path();
    }
    if !target.tls && asks_for_tls(endpoint, template, known.given) {
        let why = format!("a variable of the session leads to {}, {UNSAFE}", target.shown);
        return Err(unusable(&why));
    }
    Ok(Arc::new(target))
}

/// Whether what a URL is made of is for nobody's eyes.
fn is_private(endpoint: &Endpoint, template: &Template) -> bool {
    template.has_secrets() || is_dialled(endpoint, template)
}

/// Whether a URL is made of what the steps of `dial` bring.
fn is_dialled(endpoint: &Endpoint, template: &Template) -> bool {
    let session = endpoint.session.as_deref();
    template.variables().any(|name| session.is_some_and(|session| session.plan.dials(name)))
}

/// Whether it is known where the URL of this index leads before anything is made for the attempt.
pub(super) fn is_known(endpoint: &Endpoint, url: usize) -> bool {
    let template = endpoint.urls.get(if url < endpoint.urls.len() { url } else { 0 });
    template.is_none_or(|template| template.values().next().is_none() && !is_dialled(endpoint, template))
}

/// Whether a URL with variables leads to TLS where none is set. What a peer says must not take that away.
/// Where nothing is said of that, what came over TLS leads to TLS.
fn asks_for_tls(endpoint: &Endpoint, template: &Template, given: &[Given]) -> bool {
    let value = |name: &str| find(given, name).map(str::to_owned);
    let plain = template.evaluate_for(&|_| None, &value).ok();
    template.variables().next().is_some()
        && plain.map_or_else(
            || endpoint.session.as_deref().is_some_and(|session| session.plan.dials_by_tls()),
            |url| Target::parse(url.expose()).is_ok_and(|to| to.tls),
        )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_variable_may_lead_elsewhere_and_not_away_from_tls() {
        let to = |url: &str, value: &str| {
            let urls = vec![Template::parse_with_variables(url, Path::new("")).unwrap()];
            let endpoint = Endpoint { urls, targets: vec![None], ..Endpoint::default() };
            let kept: Kept = [("to".into(), value.into())].into_iter().collect();
            target(&endpoint, 0, Known { kept: Some(&kept), start: None, given: &[] })
                .map(|target| target.shown.to_string())
                .map_err(|setback| setback.detail)
        };
        let resume = "${var:to|wss://here.example/}?v=1";
        assert_eq!(to(resume, "wss://there.example/").as_deref(), Ok("wss://there.example/"));
        let refused = to(resume, "ws://there.example/").unwrap_err();
        assert!(refused.contains("ws://there.example/, which would give up TLS"), "{refused}");
        assert!(was_read(&refused) && to("wss://${var:to|here.example}/", "there.example").is_ok());
        let socket = to("${var:to|ws://here.example/}", "ws+unix:///run/docker.sock:/").unwrap_err();
        assert!(socket.contains("a unix socket, which only the configuration may name"), "{socket}");
        assert!(to("ws+unix:///run/x.sock:/${var:to}", "v2").is_ok());
        assert!(to("${var:to|ws://here.example/}", "ws://there.example/").is_ok(), "there was none to give up");
    }
}
