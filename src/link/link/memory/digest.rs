//! Digest authentication (RFC 7616): what a server asks for by 401, what is answered, and how often.
//!
//! What a reader would get wrong: an answer is good for one nonce of one origin. What a later attempt says of itself, before it is asked, is
//! an answer to a challenge that may have had its day, so that one more is answered at once.

use http::{HeaderMap, header::WWW_AUTHENTICATE};
use http_auth::{
    ChallengeParser, DigestClient, PasswordParams,
    digest::{Algorithm, Qop},
};

use crate::endpoint::{Secret, url::Target};

/// Behind a 401: it asks for Digest, and there is nothing to answer with.
pub(in crate::link) const ASKED: &str = "; it asks for Digest authentication, and there is no user and password for it";
/// Behind a 401: it has got an answer, and does not take it.
pub(in crate::link) const REFUSED: &str = "; it did not take the answer to its Digest challenge";
/// Behind a 401: of what it asks for, nothing can be answered.
pub(in crate::link) const UNKNOWN: &str = "; it asks for Digest authentication in no way that is known here";

/// What kind of trouble with Digest authentication a refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestTrouble {
    /// There is no user and password.
    Asked,
    /// They are not taken.
    Refused,
    /// It is asked for in a way that is not known.
    Unknown,
}

impl DigestTrouble {
    /// Reads it from the detail of a failure.
    pub fn of(detail: &str) -> Option<Self> {
        let table = [(ASKED, Self::Asked), (REFUSED, Self::Refused), (UNKNOWN, Self::Unknown)];
        table.into_iter().find(|(told, _)| detail.contains(told)).map(|(_, trouble)| trouble)
    }
}

/// A user and a password.
#[derive(Debug, Clone)]
pub(in crate::link) struct Credentials {
    pub(in crate::link) user: Secret,
    pub(in crate::link) password: Secret,
}

impl Credentials {
    /// Those of the URL of this server.
    pub(in crate::link) fn of(target: &Target) -> Option<Self> {
        let (user, password) = target.userinfo()?;
        Some(Self { user, password })
    }
}

/// What a server asks for.
pub(in crate::link) struct Challenge(DigestClient);

/// A challenge that was answered, and the server whose it is.
pub(in crate::link) struct KnownChallenge {
    origin: Target,
    challenge: Challenge,
}

impl KnownChallenge {
    pub(in crate::link) fn new(origin: &Target, challenge: Challenge) -> Self {
        Self { origin: origin.clone(), challenge }
    }

    /// Whether it is of this server.
    pub(in crate::link) fn is_of(&self, target: &Target) -> bool {
        self.origin.same_origin(target)
    }

    /// The value of `Authorization` for a request of this server, where there is one. The count of the nonce goes up with each.
    pub(in crate::link) fn answer(&mut self, target: &Target, credentials: &Credentials) -> Option<Secret> {
        let asked = PasswordParams {
            username: credentials.user.expose(),
            password: credentials.password.expose(),
            uri: target.request_target(),
            method: "GET",
            body: None,
        };
        self.is_of(target).then(|| self.challenge.0.respond(&asked).ok()).flatten().map(Secret::new)
    }
}

/// What a 401 asks for that names Digest, a line each.
pub(in crate::link) fn asked(headers: &HeaderMap) -> Option<Box<str>> {
    let lines = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<&str> = lines.filter(|line| line.to_ascii_lowercase().contains("digest")).collect();
    (!named.is_empty()).then(|| named.join("\n").into())
}

/// What of the value of an `Authorization` is made of the password, if it answers a challenge.
pub(in crate::link) fn response(authorization: &str) -> Option<&str> {
    authorization.strip_prefix("Digest ")?.split_once("response=\"")?.1.split('"').next()
}

impl Challenge {
    /// The strongest of these that can be answered.
    pub(in crate::link) fn strongest(asked: &str) -> Option<Self> {
        let challenges = asked.lines().flat_map(|line| ChallengeParser::new(line).map_while(Result::ok));
        let known = challenges.filter_map(|challenge| DigestClient::try_from(&challenge).ok());
        // Where the body counts, only that can be meant which has one.
        let known = known.filter(|known| known.qop() & Qop::Auth);
        known.max_by_key(|known| strength(known.algorithm())).map(Self)
    }

    /// The user and the password may be right, and the nonce has had its day.
    fn is_stale(&self) -> bool {
        self.0.stale()
    }
}

fn strength(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Md5 => 0,
        Algorithm::Sha256 => 1,
        Algorithm::Sha512Trunc256 => 2,
        // The crate may learn more.
        _ => 3,
    }
}

/// What an attempt has answered to one server: so often it asks at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::link) enum AnswersGiven {
    /// No challenge that came in it.
    #[default]
    None,
    /// One.
    One,
    /// One, and another because the nonce of that had had its day.
    Renewed,
}

impl AnswersGiven {
    /// Whether this challenge is to be answered.
    pub(in crate::link) fn again(&mut self, challenge: &Challenge) -> bool {
        let next = match self {
            Self::None => Self::One,
            Self::One if challenge.is_stale() => Self::Renewed,
            Self::One | Self::Renewed => return false,
        };
        *self = next;
        true
    }
}

#[cfg(test)]
mod tests;
