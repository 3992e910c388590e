//! The route that takes a message, in the same axum, doing nothing: what HTTP alone costs.

use axum::{
    Router,
    body::Bytes,
    extract::{Path, RawQuery},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::post,
};
use tokio::net::TcpListener;

use crate::support::Result;

/// As long as a receipt, and what it says of itself in the head, so that as much is written.
const ANSWER: &str = "{\"id\":\"01a2b3c4000070008000000000000000\",\"endpoint\":\"e\",\"link\":0,\"state\":\"queued\",\
                      \"bytes\":64,\"acceptedAt\":\"2026-01-01T00:00:00.000Z\",\"updatedAt\":\"2026-01-01T00:00:00.000Z\",\
                      \"generation\":null,\"reason\":null}";
const LOCATION: &str = "/v1/messages/01a2b3c4000070008000000000000000";

pub(super) async fn run(port: u16) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let router = Router::new().route("/v1/endpoints/{name}/messages", post(take));
    Ok(axum::serve(listener, router).await?)
}

async fn take(Path(_): Path<String>, RawQuery(_): RawQuery, _: Bytes) -> impl IntoResponse {
    (StatusCode::ACCEPTED, [(header::CONTENT_TYPE, "application/json"), (header::LOCATION, LOCATION)], ANSWER)
}
