//! The cookies of a link, in memory: what servers set with the 101 or a refusal goes back to them with the next upgrade (RFC 6265).
//!
//! What a reader would get wrong: a cookie goes to the host that set it and to no other, whatever its `Domain`, so that no list of public
//! suffixes is needed. And a jar is small, for it is there for balancers that would have a client come back to where it was.

use cookie_store::{Cookie, CookieDomain, CookieStore};
use http::{HeaderMap, header::SET_COOKIE};
use parking_lot::Mutex;
use url::Url;

use crate::endpoint::{Secret, url::Target};

/// A longer `Set-Cookie` is not looked at, in bytes.
const LONGEST: usize = 4 << 10;
/// So many are kept.
const MOST: usize = 50;
/// And so many bytes of what set them.
const MOST_BYTES: usize = 16 << 10;

/// The cookies of a link.
#[derive(Default)]
pub(in crate::link) struct Jar(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    store: CookieStore,
    /// The place of each cookie and the bytes that set it, the oldest first.
    order: Vec<(Place, usize)>,
}

/// What makes two cookies one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    host: Box<str>,
    path: Box<str>,
    name: Box<str>,
}

impl Jar {
    /// What goes to this server, as the value of `Cookie`; without the names that `own`, the value of the user's, has.
    pub(in crate::link) fn header(&self, target: &Target, own: Option<&str>) -> Option<Secret> {
        let url = http(target);
        let own: Vec<&str> = own.into_iter().flat_map(names).collect();
        let kept = self.0.lock();
        let is_sent = |cookie: &&Cookie<'_>| {
            // The crate would have it for this machine without TLS, too.
            (target.tls || cookie.secure() != Some(true)) && !own.contains(&cookie.name())
        };
        let mut cookies: Vec<_> = kept.store.matches(&url).into_iter().filter(is_sent).collect();
        // RFC 6265 §5.4: longer paths first, then those that are older.
        cookies.sort_by_key(|cookie| (std::cmp::Reverse(cookie.path.len()), kept.age(&Place::of(cookie))));
        let pairs: Vec<String> = cookies.iter().map(|cookie| format!("{}={}", cookie.name(), cookie.value())).collect();
        (!pairs.is_empty()).then(|| Secret::new(pairs.join("; ")))
    }

    /// Keeps what this server has set. What is no cookie, or none that it may set, is left aside.
    pub(in crate::link) fn keep(&self, headers: &HeaderMap, target: &Target) {
        let set = headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
        for cookie in set.filter(|cookie| cookie.len() <= LONGEST) {
            self.0.lock().set(cookie, target);
        }
    }

    /// How many there are that have not expired.
    pub(super) fn len(&self) -> usize {
        self.0.lock().store.iter_unexpired().count()
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        *self.0.lock() = Kept::default();
    }
}

impl Kept {
    fn set(&mut self, text: &str, target: &Target) {
        let url = http(target);
        let Ok(mut cookie) = Cookie::parse(text, &url).map(Cookie::into_owned) else { return };
        if !may_be_set(&cookie, target) {
            return;
        }
        let Ok(host) = CookieDomain::host_only(&url) else { return };
        cookie.domain = host;
        let place = Place::of(&cookie);
        let is_that = |other: &Cookie<'_>| other.name() == cookie.name() && other.domain == cookie.domain;
        if !target.tls && self.store.iter_any().any(|other| is_secure(other) && is_that(other)) {
            return;
        }
        // Its age is that of the one whose place it takes. One that ends another is marked or refused, and swept.
        if self.store.insert(cookie, &url).is_ok() {
            match self.order.iter_mut().find(|(other, _)| *other == place) {
                Some((_, bytes)) => *bytes = text.len(),
                None => self.order.push((place, text.len())),
            }
        }
        self.sweep();
    }

    /// Lets go of what has expired, and of the oldest where there is too much.
    fn sweep(&mut self) {
        let Self { store, order } = self;
        order.retain(|(place, _)| {
            let is_there = store.get(&place.host, &place.path, &place.name).is_some();
            if !is_there {
                store.remove(&place.host, &place.path, &place.name);
            }
            is_there
        });
        let bytes = |order: &[(Place, usize)]| order.iter().map(|(_, bytes)| bytes).sum::<usize>();
        while order.len() > MOST || bytes(order) > MOST_BYTES {
            let (oldest, _) = order.remove(0);
            store.remove(&oldest.host, &oldest.path, &oldest.name);
        }
    }

    fn age(&self, place: &Place) -> usize {
        self.order.iter().position(|(other, _)| other == place).unwrap_or(usize::MAX)
    }
}

impl Place {
    fn of(cookie: &Cookie<'_>) -> Self {
        let host = cookie.domain.as_cow().unwrap_or_default();
        Self { host: (*host).into(), path: (*cookie.path).into(), name: cookie.name().into() }
    }
}

/// RFC 6265bis §5.7: what promises TLS is set over TLS, and what its name promises holds.
fn may_be_set(cookie: &Cookie<'_>, target: &Target) -> bool {
    let has_prefix =
        |prefix: &str| cookie.name().get(..prefix.len()).is_some_and(|name| name.eq_ignore_ascii_case(prefix));
    if is_secure(cookie) && !target.tls {
        return false;
    }
    let is_at_root = &*cookie.path == "/" && cookie.path.is_from_path_attr();
    let is_for_host = !matches!(cookie.domain, CookieDomain::Suffix(_));
    (!has_prefix("__Secure-") || is_secure(cookie))
        && (!has_prefix("__Host-") || is_secure(cookie) && is_at_root && is_for_host)
}

fn is_secure(cookie: &Cookie<'_>) -> bool {
    cookie.secure() == Some(true)
}

/// The names in the value of a `Cookie`.
fn names(value: &str) -> impl Iterator<Item = &str> {
    value.split(';').map(|pair| pair.split('=').next().unwrap_or_default().trim())
}

/// Cookies know HTTP's schemes only.
fn http(target: &Target) -> Url {
    let mut url = target.url.clone();
    // Both are special schemes, so it can be set.
    let _ = url.set_scheme(if target.tls { "https" } else { "http" });
    url
}

#[cfg(test)]
mod tests;
