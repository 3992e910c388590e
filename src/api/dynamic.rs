//! `PUT` and `DELETE /v1/endpoints/{name}`: endpoints that are in no file.
//!
//! This translates; what is allowed and in which order it is done, [`DynamicEndpoints`] decides, which the daemon implements. What a reader would
//! get wrong: a body may hold secrets. None of it is repeated in an answer, nor in the log.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::Body,
    extract::{Path, RawQuery, State},
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;

use super::{
    Shared,
    access::Grant,
    body, convert,
    problem::{Problem, answer},
    query::Params,
    wire,
};
use crate::config::{Fault, Faults, Form, LinkChange, MAX_BYTES, source};

/// The longest wait for an outbox to empty.
const DRAIN_MAX: Duration = Duration::from_mins(10);

/// Who makes endpoints and takes them away.
pub trait DynamicEndpoints: Send + Sync {
    /// Makes one, or changes it. It is carried out also when nobody waits for the answer.
    fn put(&self, put: Put) -> Asked<Done>;

    /// Takes one away. It is carried out also when nobody waits for the answer.
    fn remove(&self, remove: Remove) -> Asked<Gone>;
}

/// An answer to come.
pub type Asked<T> = Pin<Box<dyn Future<Output = Result<T, Denied>> + Send>>;

/// An endpoint to be made or changed.
#[derive(Debug, Clone)]
pub struct Put {
    /// Its name.
    pub name: Arc<str>,
    /// Its keys. There may be secrets in it.
    pub text: Arc<str>,
    /// How that is written.
    pub form: Form,
    /// What must be so.
    pub when: Conditions,
    /// It is to be on disk, or in memory only; `None`: as the configuration says.
    pub keep: Option<bool>,
    /// Nothing is to be done.
    pub dry_run: bool,
    /// Who asks, for the log.
    pub who: Option<Arc<str>>,
}

/// An endpoint to be taken away.
#[derive(Debug, Clone)]
pub struct Remove {
    /// Its name.
    pub name: Arc<str>,
    /// What must be so.
    pub when: Conditions,
    /// How long its outbox may take to empty; `None`: as long as that of the daemon at its end.
    pub drain: Option<Duration>,
    /// Who asks, for the log.
    pub who: Option<Arc<str>>,
}

/// `If-Match` and `If-None-Match`, by the tags of definitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// It must be there, with one of these tags; none of them: with any.
    if_match: Option<Vec<String>>,
    /// It must not be there.
    if_none: bool,
}

impl Conditions {
    /// Whether they hold where the endpoint has this tag, or is not there.
    pub fn hold(&self, tag: Option<&str>) -> bool {
        let matches = self
            .if_match
            .as_ref()
            .is_none_or(|tags| tag.is_some_and(|tag| tags.is_empty() || tags.iter().any(|wanted| wanted == tag)));
        matches && !(self.if_none && tag.is_some())
    }

    fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        let tags = |name: HeaderName| {
            let mut tags = Vec::new();
            for value in headers.get_all(&name) {
                tags.extend(value.to_str().unwrap_or("?").split(',').map(|tag| tag.trim().to_owned()));
            }
            tags
        };
        let (wanted, unwanted) = (tags(header::IF_MATCH), tags(header::IF_NONE_MATCH));
        if unwanted.iter().any(|tag| tag != "*") {
            return Err(Problem::bad_request(
                "If-None-Match must be `*`: create the endpoint only if it does not exist",
            ));
        }
        let bare = |tag: &String| tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).map(str::to_owned);
        let if_match = match wanted.as_slice() {
            [] => None,
            [any] if any == "*" => Some(Vec::new()),
            tags => Some(tags.iter().map(bare).collect::<Option<_>>().ok_or_else(|| {
                Problem::bad_request("If-Match is an ETag of the endpoint in double quotes, as GET gives it, or `*`")
            })?),
        };
        Ok(Self { if_match, if_none: !unwanted.is_empty() })
    }
}

/// What was done, or would be.
#[derive(Debug, Clone)]
pub struct Done {
    /// It was not there before.
    pub is_new: bool,
    /// It is on disk.
    pub is_kept: bool,
    /// What tells this definition from others.
    pub tag: String,
    /// What becomes of its links.
    pub changes: Vec<LinkChange>,
    /// Settings that may be mistakes.
    pub warnings: Vec<String>,
}

