//! Where a URL leads, by the rules of the WHATWG WebSockets Standard §3.1 (get a URL record).
//!
//! The one thing a reader would get wrong: the URL may hold credentials, so neither a [`Target`] nor a [`UrlFault`] shows
//! anything but [`Target::shown`].

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use url::{Host, Url};

use super::secret::Secret;

/// An evaluated URL, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// Normalised, scheme `ws` or `wss`, without userinfo.
    pub url: Url,
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    /// The port, also where it is the scheme's own.
    pub port: u16,
    /// Whether the scheme is `wss`.
    pub tls: bool,
    /// The value of an `Authorization` header made of the userinfo: `Basic …` (RFC 7617).
    pub basic_auth: Option<Secret>,
    /// The URL without userinfo and query, for people.
    pub shown: Arc<str>,
    /// The unix socket that it is reached on, in place of host and port.
    pub unix: Option<Arc<str>>,
}

/// Why a text is no URL to connect to. Says nothing of the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// It cannot be parsed.
    #[error("it is not an absolute URL: {0}")]
    Malformed(url::ParseError),
    /// The scheme is another.
    #[error("its scheme is not one of ws, wss, http and https")]
    Scheme,
    /// It has a fragment.
    #[error("it has a fragment (`#…`), which no server is ever sent")]
    Fragment,
    /// It is to be that of an HTTP server.
    #[error("it is not the URL of an HTTP server: it begins with neither https:// nor http://")]
    NotHttp,
    /// It names no host.
    #[error("it names no host")]
    NoHost,
    /// Port 0.
    #[error("port 0 cannot be connected to")]
    Port,
    /// `ws+unix:` without the path of a socket.
    #[error("it names no unix socket by an absolute path of at most 107 bytes")]
    Socket,
}

/// Parts of a path and values of a query are taken for secrets that have as many bytes: words like `json` stand there too.
const SECRET_MIN: (usize, usize) = (8, 6);
/// What the value of `Authorization` begins with that is made of userinfo.
const BASIC: &str = "Basic ";
/// What URLs of unix sockets begin with.
pub const UNIX: &str = "ws+unix:";
/// The longest path of a socket, as the system has it.
const LONGEST_SOCKET: usize = 107;
/// What the path of a socket has encoded where it is shown: it could be taken for something else.
const NOT_IN_SOCKET: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b':').add(b'?').add(b'#');

impl Target {
    /// Reads an evaluated URL. `http` and `https` are read as `ws` and `wss`.
    ///
    /// `ws+unix:///run/x.sock:/path` is `/path` of the server on that socket.
    pub fn parse(text: &str) -> Result<Self, UrlFault> {
        if let Some(rest) = text.get(..UNIX.len()).filter(|scheme| scheme.eq_ignore_ascii_case(UNIX)) {
            return Self::on_socket(&text[rest.len()..]);
        }
        let no_host =
            |error| if error == url::ParseError::EmptyHost { UrlFault::NoHost } else { UrlFault::Malformed(error) };
        let mut url = Url::parse(text).map_err(no_host)?;
        let tls = match url.scheme() {
            "ws" | "http" => false,
            "wss" | "https" => true,
            _ => return Err(UrlFault::Scheme),
        };
        if url.fragment().is_some() {
            return Err(UrlFault::Fragment);
        }
        let basic_auth = basic_auth(&url);
        url.set_scheme(if tls { "wss" } else { "ws" }).map_err(|()| UrlFault::Scheme)?;
        url.set_username("").map_err(|()| UrlFault::NoHost)?;
        url.set_password(None).map_err(|()| UrlFault::NoHost)?;
        let host = match url.host().ok_or(UrlFault::NoHost)? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        let port = url.port_or_known_default().filter(|port| *port != 0).ok_or(UrlFault::Port)?;
        let mut shown = url.clone();
        shown.set_query(None);
        Ok(Self { host, port, tls, basic_auth, shown: shown.as_str().into(), url, unix: None })
    }

    /// Reads the evaluated URL of an HTTP server.
    pub fn http(text: &str) -> Result<Self, UrlFault> {
        let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
        match Self::parse(text) {
            Ok(_) | Err(UrlFault::Scheme) if !["https", "http"].iter().any(|one| one.eq_ignore_ascii_case(scheme)) => {
                Err(UrlFault::NotHttp)
            }
            read => read,
        }
    }

