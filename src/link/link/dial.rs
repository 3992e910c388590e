//! One attempt from templates to an upgraded stream: secrets, DNS, admission, TCP, TLS, upgrade, redirects; at the next URL where the
//! server of one is known to be down.
//!
//! Nothing is kept from one attempt to the next but cookies and a server's challenge, so that renewed secrets, addresses and certificates
//! are followed. The driver's clock limits an attempt by dropping its future; nothing here runs beyond that.

use std::{io, net::SocketAddr, sync::Arc};

use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::{
    Admit, BoxFuture, Dial, Dialled, Done, Nobody, Permit, PreparePermit, Progress, Provider, Report, To, Transport,
    aside::Aside,
    carrier::SharedCarriers,
    memory::{AnswersGiven, Memory},
    race::{self, Admitted, Patience, Won},
    resolve,
    tls::{self, Under},
    upgrade::{self, Agreed, Chosen, MayFollow, UpgradeFault, Wish},
};
use crate::clock::Calendar;
use crate::endpoint::{Endpoint, compression::Compression, file::FileMarks};
use wskeeper_core::{
    admission::Verdict,
    budget::{Account, Hold},
    close::Cause,
    event::{Certificates, DialFailure, Established, LinkId, RetryAfter, Steps, Timings},
    link::Round,
    rejection::Rejection,
    session::{Errand, Kept, Opening},
};

pub use ask::{RedirectTrouble, redirected_to, was_read};

use ask::{Ask, Goal};
use made::Made;

mod admitted;
mod answered;
mod ask;
mod carried;
mod made;
mod proxied;

/// Why an attempt came to nothing that did not go out.
const KNOWN_TO_BE_DOWN: &str = "not dialled: its server is known to be down";

/// A server asks for other credentials.
const UNAUTHORIZED: u16 = 401;

/// Gives the endpoint's configuration as it is now.
pub(crate) trait Source: Send + Sync {
    /// The configuration.
    fn endpoint(&self) -> Arc<Endpoint>;

    /// Where its attempts do what may block.
    fn aside(&self) -> Aside {
        Aside::default()
    }

    /// An attempt reads its credentials from files that look like this.
    fn note(&self, _: FileMarks) {}

    /// Where its attempts read the date.
    fn calendar(&self) -> Calendar {
        Calendar::default()
    }

    /// Connections that its links share.
    fn carriers(&self) -> Arc<SharedCarriers> {
        Arc::default()
    }

    /// What this link remembers of servers, if it does or is to begin with it.
    fn memory(&self, _link: u32, begin: bool) -> Option<Arc<Memory>> {
        begin.then(Arc::default)
    }

    /// Where what its links keep of messages counts, if it does.
    fn account(&self) -> Option<Arc<Account>> {
        None
    }

    /// Who does what its sessions ask for.
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(Nobody)
    }

    /// The addresses of a host, as they are now; at least one.
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        let (host, aside) = (host.to_owned(), self.aside());
        Box::pin(async move { resolve::resolve(&host, port, &aside).await })
    }
}

impl<F: Fn() -> Arc<Endpoint> + Send + Sync> Source for F {
    fn endpoint(&self) -> Arc<Endpoint> {
        self()
    }
}

/// Dials over TCP and TLS.
pub(crate) struct Dialer {
    id: LinkId,
    endpoint: Arc<dyn Source>,
    admission: Arc<dyn Admit>,
}

impl Dialer {
    /// A dialer for one link. `endpoint` is asked at each attempt, for the configuration may have changed.
    pub(crate) fn new(id: LinkId, endpoint: Arc<dyn Source>, admission: Arc<dyn Admit>) -> Self {
        Self { id, endpoint, admission }
    }
}

impl Dial for Dialer {
    type Stream = Transport;

    fn dial(
        &self,
        To { url, round, urgent, refused }: To,
        kept: Option<Kept>,
        report: Report,
    ) -> BoxFuture<Result<Dialled<Transport>, DialFailure>> {
        let (id, endpoint, admission) = (self.id.clone(), self.endpoint.endpoint(), Arc::clone(&self.admission));
        let source = Arc::clone(&self.endpoint);
        let began = Instant::now();
        // Thousands may wait here, and what they hold is paid for as long as the daemon runs: so they hold no more than this, and
        // the room for what follows is had when it is reached.
        Box::pin(async move {
            let mut asking = Arc::clone(&admission).prepare(id.clone());
            let (permit, waited) = if urgent {
                // The permits may be held by those who wait for the server to come back.
                (PreparePermit::default(), None)
            } else if let Some(permit) = (&mut asking).now_or_never() {
                (permit, None)
            } else {
                report(Progress::Queued);
                let permit = asking.await;
                report(Progress::Admitted);
                (permit, Some(began.elapsed()))
            };
            let timings = Timings { admission: waited, ..Timings::default() };
            let (aside, compression) = (source.aside(), endpoint.compression);
            let attempt = Attempt {
                id,
                redirects: endpoint.redirects,
                endpoint,
                source,
                aside,
                admission,
                report,
                timings,
                began,
                prepare: permit,
                round,
                urgent,
                asked: tls::Asked::No,
                lapsed: None,
                memory: None,
                answers: AnswersGiven::default(),
                unanswered: None,
                redirected: None,
                passed: Some(0),
                kept,
                made: None,
                refused,
                compression,
                windows: None,
            };
            Box::pin(attempt.run(url)).await
        })
    }

