//! An attempt that goes by HTTP/2 (RFC 8441): over a carrier that is there, over a new one, or by HTTP/1.1 after all.
//!
//! What a reader would get wrong: whoever makes a carrier is a link like the others, with its permit and its time. Where it is given up in
//! the middle, the next one that waits makes it.

use std::net::SocketAddr;

use tokio::time::Instant;

use super::{
    Admitted, Ask, Attempt, Cause, Dialled, Permit, PreparePermit, Progress, Setback, Unasked, UpgradeFault, Verdict,
};
use crate::{
    clock::Moment as _,
    endpoint::file::FileMarks,
    link::{
        Transport,
        carrier::{self, CarriedAnswer, CarrierKey, Material, NoCarrier, Riding, Seat, Seated, Unanswered},
        tls::{self, H2},
    },
};
use wskeeper_core::carriers::Policy;

/// Carriers that an attempt asks at most: each of those before was about to end.
const CARRIERS_MAX: usize = 3;

/// What a server does that opens WebSockets by HTTP/1.1 alone.
const FOR_WEBSOCKETS: &str = "wants HTTP/1.1 for WebSockets";

/// What came of asking on a carrier.
enum Came {
    Answer(Result<Dialled<Transport>, UpgradeFault>),
    /// It is about to end: another is to be asked.
    Elsewhere(Box<Permit>),
    /// It is to be HTTP/1.1, for this.
    Plain(Box<Permit>, &'static str),
}

impl Attempt {
    /// One connection, or a stream of one. The inner error is an answer that may be a redirect.
    pub(super) async fn carried(
        &mut self,
        ask: &Ask,
        admitted: Admitted,
    ) -> Result<Result<Dialled<Transport>, UpgradeFault>, Setback> {
        let (shared, marks) = (self.source.carriers(), self.marks(ask).await);
        self.prepare = PreparePermit::default();
        let key = CarrierKey::new(&self.endpoint, &ask.goal.target, ask.goal.via.clone(), marks);
        let Admitted { mut permit, mut others } = admitted;
        for _ in 0..CARRIERS_MAX {
            let mut addresses: Vec<SocketAddr> = vec![permit.address];
            addresses.extend(&others);
            (self.report)(Progress::Connecting);
            let link = &self.endpoint.link;
            let policy = Policy {
                most: self.endpoint.http2.links,
                // Links are replaced by age a tenth sooner at most, and are not to come to what is as old.
                retire_after: link.rotate_after.map(|after| after / 10 * 9),
                falls_back: self.endpoint.http2.falls_back(),
            };
            let came = match shared.seat(&key, &addresses, (policy, &link.heartbeat)).await {
                Seated::Plain => {
                    let (reached, permit) = self.reach(ask, Admitted { permit, others }, None).await?;
                    return self.upgraded(ask, reached, permit).await;
                }
                Seated::On(seat, riding) => {
                    self.hold(ask, &mut permit);
                    self.ride(ask, (seat, riding), permit, false).await
                }
                Seated::New(seat) => {
                    let others = std::mem::take(&mut others);
                    match self.new_carrier(ask, Admitted { permit, others }, seat).await? {
                        Ok(came) => came,
                        Err((reached, permit)) => return self.upgraded(ask, reached, permit).await,
                    }
                }
            };
            match came {
                Came::Answer(answer) => return Ok(answer),
                Came::Elsewhere(back) => permit = back,
                Came::Plain(mut back, _) if self.endpoint.http2.falls_back() => {
                    shared.note_plain(back.address);
                    back.verdict = None;
                    permit = back;
                }
                Came::Plain(mut back, why) => {
                    back.verdict = Some(Verdict::Up);
                    return Ok(Err(UpgradeFault::NoHttp2(why)));
                }
            }
        }
        permit.verdict = self.judged(ask, Some(Verdict::Failing(None)));
        let detail = "the server ended each HTTP/2 connection before it had answered on it, or refused the stream";
        Err(Setback::new(Cause::Upgrade, detail))
    }

