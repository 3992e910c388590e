//! Keys of the sections `digest` and `tls`.
//!
//! What a reader would get wrong: their defaults are those of nothing written, and not of a policy.

use super::{
    kinds::{By, FLAG, Optional, Word},
    none, table,
};
use crate::config::{
    ConfiguredEndpoint,
    check::{digest, tls},
};

table! {
    DIGEST of ConfiguredEndpoint, "digest." at (), rules none, {
        /// The user for servers that ask for Digest authentication (RFC 7616) by 401.
        ///
        /// The challenge is answered at once, within the same attempt; later attempts bring the answer with them. It goes with neither userinfo in the
        /// URL nor `headers.Authorization`. [Digest authentication](digest.md) says more.
        /// > #: user = "operator"
        user by digest::USER, Rotate;
        /// The password, of which no more than a digest leaves.
        /// > #: password = "${file:camera.password}"
        password as "digest.user" by digest::PASSWORD, Rotate;
    }
}

table! {
    TLS of ConfiguredEndpoint, "tls." at (tls), rules tls::rules, {
        /// A PEM file of authorities trusted instead of the platform's, read at each attempt. A relative path starts from the configuration file's folder.
        /// > #: ca = "ca.pem"
        ca: Optional(By(tls::path)), Rotate;
        /// A client certificate chain, a PEM file too.
        /// > #: cert = "client.pem"
        cert by tls::CERT, Rotate;
        /// Its key.
        /// > #: key = "client.key"
        key as "tls.cert" by tls::KEY, Rotate;
        /// The name to verify, where it is not the URL's host.
        /// > #: server_name = "feed.example"
        server_name: Optional(By(tls::server_name)), Rotate;
        /// Accepts any certificate. For tests only.
        insecure: FLAG, Rotate;
        /// SHA-256 of the server's own certificate, or of its key (`SubjectPublicKeyInfo`), one of which it must be. Without `ca` that is all that is
        /// asked of it, which is enough for a device that signed its certificate itself; with `ca` both must hold.
        ///
        /// `openssl x509 -in device.pem -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64` makes one of a key, and
        /// `wskeeper explain` shows that of a server that is none of them.
        /// > #: pin = ["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]
        pin (tls.pins): By(tls::pins), Rotate;
        /// The oldest version: "1.2" or "1.3".
        min_version (tls.only_1_3): Word(&[("1.2", false), ("1.3", true)]), Rotate;
        /// Application protocols to offer (ALPN); an empty list offers none. `["http/1.1"]` unless it is given.
        /// > #: alpn = ["http/1.1"]
        alpn (tls.alpn): Optional(By(tls::alpn)), Rotate;
        /// false does not send the server's name (SNI) in clear.
        sni by tls::SNI, Rotate;
    }
}
