//! Proxies as they are written, and as an environment names them.

use std::path::Path;

use super::*;
use crate::endpoint::Redaction;

fn environment<'v>(variables: &'v [(&'v str, &'v str)]) -> impl Fn(&str) -> Option<String> + 'v {
    |name| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
}

fn written(url: &str) -> Proxy {
    let url = Template::parse(url, Path::new("")).unwrap().with_redaction(Redaction::Url);
    Proxy { choice: ProxyChoice::Url(url), ..Proxy::default() }
}

#[test]
fn a_proxy_s_url_says_how_it_is_spoken_to_and_has_the_port_of_its_scheme() {
    for (text, scheme, shown) in [
        ("http://p.example", ProxyScheme::Http, "http://p.example:80"),
        ("HTTP://P.Example:3128/", ProxyScheme::Http, "http://p.example:3128"),
        ("https://p.example", ProxyScheme::Https, "https://p.example:443"),
        ("https://p.example:80", ProxyScheme::Https, "https://p.example:80"),
        ("socks5://10.0.0.1", ProxyScheme::Socks5, "socks5://10.0.0.1:1080"),
        ("socks5h://[::1]:80", ProxyScheme::Socks5h, "socks5h://[::1]:80"),
        ("socks5h://P.example:443", ProxyScheme::Socks5h, "socks5h://p.example:443"),
    ] {
        let via = Via::parse(text).unwrap();
        assert_eq!((via.scheme, &*via.shown), (scheme, shown));
    }
    let long = format!("socks5://{}:p@h", "u".repeat(256));
    for (text, fault) in [
        ("p.example:3128", ProxyFault::Scheme),
        ("ftp://p.example", ProxyFault::Scheme),
        ("socks4://p.example", ProxyFault::Scheme),
        ("http://p.example/x", ProxyFault::Path),
        ("http://p.example?x", ProxyFault::Path),
        ("socks5://p.example#x", ProxyFault::Path),
        ("http://p.example:0", ProxyFault::Port),
        ("socks5://u@h", ProxyFault::Credentials),
        (&long, ProxyFault::Credentials),
    ] {
        assert_eq!(Via::parse(text), Err(fault), "{text}");
    }
    assert!(matches!(Via::parse("http://"), Err(ProxyFault::Malformed(_))));
    assert!(matches!(Via::parse("http://h:70000"), Err(ProxyFault::Malformed(_))));
}

#[test]
fn user_and_password_are_decoded_and_never_shown() {
    let via = Via::parse("http://al%40ice:o%3Apen%2F@p.example:3128").unwrap();
    let (user, password) = via.credentials.as_ref().unwrap();
    assert_eq!((user.expose(), password.expose()), ("al@ice", "o:pen/"));
    assert_eq!(via.basic_auth().unwrap().expose(), format!("Basic {}", STANDARD.encode("al@ice:o:pen/")));
    let shown = format!("{via:?} {:?}", via.credentials);
    assert!(!shown.contains("open") && !shown.contains("ice") && !shown.contains("pen"), "{shown}");
}

#[test]
fn references_for_user_and_password_may_hold_any_character() {
    let target = Target::parse("wss://feed.example/").unwrap();
    let variables = [("U", "al@ice"), ("P", "a/b%2F?#:[ä"), ("URL", "socks5h://u:p%40@q.example")];
    let environment = environment(&variables);
    let via = |url: &str| written(url).way_by(&target, &environment).unwrap().unwrap();
    let of_parts = via("http://${env:U}:${env:P}@p.example:3128");
    let (user, password) = of_parts.credentials.as_ref().unwrap();
    assert_eq!((user.expose(), password.expose()), ("al@ice", "a/b%2F?#:[ä"));
    assert_eq!(&*of_parts.shown, "http://p.example:3128");
    let whole = via("${env:URL}");
    assert_eq!((&*whole.shown, whole.credentials.as_ref().unwrap().1.expose()), ("socks5h://q.example:1080", "p@"));
    let missing = written("http://u:${env:NONE}@p.example").way_by(&target, &environment).unwrap_err();
    assert!(matches!(missing, NoProxy::Secret(_)) && !missing.to_string().contains("p.example"));
    let wrong = written("${env:P}").way_by(&target, &environment).unwrap_err().to_string();
    assert!(wrong.contains("proxy cannot be used: its scheme") && !wrong.contains("%2F"), "{wrong}");
    assert_eq!(written("http://u:s3cret@p.example:3128").shown_for("").as_deref(), Some("http://p.example:3128"));
}

#[test]
fn the_environment_names_a_proxy_for_each_scheme_and_says_for_whom_it_is_not() {
    let by = |url: &str, variables: &[(&str, &str)]| {
        let proxy = Proxy { choice: ProxyChoice::Environment, ..Proxy::default() };
        let via = proxy.way_by(&Target::parse(url).unwrap(), &environment(variables));
        via.map(|via| via.map(|via| via.shown.to_string())).map_err(|error| error.to_string())
    };
    let to = |place: &str| Ok(Some(place.to_owned()));
    let (secure, plain) = ("wss://a.example/", "ws://a.example/");
    assert_eq!(by(secure, &[]), Ok(None));
    assert_eq!(by(secure, &[("HTTPS_PROXY", "p:3128")]), to("http://p:3128"));
    assert_eq!(by(secure, &[("HTTPS_PROXY", "http://q"), ("https_proxy", "socks5h://p")]), to("socks5h://p:1080"));
    assert_eq!(by(secure, &[("HTTP_PROXY", "http://p")]), Ok(None));
    assert_eq!(by(plain, &[("HTTP_PROXY", "http://p")]), to("http://p:80"));
    assert_eq!(by(plain, &[("HTTP_PROXY", "http://p"), ("REQUEST_METHOD", "GET")]), Ok(None));
    assert_eq!(by(plain, &[("ALL_PROXY", "socks5://p:9")]), to("socks5://p:9"));
    assert_eq!(by(secure, &[("ALL_PROXY", "http://q"), ("HTTPS_PROXY", " ")]), to("http://q:80"));
    let except = |list| [("ALL_PROXY", "http://p"), ("NO_PROXY", list)];
    assert_eq!(by(secure, &except("b.example")), to("http://p:80"));
    assert_eq!(by(secure, &except("a.example:443")), Ok(None));
    assert_eq!(by("wss://10.1.1.1/", &except("10.0.0.0/8")), Ok(None));
    let wrong = by(secure, &[("HTTPS_PROXY", "ftp://u:s3cret@p")]).unwrap_err();
    assert!(wrong.starts_with("HTTPS_PROXY of the environment cannot be used: ") && !wrong.contains("s3cret"));
}