    fn run(&self, errand: Errand) -> BoxFuture<Done> {
        self.endpoint.provider().run(errand, self.endpoint.endpoint())
    }
}

/// Why an attempt failed, before it is known how long it took.
#[derive(Debug)]
pub(super) struct Setback {
    pub(super) cause: Cause,
    pub(super) status: Option<u16>,
    pub(super) retry_after: Option<RetryAfter>,
    pub(super) detail: String,
    pub(super) rejection: Option<Arc<Rejection>>,
    /// What the session calls it, and what it did, where its steps of `dial` failed.
    pub(super) session: Option<(Box<str>, Box<Opening>)>,
}

impl Setback {
    pub(super) fn new(cause: Cause, detail: &(impl ToString + ?Sized)) -> Self {
        Self { cause, status: None, retry_after: None, detail: detail.to_string(), rejection: None, session: None }
    }
}

impl From<UpgradeFault> for Setback {
    fn from(fault: UpgradeFault) -> Self {
        let (cause, detail) = (fault.cause(), fault.to_string());
        let (status, retry_after, rejection) = match fault {
            UpgradeFault::Status { status, retry_after, location: _, asks: _, rejection } => {
                (Some(status.as_u16()), retry_after, rejection)
            }
            UpgradeFault::RequestTarget
            | UpgradeFault::HeaderValue(_)
            | UpgradeFault::NotHttp(_)
            | UpgradeFault::NotAnswer(_)
            | UpgradeFault::NoHttp2(_)
            | UpgradeFault::NoStreams
            | UpgradeFault::TooLarge
            | UpgradeFault::TooManyLines
            | UpgradeFault::Ended
            | UpgradeFault::Broken(_)
            | UpgradeFault::Alert(_)
            | UpgradeFault::Invalid(_)
            | UpgradeFault::Subprotocol(_) => (None, None, None),
        };
        Self { cause, status, retry_after, detail, rejection, session: None }
    }
}

/// A connection to a server that has not been asked for anything yet.
struct Unasked {
    stream: Transport,
    certificates: Certificates,
}

struct Attempt {
    id: LinkId,
    endpoint: Arc<Endpoint>,
    source: Arc<dyn Source>,
    aside: Aside,
    admission: Arc<dyn Admit>,
    report: Report,
    timings: Timings,
    began: Instant,
    /// Given back once it is admitted.
    prepare: PreparePermit,
    /// Where it goes on to; `None`: it fails where the server is known to be down.
    round: Option<Round>,
    urgent: bool,
    /// Whether the last server asked for a certificate of ours.
    asked: tls::Asked,
    /// When the certificate of ours expired that the last server was shown, in seconds since 1970.
    lapsed: Option<i64>,
    /// Redirects that may yet be followed.
    redirects: u32,
    /// What is remembered of servers.
    memory: Option<Arc<Memory>>,
    /// What of the server's challenges was answered.
    answers: AnswersGiven,
    /// Why a challenge was not, behind the failure.
    unanswered: Option<&'static str>,
    /// Where a redirect has led.
    redirected: Option<Arc<str>>,
    /// URLs in a row whose servers are known to be down; `None`: the others do not matter any more.
    passed: Option<usize>,
    /// What sessions have left.
    kept: Option<Kept>,
    /// What was made for it.
    made: Option<Made>,
    /// Values that were made before had been refused.
    refused: Option<std::time::Instant>,
    /// What is offered: without contexts where there is no room for their windows.
    compression: Compression,
    /// The room of the windows that are offered.
    windows: Option<Box<Hold>>,
}

