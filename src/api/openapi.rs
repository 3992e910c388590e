//! Every call once: what is served and what the OpenAPI 3.1 document says come from the same lines.
//!
//! What a reader would get wrong: the daemon describes nothing while it runs. `openapi.json` is written by a test from the
//! attributes of the handlers, and compared with them: the code that knows how would be a tenth of the program.

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use http::{HeaderValue, Method, header};

use super::{
    Shared, access::Need, batch, chaos, daemon, dead, dynamic, events, explain, frames, health, links, messages,
    metrics, openapi, orphans, page, reload, requests, socket, subscriptions,
};

/// What the handlers' attributes said when it was written last.
const DOCUMENT: &str = include_str!("openapi.json");

/// Makes the routes of a list of calls, with what a token needs for each, and for tests their descriptions.
macro_rules! calls {
    ($($method:ident $path:literal $need:ident $module:ident::$handler:ident $(.layer($layer:expr))?,)*) => {
        fn calls() -> Router<Arc<Shared>> {
            Router::new()$(.route($path, $method($module::$handler)$(.layer($layer))?))*
        }

        /// Method and path as they are served, and what a token needs for them.
        const CALLS: &[(&str, &str, Need)] = &[$((stringify!($method), $path, Need::$need)),*];

        #[cfg(test)]
        fn described() -> utoipa::openapi::OpenApi {
            tests::finished(utoipa_axum::router::OpenApiRouter::<Arc<Shared>>::new()
                $(.routes(utoipa_axum::routes!($module::$handler)))*)
        }
    };
}

calls! {
    get "/" Open page::page,
    get "/livez" Open health::live,
    get "/readyz" Open health::ready,
    get "/metrics" Metrics metrics::metrics,
    get "/v1/openapi.json" Any openapi::document,
    get "/v1/daemon" Any daemon::daemon,
    get "/v1/endpoints" Read links::endpoints,
    get "/v1/endpoints/{name}" Read links::endpoint,
    put "/v1/endpoints/{name}" Admin dynamic::put,
    delete "/v1/endpoints/{name}" Admin dynamic::remove,
    get "/v1/links" Read links::links,
    get "/v1/links/{name}/{index}" Read links::link,
    get "/v1/links/{name}/{index}/history" Read links::history,
    get "/v1/links/{name}/{index}/explain" Read explain::explain,
    post "/v1/links/{name}/{index}/close" Admin links::close,
    post "/v1/links/{name}/{index}/reconnect" Admin links::reconnect,
    post "/v1/links/{name}/{index}/rotate" Admin links::rotate,
    post "/v1/links/{name}/{index}/pause" Admin links::pause,
    post "/v1/links/{name}/{index}/resume" Admin links::resume,
    post "/v1/links/{name}/{index}/chaos" Admin chaos::inject,
    post "/v1/endpoints/{name}/messages" Send messages::send,
    // A batch is read line by line, and each line is bounded by itself.
    post "/v1/endpoints/{name}/messages:batch" Send batch::batch.layer(DefaultBodyLimit::disable()),
    post "/v1/endpoints/{name}/requests" ReadAndSend requests::ask,
    get "/v1/messages/{id}" ReadOrSend messages::receipt,
    get "/v1/dead-letters" Read dead::letters,
    get "/v1/dead-letters/{id}" Read dead::letter,
    delete "/v1/dead-letters/{id}" Admin dead::discard,
    post "/v1/dead-letters/{id}/retry" Admin dead::retry,
    get "/v1/orphans" Read orphans::list,
    delete "/v1/orphans/{name}/{index}" Admin orphans::discard,
    post "/v1/orphans/{name}/{index}/move" Admin orphans::relocate,
    get "/v1/store" ReadAll orphans::store,
    get "/v1/endpoints/{name}/events" Read events::endpoint,
    get "/v1/events" ReadAll events::pool,
    get "/v1/endpoints/{name}/frames" Read frames::frames,
    get "/v1/endpoints/{name}/subscriptions" Read subscriptions::all,
    get "/v1/endpoints/{name}/subscriptions/{key}" Read subscriptions::one,
    put "/v1/endpoints/{name}/subscriptions/{key}" Send subscriptions::put,
    delete "/v1/endpoints/{name}/subscriptions/{key}" Send subscriptions::release,
    get "/v1/endpoints/{name}/ws" ReadAndSend socket::upgrade,
    get "/v1/plan" ReadAll reload::plan,
    post "/v1/reload" AdminAll reload::reload,
}

