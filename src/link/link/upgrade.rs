//! The opening handshake (RFC 6455 §4.1) as an HTTP/1.1 client has it.
//!
//! The request is written as the RFC and browsers spell it, because there are servers that know one spelling of a header only;
//! httparse reads the answer, and knows nothing of WebSocket: every demand on the 101 is made in [`answer`].

use std::time::Duration;

use http::HeaderName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

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
#[derive(Debug)]
pub(super) struct Wish<'a> {
    /// Of whom.
    pub(super) target: &'a Target,
    /// Headers beside those of the handshake. `Host` and `Authorization` among them win over the target's, and `User-Agent` over ours.
    pub(super) headers: &'a [(FieldName, Secret)],
    /// Names of headers, and which of the protocols, others may see.
    pub(super) open: &'a (Vec<HeaderName>, Vec<bool>),
    /// Subprotocols offered, in order.
    pub(super) protocols: &'a [Secret],
    /// What is offered for compression.
    pub(super) compression: Option<Proposal>,
    /// A server that chooses none of them is accepted.
    pub(super) protocols_optional: bool,
    /// `Retry-After` is obeyed up to this.
    pub(super) retry_after_max: Duration,
    /// A redirect may be followed.
    pub(super) redirects: bool,
    /// What a refusal says is waited for so long.
    pub(super) patience: Duration,
    /// What dates of it are reckoned from.
    pub(super) calendar: Calendar,
}

impl Wish<'_> {
    /// Whether what the server says is of interest: it refuses, and does not lead elsewhere.
    pub(super) fn listens_to(&self, fault: &UpgradeFault) -> bool {
        matches!(fault, UpgradeFault::Status { .. }) && !(self.redirects && fault.leads().is_some())
    }

    /// What the server is told and others are not to see.
    fn confidences(&self) -> Vec<String> {
        let (headers, protocols) = self.open;
        let private = self.headers.iter().filter(|(name, _)| !headers.contains(name)).map(|(_, value)| value);
        let offered =
            self.protocols.iter().zip(protocols).filter(|(_, is_open)| !**is_open).map(|(offered, _)| offered);
        let values = private.chain(offered).map(Secret::expose);
        let url = self.target.confidences(self.target.hides_path());
        confidences(values).into_iter().map(str::to_owned).chain(url).collect()
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
    let (response, early) = match (answer, sent) {
        (Ok(answer), _) => answer,
        (Err(UpgradeFault::Ended | UpgradeFault::Broken(_)), Err(error)) => return Err(UpgradeFault::from_io(&error)),
        (Err(fault), _) => return Err(fault),
    };
    let chosen = match answer::judge(&response, &key, wish) {
        Ok(chosen) => chosen,
        Err(fault) if wish.listens_to(&fault) => {
            let said = rejection::read(&mut stream, response.headers(), early, wish).await;
            return Err(fault.saying(said));
        }
        Err(fault) => return Err(fault),
    };
    Ok(Agreed { stream, early, chosen })
}

#[cfg(test)]
mod tests;
