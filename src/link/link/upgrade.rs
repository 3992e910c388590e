//! The opening handshake (RFC 6455 §4.1) as an HTTP/1.1 client has it.
//!
//! The request is written as the RFC and browsers spell it, because there are servers that know one spelling of a header only;
//! httparse reads the answer, and knows nothing of WebSocket: every demand on the 101 is made in [`answer`].

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use super::memory::{Challenge, Jar, response};
use crate::clock::Calendar;
use crate::endpoint::{FieldName, Secret, url::Target};
use wskeeper_core::{
    confidences::confidences,
    deflate::{Agreement, Proposal},
};

pub(super) use answer::judge_carried;
pub use answer::retry_after;
pub use fault::UpgradeTrouble;
pub(super) use fault::{RESET, UpgradeFault};

mod answer;
mod fault;
pub(super) mod head;
pub(super) mod rejection;

/// What to ask for.
pub(super) struct Wish<'a> {
    /// Of whom.
    pub(super) target: &'a Target,
    /// Headers beside those of the handshake. `Host` among them wins over the target's, and `User-Agent` over ours.
    pub(super) headers: &'a [(FieldName, Secret)],
    /// Names of headers, and which of the protocols, others may see.
    pub(super) open: &'a (Vec<HeaderName>, Vec<bool>),
    /// The value of `Authorization`, where it is not among them.
    pub(super) authorization: Option<Secret>,
    /// Where cookies are kept.
    pub(super) jar: Option<&'a Jar>,
    /// Subprotocols offered, in order.
    pub(super) protocols: &'a [Secret],
    /// What is offered for compression.
    pub(super) compression: Option<Proposal>,
    /// A server that chooses none of them is accepted.
    pub(super) protocols_optional: bool,
    /// `Retry-After` is obeyed up to this.
    pub(super) retry_after_max: Duration,
    /// What may follow a refusal.
    pub(super) next: MayFollow,
    /// What a refusal says is waited for so long.
    pub(super) patience: Duration,
    /// What dates of it are reckoned from.
    pub(super) calendar: Calendar,
}

/// What may follow a refusal within the attempt.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MayFollow {
    /// A redirect is followed.
    pub(super) redirects: bool,
    /// A challenge is answered.
    pub(super) answers: bool,
}

impl Wish<'_> {
    /// Whether what the server says is of interest: it refuses, and neither leads elsewhere nor asks what is answered.
    pub(super) fn listens_to(&self, fault: &UpgradeFault) -> bool {
        let is_followed = self.next.redirects && fault.leads().is_some();
        let is_answered = || self.next.answers && fault.asks().and_then(Challenge::strongest).is_some();
        matches!(fault, UpgradeFault::Status { .. }) && !is_followed && !is_answered()
    }

    /// What the server is told and others are not to see.
    fn confidences(&self) -> Vec<String> {
        let (headers, protocols) = self.open;
        let private = self.headers.iter().filter(|(name, _)| !headers.contains(name)).map(|(_, value)| value);
        let offered =
            self.protocols.iter().zip(protocols).filter(|(_, is_open)| !**is_open).map(|(offered, _)| offered);
        let cookies = self.cookies(None);
        let values = private.chain(offered).chain(&cookies).map(Secret::expose);
        // Of an answer to a challenge the rest is what the server has said itself.
        let values = values.chain(self.authorization.iter().filter_map(|sent| response(sent.expose())));
        let url = self.target.confidences(self.target.hides_path());
        confidences(values).into_iter().map(str::to_owned).chain(url).collect()
    }

    /// The value of `Cookie` that goes with this one of the user's: what is in the jar stands behind it.
    fn cookies(&self, own: Option<&str>) -> Option<Secret> {
        let kept = self.jar?.header(self.target, own)?;
        match own.map(str::trim).filter(|own| !own.is_empty()) {
            Some(own) => Some(Secret::new(format!("{}; {}", own.trim_end_matches(';'), kept.expose()))),
            None => Some(kept),
        }
    }

    /// Keeps the cookies of an answer, whatever it says.
    pub(super) fn keep(&self, headers: &HeaderMap) {
        if let Some(jar) = self.jar {
            jar.keep(headers, self.target);
        }
    }
}

/// What was had.
#[derive(Debug)]
pub(super) struct Agreed<S> {
    /// The stream, free of HTTP.
    pub(super) stream: S,
    /// Bytes that came behind the 101.
    pub(super) early: Vec<u8>,
    /// What of that which was offered.
    pub(super) chosen: Chosen,
}

/// What a server has chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Which of the offered subprotocols.
    pub(super) protocol: Option<usize>,
    /// How messages are compressed.
    pub(super) compression: Option<Agreement>,
}

/// Asks for the upgrade and judges the answer.
pub(super) async fn upgrade<S>(mut stream: S, wish: &Wish<'_>) -> Result<Agreed<S>, UpgradeFault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let key = generate_key();
    let request = head::write(wish, &key)?;
    let sent = async {
        stream.write_all(&request).await?;
        stream.flush().await
    };
    let sent = sent.await;
    // A server may answer before it has read all of the request, and close: the answer says more than the broken pipe.
    let answer = head::read(&mut stream).await;
    let (response, mut early) = match (answer, sent) {
        (Ok(answer), _) => answer,
        (Err(UpgradeFault::Ended | UpgradeFault::Broken(_)), Err(error)) => return Err(UpgradeFault::from_io(&error)),
        (Err(fault), _) => return Err(fault),
    };
    let judged = match answer::judge(&response, &key, wish) {
        Err(fault) if wish.listens_to(&fault) => {
            let said = rejection::read(&mut stream, response.headers(), std::mem::take(&mut early), wish).await;
            Err(fault.saying(said))
        }
        judged => judged,
    };
    // Last, for what was sent is looked for in what was said.
    wish.keep(response.headers());
    let chosen = judged?;
    Ok(Agreed { stream, early, chosen })
}

#[cfg(test)]
mod tests;
