//! What failed in TLS, in plain words with what would help; and from these words back to the kind of trouble, for whoever advises.
//!
//! What a reader would get wrong: names in a certificate are a stranger's text. A few are shown, cut short, and as the library
//! escapes them.

#![allow(clippy::wildcard_enum_match_arm, reason = "the lists of faults are the library's, and open")]

use std::{
    io,
    time::{Duration, UNIX_EPOCH},
};

use rustls::{
    AlertDescription, CertificateError, Error, InconsistentKeys, PeerIncompatible,
    pki_types::{ServerName, UnixTime},
};

use super::{identity::Asked, pinned::Unpinned};

/// Names of a certificate that are shown.
const MOST_NAMES: usize = 5;
/// The longest name that is shown, in characters.
const MOST_NAME: usize = 100;

const CERTIFICATE: &str = "the server's certificate";
const NOT_TLS: &str = "is this a TLS port?";
const SILENT: &str = "without a word of TLS";
const CLIENT: &str = "(tls.cert, tls.key)";
pub(super) const UNUSABLE: &str = "cannot be used";

/// What kind of trouble a failure of TLS is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsTrouble {
    /// What answers there does not speak TLS.
    NotTls,
    /// It ended before anything of TLS had come: whether it speaks TLS cannot be known.
    Silent,
    /// The server's certificate is not good.
    Certificate,
    /// The server does not like the client's certificate, or that there is none.
    Client,
    /// A file or setting here is not good.
    Settings,
    /// Anything else: no certificate was judged.
    Other,
}

impl TlsTrouble {
    /// Reads it from the detail of a failure.
    pub fn of(detail: &str) -> Self {
        if detail.contains(UNUSABLE) {
            Self::Settings
        } else if detail.contains(CLIENT) {
            Self::Client
        } else if detail.contains(NOT_TLS) {
            Self::NotTls
        } else if detail.contains(SILENT) {
            Self::Silent
        } else if detail.contains(CERTIFICATE) {
            Self::Certificate
        } else {
            Self::Other
        }
    }
}

/// An end of TCP in the handshake, when nothing has come.
pub(super) fn ended() -> String {
    format!("the server closed the connection in the TLS handshake {SILENT}")
}

/// An end of TCP in the handshake, when some of it has come.
pub(super) fn ended_within() -> &'static str {
    "the server closed the connection in the middle of the TLS handshake and did not say why"
}

/// An error of TCP in the handshake.
pub(super) fn broken(why: &str) -> String {
    format!("the connection broke in the TLS handshake: {why}")
}

/// What is known of a connection that ended without a word when the server had asked for a certificate of ours.
pub(in crate::link) fn unanswered(asked: Asked) -> Option<String> {
    match asked {
        Asked::No => None,
        Asked::InVain => Some(format!(
            "the server asked for a client certificate, got none, and hung up without a word: set one {CLIENT}"
        )),
        Asked::AndGot => Some(format!(
            "the server asked for a client certificate, got ours, and hung up without a word: does it want another {CLIENT}?"
        )),
    }
}

/// Behind what a server answered that had asked for a certificate of ours in vain: it may be why.
pub(in crate::link) const LACKING: &str = "; it had asked for a client certificate, and got none";

/// Behind a failure of a server that was shown a certificate of ours, which expired then, in seconds since 1970.
pub(in crate::link) fn lapsed(not_after: i64) -> String {
    let at = UnixTime::since_unix_epoch(Duration::from_secs(not_after.try_into().unwrap_or_default()));
    format!("; the client certificate that it was shown has expired on {}: give it a new one {CLIENT}", date(at))
}

/// Whether a failure is of a server that had asked for a certificate of ours in vain.
pub fn lacks_certificate(detail: &str) -> bool {
    detail.contains(LACKING)
}

/// What is said where the server takes none of what ALPN offers.
const NO_PROTOCOL: &str = "the server speaks nothing of what it was offered at that port (ALPN: HTTP/1.1, or HTTP/2 where `http2` asks for it)";

