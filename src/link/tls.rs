//! TLS by rustls, with the platform's roots or the endpoint's own.
//!
//! Files named in `tls` are read at each attempt, so a renewed certificate counts from the next one on; the platform's roots
//! are read once. The crypto provider is given explicitly: nothing depends on who installed a default first.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::config::Tls;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsFault {
    /// A file of `tls` cannot be used.
    #[error("{key} {path}: {problem}")]
    File {
        /// Which key.
        key: &'static str,
        /// Its value.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// The platform has no roots.
    #[error("the platform's certificate authorities cannot be read ({0}): install ca-certificates or set tls.ca")]
    NoRoots(String),
    /// The name cannot stand in a certificate.
    #[error("{0:?} is no name that a certificate can have; set tls.server_name")]
    Name(String),
    /// rustls refuses the settings.
    #[error("{0}")]
    Settings(#[from] rustls::Error),
    /// The handshake failed.
    #[error("{0}")]
    Handshake(String),
}

/// Shakes hands with `host` over `tcp`.
pub(super) async fn secure(tcp: TcpStream, host: &str, tls: &Tls) -> Result<Box<TlsStream<TcpStream>>, TlsFault> {
    let config = client_config(tls)?;
    let name = tls.server_name.as_deref().unwrap_or(host);
    let name = ServerName::try_from(name.to_owned()).map_err(|_| TlsFault::Name(name.to_owned()))?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
    connected.map(Box::new).map_err(|error| TlsFault::Handshake(explain(&error)))
}

fn client_config(tls: &Tls) -> Result<ClientConfig, TlsFault> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = if tls.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    } else {
        builder.with_root_certificates(roots(tls.ca.as_deref())?)
    };
    let mut config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(certificates("tls.cert", chain)?, private_key(key)?)?,
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}

fn roots(ca: Option<&Path>) -> Result<Arc<RootCertStore>, TlsFault> {
    static PLATFORM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(ca) = ca {
        let mut store = RootCertStore::empty();
        for certificate in certificates("tls.ca", ca)? {
            store.add(certificate)?;
        }
        return Ok(Arc::new(store));
    }
    if let Some(store) = PLATFORM.get() {
        return Ok(Arc::clone(store));
    }
    let loaded = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(loaded.certs);
    if store.is_empty() {
        let why: Vec<_> = loaded.errors.iter().map(ToString::to_string).collect();
        return Err(TlsFault::NoRoots(why.join("; ")));
    }
    Ok(Arc::clone(PLATFORM.get_or_init(|| Arc::new(store))))
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let fault = |problem: String| TlsFault::File { key, path: path.display().to_string(), problem };
    let read = CertificateDer::pem_file_iter(path).map_err(|error| fault(error.to_string()))?;
    let found = read.collect::<Result<Vec<_>, _>>().map_err(|error| fault(error.to_string()))?;
    if found.is_empty() { Err(fault("holds no PEM certificate".into())) } else { Ok(found) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFault> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| TlsFault::File {
        key: "tls.key",
        path: path.display().to_string(),
        problem: error.to_string(),
    })
}

/// What rustls says, in words that say what to look at.
fn explain(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(fault)) = inner else { return error.to_string() };
    if matches!(fault, CertificateError::Expired | CertificateError::ExpiredContext { .. }) {
        "the server's certificate has expired".into()
    } else if matches!(fault, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) {
        format!("the server's certificate is for another name: {error}")
    } else if matches!(fault, CertificateError::UnknownIssuer) {
        "the server's certificate is of an unknown issuer; if it is yours, name its authority in tls.ca".into()
    } else {
        error.to_string()
    }
}

/// `tls.insecure`: any certificate will do. The handshake's signatures are still checked.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
