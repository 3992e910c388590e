//! Through a proxy to a server: CONNECT (RFC 9110 §9.3.6) or SOCKS 5 (RFC 1928, RFC 1929), so that what follows is between the server and us.
//!
//! What a reader would get wrong: a proxy is a stranger, too. Of its answer 16 KiB are read and no more, nothing that it sends before we
//! have spoken to the server is taken for the server's, and what it says is shown cut short, without what we have told it in confidence.

use std::{io, net::SocketAddr, time::Duration};

use http::{HeaderMap, StatusCode, header};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_socks::{Error, IntoTargetAddr as _, TargetAddr, tcp::Socks5Stream};

use super::{
    aside::Aside,
    tls::{self, Heard, TlsFault, Under},
    upgrade::{UpgradeFault, head, retry_after},
};
use crate::{
    clock::Calendar,
    endpoint::{
        Secret, Tls,
        proxy::{ProxyScheme, Via, authority},
        url::Target,
    },
};
use wskeeper_core::{admission::Verdict, close::Cause, confidences::confidences, event::RetryAfter, session::of_peer};

/// So much is shown of what a proxy asks for, in characters.
const MOST_SHOWN: usize = 120;

/// Why there is no way through a proxy. Goes on after its name.
#[derive(Debug, thiserror::Error)]
pub(super) enum TunnelFault {
    /// There is no TLS with it.
    #[error("does not agree on TLS: {0}")]
    Tls(TlsFault),
    /// It does not answer as a proxy does, or cannot be asked.
    #[error("{}", answer_words(.0))]
    Answer(UpgradeFault),
    /// It answers with something else than 2xx.
    #[error("refused CONNECT to {server} with status {status}{}", asking(.asks))]
    Refused {
        /// Where to.
        server: String,
        /// The status.
        status: StatusCode,
        /// `Retry-After`
        retry_after: Option<RetryAfter>,
        /// `Proxy-Authenticate`, in a form that can be shown.
        asks: String,
    },
    /// It has sent more than its answer.
    #[error("sent something behind its answer that no server can have sent")]
    Early,
    /// SOCKS came to nothing.
    #[error("{}", socks_words(.0))]
    Socks(Error),
}

fn asking(asks: &str) -> String {
    if asks.is_empty() { String::new() } else { format!("; it asks for {asks}") }
}

impl TunnelFault {
    /// The status of its answer.
    pub(super) fn status(&self) -> Option<(u16, Option<RetryAfter>)> {
        match self {
            Self::Refused { status, retry_after, .. } => Some((status.as_u16(), *retry_after)),
            Self::Tls(_) | Self::Answer(_) | Self::Early | Self::Socks(_) => None,
        }
    }

    /// The failure class.
    pub(super) fn cause(&self) -> Cause {
        match self {
            // What we would say to it cannot be said.
            Self::Answer(fault) if fault.cause() == Cause::Secret => Cause::Secret,
            Self::Tls(_) | Self::Answer(_) | Self::Refused { .. } | Self::Early | Self::Socks(_) => Cause::Proxy,
        }
    }

    /// What it says of the proxy's address, for this endpoint. A refusal is an answer, unless the server is not there or it asks to come
    /// later.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        match self {
            Self::Tls(fault) => fault.verdict(),
            Self::Answer(fault) => fault.verdict(),
            Self::Refused { status, retry_after, .. } => match status.as_u16() {
                429 | 502 | 503 | 504 => Some(Verdict::Failing(*retry_after)),
                _ => Some(Verdict::Up),
            },
            Self::Early => Some(Verdict::Up),
            Self::Socks(error) => socks_verdict(error),
        }
    }
}

/// What is known where an answer is judged.
pub(super) struct Judging {
    /// `Retry-After` is obeyed up to this.
    pub(super) retry_after_max: Duration,
    /// What dates of it are reckoned from.
    pub(super) calendar: Calendar,
}