/// TLS 1.2 has no alert of its own for a client that shows no certificate.
pub(super) fn refused_without() -> String {
    format!("the server asked for a client certificate, got none, and refused (handshake failure): set one {CLIENT}")
}

/// What an error of a connection says, with TLS or without: of the libraries' own words none.
pub(in crate::link) fn told(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(tls) => plain(tls),
        // Below it stands an address of the library's manual.
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the connection was ended without a word, where TLS has one for that (close_notify)".into()
        }
        None => error.to_string(),
    }
}

/// What rustls says.
pub(in crate::link) fn plain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(fault) => certificate(fault),
        Error::AlertReceived(alert) => alerted(*alert),
        Error::InvalidMessage(_) | Error::PeerSentOversizedRecord => {
            format!("what the server sent is not TLS: {NOT_TLS}")
        }
        Error::PeerIncompatible(lack) => incompatible(lack),
        Error::NoCertificatesPresented => format!("{CERTIFICATE} is missing: it showed none"),
        Error::NoApplicationProtocol => NO_PROTOCOL.into(),
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            format!("the client's key is not that of its certificate {CLIENT}")
        }
        Error::FailedToGetCurrentTime => "this machine's clock cannot be read".into(),
        Error::DecryptError | Error::PeerMisbehaved(_) | Error::InappropriateMessage { .. } => {
            format!("the server broke the TLS protocol ({error})")
        }
        _ => format!("TLS failed ({error})"),
    }
}

fn certificate(fault: &CertificateError) -> String {
    let what = match fault {
        CertificateError::UnknownIssuer => {
            "is of an unknown issuer: give the issuer's certificate as tls.ca, or let the server send its intermediate ones".into()
        }
        CertificateError::NotValidForNameContext { expected, presented } => wrong_name(expected, presented),
        CertificateError::NotValidForName => {
            "is for another name: check the host of the URL, or set tls.server_name to a name that the certificate has".into()
        }
        CertificateError::ExpiredContext { time, not_after } => format!(
            "has expired on {}, by this machine's clock ({}): the server needs a new one",
            date(*not_after),
            date(*time)
        ),
        CertificateError::Expired => "has expired: the server needs a new one".into(),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "is not valid before {}, and this machine's clock says {}: one of the two is wrong",
            date(*not_before),
            date(*time)
        ),
        CertificateError::NotValidYet => "is not valid yet: check this machine's clock".into(),
        CertificateError::Revoked => "has been revoked: the server needs a new one".into(),
        CertificateError::BadEncoding => "cannot be read: it is damaged, or not X.509".into(),
        CertificateError::BadSignature => {
            "has a signature that is not its issuer's: it is damaged, or tls.ca is another authority of the same name".into()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "is signed in a way that is too old or too new (SHA-1, or an unusual curve): the server needs one with RSA or ECDSA and SHA-2".into()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not for servers (its extended key usage lacks serverAuth): the server needs another".into()
        }
        CertificateError::UnhandledCriticalExtension => {
            "has a critical extension that is not understood here: the server needs another".into()
        }
        CertificateError::Other(other) if let Some(Unpinned(pin)) = other.0.downcast_ref() => {
            format!("is none of those in tls.pin: its key is {pin}")
        }
        CertificateError::Other(other) => peculiar(&format!("{:?}", other.0)),
        _ => format!("is not good ({})", spelled(&format!("{fault:?}"))),
    };
    format!("{CERTIFICATE} {what}")
}

/// What the verifier below rustls calls by a name only.
fn peculiar(name: &str) -> String {
    match name {
        "CaUsedAsEndEntity" => {
            "is that of an authority (CA:TRUE), which may sign others but not be a server's own: let it sign one \
                                for the server, or make a self-signed one with CA:FALSE"
                .into()
        }
        "EndEntityUsedAsCa" => {
            "was signed with a certificate that is no authority's (CA:FALSE): the chain is wrong".into()
        }
        "UnsupportedCertVersion" => "is not of X.509 version 3: make a new one".into(),
        "NameConstraintViolation" => "has a name that its authority may not sign (name constraints)".into(),
        "PathLenConstraintViolated" => "stands behind more authorities than one of them allows (path length)".into(),
        _ => format!("is not good ({})", spelled(name)),
    }
}