    /// Makes a carrier, and asks on it. The inner error: the server does not speak HTTP/2, and the connection does for HTTP/1.1.
    async fn new_carrier(
        &mut self,
        ask: &Ask,
        admitted: Admitted,
        seat: Seat,
    ) -> Result<Result<Came, (Unasked, Box<Permit>)>, Setback> {
        let (shared, falls_back) = (self.source.carriers(), self.endpoint.http2.falls_back());
        let offer = if falls_back { tls::EITHER } else { tls::H2_ALONE };
        let (reached, mut permit) = self.reach(ask, admitted, Some(offer)).await?;
        if ask.goal.target.tls && reached.stream.agreed() != Some(H2) {
            if !falls_back {
                permit.verdict = Some(Verdict::Up);
                return Ok(Ok(Came::Answer(Err(UpgradeFault::NoHttp2("does not speak HTTP/2 (ALPN)")))));
            }
            shared.note_plain(permit.address);
            return Ok(Err((reached, permit)));
        }
        (self.report)(Progress::Upgrading);
        let began = Instant::now();
        let Unasked { stream, certificates } = reached;
        let made = Material { stream, certificates, asked: self.asked, address: permit.address };
        let opened = shared.begin(&seat, made).await;
        self.timings.upgrade = Some(began.elapsed());
        Ok(Ok(match opened {
            Ok(riding) => self.ride(ask, (seat, riding), permit, true).await,
            Err(NoCarrier::Unwilling) => Came::Plain(permit, FOR_WEBSOCKETS),
            Err(NoCarrier::Foreign) => Came::Plain(permit, "does not answer in HTTP/2"),
            Err(NoCarrier::Full) => self.failed_by(ask, UpgradeFault::NoStreams, &mut permit),
            Err(NoCarrier::Broken(error)) => self.failed_by(ask, carrier::fault(&error).after(self.asked), &mut permit),
        }))
    }

    fn failed_by(&self, ask: &Ask, fault: UpgradeFault, permit: &mut Permit) -> Came {
        permit.verdict = self.judged(ask, fault.verdict());
        Came::Answer(Err(fault))
    }

    /// Asks on a carrier. One that is not new may have been dead already, so its end says nothing of the server; and where it refuses, that
    /// may be for the links that it has. One that does not answer takes no more.
    async fn ride(&mut self, ask: &Ask, (seat, riding): (Seat, Riding), mut permit: Box<Permit>, is_new: bool) -> Came {
        (self.report)(Progress::Upgrading);
        let began = Instant::now();
        let (certificates, address, number) = (riding.certificates, riding.address, seat.carrier());
        self.asked = riding.asked;
        let mut retirement = seat.again(Instant::now().later(self.patience().silence));
        let answered = carrier::ask(riding, seat, &self.wish(ask)).await;
        retirement.heard();
        self.timings.upgrade = Some(self.timings.upgrade.unwrap_or_default().saturating_add(began.elapsed()));
        let answer = match answered {
            Err(Unanswered::Lost(fault)) if is_new => Err(fault.after(self.asked)),
            // Whoever makes one asks no further: so an attempt makes one connection for it at most.
            Err(Unanswered::Refused(fault)) if is_new => {
                retirement.close();
                Err(fault.after(self.asked))
            }
            Err(Unanswered::Lost(_) | Unanswered::Refused(_) | Unanswered::Elsewhere) => {
                retirement.close();
                return Came::Elsewhere(permit);
            }
            Err(Unanswered::Plain) => return Came::Plain(permit, FOR_WEBSOCKETS),
            Err(Unanswered::Fault(fault)) => Err(fault.after(self.asked)),
            Ok(answered) => Ok(answered),
        };
        permit.verdict = self.judged(ask, answer.as_ref().map_or_else(UpgradeFault::verdict, |_| Some(Verdict::Up)));
        Came::Answer(answer.map(|CarriedAnswer { stream, chosen }| {
            let address = Some(address).filter(|_| ask.goal.target.unix.is_none());
            let mut dialled =
                self.dialled(ask, (Transport::Carried(stream), Vec::new()), (address, certificates), chosen);
            dialled.established.carrier = number;
            dialled
        }))
    }

    /// The place is held until the peer has answered, also where it is asked on a connection that is there.
    pub(super) fn hold(&self, ask: &Ask, permit: &mut Permit) {
        permit.silence = self
            .judged(ask, Some(Verdict::Failing(None)))
            .map(|silent| (Instant::now().later(self.patience().silence), silent));
    }

    /// How the files are that TLS is made with.
    async fn marks(&mut self, ask: &Ask) -> FileMarks {
        let tls = &self.endpoint.tls;
        let client = tls.client.iter().flat_map(|(chain, key)| [chain.clone(), key.clone()]);
        let files: Vec<_> = tls.ca.iter().cloned().chain(client).filter(|_| ask.goal.target.tls).collect();
        if files.is_empty() {
            return FileMarks::default();
        }
        self.aside.run(move || FileMarks::of(&files)).await.unwrap_or_default()
    }
}