/// Asks the proxy at the other end for a way to the server. `address` is that of the server where it is known here.
pub(super) async fn through(
    under: Under,
    via: &Via,
    target: &Target,
    address: Option<SocketAddr>,
    (aside, judging): (&Aside, &Judging),
) -> Result<Under, TunnelFault> {
    match via.scheme {
        ProxyScheme::Http => {
            let mut under = Heard::new(under);
            ask(&mut under, via, (target, address), judging).await?;
            Ok(under.into_under())
        }
        ProxyScheme::Https => {
            let settings = Tls { ca: via.ca.clone(), ..Tls::default() };
            let secured = tls::secure(under, (&via.host, None), &settings, aside).await;
            let mut tls = secured.map_err(TunnelFault::Tls)?.stream;
            ask(&mut tls, via, (target, address), judging).await?;
            Ok(Under::Tls(Box::new(tls)))
        }
        ProxyScheme::Socks5 | ProxyScheme::Socks5h => {
            // By the library's own conversion: it refuses a name whose length does not fit into the byte that it has.
            let to = match address {
                Some(address) => TargetAddr::Ip(address),
                None => (target.host.as_str(), target.port).into_target_addr().map_err(TunnelFault::Socks)?,
            };
            let stream = match &via.credentials {
                None => Socks5Stream::connect_with_socket(Heard::new(under), to).await,
                Some((user, password)) => {
                    let (user, password) = (user.expose(), password.expose());
                    Socks5Stream::connect_with_password_and_socket(Heard::new(under), to, user, password).await
                }
            };
            Ok(stream.map_err(TunnelFault::Socks)?.into_inner().into_under())
        }
    }
}

/// Asks by CONNECT.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    via: &Via,
    (target, address): (&Target, Option<SocketAddr>),
    judging: &Judging,
) -> Result<(), TunnelFault> {
    let server = address.map_or_else(|| authority(&target.host, target.port), |address| address.to_string());
    let basic = via.basic_auth();
    let request = head::connect(&server, basic.as_ref(), &via.headers).map_err(TunnelFault::Answer)?;
    let sent = async {
        stream.write_all(&request).await?;
        stream.flush().await
    };
    let sent = sent.await;
    // As with the upgrade: an answer says more than a broken pipe.
    let (response, early) = match (head::read(stream).await, sent) {
        (Ok(answer), _) => answer,
        (Err(UpgradeFault::Ended | UpgradeFault::Broken(_)), Err(error)) => {
            return Err(TunnelFault::Answer(UpgradeFault::from_io(&error)));
        }
        (Err(fault), _) => return Err(TunnelFault::Answer(fault)),
    };
    let (status, headers) = (response.status(), response.headers());
    if status.is_success() {
        return if early.is_empty() { Ok(()) } else { Err(TunnelFault::Early) };
    }
    let asked = retry_after(headers, judging.calendar.now());
    Err(TunnelFault::Refused {
        server,
        status,
        retry_after: asked.map(|asked| RetryAfter::capped(asked, judging.retry_after_max)),
        asks: challenges(headers, via),
    })
}

/// `Proxy-Authenticate` for people: visible characters, cut short, and nothing that we have said in confidence.
fn challenges(headers: &HeaderMap, via: &Via) -> String {
    let values = headers.get_all(header::PROXY_AUTHENTICATE).iter();
    let values: Vec<String> = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
    let visible: String = values.join(", ").chars().filter(|char| char.is_ascii_graphic() || *char == ' ').collect();
    let basic = via.basic_auth();
    let credentials = via.credentials.iter().flat_map(|(user, password)| [user, password]);
    let told = credentials.chain(via.headers.iter().map(|(_, value)| value)).chain(&basic);
    let said = of_peer(visible.as_bytes(), confidences(told.map(Secret::expose)));
    let mut shown: String = said.chars().take(MOST_SHOWN).collect();
    if said.chars().count() > MOST_SHOWN {
        shown.push('…');
    }
    shown
}

