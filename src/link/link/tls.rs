//! The TLS handshake, and what was wrong where it fails.
//!
//! Files are read anew at each attempt, so that a renewed certificate is followed without a reload; only the platform's
//! roots are kept, for they are hundreds.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use rustls::{
    AlertDescription, ClientConfig, DEFAULT_VERSIONS, Error, RootCertStore, SupportedProtocolVersion,
    client::{Resumption, WebPkiServerVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, pem, pem::PemObject as _},
    sign::CertifiedKey,
    version::TLS13,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use identity::Identity;
use pinned::Pinned;

use super::aside::Aside;
use crate::endpoint::{Tls, file};
use wskeeper_core::{admission::Verdict, event::Certificates};

pub(super) use heard::{Heard, Under};
pub(super) use identity::Asked;
pub(super) use words::{LACKING, lapsed, plain, told, unanswered};
pub use words::{TlsTrouble, lacks_certificate};

mod blind;
mod expiry;
mod heard;
mod identity;
mod pinned;
mod words;

/// The largest PEM file that is read, in bytes: a bundle of all public authorities is a tenth of it.
const MAX_PEM: u64 = 4 << 20;

/// Of the versions.
const NEWEST: &[&SupportedProtocolVersion] = &[&TLS13];

/// Protocols as ALPN calls them (RFC 7301 §6).
const HTTP_1_1: &str = "http/1.1";
pub(super) const H2: &str = "h2";
/// What is offered where HTTP/2 is wanted.
pub(super) const EITHER: &[&str] = &[H2, HTTP_1_1];
/// The same where nothing else will do.
pub(super) const H2_ALONE: &[&str] = &[H2];

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsFault {
    /// A PEM file cannot be used.
    #[error("{} {}: {problem}", path.display(), words::UNUSABLE)]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The platform trusts nobody.
    #[error("no certificate authority is trusted: install the platform's (ca-certificates), or set tls.ca")]
    NoRoots,
    /// The settings do not go together.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
    /// The host is no name to verify.
    #[error("the host is not a name that a certificate can be for: {0}")]
    Name(#[from] InvalidDnsNameError),
    /// The peer ended the connection in the handshake, without a word of TLS before.
    #[error("{}", words::ended())]
    Ended,
    /// It did so when it had spoken TLS.
    #[error("{}", words::ended_within())]
    EndedWithin,
    /// The connection broke in the handshake.
    #[error("{}", words::broken(.0))]
    Broken(String),
    /// It ended when the peer had asked for a certificate of ours.
    #[error("{0}")]
    Unanswered(String),
    /// The handshake failed.
    #[error("{0}")]
    Handshake(String),
}

impl TlsFault {
    /// What it says of the address. A certificate that is not trusted is an answer.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        match self {
            Self::File { .. } | Self::NoRoots | Self::Setup(_) | Self::Name(_) => None,
            Self::Ended | Self::EndedWithin | Self::Broken(_) => Some(Verdict::Failing(None)),
            Self::Unanswered(_) | Self::Handshake(_) => Some(Verdict::Up),
        }
    }
}

/// A connection under TLS.
pub(super) struct Secured {
    pub(super) stream: TlsStream<Heard>,
    /// When the certificates shown in it expire.
    pub(super) certificates: Certificates,
    /// In TLS 1.3 a server judges what it got only when the handshake is done here.
    pub(super) asked: Asked,
}

/// Makes a connection one by TLS, to `host`. `offer` are protocols to offer in place of those that are set.
pub(super) async fn secure(
    under: Under,
    (host, offer): (&str, Option<&[&str]>),
    tls: &Tls,
    aside: &Aside,
) -> Result<Secured, TlsFault> {
    let name = ServerName::try_from(tls.server_name.as_deref().unwrap_or(host).to_owned())?;
    let mut tls = tls.clone();
    if let Some(offer) = offer {
        tls.alpn = Some(offer.iter().map(|protocol| (*protocol).into()).collect());
    }
    // It reads files, and the first time all of the platform's roots.
    let config = aside.run(move || config(&tls)).await;
    let (config, identity, client) = config.map_err(|error| TlsFault::Setup(error.to_string()))??;
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, Heard::new(under)).into_fallible();
    let connected = connecting.await;
    let asked = identity.asked();
    let stream = connected.map_err(|(error, heard)| explain(&error, &heard, asked))?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificates = Certificates { peer: expiry::of(chain), client };
    Ok(Secured { stream, certificates, asked })
}

