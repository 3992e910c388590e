//! Who we are to a NATS: what `CONNECT` says.
//!
//! What a reader would get wrong: the seed of an NKey never leaves; what leaves is a signature over what the server has just made up.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use data_encoding::BASE32_NOPAD;
use ring::signature::Ed25519KeyPair;
use serde_json::json;
use wskeeper_link::endpoint::{Secret, Template, template::SecretError};

use crate::config::broker::{NatsBroker, NatsLogin};

/// Servers and a login, evaluated.
pub(super) struct Evaluated {
    pub(super) servers: Vec<Secret>,
    pub(super) login: Login,
}

pub(super) enum Login {
    Nobody,
    Password(Secret, Secret),
    Token(Secret),
    Credentials(Secret),
}

/// Reads files, so it is done aside.
pub(super) async fn evaluate(nats: &NatsBroker) -> Result<Evaluated, String> {
    let nats = nats.clone();
    let evaluating = tokio::task::spawn_blocking(move || {
        let servers = nats.servers.iter().map(Template::evaluate);
        let login = match &nats.login {
            NatsLogin::Nobody => Login::Nobody,
            NatsLogin::Password(user, password) => Login::Password(user.evaluate()?, password.evaluate()?),
            NatsLogin::Token(token) => Login::Token(token.evaluate()?),
            NatsLogin::Credentials(credentials) => Login::Credentials(credentials.evaluate()?),
        };
        Ok::<_, SecretError>(Evaluated { servers: servers.collect::<Result<_, _>>()?, login })
    });
    evaluating.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

impl Login {
    /// What the server must not be quoted with.
    pub(super) fn hidden(&self) -> Vec<String> {
        match self {
            Self::Nobody => Vec::new(),
            Self::Password(user, password) => vec![user.expose().to_owned(), password.expose().to_owned()],
            Self::Token(token) => vec![token.expose().to_owned()],
            Self::Credentials(credentials) => credentials.expose().lines().map(str::to_owned).collect(),
        }
    }

    /// What `CONNECT` says, in JSON; `nonce` is to be signed.
    pub(super) fn connect(&self, nonce: &str, name: &str) -> Result<String, String> {
        let mut said = json!({
            "verbose": false, "pedantic": false, "tls_required": false, "protocol": 1, "echo": false,
            "headers": true, "no_responders": true, "lang": "rust", "version": env!("CARGO_PKG_VERSION"), "name": name,
        });
        match self {
            Self::Nobody => {}
            Self::Password(user, password) => {
                (said["user"], said["pass"]) = (user.expose().into(), password.expose().into());
            }
            Self::Token(token) => said["auth_token"] = token.expose().into(),
            Self::Credentials(credentials) => {
                let [jwt, seed] = ["JWT", "SEED"].map(|what| section(credentials.expose(), what));
                let jwt = jwt.ok_or("its credentials have no JWT: give the text of a .creds file")?;
                let key = seed.and_then(key).ok_or("its credentials have no seed of a user's NKey")?;
                (said["jwt"], said["sig"]) = (jwt.into(), URL_SAFE_NO_PAD.encode(key.sign(nonce.as_bytes())).into());
            }
        }
        Ok(said.to_string())
    }
}

/// What stands in a `.creds` file between the lines that have this word.
fn section<'a>(text: &'a str, what: &str) -> Option<&'a str> {
    let is_mark = |line: &str, word: &str| line.starts_with("---") && line.contains(word) && line.contains(what);
    let mut lines = text.lines().map(str::trim).skip_while(|line| !is_mark(line, "BEGIN")).skip(1);
    lines.find(|line| !line.is_empty()).filter(|line| !line.starts_with("---"))
}

/// The key of a seed: two bytes of what it is, the seed, and a checksum.
fn key(seed: &str) -> Option<Ed25519KeyPair> {
    const SEED: u8 = 18 << 3;
    const USER: u8 = 20 << 3;
    let bytes = BASE32_NOPAD.decode(seed.as_bytes()).ok()?;
    let (body, sum) = bytes.split_at_checked(34)?;
    let is_whole = sum == crc16(body).to_le_bytes();
    let kind = (body.first()? & 0xf8, (body.first()? & 7) << 5 | (body.get(1)? & 0xf8) >> 3);
    (is_whole && kind == (SEED, USER)).then(|| Ed25519KeyPair::from_seed_unchecked(body.get(2..)?).ok()).flatten()
}

/// CRC-16 as XMODEM has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(
            sum ^ (u16::from(*byte) << 8),
            |sum: u16, _| {
                if sum & 0x8000 == 0 { sum << 1 } else { (sum << 1) ^ 0x1021 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use ring::signature::KeyPair as _;

    use super::*;

    /// Of the tests of nkeys; the key is public.
    const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";

    #[test]
    fn the_nonce_is_signed_with_the_key_of_the_credentials() {
        let text = format!(
            "-----BEGIN NATS USER JWT-----\nabc.def\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n{SEED}\n------END USER NKEY SEED------\n"
        );
        let login = Login::Credentials(Secret::new(text));
        let said: serde_json::Value = serde_json::from_str(&login.connect("nonce", "n").unwrap()).unwrap();
        let public = key(SEED).unwrap();
        let signature = URL_SAFE_NO_PAD.decode(said["sig"].as_str().unwrap()).unwrap();
        let verifying = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public.public_key());
        assert!(verifying.verify(b"nonce", &signature).is_ok());
        assert_eq!(said["jwt"], "abc.def");
        assert!(login.hidden().iter().any(|line| line == SEED));
    }

    #[test]
    fn what_are_no_credentials_is_told_without_them() {
        for text in ["", "hunter2", "-----BEGIN NATS USER JWT-----\na\n-----BEGIN USER NKEY SEED-----\nhunter2"] {
            let told = Login::Credentials(Secret::new(text.to_owned())).connect("n", "n").unwrap_err();
            assert!(told.starts_with("its credentials have no") && !told.contains("hunter2"), "{told}");
        }
        let wrong = SEED.replace("VY", "VA");
        assert!(key(&wrong).is_none(), "its checksum is wrong");
    }
}