/// What is served: the calls, and the page's files, which no program needs.
pub(super) fn routes() -> Router<Arc<Shared>> {
    // Clients of Engine.IO end every path in a slash.
    calls().route(page::PATH, get(page::file)).route("/v1/endpoints/{name}/ws/", get(socket::upgrade))
}

/// What a token needs for a call; `None` where there is no such call.
pub(super) fn need(method: &Method, route: &str) -> Option<Need> {
    let word = if method == Method::HEAD { "get" } else { method.as_str() };
    let is_at = |path: &str| path == route || route.strip_suffix('/') == Some(path);
    let call = CALLS.iter().find(|(method, path, _)| is_at(path) && word.eq_ignore_ascii_case(method));
    call.map(|(.., need)| *need)
}

/// `GET /v1/openapi.json`
#[cfg_attr(test, utoipa::path(get, path = "/v1/openapi.json", tag = "daemon", operation_id = "document",
    responses((status = 200, description = "This document.", content_type = "application/json", body = Object))))]
pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], DOCUMENT).into_response()
}

#[cfg(test)]
pub(super) mod tests {
    use std::{collections::BTreeSet, env, fs, path::Path};

    use serde_json::{Value, json};
    use utoipa::openapi::{
        InfoBuilder, OpenApi,
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    };
    use utoipa_axum::router::OpenApiRouter;

    use super::*;
    use crate::{api::access::word, config::Scope};

    const FILE: &str = "src/api/openapi.json";
    const ANEW: &str = "WSKEEPER_WRITE_DOCS=1 cargo test --lib api";

    /// The document that the handlers' attributes make.
    pub(in super::super) fn document() -> Value {
        let mut document = serde_json::to_value(described()).unwrap();
        // No type of Rust's is described as bytes.
        for method in document["paths"].as_object_mut().unwrap().values_mut() {
            for call in method.as_object_mut().unwrap().values_mut() {
                if let Some(body) = call.pointer_mut("/requestBody/content/application~1octet-stream") {
                    body["schema"] = json!({ "type": "string", "format": "binary" });
                }
            }
        }
        document
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
        for (method, path, need) in CALLS {
            let calls = document.paths.paths.get_mut(*path).expect("it is described");
            let call = match *method {
                "get" => &mut calls.get,
                "post" => &mut calls.post,
                "delete" => &mut calls.delete,
                "put" => &mut calls.put,
                other => panic!("{other}: say where it is described"),
            };
            let of_scopes = |set: &&[Scope]| SecurityRequirement::new("token", set.iter().copied().map(word));
            let needed = need.scopes().iter().map(of_scopes);
            // As for all where any token will do.
            let security = (*need == Need::Open || needed.len() > 0)
                .then(|| std::iter::once(SecurityRequirement::default()).chain(needed).collect());
            call.as_mut().expect("it is described").security = security;
        }
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
        let served: BTreeSet<_> = CALLS.iter().map(|&(method, path, _)| (method.to_owned(), path.to_owned())).collect();
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
                "delete /v1/endpoints/{name}",
                "delete /v1/endpoints/{name}/subscriptions/{key}",
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
                "get /v1/endpoints/{name}/subscriptions",
                "get /v1/endpoints/{name}/subscriptions/{key}",
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
                "post /v1/endpoints/{name}/requests",
                "post /v1/links/{name}/{index}/chaos",
                "post /v1/links/{name}/{index}/close",
                "post /v1/links/{name}/{index}/pause",
                "post /v1/links/{name}/{index}/reconnect",
                "post /v1/links/{name}/{index}/resume",
                "post /v1/links/{name}/{index}/rotate",
                "post /v1/orphans/{name}/{index}/move",
                "post /v1/reload",
                "put /v1/endpoints/{name}",
                "put /v1/endpoints/{name}/subscriptions/{key}",
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
