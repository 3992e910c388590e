//! What two connections must have in common, beside the address, for links of one endpoint to share them.

use std::{net::IpAddr, sync::Arc};

use crate::endpoint::{Endpoint, Tls, file::FileMarks, proxy::Via, url::Target};

/// All that makes a connection: links share one only where this is the same.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::link) struct CarrierKey {
    is_secure: bool,
    host: Box<str>,
    port: u16,
    unix: Option<Arc<str>>,
    via: Option<Arc<Via>>,
    source: Option<IpAddr>,
    tls: Tls,
    /// How the files were that TLS is made with.
    files: FileMarks,
}

impl CarrierKey {
    /// That of a connection to this server.
    pub(in crate::link) fn new(
        endpoint: &Endpoint,
        target: &Target,
        via: Option<Arc<Via>>,
        files: FileMarks,
    ) -> Arc<Self> {
        Arc::new(Self {
            is_secure: target.tls,
            host: target.host.as_str().into(),
            port: target.port,
            unix: target.unix.clone(),
            via,
            source: endpoint.network.source,
            tls: endpoint.tls.clone(),
            files,
        })
    }
}