/// What has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone {
    /// How many links it had.
    pub links: u32,
    /// Messages that had not left.
    pub messages: u64,
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The configuration lets nobody make endpoints.
    #[error("api.dynamic is \"off\"")]
    Off,
    /// It is in the file.
    #[error("the endpoint {0:?} is in the configuration file")]
    OfFile(Arc<str>),
    /// There is none.
    #[error("no endpoint is named {0:?}")]
    None(Arc<str>),
    /// The conditions do not hold.
    #[error("the endpoint is not as If-Match or If-None-Match demands")]
    Otherwise(Option<String>),
    /// It is not valid.
    #[error("{0}")]
    Invalid(Faults),
    /// It is to be on disk, and these keys seem to hold secrets in clear.
    #[error("it would be written to disk, and {} seems to be a secret in clear", .0.join(", "))]
    InClear(Vec<String>),
    /// It is to be on disk, and nothing is.
    #[error("api.dynamic is \"memory\"")]
    NotKept,
    /// There are as many as may be.
    #[error("there are {0} endpoints")]
    TooMany(usize),
    /// The disk does not take it.
    #[error("{0}")]
    Disk(String),
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Draining,
    /// The daemon has failed.
    #[error("{0}")]
    Failed(String),
}

/// `PUT /v1/endpoints/{name}`
#[cfg_attr(test, utoipa::path(put, path = "/v1/endpoints/{name}", tag = "endpoints", operation_id = "put_endpoint",
    params(("name" = String, Path, description = "Its name. Those of the file cannot be changed here."),
        ("keep" = Option<String>, Query, description = "`memory` or `disk`. Default: as `api.dynamic` says."),
        ("dry_run" = Option<bool>, Query, description = "`true`: check it and say what would happen to its links, but change nothing."),
        ("If-Match" = Option<String>, Header, description = "Only if it has this ETag; `*`: only if it exists."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if it does not exist.")),
    request_body(description = "Its keys, as under `[endpoints.NAME]` in the file.",
        content((Object = "application/json"), (String = "application/toml"))),
    responses((status = 201, description = "It was created.", body = wire::EndpointPut),
        (status = 200, description = "It existed and is changed now, or nothing had to change.", body = wire::EndpointPut), (status = "default", description = "A problem (RFC 9457); `errors` has each fault with the JSON pointer of its key.", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn put(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Extension(grant): Extension<Grant>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let params = Params::read(query.as_deref(), &["keep", "dry_run"])?;
    let keep = |word: &str| [("disk", true), ("memory", false)].into_iter().find(|(known, _)| *known == word);
    let keep = params.with("keep", "memory or disk", keep)?.map(|(_, is_kept)| is_kept);
    let dry_run = params.parse("dry_run", "true or false")?.unwrap_or(false);
    let (form, when) = (form(&headers)?, Conditions::read(&headers)?);
    let bytes = body::up_to(MAX_BYTES, body, &shared).await?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Problem::bad_request("the body is not UTF-8"))?;
    let who = grant.who().cloned();
    let put = Put { name: name.as_str().into(), text: text.into(), form, when, keep, dry_run, who };
    let Done { is_new, is_kept, tag, changes, warnings } = shared.endpoints.put(put).await?;
    let etag = format!("\"{tag}\"");
    let told = wire::EndpointPut {
        source: source(is_kept).into(),
        etag: etag.clone(),
        changes: changes.into_iter().map(convert::change).collect(),
        warnings,
        name,
    };
    let status = if is_new && !dry_run { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = answer(status, &told);
    if !dry_run {
        tagged(&mut response, &etag);
    }
    Ok(response)
}

/// `DELETE /v1/endpoints/{name}`
#[cfg_attr(test, utoipa::path(delete, path = "/v1/endpoints/{name}", tag = "endpoints", operation_id = "remove_endpoint",
    params(("name" = String, Path, description = "The endpoint. Those of the file cannot be removed here."),
        ("drain" = Option<String>, Query, description = "How long its outbox may take to empty, such as `5s`. Default: `limits.drain`."),
        ("If-Match" = Option<String>, Header, description = "Only if it has this ETag.")),
    responses((status = 200, description = "It is removed, and its links have ended.", body = wire::EndpointRemoved), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn remove(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Extension(grant): Extension<Grant>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let params = Params::read(query.as_deref(), &["drain"])?;
    let drain = params.duration("drain")?.map(|drain| drain.min(DRAIN_MAX));
    let whose = Arc::<str>::from(name.as_str());
    let remove =
        Remove { name: Arc::clone(&whose), when: Conditions::read(&headers)?, drain, who: grant.who().cloned() };
    let Gone { links, messages } = shared.endpoints.remove(remove).await?;
    shared.claims.forget(&whose);
    Ok(answer(StatusCode::OK, &wire::EndpointRemoved { name, links, unsent_messages: messages }))
}

/// Says which definition an answer is of.
pub(super) fn tagged(response: &mut Response, etag: &str) {
    if let Ok(etag) = HeaderValue::try_from(etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
}

fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let named = headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default().to_ascii_lowercase());
    match named.as_deref().map(|kind| kind.split(';').next().unwrap_or_default().trim()) {
        None | Some("application/json") => Ok(Form::Json),
        Some("application/toml" | "text/toml" | "text/x-toml") => Ok(Form::Toml),
        Some(_) => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-type",
            "The body is of an unknown kind",
            "send the keys of the endpoint with Content-Type: application/json or application/toml",
        )),
    }
}

/// A fault with the place of its key in what was put.
fn told(fault: &Fault) -> serde_json::Value {
    let line = fault.file.rsplit_once(':').and_then(|(_, line)| line.parse::<u64>().ok());
    let detail =
        if fault.hint.is_empty() { fault.problem.clone() } else { format!("{}; {}", fault.problem, fault.hint) };
    json!({ "pointer": pointer(&fault.path), "key": fault.path, "line": line, "detail": detail })
}

/// A key's path as a JSON pointer (RFC 6901): `a."b.c"[0]` is `/a/b.c/0`.
fn pointer(path: &str) -> String {
    let (mut pointer, mut rest) = (String::new(), path);
    while !rest.is_empty() {
        let (step, behind) = if let Some(index) = rest.strip_prefix('[') {
            index.split_once(']').unwrap_or((index, ""))
        } else if let Some(quoted) = rest.strip_prefix('"') {
            quoted.split_once('"').unwrap_or((quoted, ""))
        } else {
            rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()))
        };
        pointer.push('/');
        pointer.push_str(&step.replace('~', "~0").replace('/', "~1"));
        rest = behind.strip_prefix('.').unwrap_or(behind);
    }
    pointer
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let said = denied.to_string();
        let conflict = |name, title, detail: String| Self::new(StatusCode::CONFLICT, name, title, detail);
        match denied {
            Denied::Off => conflict(
                "dynamic-off",
                "Endpoints cannot be made here",
                format!("{said}: set it to \"memory\" or \"disk\" in the configuration file, and restart the daemon"),
            ),
            Denied::OfFile(_) => conflict(
                "endpoint-of-file",
                "The endpoint is in the file",
                format!("{said}: change it there and reload, or choose another name"),
            ),
            Denied::None(name) => super::links::no_endpoint(&name),
            Denied::Otherwise(tag) => {
                let detail = format!("{said}; nothing was changed: GET the endpoint and try again");
                Self::new(StatusCode::PRECONDITION_FAILED, "changed-meanwhile", "The endpoint is another", detail)
                    .with("etag", tag.map(|tag| format!("\"{tag}\"")).into())
            }
            Denied::Invalid(faults) => {
                let detail = "nothing was changed: correct what `errors` lists, and send it again";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "endpoint-invalid", "The endpoint is not valid", detail)
                    .with("errors", faults.iter().map(told).collect::<Vec<_>>().into())
            }
            Denied::InClear(keys) => {
                let detail = format!(
                    "{said}: write a reference that api.dynamic_references lists, or send it with ?keep=memory (it is gone after a restart)"
                );
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "secret-in-clear", "A secret would be on disk", detail)
                    .with("keys", keys.into())
            }
            Denied::NotKept => conflict(
                "not-kept",
                "Nothing is kept on disk",
                format!(
                    "{said}: leave out ?keep=disk, or set api.dynamic to \"disk\" in the configuration file and restart the daemon"
                ),
            ),
            Denied::TooMany(_) => conflict(
                "too-many-endpoints",
                "There are too many endpoints",
                format!("{said}, the limit of limits.endpoints: remove some, or raise the limit and reload"),
            ),
            Denied::Disk(why) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "disk",
                "The endpoint cannot be kept on disk",
                format!("{why}; nothing was changed: look at the disk of storage.dir, or send it with ?keep=memory"),
            ),
            Denied::Draining => Self::draining(),
            Denied::Failed(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The daemon failed", said),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_keys_is_a_pointer() {
        for (path, wanted) in [
            ("", ""),
            ("url", "/url"),
            ("outbox.max_bytes", "/outbox/max_bytes"),
            ("push[1].url", "/push/1/url"),
            ("headers.\"X.Y\"", "/headers/X.Y"),
            ("resolve.\"a/b:1\"[0]", "/resolve/a~1b:1/0"),
            ("session.open[0].send", "/session/open/0/send"),
            ("a\"", "/a\""),
            ("\"unclosed", "/unclosed"),
        ] {
            assert_eq!(pointer(path), wanted, "{path}");
        }
    }

    #[test]
    fn conditions_are_of_a_tag_or_of_being_there() {
        let read = |name: HeaderName, text: &'static str| {
            Conditions::read(&HeaderMap::from_iter([(name, HeaderValue::from_static(text))]))
        };
        let (a, b, none) = (Some("a"), Some("b"), None);
        for (text, holds) in
            [("\"a\"", [true, false, false]), ("\"x\", \"b\"", [false, true, false]), ("*", [true, true, false])]
        {
            assert_eq!([a, b, none].map(|tag| read(header::IF_MATCH, text).unwrap().hold(tag)), holds, "{text}");
        }
        assert_eq!([a, none].map(|tag| read(header::IF_NONE_MATCH, "*").unwrap().hold(tag)), [false, true]);
        assert_eq!([a, none].map(|tag| Conditions::default().hold(tag)), [true, true]);
        assert!(read(header::IF_MATCH, "a").is_err() && read(header::IF_NONE_MATCH, "\"a\"").is_err());
    }
}
