//! How a value is made, kind by kind.
//!
//! What a reader would get wrong: what comes back beside the value is how long it is good for, where whoever gave it says so.

use std::{fmt::Write as _, time::Duration};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::hmac;
use wskeeper_core::session::{Answer, Brought, CallTls, Encoding, Hash, Pointer, Recipe, Request, Value};
use wskeeper_link::{clock::Calendar, endpoint::Endpoint};

use super::{call::call, command, jwt};

/// Of an answer.
const MAX_BYTES: usize = 64 << 10;
/// What a form leaves as it is (WHATWG URL, application/x-www-form-urlencoded, but for the space).
const FORM: AsciiSet = NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

/// A value, and how long it is good for.
pub(super) type Made = Result<(String, Option<Duration>), Trouble>;

/// Why there is none.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) why: String,
    /// Whoever gives it takes our credentials for wrong.
    pub(super) is_refused: bool,
}

impl<T: Into<String>> From<T> for Trouble {
    fn from(why: T) -> Self {
        Self { why: why.into(), is_refused: false }
    }
}

/// Makes a value.
pub(super) async fn follow(recipe: Recipe, endpoint: &Endpoint) -> Made {
    let for_good = |text| Ok((text, None));
    match recipe {
        Recipe::Text(text) => for_good(text),
        Recipe::Hmac { hash, key, key_is, message, encode } => for_good(sign(hash, (&key, key_is), &message, encode)?),
        Recipe::Jwt { algorithm, key, claims, headers } => for_good(jwt::token(algorithm, &key, &claims, headers)?),
        Recipe::Base64(text) => for_good(STANDARD.encode(text)),
        Recipe::Json(text) => for_good(Value::from(text).to_string()),
        Recipe::Command { arguments, input, timeout } => {
            for_good(command::output(&arguments, input.to_string().into(), timeout).await?)
        }
        Recipe::Http { request, at, expires } => fetch(request, at.as_ref(), expires.as_ref(), endpoint).await,
        Recipe::OAuth2 { token_url, client, in_form, form, timeout, tls: call_tls } => {
            let request = token_request(token_url, client, in_form, form, timeout, call_tls);
            let at = Pointer::parse("/access_token");
            fetch(request, at.as_ref(), Pointer::parse("/expires_in").as_ref(), endpoint).await
        }
    }
}

