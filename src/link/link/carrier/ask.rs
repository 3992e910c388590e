//! The opening handshake by extended CONNECT (RFC 8441 §4): what is asked, and what the answer means.

use std::{
    future::{Future as _, poll_fn},
    pin::Pin,
    task::{Context, Poll},
};

use h2::{
    Reason, RecvStream,
    client::{ResponseFuture, SendRequest},
    ext::Protocol,
};
use http::{Response, StatusCode};

use super::{CarriedStream, Riding, Seat, told};
use crate::link::upgrade::{Chosen, UpgradeFault, Wish, head, judge_carried, rejection::read_carried};

/// A stream that is a WebSocket.
pub(in crate::link) struct CarriedAnswer {
    pub(in crate::link) stream: Box<CarriedStream>,
    /// What of that which was offered.
    pub(in crate::link) chosen: Chosen,
}

/// Why there is none.
pub(in crate::link) enum Unanswered {
    /// The carrier takes no more streams, and has not looked at this one: another may be asked at once.
    Elsewhere,
    /// The peer has not looked at this one (RFC 9113 §8.7), and does not say that it takes no more: it may be asked again on another.
    Refused(UpgradeFault),
    /// The peer wants it by HTTP/1.1.
    Plain,
    /// The carrier broke, and whether this was looked at nobody knows.
    Lost(UpgradeFault),
    /// As by HTTP/1.1.
    Fault(UpgradeFault),
}

impl From<UpgradeFault> for Unanswered {
    fn from(fault: UpgradeFault) -> Self {
        Self::Fault(fault)
    }
}

/// Asks for a WebSocket, and judges the answer.
pub(in crate::link) async fn ask(riding: Riding, seat: Seat, wish: &Wish<'_>) -> Result<CarriedAnswer, Unanswered> {
    let Riding { requests, departures, .. } = riding;
    let mut request = head::carried(wish)?;
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    // Until here nothing has been asked, so nothing is asked twice.
    let mut requests: SendRequest<_> = requests.ready().await.map_err(|_| Unanswered::Elsewhere)?;
    let unsent = |error: h2::Error| if error.is_io() { Unanswered::Elsewhere } else { sorted(&error) };
    let (mut answer, send) = requests.send_request(request, false).map_err(unsent)?;
    // It would keep the carrier for as long as the answer takes.
    drop(requests);
    let response = poll_fn(|cx| poll_answer(&mut answer, cx)).await?;
    if response.headers().len() > head::MOST_LINES {
        return Err(UpgradeFault::TooManyLines.into());
    }
    let chosen = match judge_carried(&response, wish) {
        Ok(chosen) => chosen,
        Err(fault) => {
            let (head, body) = response.into_parts();
            let listens = wish.listens_to(&fault);
            let fault = if listens { fault.saying(read_carried(&head.headers, body, wish).await) } else { fault };
            wish.keep(&head.headers);
            return Err(fault.into());
        }
    };
    wish.keep(response.headers());
    let stream = CarriedStream::new(send, response.into_body(), departures, seat);
    Ok(CarriedAnswer { stream: Box::new(stream), chosen })
}

/// The final answer. Interim ones are passed over, but for 101, which does not exist in HTTP/2 (RFC 9113 §8.6) and which no other follows.
fn poll_answer(answer: &mut ResponseFuture, cx: &mut Context<'_>) -> Poll<Result<Response<RecvStream>, Unanswered>> {
    while let Poll::Ready(Some(Ok(interim))) = answer.poll_informational(cx) {
        if interim.status() == StatusCode::SWITCHING_PROTOCOLS {
            let fault =
                UpgradeFault::NotAnswer("status 101 does not exist in HTTP/2, which opens WebSockets with 200".into());
            return Poll::Ready(Err(fault.into()));
        }
    }
    Pin::new(answer).poll(cx).map_err(|error| sorted(&error))
}

fn sorted(error: &h2::Error) -> Unanswered {
    if error.is_go_away() && error.is_remote() {
        return Unanswered::Elsewhere;
    }
    match error.reason() {
        Some(Reason::HTTP_1_1_REQUIRED) => Unanswered::Plain,
        Some(Reason::REFUSED_STREAM) => Unanswered::Refused(fault(error)),
        None if error.is_io() => Unanswered::Lost(fault(error)),
        Some(_) | None => Unanswered::Fault(fault(error)),
    }
}

/// What failed, where it is not the server's answer.
pub(in crate::link) fn fault(error: &h2::Error) -> UpgradeFault {
    match error.get_io() {
        Some(io) => UpgradeFault::from_io(io),
        // The library says so of what breaks the rules, or passes a limit.
        None if error.is_library() => UpgradeFault::NotAnswer(told(error)),
        None => UpgradeFault::Broken(told(error)),
    }
}