/// `BadDerTime` → "bad der time"; what follows the name is left out.
fn spelled(name: &str) -> String {
    let name: String = name.chars().take_while(char::is_ascii_alphanumeric).collect();
    let mut words = String::new();
    for char in name.chars() {
        if char.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(char.to_ascii_lowercase());
    }
    words
}

fn wrong_name(expected: &ServerName<'_>, presented: &[String]) -> String {
    // `DnsName("a.example")`, `IpAddress(127.0.0.1)`
    let bare = |name: &String| -> String {
        let inner = name.split_once('(').map_or(name.as_str(), |(_, inner)| inner.trim_end_matches(')'));
        inner.trim_matches('"').chars().take(MOST_NAME).collect()
    };
    let mut names: Vec<String> = presented.iter().take(MOST_NAMES).map(bare).collect();
    if presented.len() > MOST_NAMES {
        names.push(format!("{} more", presented.len() - MOST_NAMES));
    }
    let expected = expected.to_str();
    if names.is_empty() {
        return format!(
            "has no name at all (no subjectAltName), so it is not for {expected}: the server needs another"
        );
    }
    format!(
        "is not for {expected} but for {}: check the host of the URL, or set tls.server_name to one of these",
        names.join(", ")
    )
}

fn incompatible(lack: &PeerIncompatible) -> String {
    match lack {
        PeerIncompatible::ServerDoesNotSupportTls12Or13 => {
            "the server speaks neither TLS 1.2 nor 1.3: it is too old".into()
        }
        PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
            "the server speaks no TLS as new as tls.min_version wants".into()
        }
        PeerIncompatible::NoCipherSuitesInCommon => "the server has no cipher in common with wskeeper".into(),
        PeerIncompatible::NoKxGroupsInCommon => "the server has no key exchange in common with wskeeper".into(),
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => {
            "the server has no way of signing in common with wskeeper".into()
        }
        _ => format!("the server's TLS does not go with wskeeper's ({})", spelled(&format!("{lack:?}"))),
    }
}

/// The reason that the server gives for its refusal.
fn alerted(alert: AlertDescription) -> String {
    let name = spelled(&format!("{alert:?}"));
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            format!("the server demands a client certificate: set one {CLIENT}")
        }
        AlertDescription::UnknownCA => {
            format!("the server does not know who signed the client certificate (unknown ca): give it another {CLIENT}")
        }
        AlertDescription::CertificateExpired => format!("the client certificate has expired: give it a new one {CLIENT}"),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => {
            format!("the server refused the client certificate ({name}): does it want another {CLIENT}?")
        }
        AlertDescription::UnrecognisedName => {
            "the server has no certificate for the name that was asked for: check the host of the URL, or set tls.server_name".into()
        }
        AlertDescription::ProtocolVersion => {
            "the server speaks neither TLS 1.2 nor 1.3, or not what tls.min_version leaves of them (protocol version)".into()
        },
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            format!("the server found no version, cipher or certificate in common ({name}); some servers say so where they want a client certificate too")
        }
        AlertDescription::NoApplicationProtocol => NO_PROTOCOL.into(),
        _ => format!("the server ended TLS ({name}): its log may say why"),
    }
}

