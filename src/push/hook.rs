//! A server that receives: a POST a batch, over one connection that is kept while it can be.
//!
//! What a reader would get wrong: the head of an answer decides. Of its body no more is read than makes the connection of use again, so a
//! server that never ends one, or sends gigabytes, costs a new connection and nothing else.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use tokio::time::{Instant, timeout, timeout_at};
use wskeeper_core::{confidences::confidences, push::Verdict};
use wskeeper_link::{
    clock::Moment,
    endpoint::{Endpoint, Secret, Template, Tls, template::SecretError, url::Target},
    link::{reach, retry_after},
    pool::Pool,
};

use super::{outlet::Carried, parcel::Parcel, sign::sign, words::words};
use crate::{
    client::{Answer, Connection, Error, shown},
    config::push::PushHttp,
};

/// Of an answer's body so much is read, within this.
const MAX_BODY: usize = 64 << 10;
const BODY_PATIENCE: Duration = Duration::from_secs(1);

/// A server that receives.
#[derive(Debug)]
pub(super) struct Hook {
    http: PushHttp,
    timeout: Duration,
    pool: Pool,
    endpoint: Arc<str>,
    open: Option<Open>,
}

/// A connection that may be used again.
#[derive(Debug)]
struct Open {
    url: Secret,
    connection: Connection,
}

/// What is asked, evaluated.
struct Evaluated {
    url: Secret,
    headers: Vec<(HeaderName, Secret)>,
    secret: Option<Secret>,
}

impl Hook {
    pub(super) fn new(http: PushHttp, timeout: Duration, pool: Pool, endpoint: Arc<str>) -> Self {
        Self { http, timeout, pool, endpoint, open: None }
    }

    pub(super) async fn carry(&mut self, parcel: &Parcel) -> Carried {
        let until = Instant::now().later(self.timeout);
        match timeout_at(until, self.post(parcel)).await {
            Ok(Ok(carried)) => carried,
            Ok(Err(why)) => Carried::failed(0, why),
            Err(_) => {
                self.open = None;
                Carried::failed(0, format!("the receiver did not answer within {:?}", self.timeout))
            }
        }
    }

    async fn post(&mut self, parcel: &Parcel) -> Result<Carried, String> {
        let evaluated = evaluate(&self.http).await?;
        let url = evaluated.url.clone();
        let target = Target::http(url.expose()).map_err(|fault| format!("its URL cannot be used: {fault}"))?;
        let server = shown(&target);
        let hidden = evaluated.confidences(&target);
        let timestamp = self.pool.calendar().since_epoch().as_secs();
        let request = request(parcel, &target, &evaluated, timestamp)?;
        let mut open = self.open.take().filter(|open| open.url == url);
        if let Some(Open { connection, .. }) = &mut open
            && connection.is_ready().await
        {
            match connection.send(request.clone()).await {
                Ok(answer) => return Ok(self.judge(answer, open, (&server, &hidden)).await),
                // It had gone meanwhile.
                Err(Error::Lost(_)) => {}
                Err(error @ (Error::Unreachable(_) | Error::Late | Error::TooLong(_))) => {
                    return Err(format!("{server} {error}"));
                }
            }
        }
        let (way, tls) = self.way()?;
        let told = |error: Error| format!("{server} {error}");
        let connecting = async { reach(&target, &way, &tls).await.map_err(std::io::Error::other) };
        let mut connection = Connection::over(connecting, None).await.map_err(told)?;
        let answer = connection.send(request).await.map_err(told)?;
        Ok(self.judge(answer, Some(Open { url, connection }), (&server, &hidden)).await)
    }

    /// The way to the receiver: a proxy of its own, and what the endpoint says of addresses, for who may not reach a network is not to reach it by
    /// a push either.
    fn way(&self) -> Result<(Endpoint, Tls), String> {
        let config = self.pool.endpoint(&self.endpoint).ok_or("its endpoint is gone")?.config;
        let PushHttp { proxy, tls_of_endpoint, .. } = &self.http;
        let way = Endpoint { proxy: proxy.clone(), network: config.network.clone(), ..Endpoint::default() };
        Ok((way, if *tls_of_endpoint { config.tls.clone() } else { Tls::default() }))
    }

