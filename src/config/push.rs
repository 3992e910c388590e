//! `[[endpoints.NAME.push]]`: where messages of an inbox go by themselves.
//!
//! What a reader would get wrong: two that are equal are the same push, and a reload leaves it alone.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderName;
use wskeeper_core::{push::Policy, session::Filter};
use wskeeper_link::endpoint::{Template, proxy::Proxy};

use super::bridge::ToBroker;

/// One push.
#[derive(Debug, Clone, PartialEq)]
pub struct Push {
    /// What it is called.
    pub name: Arc<str>,
    /// Where to.
    pub to: PushTo,
    /// What is handed over.
    pub body: PushBody,
    /// This stream, in place of the whole inbox.
    pub stream: Option<Arc<str>>,
    /// Only messages that meet this.
    pub filter: Option<Filter>,
    /// Batches and delays.
    pub policy: Policy,
    /// How long the receiver may take for a batch.
    pub timeout: Duration,
}

/// Who receives.
#[derive(Debug, Clone, PartialEq)]
pub enum PushTo {
    /// A server, by POST.
    Http(Box<PushHttp>),
    /// A program, by its standard input.
    Command(Vec<Template>),
    /// A broker: the push is a bridge.
    Broker(Box<ToBroker>),
}

/// A server that receives.
#[derive(Debug, Clone, PartialEq)]
pub struct PushHttp {
    /// Its URL.
    pub url: Template,
    /// Headers of each request.
    pub headers: Vec<(HeaderName, Template)>,
    /// What requests are signed with.
    pub secret: Option<Template>,
    /// TLS as the endpoint has it; else by the platform's authorities.
    pub tls_of_endpoint: bool,
    /// The proxy on the way; that of the endpoint is for its links.
    pub proxy: Proxy,
}

impl Push {
    /// What it is to people.
    pub(crate) fn what(&self) -> &'static str {
        match self.to {
            PushTo::Http(_) | PushTo::Command(_) => "push",
            PushTo::Broker(_) => "bridge",
        }
    }
}

/// The key that a secret stands for: base64 behind `whsec_`, else its text.
pub(crate) fn signing_key(secret: &str) -> Result<Vec<u8>, &'static str> {
    let key = match secret.strip_prefix("whsec_") {
        Some(encoded) => STANDARD.decode(encoded.trim()).map_err(|_| "has whsec_ before it and is not base64")?,
        None => secret.as_bytes().to_vec(),
    };
    if key.is_empty() { Err("is empty, and anybody could sign with that") } else { Ok(key) }
}

/// What is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushBody {
    /// One message, as it came.
    Message,
    /// Events as those of the API, one a line.
    Events,
}

impl PushBody {
    /// The words of the configuration.
    pub(crate) const WORDS: [(&'static str, Self); 2] = [("message", Self::Message), ("events", Self::Events)];
}
