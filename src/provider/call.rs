//! An HTTP call for a session: by the daemon's one client, through the endpoint's proxy, over TLS with its own settings unless the call
//! says otherwise.
//!
//! What a reader would get wrong: each call has a connection of its own, and a redirect is an answer. Who asks by a session expects one
//! server.

use http::{HeaderName, HeaderValue, Method, Request as Http, header};
use tokio::time::Instant;
use wskeeper_core::session::{Answer, Brought, CallTls, Request};
use wskeeper_link::{
    clock::{Calendar, Moment},
    endpoint::{Endpoint, Tls, url::Target},
    link::{Done, reach, retry_after},
};

use crate::client::{Connection, Error, shown};

/// Calls, for this endpoint.
pub(super) async fn call(request: Request, endpoint: &Endpoint, calendar: &Calendar) -> Done {
    let until = Instant::now().later(request.timeout);
    let target = Target::http(&request.url).map_err(|fault| format!("its URL cannot be used: {fault}"))?;
    let most = request.max_bytes;
    let system = Tls::default();
    let tls = match request.tls {
        CallTls::Endpoint => &endpoint.tls,
        CallTls::System => &system,
    };
    let http = http_of(request, &target)?;
    let server = shown(&target);
    let told = |error: Error| format!("{server} {error}");
    let connecting = async { reach(&target, endpoint, tls).await.map_err(std::io::Error::other) };
    let mut connection = Connection::over(connecting, Some(until)).await.map_err(told)?;
    let answer = connection.send(http).await.map_err(told)?;
    let status = answer.status().as_u16();
    let location = answer.headers().get(header::LOCATION).and_then(|value| leads_to(&server, value.to_str().ok()?));
    let retry_after = retry_after(answer.headers(), calendar.now());
    Ok(Brought::Answer(Answer { status, body: answer.whole(most).await.map_err(told)?, location, retry_after }))
}

/// Where a redirect leads, without user, password and query.
fn leads_to(server: &str, location: &str) -> Option<Box<str>> {
    let mut url = url::Url::parse(server).ok()?.join(location).ok()?;
    url.set_query(None);
    url.set_fragment(None);
    // What has no host has none of them.
    let _ = (url.set_username(""), url.set_password(None));
    Some(url.as_str().into())
}

fn http_of(request: Request, target: &Target) -> Result<Http<bytes::Bytes>, String> {
    let value = |text: &str| {
        let mut value = HeaderValue::from_str(text).map_err(|_| "a header of it has a character that none may have")?;
        value.set_sensitive(true);
        Ok::<_, String>(value)
    };
    let mut http = Http::new(request.body);
    *http.method_mut() =
        Method::from_bytes(request.method.as_bytes()).map_err(|_| "its method is none that HTTP has")?;
    *http.uri_mut() = target.request_target().parse().map_err(|_| "its URL cannot be asked for")?;
    let headers = http.headers_mut();
    headers.insert(header::HOST, value(target.authority())?);
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("wskeeper/", env!("CARGO_PKG_VERSION"))));
    if let Some(basic) = &target.basic_auth {
        headers.insert(header::AUTHORIZATION, value(basic.expose())?);
    }
    for (name, text) in &request.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "a header of it has no name")?;
        headers.insert(name, value(text)?);
    }
    Ok(http)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    fn request(url: String) -> Request {
        Request {
            method: "POST".into(),
            url,
            headers: vec![("X-Key".into(), "s3cret".into())],
            body: "{}".into(),
            timeout: Duration::from_millis(500),
            max_bytes: 8,
            tls: CallTls::Endpoint,
        }
    }

    async fn server(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let heard = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = String::new();
            while !heard.ends_with("{}") {
                let mut part = [0; 512];
                let count = stream.read(&mut part).await.unwrap();
                heard.push_str(std::str::from_utf8(&part[..count]).unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            if answer.is_empty() {
                std::future::pending::<()>().await;
            }
            heard
        });
        (place, heard)
    }

    #[tokio::test]
    async fn a_call_is_made_as_it_is_written_and_its_answer_comes_whole() {
        let (place, heard) = server("HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok").await;
        let brought =
            call(request(format!("http://me:pw@{place}/a?b=c")), &Endpoint::default(), &Calendar::default()).await;
        assert_eq!(brought.unwrap(), Brought::Answer(Answer::of(201, "ok")));
        let heard = heard.await.unwrap();
        assert!(heard.starts_with("POST /a?b=c HTTP/1.1\r\n"), "{heard}");
        for line in [&format!("host: {place}\r\n"), "x-key: s3cret\r\n", "authorization: Basic bWU6cHc=\r\n"] {
            assert!(heard.contains(line), "{line}: {heard}");
        }
    }

    #[tokio::test]
    async fn a_call_that_cannot_be_made_says_why() {
        let (place, _heard) = server("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n123456789").await;
        let (silent, _silent) = server("").await;
        for (url, told) in [
            ("ws+unix:///run/x.sock".into(), "its URL cannot be used: it is not the URL of an HTTP server".to_owned()),
            ("wss://a/".into(), "its URL cannot be used: it is not the URL of an HTTP server".to_owned()),
            (format!("http://{place}/"), format!("http://{place} answered with more than 8 bytes")),
            (format!("http://{silent}/"), format!("http://{silent} did not answer in time")),
        ] {
            let error = call(request(url), &Endpoint::default(), &Calendar::default()).await.unwrap_err();
            assert!(error.starts_with(&told), "{error}");
        }
    }
}
