//! An `Event` becomes a log line and a metric: here, in one exhaustive match, and nowhere else. So does what a link does for its messages.
//!
//! Lines have constant messages; what varies is in fields. What an operator should look at is `warn`, the life of a link is
//! `info`, traffic is `debug`. What the operator's own policy drops (a full outbox, a newer key) is no surprise: `debug`.

use std::{borrow::Cow, num::NonZeroU64};

use tracing::{Level, debug, enabled, error, info, warn};

use super::link::LinkMetrics;
use wskeeper_core::{
    close::Closed,
    event::{DialFailure, Established, Event, LinkId, Timings},
    message::{Kind, MessageId},
    outbox::{Ended, Sent},
    phase::{Phase, Reason},
    receipt::{EndReason, State},
    run::Run,
    session::Opening,
};
use wskeeper_link::observer::LinkObserver;

#[deny(clippy::missing_trait_methods, reason = "each is to be told")]
impl LinkObserver for LinkMetrics {
    fn link_added(&self, phase: Phase) {
        self.phase(phase).add(1);
    }

    fn link_removed(&self, phase: Phase) {
        self.phase(phase).add(-1);
    }

    fn buffered(&self, delta_bytes: i64, delta_messages: i64) {
        self.buffered_amount.add(delta_bytes);
        self.outbox_messages.add(delta_messages);
    }

    fn outbox_limits(&self, delta_bytes: i64, delta_messages: i64) {
        self.outbox_limit_bytes.add(delta_bytes);
        self.outbox_limit_messages.add(delta_messages);
    }

    fn tell(&self, link: &LinkId, event: &Event) {
        match event {
            Event::Phase { from, to, reason, next_at: _, delay } => {
                self.phase(*from).add(-1);
                self.phase(*to).add(1);
                if let Some(delay) = delay {
                    self.reconnect_delay.observe(delay.as_secs_f64());
                }
                log_phase(link, (*from, *to), *reason, delay.map(millis));
            }
            Event::Dialing { attempt, url } => debug!(%link, attempt, url, "dialing"),
            Event::DialFailed(failure) => self.on_dial_failed(link, failure),
            Event::Rotating { attempt, url } => debug!(%link, attempt, url, "dialing beside the current connection"),
            Event::RotateFailed { failure, delay } => self.on_rotate_failed(link, failure, delay.map(millis)),
            Event::Rotated { from, to } => info!(%link, from, to, "link rotated"),
            Event::Opened { generation, established } => {
                self.attempts_ok.inc();
                self.connect_duration.observe(Timings::from(established.timings).total.as_secs_f64());
                log_opened(link, *generation, established);
            }
            Event::Closed { generation, closed, age } => {
                self.on_closed(closed);
                self.connection_age.observe(age.as_secs_f64());
                log_closed(link, *generation, closed, millis(*age));
            }
            Event::SessionReady { generation, opening } => self.on_session_ready(link, *generation, opening),
            Event::SessionFailed { generation, opening } => log_unready(link, *generation, opening),
            Event::Keepalive { answered: true } => {
                self.session().keepalives_answered.inc();
                debug!(%link, "keepalive answered");
            }
            Event::Keepalive { answered: false } => {
                self.session().keepalives_missed.inc();
                warn!(%link, "keepalive missed");
            }
            Event::Hidden(hidden) => self.on_hidden(link, hidden),
            Event::Paced { waited } => self.on_paused(link, *waited),
            Event::Written(sent) => self.on_sent(link, sent),
            Event::PingSent => {
                self.pings_sent.inc();
                debug!(%link, "ping sent");
            }
            Event::Pong { rtt } => {
                self.ping_rtt.observe(rtt.as_secs_f64());
                debug!(%link, rtt_ms = millis(*rtt), "pong received");
            }
            Event::PongRefused { first } => self.on_pong_refused(link, *first),
            Event::HeartbeatTimeout { silent } => {
                self.heartbeat_timeouts.inc();
                warn!(%link, silent_ms = millis(*silent), "heartbeat timed out");
            }
            Event::Injected { generation, fault } => {
                warn!(%link, generation, fault = fault.as_str(), "fault injected by request");
            }
            Event::Panicked { count } => {
                self.panics.inc();
                error!(%link, count, "link task panicked");
            }
        }
    }

