//! `wskeeper request`: a message, and the reply to it.
//!
//! What a reader would get wrong: a reply that says that the request failed is a reply, and is printed as one.

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::io::AsyncReadExt;

use super::{
    Failure, args,
    client::{self, Call, Client, ClientError, escape},
    output::Output,
};

/// Asks, and prints the reply.
pub(super) async fn run(args: args::Request, mut client: Client, output: &Output) -> Result<(), Failure> {
    let body = match &args.text {
        Some(text) if text != "-" => Bytes::from(text.clone()),
        Some(_) | None => {
            let mut text = Vec::new();
            tokio::io::stdin().read_to_end(&mut text).await?;
            text.into()
        }
    };
    let mut path = format!("/v1/endpoints/{}/requests?timeout={}ms", escape(&args.endpoint), args.timeout.as_millis());
    path.extend(args.link.map(|link| format!("&link={link}")));
    path.extend(args.generation.map(|generation| format!("&generation={generation}")));
    let call = Call { path: &path, body: Some(("application/json", body)), headers: Vec::new() };
    let (status, reply) = client.exchange(Method::POST, call).await?;
    if status.is_success() || status == StatusCode::BAD_GATEWAY {
        output.line(String::from_utf8_lossy(&reply))?;
        return if status.is_success() { Ok(()) } else { Err(Failure::Told) };
    }
    Err(ClientError::Problem(client::problem(status, &reply)).into())
}
