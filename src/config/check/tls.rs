//! `tls`: whom to trust and what to show.
//!
//! The files are read at each attempt, so one that is missing now is a warning and not a fault: it may come with a mount.

use std::path::PathBuf;

use rustls::pki_types::ServerName;

use super::{request, section::Section};
use crate::config::Tls;

pub(super) fn read(section: &Section<'_>, under: Tls) -> Tls {
    let mut tls = under;
    tls.ca = path(section, "ca").or(tls.ca);
    let pair = (path(section, "cert"), path(section, "key"));
    for (key, other) in [("cert", "key"), ("key", "cert")] {
        if section.has(key) && !section.has(other) {
            section.fault(
                key,
                format!("is of no use without `{other}`"),
                "give both: a certificate chain and its private key",
            );
        }
    }
    if let (Some(cert), Some(key)) = pair {
        if let Some(warning) = request::secret_file_warning(&key) {
            section.warn("key", &warning);
        }
        tls.client = Some((cert, key));
    }
    if let Some(item) = section.get("server_name")
        && let Some(name) = item.text()
    {
        match ServerName::try_from(name) {
            Ok(_) => tls.server_name = Some(name.to_owned()),
            Err(_) => item.fault("is not a host name or address", "write the name that the server's certificate has"),
        }
    }
    tls.insecure = section.bool("insecure").unwrap_or(tls.insecure);
    if tls.insecure && section.has("insecure") {
        section.warn("insecure", "any certificate is accepted, so anyone on the way can read and change what is sent");
    }
    section.finish();
    tls
}

fn path(section: &Section<'_>, key: &'static str) -> Option<PathBuf> {
    let item = section.get(key)?;
    let text = item.text()?;
    if text.is_empty() || text.contains('\0') || text.contains("${") {
        item.fault("is not a path", "write the path of a PEM file; references are not evaluated here");
        return None;
    }
    let path = item.report.folder_of(item.value.origin()).join(text);
    if !path.exists() {
        section.warn(key, &format!("{} does not exist now; attempts fail until it does", path.display()));
    }
    Some(path)
}
