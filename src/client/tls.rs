//! TLS to a server, by the platform's authorities.
//!
//! What a reader would get wrong: `SSL_CERT_FILE` and `SSL_CERT_DIR` count in place of the platform's, as for other programs.

use std::{io, sync::Arc};

use rustls::{CertificateError, ClientConfig, Error, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Makes `tcp` a TLS connection to `host`.
pub(super) async fn secure(tcp: TcpStream, host: &str) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(io::Error::other(
            "no certificate authority is trusted here: install ca-certificates, or name a file of them in SSL_CERT_FILE",
        ));
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(explain)
}

fn explain(error: io::Error) -> io::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => io::Error::other(
            "its certificate is of an authority that is not trusted here; name a file with its certificate in SSL_CERT_FILE",
        ),
        Some(Error::InvalidMessage(_)) => io::Error::other("it does not speak TLS: is it http:// and not https://?"),
        Some(_) | None => error,
    }
}