fn answer_words(fault: &UpgradeFault) -> String {
    match fault {
        UpgradeFault::NotHttp(why) => {
            format!("did not answer by HTTP/1.1 ({why}): is it one by SOCKS (socks5h://), or by TLS (https://)?")
        }
        UpgradeFault::TooLarge => "answers with a head of more than 16 KiB".into(),
        UpgradeFault::TooManyLines => format!("answers with more than {} header lines", head::MOST_LINES),
        UpgradeFault::Ended => "closed the connection in place of an answer".into(),
        UpgradeFault::Broken(why) => format!("broke off before it had answered: {why}"),
        UpgradeFault::Alert(why) => format!("ended TLS in place of an answer: {why}"),
        UpgradeFault::RequestTarget
        | UpgradeFault::HeaderValue(_)
        | UpgradeFault::NotAnswer(_)
        | UpgradeFault::NoHttp2(_)
        | UpgradeFault::NoStreams
        | UpgradeFault::Status { .. }
        | UpgradeFault::Invalid(_)
        | UpgradeFault::Subprotocol(_) => format!("cannot be asked: {fault}"),
    }
}

fn socks_words(error: &Error) -> String {
    let said = match error {
        Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return "closed the connection in place of an answer by SOCKS 5".into();
        }
        Error::Io(error) => return format!("broke off before it had answered by SOCKS 5: {}", tls::told(error)),
        // It is what the library says of an unknown code, too.
        Error::UnknownAuthMethod => return "answered with a code that SOCKS 5 does not have".into(),
        Error::NoAcceptableAuthMethods | Error::AuthorizationRequired => {
            return "wants another authentication by SOCKS 5: user and password where there are none, or none of these"
                .into();
        }
        Error::PasswordAuthFailure(_) => return "does not take user and password".into(),
        Error::InvalidAuthValues(_) | Error::InvalidTargetAddress(_) | Error::ParseError(_) => {
            return "cannot be asked by SOCKS 5: a name, user or password has more than 255 bytes".into();
        }
        Error::InvalidResponseVersion | Error::InvalidReservedByte | Error::UnknownAddressType => {
            return "did not answer by SOCKS 5: is it an HTTP proxy (http://)?".into();
        }
        Error::GeneralSocksServerFailure => "it failed, and does not say of what",
        Error::ConnectionNotAllowedByRuleset => "its rules do not allow it",
        Error::NetworkUnreachable => "the network is not reached",
        Error::HostUnreachable => "the host is not reached, or its name not known",
        Error::ConnectionRefused => "the server refused the connection",
        Error::TtlExpired => "the server did not answer it in time",
        Error::CommandNotSupported => "it makes no connections",
        Error::AddressTypeNotSupported => {
            "it does not take this kind of address (socks5h:// gives it the name, socks5:// an address)"
        }
        Error::UnknownError
        | Error::ProxyServerUnreachable
        | Error::IdentdAuthFailure
        | Error::InvalidUserIdAuthFailure => "it does not say why",
    };
    format!("did not connect: {said}")
}

fn socks_verdict(error: &Error) -> Option<Verdict> {
    match error {
        Error::Io(_)
        | Error::GeneralSocksServerFailure
        | Error::NetworkUnreachable
        | Error::HostUnreachable
        | Error::ConnectionRefused
        | Error::TtlExpired => Some(Verdict::Failing(None)),
        Error::InvalidAuthValues(_) | Error::InvalidTargetAddress(_) | Error::ParseError(_) => None,
        Error::NoAcceptableAuthMethods
        | Error::UnknownAuthMethod
        | Error::AuthorizationRequired
        | Error::PasswordAuthFailure(_)
        | Error::InvalidResponseVersion
        | Error::InvalidReservedByte
        | Error::UnknownAddressType
        | Error::ConnectionNotAllowedByRuleset
        | Error::CommandNotSupported
        | Error::AddressTypeNotSupported
        | Error::UnknownError
        | Error::ProxyServerUnreachable
        | Error::IdentdAuthFailure
        | Error::InvalidUserIdAuthFailure => Some(Verdict::Up),
    }
}