/// The settings of a connection, what it shows of ourselves, and when that expires.
fn config(tls: &Tls) -> Result<(ClientConfig, Arc<Identity>, Option<i64>), TlsFault> {
    let setup = |error: &Error| TlsFault::Setup(plain(error));
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(if tls.only_1_3 { NEWEST } else { DEFAULT_VERSIONS })
        .map_err(|error| setup(&error))?;
    let blind = || blind::Blind::new(Arc::clone(&provider));
    let builder = if tls.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(blind()))
    } else if !tls.pins.is_empty() {
        let authorities = tls.ca.is_some().then(|| verifier(tls, Arc::clone(&provider))).transpose()?;
        let pinned = Pinned { pins: tls.pins.clone(), authorities, blind: blind() };
        builder.dangerous().with_custom_certificate_verifier(Arc::new(pinned))
    } else {
        builder.with_webpki_verifier(verifier(tls, Arc::clone(&provider))?)
    };
    let (shown, client) = match &tls.client {
        None => (None, None),
        Some((chain, key)) => {
            let key_der =
                PrivateKeyDer::from_pem_slice(&pem(key)?).map_err(|error| unusable(key, &error, "private key"))?;
            let chain = certificates(chain)?;
            let client = expiry::of(&chain);
            let shown = CertifiedKey::from_der(chain, key_der, &provider).map_err(|error| setup(&error))?;
            (Some(Arc::new(shown)), client)
        }
    };
    let identity = Arc::new(Identity::new(shown));
    let mut config = builder.with_client_cert_resolver(Arc::clone(&identity) as _);
    config.alpn_protocols = match &tls.alpn {
        None => vec![HTTP_1_1.as_bytes().to_vec()],
        Some(offered) => offered.iter().map(|protocol| protocol.as_bytes().to_vec()).collect(),
    };
    config.enable_sni = !tls.hides_name;
    // A cache for sessions of a configuration that is used once would be 10 KB for each link.
    config.resumption = Resumption::disabled();
    Ok((config, identity, client))
}

fn verifier(tls: &Tls, provider: Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, TlsFault> {
    let roots = match &tls.ca {
        None => platform_roots()?,
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|error| TlsFault::File { path: path.clone(), problem: plain(&error) })?;
            }
            Arc::new(roots)
        }
    };
    WebPkiServerVerifier::builder_with_provider(roots, provider)
        .build()
        .map_err(|error| TlsFault::Setup(error.to_string()))
}

fn platform_roots() -> Result<Arc<RootCertStore>, TlsFault> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(Arc::clone(roots));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsFault::NoRoots);
    }
    Ok(Arc::clone(ROOTS.get_or_init(|| Arc::new(roots))))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(path, &error, "certificate"));
    match certificates {
        Ok(none) if none.is_empty() => {
            Err(TlsFault::File { path: path.to_owned(), problem: "it holds no certificate in PEM".into() })
        }
        other => other,
    }
}

fn pem(path: &Path) -> Result<Vec<u8>, TlsFault> {
    file::read(path, MAX_PEM).map_err(|error| TlsFault::File { path: path.to_owned(), problem: format!("it {error}") })
}

/// The library's own words quote lines of the file, which may be those of a key.
fn unusable(path: &Path, error: &pem::Error, wanted: &str) -> TlsFault {
    let problem = match error {
        pem::Error::NoItemsFound => format!("it holds no {wanted} in PEM"),
        pem::Error::MissingSectionEnd { .. } => "a section of it has no END line: is it cut off?".into(),
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line of it is not as PEM has it".into(),
        pem::Error::Base64Decode(_) => "a section of it is not base64".into(),
        pem::Error::Io(_) | pem::Error::SectionTooLarge | _ => "it is not PEM".into(),
    };
    TlsFault::File { path: path.to_owned(), problem }
}

fn explain(error: &io::Error, heard: &Heard, asked: Asked) -> TlsFault {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        None => match unanswered(asked) {
            Some(said) => TlsFault::Unanswered(said),
            None if error.kind() != io::ErrorKind::UnexpectedEof => TlsFault::Broken(told(error)),
            None if heard.has_record() => TlsFault::EndedWithin,
            None => TlsFault::Ended,
        },
        Some(Error::AlertReceived(AlertDescription::HandshakeFailure)) if asked == Asked::InVain => {
            TlsFault::Handshake(words::refused_without())
        }
        Some(tls) => TlsFault::Handshake(plain(tls)),
    }
}
