//! `tls`: whom to trust and what to show.
//!
//! The files are read at each attempt, so one that is missing now is a warning and not a fault: it may come with a mount.

use std::path::PathBuf;

use rustls::pki_types::ServerName;

use super::{item::Item, request, section::Section};
use crate::config::{
    ConfiguredEndpoint,
    table::{
        kinds::{By, FLAG, Over},
        value::Part,
    },
};
use wskeeper_link::endpoint::Pin;

/// `cert`, which reads `key` with it.
pub(in crate::config) static CERT: Part<ConfiguredEndpoint, Over<Option<PathBuf>>> = Part {
    read: client,
    is_same: |one, other| one.tls.client == other.tls.client,
    of: |endpoint| endpoint.tls.client.as_ref().map(|(cert, _)| cert.clone()),
    kind: Over(|_, _| {}),
};

/// `key`
pub(in crate::config) static KEY: Part<ConfiguredEndpoint, Over<Option<PathBuf>>> = Part {
    read: |_, _| {},
    is_same: |_, _| true,
    of: |endpoint| endpoint.tls.client.as_ref().map(|(_, key)| key.clone()),
    kind: Over(|_, _| {}),
};

fn client(section: &Section<'_>, endpoint: &mut ConfiguredEndpoint) {
    let [cert, key] = ["cert", "key"].map(|key| section.get(key).and_then(|item| path(&item)));
    for (key, other) in [("cert", "key"), ("key", "cert")] {
        if section.has(key) && !section.has(other) {
            section.fault(
                key,
                format!("is of no use without `{other}`"),
                "give both: a certificate chain and its private key",
            );
        }
    }
    if let (Some(cert), Some(key)) = (cert, key) {
        if let Some(warning) = request::secret_file_warning(&key) {
            section.warn("key", &warning);
        }
        endpoint.tls.client = Some((cert, key));
    }
}

/// `server_name`
pub(in crate::config) fn server_name(item: &Item<'_>) -> Option<String> {
    let name = item.text()?;
    if ServerName::try_from(name).is_err() {
        item.fault("is not a host name or address", "write the name that the server's certificate has");
        return None;
    }
    Some(name.to_owned())
}

/// `sni`
pub(in crate::config) static SNI: Part<ConfiguredEndpoint, By<bool>> = Part {
    read: |section, endpoint| {
        if let Some(sends) = section.get("sni").and_then(|item| item.bool()) {
            endpoint.tls.hides_name = !sends;
        }
    },
    is_same: |one, other| one.tls.hides_name == other.tls.hides_name,
    of: |endpoint| !endpoint.tls.hides_name,
    kind: FLAG,
};

/// `pin`
pub(in crate::config) fn pins(item: &Item<'_>) -> Option<Vec<Pin>> {
    let pin = |item: &Item<'_>| {
        let pin = Pin::parse(item.text()?);
        if pin.is_none() {
            item.fault(
                "is not a pin",
                "write \"sha256/\" and the digest of the certificate or its key in base64: `wskeeper explain` shows that of a server whose pin does not fit",
            );
        }
        pin
    };
    Some(item.list()?.iter().filter_map(pin).collect())
}

/// `alpn`
pub(in crate::config) fn alpn(item: &Item<'_>) -> Option<Vec<Box<str>>> {
    let protocol = |item: &Item<'_>| {
        let text = item.text()?;
        if text.is_empty() || text.len() > 255 {
            item.fault("is not the name of a protocol", "write 1 to 255 bytes, as \"http/1.1\"");
        } else if matches!(text, "h2" | "h3") {
            item.fault("that protocol is not spoken here", "WebSockets are opened by HTTP/1.1: write \"http/1.1\"");
        }
        Some(text.into())
    };
    Some(item.list()?.iter().filter_map(protocol).collect())
}

/// What is to be said of `insecure`.
pub(in crate::config) fn rules(section: &Section<'_>, endpoint: &mut ConfiguredEndpoint) {
    if endpoint.tls.insecure && section.has("insecure") {
        section.warn("insecure", "any certificate is accepted, so anyone on the way can read and change what is sent");
    }
    if endpoint.tls.insecure && !endpoint.tls.pins.is_empty() && (section.has("insecure") || section.has("pin")) {
        section.fault(
            "pin",
            "with `insecure` nothing is asked of a certificate",
            "leave `insecure` out: a pin alone is enough",
        );
    }
}

/// The path of a PEM file.
pub(in crate::config) fn path(item: &Item<'_>) -> Option<PathBuf> {
    let text = item.text()?;
    if text.is_empty() || text.contains('\0') || text.contains("${") {
        item.fault("is not a path", "write the path of a PEM file; references are not evaluated here");
        return None;
    }
    let path = item.report.folder_of(item.value.origin()).join(text);
    if !item.report.may_name(item.value.origin(), &item.path, &path) {
        return None;
    }
    if !path.exists() {
        let problem = format!("{} does not exist now; attempts fail until it does", path.display());
        item.report.warn(&item.path, &problem);
    }
    Some(path)
}