fn sign(hash: Hash, (key, key_is): (&str, Encoding), message: &str, encode: Encoding) -> Result<String, String> {
    let algorithm = match hash {
        Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Hash::Sha256 => hmac::HMAC_SHA256,
        Hash::Sha384 => hmac::HMAC_SHA384,
        Hash::Sha512 => hmac::HMAC_SHA512,
    };
    let tag = hmac::sign(&hmac::Key::new(algorithm, &decoded(key, key_is)?), message.as_bytes());
    Ok(match encode {
        Encoding::Text | Encoding::Hex => tag.as_ref().iter().fold(String::new(), |mut hex, byte| {
            // Writing to a String does not fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        }),
        Encoding::Base64 => STANDARD.encode(tag),
        Encoding::Base64Url => URL_SAFE_NO_PAD.encode(tag),
    })
}

fn decoded(key: &str, key_is: Encoding) -> Result<Vec<u8>, String> {
    let not = |what: &str| format!("its key is not {what}");
    match key_is {
        Encoding::Text => Ok(key.as_bytes().to_vec()),
        Encoding::Base64 => STANDARD.decode(key.trim()).map_err(|_| not("base64")),
        Encoding::Base64Url => URL_SAFE_NO_PAD.decode(key.trim().trim_end_matches('=')).map_err(|_| not("base64url")),
        Encoding::Hex => {
            let digits = key.trim().as_bytes();
            let pairs = digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
            let bytes = pairs.collect::<Option<_>>().filter(|_| digits.len().is_multiple_of(2));
            bytes.ok_or_else(|| not("hexadecimal"))
        }
    }
}

/// RFC 6749 §4.4.2, with §2.3.1: the client proves itself by a header, or in the form where the server wants that.
fn token_request(
    url: String,
    (id, secret): (String, String),
    in_form: bool,
    mut form: Vec<(Box<str>, String)>,
    timeout: Duration,
    tls: CallTls,
) -> Request {
    let mut headers = vec![
        ("content-type".into(), "application/x-www-form-urlencoded".to_owned()),
        ("accept".into(), "application/json".to_owned()),
    ];
    if in_form {
        form.extend([("client_id".into(), id), ("client_secret".into(), secret)]);
    } else {
        let pair = format!("{}:{}", escaped(&id), escaped(&secret));
        headers.push(("authorization".into(), format!("Basic {}", STANDARD.encode(pair))));
    }
    let body: Vec<String> = form.iter().map(|(name, text)| format!("{}={}", escaped(name), escaped(text))).collect();
    Request { method: "POST".into(), url, headers, body: body.join("&").into(), timeout, max_bytes: MAX_BYTES, tls }
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, &FORM).to_string().replace("%20", "+")
}

async fn fetch(request: Request, at: Option<&Pointer>, expires: Option<&Pointer>, endpoint: &Endpoint) -> Made {
    let Brought::Answer(answer) = call(request, endpoint, &Calendar::default()).await? else {
        return Err("there is no answer".into());
    };
    if !(200..300).contains(&answer.status) {
        return Err(unexpected(&answer));
    }
    let body = answer.body;
    let Some(at) = at else {
        let text = std::str::from_utf8(&body).map_err(|_| "the answer is not UTF-8")?;
        return Ok((text.trim_end().to_owned(), None));
    };
    let found = |pointer: &Pointer| pointer.find(&body);
    let value = match found(at) {
        Some(Value::String(text)) => text,
        Some(Value::Null) | None => return Err(format!("the answer has nothing at {}", at.source()).into()),
        Some(other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => other.to_string(),
    };
    let seconds = expires.and_then(found).and_then(|value| match value {
        Value::String(text) => text.trim().parse().ok(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            other.as_f64()
        }
    });
    let span = seconds.filter(|seconds| *seconds >= 0.0).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Ok((value, span))
}

fn unexpected(Answer { status, body, location, .. }: &Answer) -> Trouble {
    let words = String::from_utf8_lossy(body);
    let more = match (status, location) {
        (300..400, Some(to)) => format!(" to {to}; redirects are not followed"),
        (300..400, None) => "; redirects are not followed".to_owned(),
        _ if words.trim().is_empty() => String::new(),
        _ => format!(" and said: {words}"),
    };
    Trouble { why: format!("the server answered with status {status}{more}"), is_refused: matches!(status, 401 | 403) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_none_says_what_it_was() {
        let told = |answer: Answer| {
            let Trouble { why, is_refused } = unexpected(&answer);
            (why.trim_start_matches("the server answered with status ").to_owned(), is_refused)
        };
        let to = |place: &str| Answer { location: Some(place.into()), ..Answer::of(302, "moved") };
        assert_eq!(told(to("https://b.example/in")).0, "302 to https://b.example/in; redirects are not followed");
        assert_eq!(told(Answer::of(304, "")), ("304; redirects are not followed".into(), false));
        assert_eq!(told(Answer::of(401, "no")), ("401 and said: no".into(), true));
        assert_eq!(
            (told(Answer::of(403, " ")), told(Answer::of(500, ""))),
            (("403".into(), true), ("500".into(), false))
        );
    }

    #[tokio::test]
    async fn signatures_are_those_of_rfc_4231() {
        let signed = |hash, key: &str, key_is, message: &str, encode| sign(hash, (key, key_is), message, encode);
        // Test cases 2 and 1.
        let (key, message) = ("Jefe", "what do ya want for nothing?");
        for (hash, wanted) in [
            (Hash::Sha256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (
                Hash::Sha384,
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
            ),
            (
                Hash::Sha512,
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
            ),
            // RFC 2202, test case 2.
            (Hash::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        ] {
            assert_eq!(signed(hash, key, Encoding::Text, message, Encoding::Hex).unwrap(), wanted);
        }
        let key = "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";
        let wanted = "sDRMYdjbOFNcqK/OrwvxK4gdwgDJgz2nJuk3bC4yz/c=";
        assert_eq!(signed(Hash::Sha256, key, Encoding::Hex, "Hi There", Encoding::Base64).unwrap(), wanted);
        assert!(signed(Hash::Sha256, "0b0", Encoding::Hex, "", Encoding::Hex).is_err());
        assert!(
            signed(Hash::Sha256, "s3cret!", Encoding::Base64, "", Encoding::Hex).unwrap_err()
                == "its key is not base64"
        );
    }

    #[test]
    fn a_client_proves_itself_as_rfc_6749_says() {
        let client = || ("s6BhdRkqt3".to_owned(), "gX1fBat3bV".to_owned());
        let grant = || vec![("grant_type".into(), "client_credentials".to_owned()), ("scope".into(), "a b".to_owned())];
        let request =
            token_request("https://h/token".into(), client(), false, grant(), Duration::ZERO, CallTls::Endpoint);
        assert_eq!(request.headers[2].1, "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW", "the header of its §4.4.2");
        assert_eq!(request.body, "grant_type=client_credentials&scope=a+b");
        let request =
            token_request("https://h/token".into(), client(), true, grant(), Duration::ZERO, CallTls::Endpoint);
        assert!(request.headers.len() == 2 && request.body.ends_with(b"client_id=s6BhdRkqt3&client_secret=gX1fBat3bV"));
        assert_eq!(escaped("a&b=c/%\u{fc}"), "a%26b%3Dc%2F%25%C3%BC");
    }
}
