//! Values that are made: by a signature, a call, a command.
//!
//! What one is made of is data, a [`Make`]; evaluated it is a [`Recipe`], which somebody outside follows, for the core knows no cryptography
//! and starts no programs. What a reader would get wrong: a value that is made at its use is made again for each step that uses it, so two
//! steps never share a signature.

use std::{fmt, time::Duration};

use super::{
    Call, CallTls, Json, Pointer, Request, Start, Text, Value, Var,
    json::Map,
    render::{Scene, Unsendable},
    variables::Variables,
};
use crate::chance::Chance;

/// A value that a step uses, and that is made for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// What it is called.
    pub name: Box<str>,
    /// Of what.
    pub make: Make,
    /// Where it stands while the step is done.
    pub into: Var,
    /// Its end.
    pub timeout: Duration,
}

/// How a value is made.
#[derive(Debug, Clone, PartialEq)]
pub enum Make {
    /// As written.
    Text(Text),
    /// HMAC (RFC 2104).
    Hmac {
        /// Of which hash.
        hash: Hash,
        /// The key.
        key: Text,
        /// How the key is written.
        key_is: Encoding,
        /// What is signed.
        message: Text,
        /// How the result is written.
        encode: Encoding,
    },
    /// A JSON Web Token (RFC 7519).
    Jwt {
        /// Signed so.
        algorithm: Algorithm,
        /// A secret, or a private key in PEM.
        key: Text,
        /// What it says; an object.
        claims: Json,
        /// More members of its header; an object.
        headers: Json,
        /// It says `iat` and `exp`, so far apart.
        lifetime: Option<Duration>,
    },
    /// Base64 of a text.
    Base64(Text),
    /// A text as JSON writes it, in quotes.
    Json(Text),
    /// What a program prints.
    Command {
        /// It and its arguments.
        arguments: Box<[Text]>,
        /// Then it is killed.
        timeout: Duration,
    },
    /// What an HTTP server answers.
    Http {
        /// The call.
        call: Box<Call>,
        /// Where the value is in the answer; `None`: all of it is.
        at: Option<Pointer>,
        /// Where the seconds are that it is good for.
        expires: Option<Pointer>,
    },
    /// An access token by OAuth 2.0's client credentials (RFC 6749 §4.4).
    OAuth2 {
        /// The token endpoint.
        token_url: Text,
        /// Who asks.
        client_id: Text,
        /// The proof.
        client_secret: Text,
        /// What for.
        scope: Option<Text>,
        /// Further members of the form.
        more: Box<[(Box<str>, Text)]>,
        /// Id and secret stand in the form, not in a header.
        in_form: bool,
        /// The call's end.
        timeout: Duration,
        /// How the token endpoint proves who it is.
        tls: CallTls,
    },
}

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "as they are called")]
pub enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As UTF-8; keys only.
    Text,
    /// In lower case.
    Hex,
    /// With padding.
    Base64,
    /// Without padding (RFC 4648 §5).
    Base64Url,
}

/// How a token is signed (RFC 7518 §3.1, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "as they are called")]
pub enum Algorithm {
    Hs256,
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    /// As the header of a token says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// How a value is made, evaluated. It holds secrets, so `Debug` shows its kind alone.
#[derive(Clone, PartialEq)]
#[allow(missing_docs, reason = "as in `Make`")]
pub enum Recipe {
    Text(String),
    Hmac {
        hash: Hash,
        key: String,
        key_is: Encoding,
        message: String,
        encode: Encoding,
    },
    Jwt {
        algorithm: Algorithm,
        key: String,
        claims: Value,
        headers: Value,
    },
    Base64(String),
    Json(String),
    Command {
        arguments: Vec<String>,
        input: Value,
        timeout: Duration,
    },
    Http {
        request: Request,
        at: Option<Pointer>,
        expires: Option<Pointer>,
    },
    OAuth2 {
        token_url: String,
        client: (String, String),
        in_form: bool,
        form: Vec<(Box<str>, String)>,
        timeout: Duration,
        tls: CallTls,
    },
}

impl Make {
    /// The word of the configuration.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Text(_) => "template",
            Self::Hmac { .. } => "hmac",
            Self::Jwt { .. } => "jwt",
            Self::Base64(_) => "base64",
            Self::Json(_) => "json",
            Self::Command { .. } => "command",
            Self::Http { .. } => "http",
            Self::OAuth2 { .. } => "oauth2",
        }
    }
}