impl Attempt {
    async fn run(mut self, url: usize) -> Result<Dialled<Transport>, DialFailure> {
        let outcome = self.follow(url).await;
        // Waiting for admission is the pool's doing, not the peer's.
        self.timings.total = self.began.elapsed().saturating_sub(self.timings.admission.unwrap_or_default());
        match outcome {
            Ok(mut dialled) => {
                dialled.established.timings = self.timings.into();
                Ok(dialled)
            }
            Err(Setback { cause, status, retry_after, mut detail, rejection, session }) => {
                if status.is_some() && self.asked == tls::Asked::InVain {
                    detail.push_str(tls::LACKING);
                }
                if let Some(not_after) = self.lapsed.filter(|_| self.asked == tls::Asked::AndGot) {
                    detail.push_str(&tls::lapsed(not_after));
                }
                if let Some(why) = self.unanswered.filter(|_| status == Some(UNAUTHORIZED)) {
                    detail.push_str(why);
                }
                if let Some(shown) = &self.redirected {
                    detail = ask::after_redirect(&detail, shown);
                }
                let (label, steps) = session.unzip();
                let (detail, timings) = (detail.into(), self.timings);
                Err(DialFailure { cause, status, retry_after, label, detail, timings, steps, rejection })
            }
        }
    }

    /// Dials, and again where a redirect leads; at the next URL where the server of one is known to be down.
    async fn follow(&mut self, mut url: usize) -> Result<Dialled<Transport>, Setback> {
        let (mut ask, mut admitted) = loop {
            if let Some(ready) = self.ready(url).await? {
                break ready;
            }
            let Some(round) = self.round else { return Err(Setback::new(Cause::Connect, KNOWN_TO_BE_DOWN)) };
            url = round.after(url, self.endpoint.urls.len());
            (self.report)(Progress::PassedOver(url));
        };
        loop {
            match self.once(&ask, admitted).await? {
                Ok(dialled) => {
                    let Some(Made { given, start, .. }) = self.made.take() else { return Ok(dialled) };
                    let ends = given.iter().filter_map(|given| given.ends).min();
                    return Ok(Dialled { session: start, ends, ..dialled });
                }
                Err(fault) if self.answers_to(&ask, &fault) => {}
                Err(fault) => {
                    ask = ask.redirected(fault, self.redirects, &self.endpoint.proxy)?;
                    self.redirected = Some(Arc::clone(&ask.goal.target.shown));
                    self.answers = AnswersGiven::default();
                    self.redirects = self.redirects.saturating_sub(1);
                }
            }
            // Where a redirect leads is the only way, and who has asked is to have the answer.
            self.passed = None;
            admitted = loop {
                if let Some(admitted) = self.admitted(&ask.goal).await? {
                    break admitted;
                }
            };
        }
    }

    /// One connection; the inner error is an answer that may be a redirect.
    async fn once(
        &mut self,
        ask: &Ask,
        admitted: Admitted,
    ) -> Result<Result<Dialled<Transport>, UpgradeFault>, Setback> {
        self.remember(self.endpoint.remembers());
        self.have_room_for_windows();
        if self.endpoint.http2.is_for(&ask.goal.target) && !self.is_challenged(ask) {
            // In a box: few go this way.
            return Box::pin(self.carried(ask, admitted)).await;
        }
        let (reached, permit) = self.reach(ask, admitted, None).await?;
        self.upgraded(ask, reached, permit).await
    }

    /// A server that keeps its context makes this end keep a window, as long as the connection lasts: none is offered without room for it.
    fn have_room_for_windows(&mut self) {
        let windows = if self.compression.is_offered { self.compression.offer.windows() } else { 0 };
        if windows == 0 || self.windows.is_some() {
            return;
        }
        let Some(account) = self.source.account() else { return };
        let mut hold = account.hold();
        if hold.resize(windows) {
            self.windows = Some(Box::new(hold));
        } else {
            self.compression.offer = self.compression.offer.without_context();
        }
    }