    fn tell_received(&self, link: &LinkId, generation: u64, messages: &Run) {
        self.on_received(messages);
        if enabled!(Level::DEBUG) {
            for (kind, bytes) in messages.messages().map(|(kind, bytes)| (kind.as_str(), bytes.len())) {
                debug!(%link, generation, kind, bytes, "message received");
            }
        }
    }

    fn tell_receipts(&self, link: &LinkId, reached: &[Ended], generation: Option<u64>) {
        for Ended { id, count, state, end_reason } in reached {
            self.on_receipts(*state, *end_reason, (*count).into());
            // Of nearly all it would be said to nobody.
            if end_reason.is_some() || enabled!(Level::DEBUG) {
                (0..*count).for_each(|at| log_receipt(link, id.later(at), *state, (*end_reason, generation)));
            }
        }
    }

    fn lost(&self, state: State, end_reason: EndReason) {
        self.on_receipts(state, Some(end_reason), 1);
    }
}

impl LinkMetrics {
    fn on_paused(&self, link: &LinkId, waited: std::time::Duration) {
        self.on_paced(waited);
        debug!(%link, waited_ms = millis(waited), "messages waited for their turn");
    }

    fn on_pong_refused(&self, link: &LinkId, first: bool) {
        self.pongs_refused.inc();
        if first {
            warn!(%link, "pong refused: it does not carry the payload of a ping of ours, so it proves nothing");
        } else {
            debug!(%link, "pong refused");
        }
    }

    /// They arrived as others do, and no consumer sees them.
    fn on_session_ready(&self, link: &LinkId, generation: u64, opening: &Opening) {
        let (took, steps) = (opening.took, opening.ran() as u64);
        self.session().steps_ok.inc_by(steps);
        self.session().duration.observe(took.as_secs_f64());
        info!(%link, generation, took_ms = millis(took), steps, "session ready");
    }

    fn on_hidden(&self, link: &LinkId, hidden: &[(Kind, usize)]) {
        self.on_hidden_messages(hidden.iter().copied());
        for (kind, bytes) in hidden {
            debug!(%link, kind = kind.as_str(), bytes, "message hidden by the session");
        }
    }

    fn on_sent(&self, link: &LinkId, sent: &[Sent]) {
        self.on_written(sent.iter().map(|sent| (sent.kind, sent.messages.into(), sent.bytes)));
        for Sent { kind, messages, bytes, waited } in sent {
            self.outbox_wait.observe_all(waited.as_secs_f64(), *messages);
            debug!(%link, kind = kind.as_str(), messages, bytes, waited_ms = millis(*waited), "messages written");
        }
    }

    fn on_dial_failed(&self, link: &LinkId, failure: &DialFailure) {
        self.on_attempt_failed(failure);
        let DialFailure { cause, status, retry_after, label, detail, timings, steps: _, rejection: _ } = failure;
        let label = label.as_deref();
        let (retry_after_ms, took_ms) = (retry_after.map(|asked| millis(asked.span())), millis(timings.total));
        if cause.is_failure() {
            warn!(%link, %cause, label, status, retry_after_ms, took_ms, detail = &*visible(detail), "attempt failed");
        } else {
            info!(%link, %cause, took_ms, "attempt abandoned");
        }
    }

    fn on_rotate_failed(&self, link: &LinkId, failure: &DialFailure, delay_ms: Option<u64>) {
        self.on_attempt_failed(failure);
        let DialFailure { cause, status, retry_after: _, label, detail, timings, steps: _, rejection: _ } = failure;
        let (detail, took_ms, label) = (&*visible(detail), millis(timings.total), label.as_deref());
        warn!(%link, %cause, label, status, took_ms, delay_ms, detail, "no new connection to rotate to");
    }
}

