//! Every call once: what is served and what the OpenAPI 3.1 document says come from the same lines.
//!
//! What a reader would get wrong: the daemon describes nothing while it runs. `openapi.json` is written by a test from the
//! attributes of the handlers, and compared with them: the code that knows how would be a tenth of the program.

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use http::{HeaderValue, header};

use super::{
    Shared, batch, chaos, daemon, dead, events, explain, frames, health, links, messages, openapi, orphans, page,
    reload, socket,
};

/// What the handlers' attributes said when it was written last.
const DOCUMENT: &str = include_str!("openapi.json");

/// Makes the routes of a list of calls, and for tests their descriptions.
macro_rules! calls {
    ($($method:ident $path:literal $module:ident::$handler:ident $(.layer($layer:expr))?,)*) => {
        fn calls() -> Router<Arc<Shared>> {
            Router::new()$(.route($path, $method($module::$handler)$(.layer($layer))?))*
        }

        /// Method and path as they are served.
        #[cfg(test)]
        const CALLS: &[(&str, &str)] = &[$((stringify!($method), $path)),*];

        #[cfg(test)]
        fn described() -> utoipa::openapi::OpenApi {
            tests::finished(utoipa_axum::router::OpenApiRouter::<Arc<Shared>>::new()
                $(.routes(utoipa_axum::routes!($module::$handler)))*)
        }
    };
}

calls! {
    get "/" page::page,
    get "/livez" health::live,
    get "/readyz" health::ready,
    get "/metrics" health::metrics,
    get "/v1/openapi.json" openapi::document,
    get "/v1/daemon" daemon::daemon,
    get "/v1/endpoints" links::endpoints,
    get "/v1/endpoints/{name}" links::endpoint,
    get "/v1/links" links::links,
    get "/v1/links/{name}/{index}" links::link,
    get "/v1/links/{name}/{index}/history" links::history,
    get "/v1/links/{name}/{index}/explain" explain::explain,
    post "/v1/links/{name}/{index}/close" links::close,
    post "/v1/links/{name}/{index}/reconnect" links::reconnect,
    post "/v1/links/{name}/{index}/rotate" links::rotate,
    post "/v1/links/{name}/{index}/pause" links::pause,
    post "/v1/links/{name}/{index}/resume" links::resume,
    post "/v1/links/{name}/{index}/chaos" chaos::inject,
    post "/v1/endpoints/{name}/messages" messages::send,
    // A batch is read line by line, and each line is bounded by itself.
    post "/v1/endpoints/{name}/messages:batch" batch::batch.layer(DefaultBodyLimit::disable()),
    get "/v1/messages/{id}" messages::receipt,
    get "/v1/dead-letters" dead::letters,
    get "/v1/dead-letters/{id}" dead::letter,
    delete "/v1/dead-letters/{id}" dead::discard,
    post "/v1/dead-letters/{id}/retry" dead::retry,
    get "/v1/orphans" orphans::list,
    delete "/v1/orphans/{name}/{index}" orphans::discard,
    post "/v1/orphans/{name}/{index}/move" orphans::relocate,
    get "/v1/store" orphans::store,
    get "/v1/endpoints/{name}/events" events::endpoint,
    get "/v1/events" events::pool,
    get "/v1/endpoints/{name}/frames" frames::frames,
    get "/v1/endpoints/{name}/ws" socket::upgrade,
    get "/v1/plan" reload::plan,
    post "/v1/reload" reload::reload,
}

/// What is served: the calls, and the page's files, which no program needs.
pub(super) fn routes() -> Router<Arc<Shared>> {
    calls().route(page::PATH, get(page::file))
}

/// `GET /v1/openapi.json`
#[utoipa::path(get, path = "/v1/openapi.json", tag = "daemon", operation_id = "document",
    responses((status = 200, description = "This document.", content_type = "application/json", body = Object)))]
pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], DOCUMENT).into_response()
}

#[cfg(test)]
pub(super) mod tests {
    use std::{collections::BTreeSet, env, fs, path::Path};

    use serde_json::Value;
    use utoipa::openapi::{
        InfoBuilder, OpenApi,
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    };
    use utoipa_axum::router::OpenApiRouter;

    use super::*;

    const FILE: &str = "src/api/openapi.json";
    const ANEW: &str = "WSKEEPER_WRITE_DOCS=1 cargo test --lib api";

    /// The document that the handlers' attributes make.
    pub(in super::super) fn document() -> Value {
        serde_json::to_value(described()).unwrap()
    }

    /// What the document says of all calls.
    pub(super) fn finished(router: OpenApiRouter<Arc<Shared>>) -> OpenApi {
        let mut document = router.into_openapi();
        document.info = InfoBuilder::new()
            .title("wskeeper")
            .version(env!("CARGO_PKG_VERSION"))
            .description(Some(
                "The local API of wskeeper, a daemon that holds WebSocket client links open for other programs.",
            ))
            .build();
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("token", bearer);
        // Where no tokens are configured nobody is asked for one.
        let none: [String; 0] = [];
        document.security = Some(vec![SecurityRequirement::default(), SecurityRequirement::new("token", none)]);
        document
    }

    /// A line for each call and each schema: small, and to be read in a comparison.
    fn written(value: &Value, depth: u32) -> String {
        match value.as_object() {
            Some(members) if depth > 0 && !members.is_empty() => {
                let member =
                    |(key, value)| format!("{}:{}", Value::from(String::clone(key)), written(value, depth - 1));
                format!("{{\n{}\n}}", members.iter().map(member).collect::<Vec<_>>().join(",\n"))
            }
            Some(_) | None => value.to_string(),
        }
    }

    #[test]
    fn what_is_served_as_the_document_is_what_the_attributes_say() {
        let (wanted, path) = (written(&document(), 3) + "\n", Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE));
        if env::var_os("WSKEEPER_WRITE_DOCS").is_some() {
            fs::write(&path, &wanted).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        let line = found.lines().zip(wanted.lines()).position(|(found, wanted)| found != wanted);
        assert!(found == wanted, "{FILE} is out of date near line {line:?}: write it anew with\n  {ANEW}");
        assert!(env::var_os("WSKEEPER_WRITE_DOCS").is_some() || DOCUMENT == found);
    }

    #[test]
    fn each_call_is_served_by_the_method_and_path_that_its_handler_tells() {
        let document = document();
        let of_path = |(path, methods): (&String, &Value)| -> Vec<(String, String)> {
            methods.as_object().unwrap().keys().map(|method| (method.clone(), path.clone())).collect()
        };
        let told: BTreeSet<_> = document["paths"].as_object().unwrap().iter().flat_map(of_path).collect();
        let served: BTreeSet<_> = CALLS.iter().map(|&(method, path)| (method.to_owned(), path.to_owned())).collect();
        assert_eq!(served, told);
        assert_eq!(served.len(), CALLS.len());
    }

    #[test]
    fn the_document_is_openapi_3_1_and_each_reference_in_it_leads_somewhere() {
        let document = document();
        assert!(
            document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")),
            "{}",
            document["openapi"]
        );
        for part in document.to_string().split("\"$ref\":\"#").skip(1) {
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