    fn on_socket(rest: &str) -> Result<Self, UrlFault> {
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (socket, path) = rest.split_once(':').unwrap_or((rest, ""));
        if socket.contains(['?', '#']) {
            return Err(UrlFault::Socket);
        }
        let socket = percent_decode_str(socket).decode_utf8().map_err(|_| UrlFault::Socket)?;
        if !socket.starts_with('/') || socket.len() > LONGEST_SOCKET || socket.contains('\0') {
            return Err(UrlFault::Socket);
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        let mut target = Self::parse(&format!("ws://localhost{slash}{path}"))?;
        target.move_to((&*socket).into());
        Ok(target)
    }

    /// It is reached on this socket.
    pub(crate) fn move_to(&mut self, socket: Arc<str>) {
        let encoded = utf8_percent_encode(&socket, NOT_IN_SOCKET);
        self.shown = format!("{UNIX}//{encoded}:{}", self.url.path()).into();
        self.unix = Some(socket);
    }

    /// Shows no more than where it leads: its path may be secret.
    pub(crate) fn hide_path(&mut self) {
        self.shown = format!("{}/***", &self.url[..url::Position::BeforePath]).into();
    }

    /// The value of the `Host` header: host, and the port where it is not the scheme's own.
    pub fn authority(&self) -> &str {
        self.url.authority()
    }

    /// User and password of the URL, where it has one of them. `None` too where they are no text.
    pub(crate) fn userinfo(&self) -> Option<(Secret, Secret)> {
        let pair = STANDARD.decode(self.basic_auth.as_ref()?.expose().strip_prefix(BASIC)?).ok()?;
        let pair = String::from_utf8(pair).ok()?;
        let (user, password) = pair.split_once(':')?;
        Some((Secret::new(user), Secret::new(password)))
    }

    /// What the request line asks for: path and query.
    pub fn request_target(&self) -> &str {
        &self.url[url::Position::BeforePath..url::Position::AfterQuery]
    }

    /// What of it a server must not be quoted with: user and password, the values of the query, and where that is wanted parts of the path.
    pub fn confidences(&self, path: bool) -> Vec<String> {
        let long = |part: &&str, least| part.len() >= least;
        let path = self.url.path().split(['/', ';', '=']).filter(|part| path && long(part, SECRET_MIN.0));
        let values = self.url.query().unwrap_or_default().split('&');
        let values = values.map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
        let url = path.chain(values.filter(|value| long(value, SECRET_MIN.1)));
        let pair = self.basic_auth.iter().filter_map(|basic| basic.expose().split_once(' ')).map(|(_, pair)| pair);
        let decoded = pair.clone().filter_map(|pair| String::from_utf8(STANDARD.decode(pair).ok()?).ok());
        let parts = decoded.flat_map(|pair| pair.splitn(2, ':').map(str::to_owned).collect::<Vec<_>>());
        url.chain(pair).map(str::to_owned).chain(parts).collect()
    }

    /// Whether the path is secret.
    pub(crate) fn hides_path(&self) -> bool {
        !self.shown.ends_with(self.url.path())
    }

    /// Whether the host is this machine by its name or address.
    pub fn is_loopback(&self) -> bool {
        match self.url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }

    /// Whether both URLs are of one origin (scheme, host, port), so that credentials for one may go to the other.
    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        (self.tls, &self.host, self.port, &self.unix) == (other.tls, &other.host, other.port, &other.unix)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.shown).finish()
    }
}

