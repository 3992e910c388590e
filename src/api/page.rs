//! `GET /`: the status page, a handful of embedded files that ask the API as any client does.
//!
//! The files hold no data, so they need no token; what they show is asked for with the reader's own. Nothing of a peer is
//! ever written into them, and their policy lets a browser run no script but theirs, from nowhere but here.

use axum::{
    extract::Path,
    response::{Html, IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, header};

use super::problem::Problem;

/// Where the page's files are.
pub(super) const PATH: &str = "/page/{file}";
const FOLDER: &str = "/page/";

/// Scripts and styles from this origin only, none of them inline; no text becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// Name, type and content of each file.
const FILES: &[(&str, &str, &str)] = &[
    ("page.css", STYLE, include_str!("page/page.css")),
    ("link.css", STYLE, include_str!("page/link.css")),
    ("icon.svg", PICTURE, include_str!("page/icon.svg")),
    ("theme.js", SCRIPT, include_str!("page/theme.js")),
    ("main.js", SCRIPT, include_str!("page/main.js")),
    ("daemon.js", SCRIPT, include_str!("page/daemon.js")),
    ("stream.js", SCRIPT, include_str!("page/stream.js")),
    ("keeper.js", SCRIPT, include_str!("page/keeper.js")),
    ("pool.js", SCRIPT, include_str!("page/pool.js")),
    ("dom.js", SCRIPT, include_str!("page/dom.js")),
    ("words.js", SCRIPT, include_str!("page/words.js")),
    ("head.js", SCRIPT, include_str!("page/head.js")),
    ("trouble.js", SCRIPT, include_str!("page/trouble.js")),
    ("dialog.js", SCRIPT, include_str!("page/dialog.js")),
    ("place.js", SCRIPT, include_str!("page/place.js")),
    ("about.js", SCRIPT, include_str!("page/about.js")),
    ("send.js", SCRIPT, include_str!("page/send.js")),
    ("receipt.js", SCRIPT, include_str!("page/receipt.js")),
    ("tail.js", SCRIPT, include_str!("page/tail.js")),
    ("tape.js", SCRIPT, include_str!("page/tape.js")),
    ("pretty.js", SCRIPT, include_str!("page/pretty.js")),
    ("letters.js", SCRIPT, include_str!("page/letters.js")),
    ("configuration.js", SCRIPT, include_str!("page/configuration.js")),
    ("subscriptions.js", SCRIPT, include_str!("page/subscriptions.js")),
    ("steps.js", SCRIPT, include_str!("page/steps.js")),
    ("work.css", STYLE, include_str!("page/work.css")),
    ("grid.js", SCRIPT, include_str!("page/grid.js")),
    ("links.js", SCRIPT, include_str!("page/links.js")),
    ("endpoints.js", SCRIPT, include_str!("page/endpoints.js")),
    ("events.js", SCRIPT, include_str!("page/events.js")),
    ("link.js", SCRIPT, include_str!("page/link.js")),
    ("timeline.js", SCRIPT, include_str!("page/timeline.js")),
    ("plot.js", SCRIPT, include_str!("page/plot.js")),
    ("verbs.js", SCRIPT, include_str!("page/verbs.js")),
];

/// Whether this path is the page's or one of its files'.
pub(super) fn is_at(path: &str) -> bool {
    path == "/" || path.starts_with(FOLDER)
}

/// `GET /`
#[cfg_attr(test, utoipa::path(get, path = "/", tag = "daemon", operation_id = "page",
    responses((status = 200, description = "The status page, for people.", body = String, content_type = "text/html"), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = super::wire::Problem))))]
pub(super) async fn page() -> Response {
    sealed(Html(include_str!("page/index.html")).into_response())
}

/// A file of it.
pub(super) async fn file(Path(name): Path<String>) -> Result<Response, Problem> {
    let (_, kind, text) = FILES
        .iter()
        .find(|(known, ..)| *known == name)
        .ok_or_else(|| Problem::not_found(format!("the status page has no file {name:?}; it is at /")))?;
    Ok(sealed(([(header::CONTENT_TYPE, *kind)], *text).into_response()))
}

fn sealed(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `word("…")` and its like name, up to the closing quote.
    fn named<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
        text.split(before).skip(1).filter_map(|rest| rest.split(['"', '\'']).next())
    }

    #[test]
    fn every_file_that_the_page_names_is_there_and_every_one_there_is_named() {
        let mut wanted: Vec<&str> = named(include_str!("page/index.html"), "=\"page/").collect();
        for (_, _, text) in FILES {
            wanted.extend(named(text, "from './"));
        }
        for name in &wanted {
            assert!(FILES.iter().any(|(known, ..)| known == name), "{name} is named and not there");
        }
        for (name, ..) in FILES {
            assert!(wanted.contains(name), "{name} is there and never named");
        }
    }

    #[test]
    fn no_script_makes_markup_of_text() {
        for (name, _, text) in FILES {
            for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
                assert!(!text.contains(word), "{name}: {word}");
            }
        }
    }

    #[test]
    fn the_files_of_the_page_are_small_and_say_what_they_are_for() {
        for (name, kind, text) in FILES {
            assert!(text.lines().count() < 400, "{name} is long: name the part that wants out");
            assert!(*kind == PICTURE || text.starts_with("/* ") || text.starts_with("// "), "{name} opens without why");
        }
    }
}