/// A peer's text for logs and terminals: what would end a line, steer a terminal or turn the reading direction is shown as
/// one harmless character, so that it needs no further escape in any form of the log.
pub fn visible(text: &str) -> Cow<'_, str> {
    let is_harmful =
        |char: char| char.is_control() || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    // Unicode has a picture for each of the ASCII control characters.
    let picture = |char: char| match char {
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(char)).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\x7f' => '\u{2421}',
        _ if is_harmful(char) => char::REPLACEMENT_CHARACTER,
        _ => char,
    };
    text.chars().map(picture).collect()
}

fn log_phase(link: &LinkId, (from, to): (Phase, Phase), reason: Reason, delay_ms: Option<u64>) {
    match to {
        Phase::Parked => warn!(%link, %from, phase = %to, %reason, delay_ms, "link parked"),
        Phase::Waiting | Phase::Ready | Phase::Closing | Phase::Paused => {
            info!(%link, %from, phase = %to, %reason, delay_ms, "link changed phase");
        }
        // The attempt's own lines say these with more: how it went, with which URL and address.
        Phase::Connecting | Phase::Opening => {
            debug!(%link, %from, phase = %to, %reason, delay_ms, "link changed phase");
        }
    }
}

fn log_opened(link: &LinkId, generation: u64, established: &Established) {
    let Established { url, address, protocol, compression, carrier, certificates: _, timings } = established;
    let (address, took_ms) = (address.map(tracing::field::display), millis(Timings::from(*timings).total));
    let (protocol, http2) = (&*visible(protocol), carrier.map(NonZeroU64::get));
    let extensions = compression.map(tracing::field::display);
    info!(%link, generation, %url, address, protocol, extensions, http2, took_ms, "connection opened");
}

/// The connection's end says why.
fn log_unready(link: &LinkId, generation: u64, opening: &Opening) {
    let last = opening.steps.last().map(|step| tracing::field::display(step.place));
    let (took_ms, steps) = (millis(opening.took), opening.ran() as u64);
    debug!(%link, generation, took_ms, steps, last, "session was not ready");
}

fn log_closed(link: &LinkId, generation: u64, closed: &Closed, age_ms: u64) {
    let Closed { code, reason, was_clean, cause, sent_code, status: _, label, detail } = closed;
    let (reason, detail, label) = (&*visible(reason), &*visible(detail), label.as_deref());
    if cause.is_failure() || !was_clean {
        warn!(%link, generation, code, reason, clean = was_clean, %cause, label, sent_code, detail, age_ms, "connection lost");
    } else {
        info!(%link, generation, code, reason, clean = was_clean, %cause, sent_code, detail, age_ms, "connection closed");
    }
}

fn log_receipt(link: &LinkId, id: MessageId, state: State, (end_reason, generation): (Option<EndReason>, Option<u64>)) {
    let reason = end_reason.map(EndReason::as_str);
    match state {
        State::Queued | State::Stored | State::Written | State::Confirmed => {
            debug!(%link, %id, %state, generation, "message moved on");
        }
        State::Unknown | State::Expired | State::Dropped | State::Dead => {
            if end_reason.is_some_and(is_by_policy) {
                debug!(%link, %id, %state, reason, "message dropped by policy");
            } else {
                warn!(%link, %id, %state, reason, generation, "message lost");
            }
        }
    }
}

/// Whether the endpoint's own settings, or the sender, asked for this end; such ends can come at the rate of traffic.
const fn is_by_policy(end_reason: EndReason) -> bool {
    match end_reason {
        EndReason::Evicted
        | EndReason::Overflow
        | EndReason::Down
        | EndReason::Conflated
        | EndReason::Ttl
        | EndReason::Generation
        | EndReason::IdInUse
        | EndReason::Reload => true,
        EndReason::LinkLost
        | EndReason::Removed
        | EndReason::Shutdown
        | EndReason::Poison
        | EndReason::Panicked
        | EndReason::AckTimeout
        | EndReason::Disk
        | EndReason::Crash
        | EndReason::Unproven => false,
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