    async fn judge(&mut self, answer: Answer, open: Option<Open>, (server, hidden): (&str, &[String])) -> Carried {
        let status = answer.status();
        let asked = retry_after(answer.headers(), self.pool.calendar().now());
        let body = timeout(BODY_PATIENCE, answer.whole(MAX_BODY)).await.ok().and_then(Result::ok);
        if body.is_some() {
            self.open = open;
        }
        let verdict = verdict(status, asked);
        let why = (verdict != Verdict::Taken).then(|| {
            let said = words(&body.unwrap_or_default(), hidden);
            let said = if said.is_empty() { said } else { format!(" and said: {said}") };
            let redirects = if status.is_redirection() { "; redirects are not followed" } else { "" };
            format!("{server} answered with status {}{redirects}{said}", status.as_u16())
        });
        Carried { taken: 0, verdict, why }
    }
}

/// What an answer means. Of the refusals those are for good that are about what was sent; others are about who asks, or when.
fn verdict(status: StatusCode, retry_after: Option<Duration>) -> Verdict {
    match status.as_u16() {
        200..=299 => Verdict::Taken,
        410 => Verdict::Gone,
        401 | 403 | 404 | 405 | 407 | 408 | 409 | 421 | 423 | 425 | 429 => Verdict::Failed { retry_after },
        400..=499 => Verdict::Refused,
        _ => Verdict::Failed { retry_after },
    }
}

impl Evaluated {
    /// What the server must not be quoted with: headers, the secret, and what may be secret in the URL.
    fn confidences(&self, target: &Target) -> Vec<String> {
        let values = self.headers.iter().map(|(_, value)| value).chain(&self.secret).map(Secret::expose);
        confidences(values).into_iter().map(str::to_owned).chain(target.confidences(true)).collect()
    }
}

/// Reads files, so it is done aside.
async fn evaluate(http: &PushHttp) -> Result<Evaluated, String> {
    let http = http.clone();
    let evaluating = tokio::task::spawn_blocking(move || {
        let headers = http.headers.iter().map(|(name, value)| Ok((name.clone(), value.evaluate()?)));
        Ok::<_, SecretError>(Evaluated {
            url: http.url.evaluate()?,
            headers: headers.collect::<Result<_, _>>()?,
            secret: http.secret.as_ref().map(Template::evaluate).transpose()?,
        })
    });
    evaluating.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

fn request(parcel: &Parcel, target: &Target, evaluated: &Evaluated, timestamp: u64) -> Result<Request<Bytes>, String> {
    let value =
        |text: &str| HeaderValue::from_str(text).map_err(|_| "a header of it has a character that none may have");
    let hidden = |text: &str| {
        let mut value = value(text)?;
        value.set_sensitive(true);
        Ok::<_, &str>(value)
    };
    let Parcel { id, body, content_type, facts, tries, ends: _ } = parcel;
    let mut request = Request::new(body.clone());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.request_target().parse().map_err(|_| "its URL cannot be asked for")?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, hidden(target.authority())?);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("wskeeper/", env!("CARGO_PKG_VERSION"))));
    if let Some(basic) = &target.basic_auth {
        headers.insert(header::AUTHORIZATION, hidden(basic.expose())?);
    }
    for (name, text) in &evaluated.headers {
        headers.insert(name.clone(), hidden(text.expose())?);
    }
    for (name, text) in facts {
        headers.insert(HeaderName::from_static(name), value(text)?);
    }
    headers.insert(HeaderName::from_static("idempotency-key"), value(id)?);
    headers.insert(HeaderName::from_static("wskeeper-attempt"), HeaderValue::from(*tries));
    headers.insert(HeaderName::from_static("webhook-id"), value(id)?);
    headers.insert(HeaderName::from_static("webhook-timestamp"), HeaderValue::from(timestamp));
    if let Some(secret) = &evaluated.secret {
        let signature = sign(secret.expose(), id, timestamp, body)?;
        headers.insert(HeaderName::from_static("webhook-signature"), value(&signature)?);
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_the_message_is_refused_for_good_and_the_rest_is_tried_again() {
        let of = |status: u16| verdict(StatusCode::from_u16(status).unwrap(), None);
        let failed = Verdict::Failed { retry_after: None };
        assert!([200, 201, 202, 204, 299].into_iter().all(|status| of(status) == Verdict::Taken));
        assert!([301, 302, 307, 401, 403, 404, 408, 409, 429, 500, 503].into_iter().all(|status| of(status) == failed));
        assert!([400, 411, 413, 415, 422, 431].into_iter().all(|status| of(status) == Verdict::Refused));
        assert_eq!(of(410), Verdict::Gone);
    }
}