fn basic_auth(url: &Url) -> Option<Secret> {
    let password = url.password();
    if url.username().is_empty() && password.is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(password.unwrap_or_default()));
    Some(Secret::new(format!("{BASIC}{}", STANDARD.encode(pair))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        Target::parse(text).unwrap()
    }

    #[test]
    fn http_is_read_as_ws_and_case_does_not_matter() {
        assert_eq!(target("HTTP://Feed.Example").url.as_str(), "ws://feed.example/");
        assert_eq!(target("httpS://feed.example:443/a").url.as_str(), "wss://feed.example/a");
        assert_eq!(target("WS://feed.example").port, 80);
        assert_eq!(target("wSs://feed.example").port, 443);
    }

    #[test]
    fn an_empty_path_is_a_slash_and_non_ascii_is_encoded() {
        let target = target("ws://feed.example?x=ä");
        assert_eq!(target.request_target(), "/?x=%C3%A4");
        assert_eq!(&*target.shown, "ws://feed.example/");
    }

    #[test]
    fn userinfo_becomes_basic_authentication_and_is_never_shown() {
        let target = target("wss://al:o%3Apen@feed.example/v2?key=k3y");
        assert_eq!(target.basic_auth.as_ref().unwrap().expose(), "Basic YWw6bzpwZW4=");
        let (user, password) = target.userinfo().unwrap();
        assert_eq!((user.expose(), password.expose()), ("al", "o:pen"));
        assert_eq!(target.url.as_str(), "wss://feed.example/v2?key=k3y");
        assert_eq!(format!("{target:?}"), "Target(\"wss://feed.example/v2\")");
    }

    #[test]
    fn what_may_be_secret_in_a_url_is_known() {
        let url = target("wss://al:o%3Apen@h/websocket/v1;key=longer-one?encoding=json&key=hunter2&flagged");
        assert_eq!(url.confidences(false), ["hunter2", "flagged", "YWw6bzpwZW4=", "al", "o:pen"]);
        assert_eq!(url.confidences(true)[..2], ["websocket", "longer-one"]);
        assert!(!url.hides_path());
    }

    #[test]
    fn a_user_without_a_password_and_the_reverse_are_authentication_too() {
        assert_eq!(target("ws://al@h").basic_auth.unwrap().expose(), "Basic YWw6");
        assert_eq!(target("ws://:p@h").basic_auth.unwrap().expose(), "Basic OnA=");
        assert_eq!(target("ws://h").basic_auth, None);
    }

    #[test]
    fn what_cannot_be_connected_to_is_refused() {
        assert_eq!(Target::parse("ftp://h"), Err(UrlFault::Scheme));
        assert_eq!(Target::parse("feed.example:80"), Err(UrlFault::Scheme));
        assert_eq!(Target::parse("ws://h/#"), Err(UrlFault::Fragment));
        assert_eq!(Target::parse("ws://h/#x"), Err(UrlFault::Fragment));
        assert_eq!(Target::parse("ws://"), Err(UrlFault::NoHost));
        assert_eq!(Target::parse("ws://h:0"), Err(UrlFault::Port));
        assert!(matches!(Target::parse("/v2"), Err(UrlFault::Malformed(_))));
        assert!(matches!(Target::parse("ws://h:70000"), Err(UrlFault::Malformed(_))));
        assert!(matches!(Target::parse("ws://a b/"), Err(UrlFault::Malformed(_))));
    }

    #[test]
    fn the_url_of_an_http_server_is_no_other() {
        assert!(Target::http("https://h/x").is_ok() && Target::http("HTTP://h").is_ok());
        for text in ["ws://h/", "wss://h/", "ws+unix:///run/x:/", "ftp://h/"] {
            assert_eq!(Target::http(text), Err(UrlFault::NotHttp), "{text}");
        }
        assert_eq!(Target::http("https://h/#a"), Err(UrlFault::Fragment));
        assert!(matches!(Target::http("h/x"), Err(UrlFault::Malformed(_))));
        for fault in [UrlFault::NotHttp, UrlFault::Fragment, UrlFault::NoHost, UrlFault::Port] {
            assert!(!fault.to_string().to_lowercase().contains("websocket"), "{fault}");
        }
    }

    #[test]
    fn a_unix_socket_stands_in_place_of_host_and_port() {
        for (text, path, shown) in [
            ("ws+unix:///run/x.sock:/v2?k=v", "/v2?k=v", "ws+unix:///run/x.sock:/v2"),
            ("WS+UNIX:/run/x.sock:/v2", "/v2", "ws+unix:///run/x.sock:/v2"),
            ("ws+unix:///run/x.sock", "/", "ws+unix:///run/x.sock:/"),
            ("ws+unix:///run/x.sock:?k=v", "/?k=v", "ws+unix:///run/x.sock:/"),
        ] {
            let target = target(text);
            assert_eq!((target.unix.as_deref(), target.request_target()), (Some("/run/x.sock"), path), "{text}");
            assert_eq!((&*target.shown, target.authority(), target.tls), (shown, "localhost", false));
        }
        let long = format!("ws+unix:///{}", "x".repeat(107));
        for text in ["ws+unix:", "ws+unix:///", "ws+unix://run/x.sock", "ws+unix:///run/x?:/", &long] {
            let refused = Target::parse(text);
            assert!(refused == Err(UrlFault::Socket) || text == "ws+unix:///", "{text}: {refused:?}");
        }
        assert_eq!(Target::parse("ws+unix:///run/x.sock:/a#b"), Err(UrlFault::Fragment));
        let encoded = target("ws+unix:///run/a%3ab%20c%25%C3%A4.sock:/v%20w");
        assert_eq!((encoded.unix.as_deref(), encoded.request_target()), (Some("/run/a:b c%ä.sock"), "/v%20w"));
        assert_eq!(&*encoded.shown, "ws+unix:///run/a%3Ab%20c%25%C3%A4.sock:/v%20w");
        assert_eq!(target(&encoded.shown).unix, encoded.unix, "what is shown can be written");
        for text in ["ws+unix:///run/%00", "ws+unix:///run/%ff"] {
            assert_eq!(Target::parse(text), Err(UrlFault::Socket));
        }
        let (one, other) = (target("ws+unix:///run/x:/"), target("ws+unix:///run/y:/"));
        assert!(one.same_origin(&target("ws+unix:///run/x:/b")) && !one.same_origin(&other));
        assert!(!one.same_origin(&target("ws://localhost/")));
    }

    #[test]
    fn an_ipv6_host_has_brackets_in_the_header_only() {
        let target = target("ws://[::1]:9000/");
        assert_eq!((target.host.as_str(), target.authority()), ("::1", "[::1]:9000"));
        assert!(target.is_loopback());
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert!(target("wss://h/a").same_origin(&target("https://H:443/b")));
        assert!(!target("wss://h/").same_origin(&target("ws://h/")));
        assert!(!target("ws://h/").same_origin(&target("ws://h:81/")));
    }
}
