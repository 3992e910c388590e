//! Values that are made: `hmac`, `jwt`, `base64`, `json`, `command`, `http`, `oauth2`, and a `template` that is kept.
//!
//! What a reader would get wrong: the same value may be made for a step, with the variables of its connection, and for an attempt, where
//! there are none; so it is read for each of them.

use std::time::Duration;

use wskeeper_core::session::{Algorithm, Encoding, Hash, Json, Make, Text, Value};
use wskeeper_link::endpoint::value::Span;

use super::{
    Reader,
    call::call_tls,
    clear,
    matcher::pointer,
    steps::{EXPECT_WAIT, LEAST},
};
use crate::config::check::{MAX_DURATION, item::Item, section::Section};

/// The forms of a value, of which one is given.
pub(super) const KINDS: [&str; 8] = ["template", "hmac", "jwt", "base64", "json", "command", "http", "oauth2"];

/// Values that are kept for a time are kept for so long at least.
const SHORTEST: Duration = Duration::from_secs(1);

/// When a value is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Per {
    /// For each step that uses it; elsewhere for an attempt.
    Use,
    /// Before an attempt.
    Before(Span),
}

#[derive(Debug, Clone, Copy)]
enum Word {
    Use,
    Attempt,
}

const ENCODINGS: [(&str, Encoding); 3] =
    [("hex", Encoding::Hex), ("base64", Encoding::Base64), ("base64url", Encoding::Base64Url)];

