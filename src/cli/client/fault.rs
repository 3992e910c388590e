//! Why a request to the daemon failed: it was not reached, or it said what is wrong (RFC 9457).

use std::fmt;

use http::StatusCode;

use crate::cli::trouble;

/// Why the daemon was not reached, or what it answered instead.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// `--api` cannot be read.
    #[error("--api {0:?} is not an address: write http://HOST:PORT, https://HOST or unix:/path/to/api.sock")]
    Address(String),
    /// The token file cannot be read.
    #[error("cannot read the API token from {path}: {error}")]
    Token {
        /// The file.
        path: String,
        /// Why.
        error: String,
    },
    /// No connection.
    #[error(
        "no daemon answers at {0}. Is it running? Start it with `wskeeper run --config PATH`, or say where it is with --api or \
         WSKEEPER_API."
    )]
    Unreachable(String),
    /// There is a socket that this user may not use.
    #[error("{0}: Permission denied: be a member of the socket's group (api.socket_group), or root")]
    Denied(String),
    /// The connection was lost before the answer.
    #[error("the daemon at {target} hung up: {error}")]
    Lost {
        /// Where.
        target: String,
        /// Why.
        error: String,
    },
    /// An RFC 9457 problem.
    #[error("{0}")]
    Problem(Problem),
    /// Not what this version understands.
    #[error("the answer of {target} is not what this version of wskeeper expects: {error}")]
    Answer {
        /// Where.
        target: String,
        /// What is wrong.
        error: String,
    },
}

impl ClientError {
    /// Whether the same request may succeed once the daemon is back.
    pub(crate) fn is_transport(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Lost { .. } => true,
            Self::Problem(problem) => problem.status == 503,
            Self::Address(_) | Self::Token { .. } | Self::Denied(_) | Self::Answer { .. } => false,
        }
    }
}

/// What the daemon says is wrong (RFC 9457).
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// HTTP status.
    pub(crate) status: u16,
    /// Stable name of the kind of problem.
    pub(crate) r#type: String,
    /// One line.
    pub(crate) title: String,
    /// What happened and what to do.
    pub(crate) detail: String,
    /// Everything else: faults of a configuration, and the like.
    #[serde(flatten)]
    pub(crate) more: serde_json::Map<String, serde_json::Value>,
}

impl Problem {
    /// Whether the daemon says it, and not something before it.
    pub(crate) fn is_ours(&self) -> bool {
        self.r#type.starts_with("urn:wskeeper:problem:")
    }

    /// Whether another token may do what was asked for.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.status == 403 && self.r#type == "urn:wskeeper:problem:forbidden"
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.title.as_str(), trouble::in_words(&self.detail).as_str()) {
            ("", "") => write!(f, "the daemon answered with HTTP {}", self.status),
            (title, "") => write!(f, "{title} (HTTP {})", self.status),
            ("", detail) => write!(f, "{detail} (HTTP {})", self.status),
            (title, detail) if self.is_ours() && detail.to_lowercase().contains(&title.to_lowercase()) => {
                f.write_str(detail)
            }
            (title, detail) if self.is_ours() => write!(f, "{title}: {detail}"),
            (title, detail) => write!(f, "{title}: {detail} (HTTP {})", self.status),
        }
    }
}

/// What an answer that is no success says is wrong.
pub(crate) fn problem(status: StatusCode, body: &[u8]) -> Problem {
    let mut problem: Problem = serde_json::from_slice(body).unwrap_or_else(|_| Problem {
        detail: String::from_utf8_lossy(body).trim().chars().take(300).collect(),
        ..Problem::default()
    });
    problem.status = status.as_u16();
    if problem.title.is_empty() && problem.detail.is_empty() {
        problem.title.push_str(status.canonical_reason().unwrap_or_default());
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_happened_and_its_status() {
        let body = br#"{"type":"urn:wskeeper:full","title":"Outbox full","detail":"10 messages held","status":429}"#;
        let problem = problem(StatusCode::TOO_MANY_REQUESTS, body);
        assert_eq!(problem.to_string(), "Outbox full: 10 messages held (HTTP 429)");
    }

    #[test]
    fn an_answer_that_is_no_problem_document_is_shown_as_it_is() {
        assert_eq!(problem(StatusCode::BAD_GATEWAY, b"nginx\n").to_string(), "nginx (HTTP 502)");
        assert_eq!(problem(StatusCode::NOT_FOUND, b"").to_string(), "Not Found (HTTP 404)");
    }
}
