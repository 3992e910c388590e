//! From a name to a permit for one of its addresses.
//!
//! A wait can be long, and names move meanwhile. So who has waited looks the name up again when it is let go, before it dials.
//!
//! What a reader would get wrong: others wait for the permit that is held meanwhile, so a resolver that hangs has a second, and then what
//! was known has to do.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::time::{Instant, timeout};

use super::{Attempt, Goal, Progress, Setback};
use crate::endpoint::network::stand_in;
use crate::link::{Permit, race::Admitted, resolve};
use wskeeper_core::{
    admission::{Dismissal, Elsewhere, Request, Verdict},
    close::Cause,
};

/// What was looked up this long ago is looked up again.
pub(super) const FRESH: Duration = Duration::from_secs(1);
/// For who has a permit already, a resolver may take this long.
const PATIENCE: Duration = Duration::from_secs(1);
/// A name that leads elsewhere each time is taken as it was after so many times.
pub(super) const MOVES: usize = 3;

impl Attempt {
    /// Waits for a permit for one of the addresses that the name has then. `None`: all of them are down, and it is to go to the next URL.
    pub(super) async fn admitted(&mut self, goal: &Goal) -> Result<Option<Admitted>, Setback> {
        let mut addresses = self.look_up(goal).await?;
        let mut moves = 0;
        loop {
            let resolved = Instant::now();
            let answer = self.ask(&addresses).await;
            if let Err(Dismissal::Elsewhere) = answer {
                self.passed = self.passed.map(|passed| passed + 1);
                return Ok(None);
            }
            // Where it is not found now, what was known is better than nothing.
            let Ok(mut permit) = answer else {
                // What was down need not be any more.
                self.passed = self.passed.map(|_| 0);
                addresses = self.look_up(goal).await.unwrap_or(addresses);
                continue;
            };
            if resolved.elapsed() >= FRESH {
                let found = timeout(PATIENCE, self.look_up(goal)).await;
                addresses = found.ok().and_then(Result::ok).unwrap_or(addresses);
            }
            if addresses.contains(&permit.address) || moves >= MOVES {
                addresses.retain(|address| *address != permit.address);
                return Ok(Some(Admitted { permit, others: addresses }));
            }
            moves += 1;
            permit.verdict = Some(Verdict::Moved);
        }
    }

    fn elsewhere(&self) -> Elsewhere {
        let others = self.endpoint.urls.len().saturating_sub(1);
        match self.passed {
            Some(passed) if passed < others => Elsewhere::Untried,
            Some(_) if others > 0 => Elsewhere::Tried,
            Some(_) | None => Elsewhere::Nowhere,
        }
    }

    /// Asks to dial one of these.
    async fn ask(&mut self, addresses: &[SocketAddr]) -> Result<Box<Permit>, Dismissal> {
        let asked = Instant::now();
        let (link, addresses) = (self.id.clone(), addresses.to_vec());
        let mut asking = Arc::clone(&self.admission).admit(Request {
            link,
            addresses,
            urgent: self.urgent,
            elsewhere: self.elsewhere(),
        });
        // An attempt that gets it at once never shows as queued.
        let answer = if let Some(answer) = (&mut asking).now_or_never() {
            answer
        } else {
            (self.report)(Progress::Queued);
            asking.await
        };
        (self.report)(Progress::Admitted);
        let admission = self.timings.admission.unwrap_or_default();
        self.timings.admission = Some(admission.saturating_add(asked.elapsed()));
        answer
    }

    async fn look_up(&mut self, goal: &Goal) -> Result<Vec<SocketAddr>, Setback> {
        if let Some(socket) = &goal.target.unix {
            return Ok(vec![stand_in(socket)]);
        }
        (self.report)(Progress::Resolving);
        let began = Instant::now();
        let (host, port) = goal.first_hop();
        let known = || Some(vec![resolve::literal(host, port)?]);
        let found = match self.endpoint.network.known(host, port).or_else(known) {
            Some(known) => Ok(known),
            None => self.source.resolve(host, port).await,
        };
        self.timings.dns = Some(self.timings.dns.unwrap_or_default().saturating_add(began.elapsed()));
        let found = found.map_err(|error| match &goal.via {
            None => Setback::new(Cause::Dns, &format!("{host} was not resolved: {error}")),
            Some(via) => Setback::new(Cause::Proxy, &format!("the proxy {} was not resolved: {error}", via.shown)),
        })?;
        let dialled = self.endpoint.network.dialled(found, self.endpoint.proxy.is_exempt(goal.via.as_ref()));
        dialled.map_err(|error| Setback::new(Cause::Connect, &format!("{host} is not dialled: {error}")))
    }
}
