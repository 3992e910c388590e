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
        /// The user, for servers that ask for Digest authentication (RFC 7616) with 401.
        ///
        /// wskeeper answers the challenge at once, within the same attempt. Later attempts send the answer at once. It cannot be combined with userinfo in the
        /// URL or `headers.Authorization`. [Digest authentication](digest.md) explains more.
        /// > #: user = "operator"
        user by digest::USER, Rotate;
        /// The password. Only a digest of it is sent.
        /// > #: password = "${file:camera.password}"
        password as "digest.user" by digest::PASSWORD, Rotate;
    }
}

table! {
    TLS of ConfiguredEndpoint, "tls." at (tls), rules tls::rules, {
        /// A PEM file of authorities to trust instead of the platform's. It is read at each attempt. A relative path starts from the configuration file's folder.
        /// > #: ca = "ca.pem"
        ca: Optional(By(tls::path)), Rotate;
        /// The client's certificate chain, a PEM file.
        /// > #: cert = "client.pem"
        cert by tls::CERT, Rotate;
        /// The key of the client's certificate, a PEM file.
        /// > #: key = "client.key"
        key as "tls.cert" by tls::KEY, Rotate;
        /// The name that the certificate must be for, if it is not the URL's host.
        /// > #: server_name = "feed.example"
        server_name: Optional(By(tls::server_name)), Rotate;
        /// Accepts any certificate. For tests only.
        insecure: FLAG, Rotate;
        /// SHA-256 of the server's own certificate or of its key (`SubjectPublicKeyInfo`). The server must match one of the list. Without `ca`, nothing else is
        /// checked, which is enough for a device with a self-signed certificate. With `ca`, both must hold.
        ///
        /// `openssl x509 -in device.pem -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64` prints the value for a key.
        /// `wskeeper explain` shows the value of a server that matches none.
        /// > #: pin = ["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]
        pin (tls.pins): By(tls::pins), Rotate;
        /// The oldest version of TLS to use: "1.2" or "1.3".
        min_version (tls.only_1_3): Word(&[("1.2", false), ("1.3", true)]), Rotate;
        /// Application protocols to offer (ALPN); an empty list offers none. The default is `["http/1.1"]`.
        /// > #: alpn = ["http/1.1"]
        alpn (tls.alpn): Optional(By(tls::alpn)), Rotate;
        /// Send the server's name (SNI), which anybody on the way can read.
        sni by tls::SNI, Rotate;
    }
}
