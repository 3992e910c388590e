//! What the daemon refuses, in the words of the command line: verbs and options, not HTTP routes and headers.
//!
//! What a reader would get wrong: the daemon's sentences are kept as they are but for the routes in them, so that both say the
//! same. Only a name that is not there is looked for again here, to say which was probably meant.

use serde_json::Value;

use super::{
    Failure,
    args::{DeadVerb, EndpointsVerb, LinkName, OrphansVerb, Remote, Verb},
    client::{Client, ClientError, Problem, escape},
    words,
};
use crate::api::wire::Link;

/// What the API says, and what stands for it here.
const WORDS: [(&str, &str); 12] = [
    ("GET the list of subscriptions to see who holds what", "`wskeeper subscriptions` says who holds what"),
    ("GET /v1/endpoints lists them", "`wskeeper status` lists them"),
    ("GET /v1/links lists them", "`wskeeper status --links` lists them"),
    ("GET /v1/dead-letters lists them", "`wskeeper dead list` lists them"),
    ("GET /v1/orphans lists what", "`wskeeper orphans list` says what"),
    ("(GET /v1/endpoints)", "(`wskeeper status`)"),
    ("look at GET /v1/messages/", "its id is "),
    ("(GET /readyz)", "(`wskeeper status`)"),
    ("; GET /v1/openapi.json says what there is", ": is the daemon older than this `wskeeper`?"),
    ("; GET /v1/openapi.json says what is", ": is the daemon older than this `wskeeper`?"),
    (
        "send `Authorization: Bearer TOKEN` with one of api.tokens",
        "give one of the daemon's api.tokens: --token-file PATH, or WSKEEPER_TOKEN",
    ),
    (
        "this token is none of api.tokens",
        "the token given is none of the daemon's api.tokens: look at --token-file, WSKEEPER_TOKEN_FILE and WSKEEPER_TOKEN",
    ),
];

/// Where orphans are to go there is no link, or none that keeps its messages on disk.
const NO_HOME: &str = "urn:wskeeper:problem:no-such-home";
/// Names that are listed where none is near.
const LISTED: usize = 5;

/// A sentence of the API as the command line says it.
pub(super) fn in_words(detail: &str) -> String {
    WORDS.iter().fold(detail.to_owned(), |said, (api, here)| said.replace(api, here))
}

/// What a verb is about.
#[derive(Debug)]
pub(super) enum Subject {
    Nothing,
    Endpoint(String),
    Link(LinkName),
}

impl Subject {
    pub(super) fn of(verb: &Verb) -> Self {
        let endpoint = |name: &Option<String>| name.clone().map_or(Self::Nothing, Self::Endpoint);
        match verb {
            Verb::Status(args) => endpoint(&args.endpoint),
            Verb::Send(args) => match args.link {
                Some(index) => Self::Link(LinkName { endpoint: args.endpoint.clone(), index }),
                None => Self::Endpoint(args.endpoint.clone()),
            },
            Verb::Request(args) => match args.link {
                Some(index) => Self::Link(LinkName { endpoint: args.endpoint.clone(), index }),
                None => Self::Endpoint(args.endpoint.clone()),
            },
            Verb::Tail(args) => Self::Endpoint(args.endpoint.clone()),
            Verb::Subscribe(args) => Self::Endpoint(args.held.endpoint.clone()),
            // Where a key is not held the endpoint may be there.
            Verb::Unsubscribe(args) => Self::Endpoint(args.held.endpoint.clone()),
            Verb::Subscriptions(args) => Self::Endpoint(args.endpoint.clone()),
            Verb::Explain(args)
            | Verb::Reconnect(args)
            | Verb::Rotate(args)
            | Verb::Pause(args)
            | Verb::Resume(args) => Self::Link(args.link.clone()),
            Verb::Close(args) => Self::Link(args.link.clone()),
            Verb::Chaos(args) => Self::Link(args.link.clone()),
            Verb::Endpoints(args) => match &args.verb {
                EndpointsVerb::Show(args) => Self::Endpoint(args.endpoint.clone()),
                EndpointsVerb::Remove(args) => Self::Endpoint(args.endpoint.clone()),
                // One that is put need not be there.
                EndpointsVerb::List(_) | EndpointsVerb::Put(_) => Self::Nothing,
            },
            Verb::Dead(args) => match &args.verb {
                DeadVerb::List(args) => endpoint(&args.endpoint),
                DeadVerb::Retry(args) => endpoint(&args.letters.all),
                DeadVerb::Drop(args) => endpoint(&args.letters.all),
                DeadVerb::Show(_) => Self::Nothing,
            },
            Verb::Orphans(args) => match &args.verb {
                OrphansVerb::Move(args) => Self::Link(args.to.clone()),
                // Orphans are of links that are not there.
                OrphansVerb::List(_) | OrphansVerb::Discard(_) => Self::Nothing,
            },
            Verb::Run(_)
            | Verb::Demo(_)
            | Verb::Check(_)
            | Verb::Presets(_)
            | Verb::Rehearse(_)
            | Verb::Plan(_)
            | Verb::Reload(_)
            | Verb::Echo(_)
            | Verb::Completions(_)
            | Verb::Connect(_)
            | Verb::Man(_) => Self::Nothing,
        }
    }
}

