//! `tls.pin`: a server is known by its certificate, or by the key in it.
//!
//! What a reader would get wrong: where authorities are given too, both must hold. Without them the pin is all that is asked for: name, dates
//! and who signed it are not looked at, for a device that signed its certificate itself has none of use.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::blind::Blind;
use crate::endpoint::Pin;

/// Believes in what is pinned.
#[derive(Debug)]
pub(super) struct Pinned {
    pub(super) pins: Vec<Pin>,
    /// Who else must believe.
    pub(super) authorities: Option<Arc<WebPkiServerVerifier>>,
    /// What checks signatures.
    pub(super) blind: Blind,
}

/// The server shows another certificate than one of those that are pinned: this is what its key would be pinned as.
#[derive(Debug, thiserror::Error)]
#[error("pins as {0}")]
pub(super) struct Unpinned(pub(super) Pin);

fn pin_of(bytes: &[u8]) -> Option<Pin> {
    digest(&SHA256, bytes).as_ref().try_into().ok().map(Pin)
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(authorities) = &self.authorities {
            authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        }
        let key = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
        let (whole, key) = (pin_of(end_entity), pin_of(&key));
        let is_pinned = |pin: Option<Pin>| pin.is_some_and(|pin| self.pins.contains(&pin));
        if is_pinned(whole) || is_pinned(key) {
            return Ok(ServerCertVerified::assertion());
        }
        let unpinned = key.map_or(CertificateError::ApplicationVerificationFailure, |key| {
            CertificateError::Other(OtherError(Arc::new(Unpinned(key))))
        });
        Err(Error::InvalidCertificate(unpinned))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.blind.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.blind.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.blind.supported_verify_schemes()
    }
}