impl Reader<'_> {
    /// A section that says how a value is made, and when.
    pub(super) fn made(&self, item: &Item<'_>) -> Option<(Make, Per)> {
        let section = Section::of(item);
        let timeout =
            section.get("timeout").and_then(|item| item.duration(LEAST..=MAX_DURATION)).unwrap_or(EXPECT_WAIT);
        let text = |key| section.get(key).map(|item| self.text(&item));
        let forms = [
            text("template").map(|text| text.map(Make::Text)),
            section.get("hmac").map(|item| self.hmac(&item)),
            section.get("jwt").map(|item| self.jwt(&item)),
            text("base64").map(|text| text.map(Make::Base64)),
            text("json").map(|text| text.map(Make::Json)),
            section.get("command").map(|item| self.command(&item, timeout)),
            section.get("http").map(|item| self.fetched(&item)),
            section.get("oauth2").map(|item| self.oauth2(&item, timeout)),
        ];
        let given: Vec<&str> = KINDS.into_iter().filter(|kind| section.has(kind)).collect();
        if given.is_empty() {
            let hint = format!("write one of {}", KINDS.join(", "));
            item.fault("says nothing of where the value is from", hint);
        }
        if let [one, other, ..] = given.as_slice() {
            section.fault(other, format!("stands beside `{one}`, and a value is made in one way"), "keep one of them");
        }
        if section.has("timeout") && !section.has("command") && !section.has("oauth2") {
            section.fault("timeout", "is that of a command or a token", "leave it out, or write it within `http`");
        }
        let make = forms.into_iter().flatten().next();
        let per = per(&section, make.as_ref().and_then(Option::as_ref));
        section.finish();
        Some((make??, per?))
    }

    fn hmac(&self, item: &Item<'_>) -> Option<Make> {
        const HASHES: [(&str, Hash); 4] =
            [("sha256", Hash::Sha256), ("sha512", Hash::Sha512), ("sha384", Hash::Sha384), ("sha1", Hash::Sha1)];
        const KEYS: [(&str, Encoding); 4] = [
            ("text", Encoding::Text),
            ("hex", Encoding::Hex),
            ("base64", Encoding::Base64),
            ("base64url", Encoding::Base64Url),
        ];
        let section = Section::of(item);
        let hash = section.get("hash").map_or(Some(Hash::Sha256), |item| item.word(&HASHES));
        let key = self.key(&section, "key");
        let key_is = section.get("key_is").map_or(Some(Encoding::Text), |item| item.word(&KEYS));
        let message = self.needed(&section, "message", "say what is signed: message = \"${now:ms}\"");
        let encode = section.get("encode").map_or(Some(Encoding::Hex), |item| item.word(&ENCODINGS));
        section.finish();
        Some(Make::Hmac { hash: hash?, key: key?, key_is: key_is?, message: message?, encode: encode? })
    }

    fn jwt(&self, item: &Item<'_>) -> Option<Make> {
        let words = [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];
        let words = words.map(|algorithm| (algorithm.as_str(), algorithm));
        let section = Section::of(item);
        let algorithm = section.get("alg").and_then(|item| item.word(&words));
        if !section.has("alg") {
            section.fault("alg", "is missing", "write \"HS256\", \"RS256\", \"ES256\" or \"EdDSA\"");
        }
        let key = self.key(&section, "key");
        let object = |key| match section.get(key) {
            Some(item) if !matches!(item.value.kind, config::ValueKind::Table(_)) => {
                item.fault("must be a section", "write { sub = \"me\" }");
                None
            }
            Some(item) => self.json(&item),
            None => Some(Json::Literal(Value::Object(serde_json::Map::new()))),
        };
        let (claims, headers) = (object("claims"), object("headers"));
        let lifetime = section.get("expires").map(|item| item.duration(SHORTEST..=MAX_DURATION));
        section.finish();
        let lifetime = lifetime.map_or(Some(None), |given| given.map(Some));
        Some(Make::Jwt { algorithm: algorithm?, key: key?, claims: claims?, headers: headers?, lifetime: lifetime? })
    }

    fn command(&self, item: &Item<'_>, timeout: Duration) -> Option<Make> {
        if !item.report.may_run(item.value.origin(), &item.path) {
            return None;
        }
        let items = item.list()?;
        if items.is_empty() {
            item.fault("names no program", "write it and its arguments: [\"/usr/bin/token\", \"--json\"]");
            return None;
        }
        let arguments: Vec<_> = items.iter().map(|item| self.text(item)).collect();
        Some(Make::Command { arguments: arguments.into_iter().collect::<Option<_>>()?, timeout })
    }

    fn fetched(&self, item: &Item<'_>) -> Option<Make> {
        let section = Section::of(item);
        let call = self.request(&section);
        let at = |key| section.get(key).map(|item| item.text().and_then(|text| pointer(&item, text)));
        let (at, expires) = (at("extract"), at("expires"));
        section.finish();
        if section.has("expires") && !section.has("extract") {
            section.fault("extract", "is missing", "say where the value is in the answer: extract = \"/token\"");
        }
        let (at, expires) = (at.map_or(Some(None), |at| at.map(Some)), expires.map_or(Some(None), |at| at.map(Some)));
        Some(Make::Http { call: Box::new(call?), at: at?, expires: expires? })
    }

    fn oauth2(&self, item: &Item<'_>, timeout: Duration) -> Option<Make> {
        let section = Section::of(item);
        let token_url = section.get("token_url").and_then(|item| self.http_url(&item));
        if !section.has("token_url") {
            section.fault(
                "token_url",
                "is missing",
                "say where tokens are had: token_url = \"https://id.example/token\"",
            );
        }
        let client_id = self.needed(&section, "client_id", "say who asks");
        let client_secret = self.key(&section, "client_secret");
        let scope = section.get("scope").map(|item| self.text(&item)).map_or(Some(None), |scope| scope.map(Some));
        let more = section.section("form").entries().into_iter();
        let more = more.filter_map(|(name, item)| Some((name.into(), self.text(&item)?))).collect();
        let in_form = section.get("in_form").and_then(|item| item.bool()).unwrap_or_default();
        let tls = call_tls(&section);
        section.finish();
        Some(Make::OAuth2 {
            token_url: token_url?,
            client_id: client_id?,
            client_secret: client_secret?,
            scope: scope?,
            more,
            in_form,
            timeout,
            tls: tls?,
        })
    }

    fn needed(&self, section: &Section<'_>, key: &'static str, hint: &str) -> Option<Text> {
        if !section.has(key) {
            section.fault(key, "is missing", hint);
        }
        self.text(&section.get(key)?)
    }

    /// A text that is a secret.
    fn key(&self, section: &Section<'_>, key: &'static str) -> Option<Text> {
        if let Some(item) = section.get(key) {
            clear::look_at_member(&item, "secret");
        }
        self.needed(section, key, "write a reference: \"${file:PATH}\"")
    }
}

/// When it is made: as is said, else as suits what it is made of.
fn per(section: &Section<'_>, make: Option<&Make>) -> Option<Per> {
    let word = section.get("per").map(|item| item.word(&[("use", Word::Use), ("attempt", Word::Attempt)]));
    let ttl = section.get("ttl").map(|item| item.duration(SHORTEST..=MAX_DURATION));
    if word.is_some() && ttl.is_some() {
        section.fault("ttl", "stands beside `per`, and one of them says when the value is made", "keep one of them");
    }
    match (word, ttl) {
        (Some(word), _) => Some(match word? {
            Word::Use => Per::Use,
            Word::Attempt => Per::Before(Span::Attempt),
        }),
        (None, Some(ttl)) => Some(Per::Before(Span::For(ttl?))),
        (None, None) => Some(match make? {
            Make::Hmac { .. } | Make::Jwt { .. } | Make::Base64(_) | Make::Json(_) => Per::Use,
            Make::Text(_) | Make::Command { .. } | Make::Http { expires: None, .. } => Per::Before(Span::Attempt),
            Make::Http { .. } | Make::OAuth2 { .. } => Per::Before(Span::Answer),
        }),
    }
}