/// A refusal with what to do about it.
pub(super) async fn explained(problem: Problem, subject: &Subject, remote: &Remote) -> Failure {
    let is_missing = problem.status == 404 && problem.is_ours() || problem.r#type == NO_HOME;
    if is_missing && let Some(said) = missing(subject, remote).await {
        return Failure::Failed(said);
    }
    if problem.is_forbidden() {
        return Failure::Failed(format!("{problem}; give another with --token-file PATH or WSKEEPER_TOKEN"));
    }
    ClientError::Problem(problem).into()
}

/// Which endpoint or link is not there, and which may have been meant; `None` where that cannot be said.
async fn missing(subject: &Subject, remote: &Remote) -> Option<String> {
    let (name, link) = match subject {
        Subject::Nothing => return None,
        Subject::Endpoint(name) => (name, None),
        Subject::Link(link) => (&link.endpoint, Some(link)),
    };
    let mut client = Client::new(remote).ok()?;
    let endpoints: Vec<Value> = client.pages("/v1/endpoints?limit=1000").await.ok()?;
    let names: Vec<&str> = endpoints.iter().filter_map(|endpoint| endpoint.get("name")?.as_str()).collect();
    if !names.contains(&name.as_str()) {
        return Some(format!("no endpoint is named {name:?}; {}", nearest(name, &names)));
    }
    let link = link?;
    let links: Vec<Link> = client.pages(&format!("/v1/links?limit=1000&endpoint={}", escape(name))).await.ok()?;
    let last = links.iter().map(|link| link.index).max()?;
    if links.iter().any(|other| other.index == link.index) {
        return None;
    }
    let range = if last == 0 { format!("{name}/0") } else { format!("{name}/0 to {name}/{last}") };
    Some(format!("there is no link {link}: {name} has {}, {range}", words::count(links.len() as u64, "link")))
}

fn nearest(name: &str, names: &[&str]) -> String {
    let lower = name.to_lowercase();
    let near = names
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&lower, &known.to_lowercase()), *known))
        .filter(|(distance, known)| *distance <= (known.len() / 3).clamp(1, 3))
        .min();
    if let Some((_, near)) = near {
        return format!("did you mean {near:?}?");
    }
    match names.len() {
        0 => "the configuration has none".into(),
        count if count <= LISTED => format!("there are: {}", names.join(", ")),
        count => format!(
            "there are: {} and {} more; `wskeeper status` lists them",
            names[..LISTED].join(", "),
            count - LISTED
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
            }
        }
    }

    #[test]
    fn no_route_that_the_daemon_names_in_a_refusal_reaches_a_person_at_the_command_line() {
        let mut found = Vec::new();
        for room in ["api", "link/pool", "link/store"] {
            sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room), &mut found);
        }
        let mut routes = 0;
        for (path, text) in &found {
            let is_test = path.contains("/tests") || path.contains("/explain");
            for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//") && !is_test) {
                if ["GET /", "POST /", "PUT /", "DELETE /"].iter().any(|method| line.contains(method))
                    && line.contains('"')
                {
                    routes += 1;
                    let said = in_words(line);
                    let is_left = ["GET /", "POST /", "PUT /", "DELETE /"].iter().any(|method| said.contains(method));
                    assert!(!is_left, "{path}: {line}");
                }
            }
        }
        assert!(routes > 5, "only {routes} were found");
    }

    #[test]
    fn the_nearest_name_is_suggested_else_those_there_are() {
        assert_eq!(nearest("trade", &["trades", "orders"]), "did you mean \"trades\"?");
        assert_eq!(nearest("ORDERS", &["trades", "orders"]), "did you mean \"orders\"?");
        assert_eq!(nearest("zzz", &["trades", "orders"]), "there are: trades, orders");
        assert_eq!(nearest("a", &[]), "the configuration has none");
        let many = ["one", "two", "three", "four", "five", "six", "seven"];
        assert_eq!(
            nearest("zzzzzz", &many),
            "there are: one, two, three, four, five and 2 more; `wskeeper status` lists them"
        );
    }
}
