//! From a name to a permit for one of its addresses.
//!
//! A wait can be long, and names move meanwhile. So who has waited looks the name up again when it is let go, before it dials.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::{Attempt, Progress, Setback};
use crate::{
    config::url::Target,
    core::{
        close::Cause,
        door::{Knock, Verdict},
    },
    link::{Permit, race::Admitted, resolve},
};

/// What was looked up this long ago is looked up again.
const FRESH: Duration = Duration::from_secs(1);
/// A name that leads elsewhere each time is taken as it was after so many times.
const MOVES: usize = 3;

impl Attempt {
    /// Waits for a permit for one of the addresses that the name has then.
    pub(super) async fn admitted(&mut self, target: &Target) -> Result<Admitted, Setback> {
        let found = self.look_up(target).await;
        let mut addresses =
            found.map_err(|error| Setback::new(Cause::Dns, &format!("{} was not resolved: {error}", target.host)))?;
        let mut moves = 0;
        loop {
            let resolved = Instant::now();
            let answer = self.ask(&addresses).await;
            if answer.is_none() || resolved.elapsed() >= FRESH {
                // Where it is not found now, what was known is better than nothing.
                addresses = self.look_up(target).await.unwrap_or(addresses);
            }
            let Some(mut permit) = answer else { continue };
            if addresses.contains(&permit.address) || moves >= MOVES {
                addresses.retain(|address| *address != permit.address);
                return Ok(Admitted { permit, others: addresses });
            }
            moves += 1;
            permit.verdict = Some(Verdict::Moved);
        }
    }

    /// Asks to dial one of these; `None`: it is to ask again.
    async fn ask(&mut self, addresses: &[SocketAddr]) -> Option<Box<Permit>> {
        let asked = Instant::now();
        let knock = Knock { link: self.id.clone(), addresses: addresses.to_vec(), urgent: self.urgent };
        let mut asking = self.gate.admit(knock);
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

    async fn look_up(&mut self, target: &Target) -> io::Result<Vec<SocketAddr>> {
        (self.report)(Progress::Resolving);
        let began = Instant::now();
        let found = resolve::resolve(&target.host, target.port, &self.aside).await;
        self.timings.dns = Some(self.timings.dns.unwrap_or_default().saturating_add(began.elapsed()));
        found
    }
}