    /// TCP and TLS, through the proxy where there is one. `offer` is what TLS offers in place of what is set.
    async fn reach(
        &mut self,
        ask: &Ask,
        admitted: Admitted,
        offer: Option<&[&str]>,
    ) -> Result<(Unasked, Box<Permit>), Setback> {
        let won = match &ask.goal.target.unix {
            None => self.connect(admitted, &ask.goal).await.map(|won| (Under::Tcp(won.tcp), won.permit)),
            Some(socket) => self.connect_on(socket, admitted).await,
        };
        self.prepare = PreparePermit::default();
        let (under, mut permit) = won?;
        self.hold(ask, &mut permit);
        let under = match &ask.goal.via {
            None => under,
            Some(via) => Box::pin(self.tunnel(under, via, ask, &mut permit)).await?,
        };
        if !ask.goal.target.tls {
            self.asked = tls::Asked::No;
            return Ok((Unasked { stream: under.into(), certificates: Certificates::default() }, permit));
        }
        (self.report)(Progress::Securing);
        let began = Instant::now();
        let secured = tls::secure(under, (&ask.goal.target.host, offer), &self.endpoint.tls, &self.aside).await;
        self.timings.tls = Some(self.timings.tls.unwrap_or_default().saturating_add(began.elapsed()));
        permit.verdict = self.judged(ask, secured.as_ref().err().and_then(tls::TlsFault::verdict));
        let tls::Secured { stream, certificates, asked } = secured.map_err(|fault| Setback::new(Cause::Tls, &fault))?;
        self.asked = asked;
        let now = i64::try_from(self.source.calendar().since_epoch().as_secs()).unwrap_or(i64::MAX);
        self.lapsed = certificates.client.filter(|not_after| *not_after < now);
        Ok((Unasked { stream: Transport::secured(stream), certificates }, permit))
    }

    /// Asks for the upgrade.
    async fn upgraded(
        &mut self,
        ask: &Ask,
        reached: Unasked,
        mut permit: Box<Permit>,
    ) -> Result<Result<Dialled<Transport>, UpgradeFault>, Setback> {
        (self.report)(Progress::Upgrading);
        let began = Instant::now();
        let address = Some(permit.address).filter(|_| ask.goal.target.unix.is_none());
        let Unasked { stream, certificates } = reached;
        let agreed = upgrade::upgrade(stream, &self.wish(ask)).await;
        let agreed = agreed.map_err(|fault| fault.after(self.asked));
        self.timings.upgrade = Some(self.timings.upgrade.unwrap_or_default().saturating_add(began.elapsed()));
        permit.verdict = self.judged(ask, agreed.as_ref().map_or_else(UpgradeFault::verdict, |_| Some(Verdict::Up)));
        Ok(agreed.map(|Agreed { stream, early, chosen }| {
            self.dialled(ask, (stream, early), (address, certificates), chosen)
        }))
    }

    fn wish<'a>(&'a self, ask: &'a Ask) -> Wish<'a> {
        let took = self.began.elapsed().saturating_sub(self.timings.admission.unwrap_or_default());
        // What an answer says beside may not cost the attempt the answer itself.
        let patience = self.endpoint.link.connect_timeout.saturating_sub(took) / 2;
        let answers = self.answers == AnswersGiven::default() && ask.credentials().is_some();
        let next = MayFollow { redirects: self.redirects > 0, answers };
        let compression = Some(self.compression.offer).filter(|_| self.compression.is_offered);
        ask.wish(&self.endpoint, self.source.calendar(), (next, patience), (self.memory.as_deref(), compression))
    }

    fn dialled(
        &mut self,
        ask: &Ask,
        (stream, early): (Transport, Vec<u8>),
        (address, certificates): (Option<SocketAddr>, Certificates),
        Chosen { protocol, compression }: Chosen,
    ) -> Dialled<Transport> {
        let established = Box::new(Established {
            url: Arc::clone(&ask.goal.target.shown),
            address,
            protocol: ask.protocol_shown(protocol).into(),
            compression,
            carrier: None,
            certificates,
            timings: Steps::default(),
        });
        let compression = compression.map(|agreed| (self.compression, agreed));
        let windows = self.windows.take();
        Dialled { stream, early, established, session: None, ends: None, compression, windows }
    }

    async fn connect(&mut self, admitted: Admitted, goal: &Goal) -> Result<Won, Setback> {
        (self.report)(if goal.via.is_some() { Progress::Tunnelling } else { Progress::Connecting });
        let outcome = race::race(&self.admission, &self.id, admitted, self.patience()).await;
        let took = match &outcome {
            Ok(won) => won.took,
            Err(lost) => lost.took,
        };
        self.timings.tcp = Some(self.timings.tcp.unwrap_or_default().saturating_add(took));
        outcome.map_err(|lost| match &goal.via {
            None => Setback::new(Cause::Connect, &lost),
            Some(via) => Setback::new(Cause::Proxy, &format!("the proxy {} is not reached: {lost}", via.shown)),
        })
    }

    fn patience(&self) -> Patience {
        let link = &self.endpoint.link;
        Patience {
            unacknowledged: link.heartbeat.detection(),
            probe: (!link.heartbeat.pings()).then_some(link.heartbeat.idle),
            // Who drops an attempt need not say why. One that had half of its time and no answer says enough.
            silence: link.connect_timeout / 2,
            source: self.endpoint.network.source,
        }
    }
}

#[cfg(test)]
mod tests;