fn date(time: UnixTime) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs())).unwrap_or(UNIX_EPOCH);
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use rustls::{InvalidMessage, OtherError};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("raw")]
    enum Below {
        CaUsedAsEndEntity,
        TrailingData(#[allow(dead_code, reason = "it is shown")] u8),
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[track_caller]
    fn hold(table: impl IntoIterator<Item = (Error, &'static str, TlsTrouble)>) {
        for (error, wanted, trouble) in table {
            let said = plain(&error);
            assert!(said.contains(wanted), "{error:?}: {said}");
            assert_eq!(TlsTrouble::of(&said), trouble, "{said}");
            for raw in ["OtherError", "Error(", "InvalidCertificate", "AlertReceived"] {
                assert!(!said.contains(raw), "{said}");
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_told_in_plain_words_and_read_back() {
        let other = |below: Below| CertificateError::Other(OtherError(std::sync::Arc::new(below)));
        let name = |presented: &[&str]| CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("h.example").unwrap(),
            presented: presented.iter().map(ToString::to_string).collect(),
        };
        let expired = CertificateError::ExpiredContext { time: at(86_400), not_after: at(0) };
        let table = [
            (CertificateError::UnknownIssuer, "unknown issuer"),
            (name(&["DnsName(\"a.example\")", "IpAddress(10.0.0.1)"]), "but for a.example, 10.0.0.1: "),
            (name(&[]), "no subjectAltName"),
            (name(&["DnsName(\"x\")"; 9]), "x, 4 more"),
            (expired, "expired on 1970-01-01T00:00:00Z, by this machine's clock (1970-01-02T00:00:00Z)"),
            (
                CertificateError::NotValidYetContext { time: at(0), not_before: at(86_400) },
                "not valid before 1970-01-02T00:00:00Z",
            ),
            (CertificateError::BadEncoding, "damaged"),
            (CertificateError::ApplicationVerificationFailure, "(application verification failure)"),
            (other(Below::CaUsedAsEndEntity), "CA:TRUE"),
            (other(Below::TrailingData(1)), "(trailing data)"),
        ];
        hold(table.map(|(fault, wanted)| (Error::InvalidCertificate(fault), wanted, TlsTrouble::Certificate)));
    }

    #[test]
    fn an_error_of_a_connection_is_told_without_the_library_s_words() {
        let raw = io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "peer closed connection without sending TLS close_notify: https://docs.rs/rustls/x#unexpected-eof",
        );
        let alert = io::Error::new(io::ErrorKind::InvalidData, Error::AlertReceived(AlertDescription::InternalError));
        for (error, wanted) in [
            (raw, "close_notify"),
            (alert, "the server ended TLS (internal error)"),
            (io::ErrorKind::ConnectionReset.into(), "connection reset"),
        ] {
            let said = told(&error);
            assert!(said.contains(wanted) && !said.contains("://"), "{said}");
        }
    }

    #[test]
    fn what_else_fails_is_told_in_plain_words_and_read_back() {
        let alert = Error::AlertReceived;
        hold([
            (alert(AlertDescription::CertificateRequired), "demands a client certificate", TlsTrouble::Client),
            (alert(AlertDescription::UnknownCA), "unknown ca", TlsTrouble::Client),
            (alert(AlertDescription::BadCertificate), "bad certificate", TlsTrouble::Client),
            (alert(AlertDescription::UnrecognisedName), "tls.server_name", TlsTrouble::Other),
            (alert(AlertDescription::ProtocolVersion), "neither TLS 1.2 nor 1.3", TlsTrouble::Other),
            (alert(AlertDescription::HandshakeFailure), "handshake failure", TlsTrouble::Other),
            (alert(AlertDescription::InternalError), "internal error", TlsTrouble::Other),
            (Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon), "no cipher", TlsTrouble::Other),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), "is not TLS", TlsTrouble::NotTls),
            (Error::InconsistentKeys(InconsistentKeys::KeyMismatch), "key is not that of", TlsTrouble::Client),
        ]);
        assert_eq!(TlsTrouble::of(&ended()), TlsTrouble::Silent);
        assert_eq!(TlsTrouble::of(ended_within()), TlsTrouble::Other);
        assert_eq!(TlsTrouble::of(&broken("reset")), TlsTrouble::Other);
        for (asked, word) in [(Asked::InVain, "got none"), (Asked::AndGot, "got ours")] {
            let said = unanswered(asked).unwrap();
            assert!(said.contains(word) && TlsTrouble::of(&said) == TlsTrouble::Client, "{said}");
        }
        assert_eq!(unanswered(Asked::No), None);
        assert_eq!(TlsTrouble::of(&refused_without()), TlsTrouble::Client);
        assert_eq!(TlsTrouble::of("/etc/ca.pem cannot be used: it is a pipe"), TlsTrouble::Settings);
        assert_eq!(TlsTrouble::of("timed out while waiting for the TLS handshake"), TlsTrouble::Other);
    }
}
