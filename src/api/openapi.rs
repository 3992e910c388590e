//! Every route once: what is served and what the OpenAPI 3.1 document says come from the same lines.

use std::sync::{Arc, LazyLock};

use axum::{
    extract::DefaultBodyLimit,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderValue, header};
use utoipa::openapi::{
    InfoBuilder, OpenApi, OpenApiBuilder,
    security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Shared, chaos, daemon, dead, events, explain, frames, health, links, messages, orphans, page, reload, socket,
};

/// The document, written once.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| serde_json::to_string(&described()).unwrap_or_default());

/// The routes with their descriptions.
pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    // A batch is read line by line, and each line is bounded by itself.
    let batch = OpenApiRouter::new().routes(routes!(messages::batch)).layer(DefaultBodyLimit::disable());
    OpenApiRouter::with_openapi(head())
        .routes(routes!(page::page))
        // Files, not calls: no program needs them.
        .route(page::PATH, get(page::file))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .routes(routes!(document))
        .routes(routes!(daemon::daemon))
        .routes(routes!(links::endpoints))
        .routes(routes!(links::endpoint))
        .routes(routes!(links::links))
        .routes(routes!(links::link))
        .routes(routes!(links::history))
        .routes(routes!(explain::explain))
        .routes(routes!(links::close))
        .routes(routes!(links::reconnect))
        .routes(routes!(links::rotate))
        .routes(routes!(links::pause))
        .routes(routes!(links::resume))
        .routes(routes!(chaos::inject))
        .routes(routes!(messages::send))
        .routes(routes!(messages::receipt))
        .merge(batch)
        .routes(routes!(dead::letters))
        .routes(routes!(dead::letter, dead::discard))
        .routes(routes!(dead::retry))
        .routes(routes!(orphans::list))
        .routes(routes!(orphans::discard))
        .routes(routes!(orphans::relocate))
        .routes(routes!(orphans::store))
        .routes(routes!(events::endpoint))
        .routes(routes!(events::pool))
        .routes(routes!(frames::frames))
        .routes(routes!(socket::upgrade))
        .routes(routes!(reload::plan))
        .routes(routes!(reload::reload))
}

/// `GET /v1/openapi.json`
#[utoipa::path(get, path = "/v1/openapi.json", tag = "daemon", operation_id = "document",
    responses((status = 200, description = "This document.", content_type = "application/json", body = Object)))]
pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], DOCUMENT.as_str()).into_response()
}

fn head() -> OpenApi {
    let info = InfoBuilder::new().title("wskeeper").version(env!("CARGO_PKG_VERSION")).description(Some(
        "The local API of wskeeper, a daemon that holds WebSocket client links open for other programs.",
    ));
    OpenApiBuilder::new().info(info.build()).build()
}

fn described() -> OpenApi {
    let mut document = routes().into_openapi();
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    document.components.get_or_insert_default().add_security_scheme("token", bearer);
    // Where no tokens are configured nobody is asked for one.
    let none: [String; 0] = [];
    document.security = Some(vec![SecurityRequirement::default(), SecurityRequirement::new("token", none)]);
    document
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn document() -> Value {
        serde_json::from_str(&DOCUMENT).unwrap()
    }

    #[test]
    fn the_document_is_openapi_3_1_and_each_reference_in_it_leads_somewhere() {
        let document = document();
        assert!(
            document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")),
            "{}",
            document["openapi"]
        );
        for part in DOCUMENT.split("\"$ref\":\"#").skip(1) {
            let pointer = part.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }

    #[test]
    fn the_document_has_every_call_of_the_contract() {
        let document = document();
        let mut calls: Vec<String> = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            calls.extend(methods.as_object().unwrap().keys().map(|method| format!("{method} {path}")));
        }
        calls.sort();
        assert_eq!(
            calls,
            [
                "delete /v1/dead-letters/{id}",
                "delete /v1/orphans/{name}/{index}",
                "get /",
                "get /livez",
                "get /metrics",
                "get /readyz",
                "get /v1/daemon",
                "get /v1/dead-letters",
                "get /v1/dead-letters/{id}",
                "get /v1/endpoints",
                "get /v1/endpoints/{name}",
                "get /v1/endpoints/{name}/events",
                "get /v1/endpoints/{name}/frames",
                "get /v1/endpoints/{name}/ws",
                "get /v1/events",
                "get /v1/links",
                "get /v1/links/{name}/{index}",
                "get /v1/links/{name}/{index}/explain",
                "get /v1/links/{name}/{index}/history",
                "get /v1/messages/{id}",
                "get /v1/openapi.json",
                "get /v1/orphans",
                "get /v1/plan",
                "get /v1/store",
                "post /v1/dead-letters/{id}/retry",
                "post /v1/endpoints/{name}/messages",
                "post /v1/endpoints/{name}/messages:batch",
                "post /v1/links/{name}/{index}/chaos",
                "post /v1/links/{name}/{index}/close",
                "post /v1/links/{name}/{index}/pause",
                "post /v1/links/{name}/{index}/reconnect",
                "post /v1/links/{name}/{index}/resume",
                "post /v1/links/{name}/{index}/rotate",
                "post /v1/orphans/{name}/{index}/move",
                "post /v1/reload",
            ]
        );
    }

    #[test]
    fn every_call_tells_how_it_fails() {
        for (path, methods) in document()["paths"].as_object().unwrap() {
            for (method, call) in methods.as_object().unwrap() {
                let failure = &call["responses"]["default"]["content"]["application/problem+json"];
                assert!(failure.is_object() || path == "/v1/openapi.json", "{method} {path}");
            }
        }
    }
}