impl Make {
    /// How it is made now, by whoever keeps it for an attempt or longer: there is no connection, and no variable.
    pub fn recipe(&self, start: &Start, chance: &mut Chance) -> Option<Recipe> {
        let (variables, mut seq) = (Variables::default(), 0);
        let mut scene = Scene::still(start, &variables, 0, start.at);
        scene.fresh = Some((&mut seq, chance));
        scene.recipe(self).ok()
    }
}

impl Recipe {
    /// The word of the configuration.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Text(_) => "template",
            Self::Hmac { .. } => "hmac",
            Self::Jwt { .. } => "jwt",
            Self::Base64(_) => "base64",
            Self::Json(_) => "json",
            Self::Command { .. } => "command",
            Self::Http { .. } => "http",
            Self::OAuth2 { .. } => "oauth2",
        }
    }
}

impl Eq for Recipe {}

impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipe({})", self.as_str())
    }
}

impl Scene<'_> {
    /// How a value is made, with all that it is made of.
    pub(super) fn recipe(&mut self, make: &Make) -> Result<Recipe, Unsendable> {
        Ok(match make {
            Make::Text(text) => Recipe::Text(self.text(text)),
            Make::Hmac { hash, key, key_is, message, encode } => Recipe::Hmac {
                hash: *hash,
                key: self.text(key),
                key_is: *key_is,
                message: self.text(message),
                encode: *encode,
            },
            Make::Jwt { algorithm, key, claims, headers, lifetime } => {
                let (mut claims, headers) = (self.json(claims), self.json(headers));
                if let (Value::Object(claims), Some(lifetime)) = (&mut claims, lifetime) {
                    let now = self.wall();
                    claims.entry("iat").or_insert_with(|| now.as_secs().into());
                    claims.entry("exp").or_insert_with(|| now.saturating_add(*lifetime).as_secs().into());
                }
                Recipe::Jwt { algorithm: *algorithm, key: self.text(key), claims, headers }
            }
            Make::Base64(text) => Recipe::Base64(self.text(text)),
            Make::Json(text) => Recipe::Json(self.text(text)),
            Make::Command { arguments, timeout } => Recipe::Command {
                arguments: arguments.iter().map(|argument| self.text(argument)).collect(),
                input: self.document(),
                timeout: *timeout,
            },
            Make::Http { call, at, expires } => {
                Recipe::Http { request: self.request(call)?, at: at.clone(), expires: expires.clone() }
            }
            Make::OAuth2 { token_url, client_id, client_secret, scope, more, in_form, timeout, tls } => {
                let mut form = vec![(Box::from("grant_type"), "client_credentials".to_owned())];
                form.extend(scope.iter().map(|scope| (Box::from("scope"), self.text(scope))));
                form.extend(more.iter().map(|(name, text)| (name.clone(), self.text(text))));
                Recipe::OAuth2 {
                    token_url: self.text(token_url),
                    client: (self.text(client_id), self.text(client_secret)),
                    in_form: *in_form,
                    form,
                    timeout: *timeout,
                    tls: *tls,
                }
            }
        })
    }

    /// What a program is told: the names of the link, and all variables that are set.
    fn document(&self) -> Value {
        let names = &self.start.plan.names;
        let variables = names.iter().filter(|name| !name.contains(':')).filter_map(|name| {
            let value = self.variables.get(names.find(name)?)?;
            Some((name.to_owned(), value.clone()))
        });
        let variables: Map<String, Value> = variables.collect();
        let mut document = Map::new();
        document.insert("endpoint".into(), (&*self.start.endpoint).into());
        document.insert("link".into(), self.start.link.into());
        document.insert("variables".into(), variables.into());
        document.into()
    }
}
