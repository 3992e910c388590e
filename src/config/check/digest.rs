//! `digest`: user and password for servers that ask for Digest authentication.
//!
//! What a reader would get wrong: the two are read at each attempt as all secrets are, so what a reference gives is not judged here.

use super::{request, section::Section};
use crate::config::{
    ConfiguredEndpoint,
    table::{kinds::Over, value::Part},
};
use http::header::AUTHORIZATION;
use wskeeper_link::endpoint::{
    Digest,
    http2::Mode,
    template::{Redaction, Template},
    url::Target,
};

/// `user`, which reads `password` with it.
pub(in crate::config) static USER: Part<ConfiguredEndpoint, Over<Option<Template>>> = Part {
    read: credentials,
    is_same: |one, other| one.digest == other.digest,
    of: |endpoint| endpoint.digest.as_ref().map(|digest| digest.user.clone()),
    kind: Over(|_, _| {}),
};

/// `password`
pub(in crate::config) static PASSWORD: Part<ConfiguredEndpoint, Over<Option<Template>>> = Part {
    read: |_, _| {},
    is_same: |_, _| true,
    of: |endpoint| endpoint.digest.as_ref().map(|digest| digest.password.clone()),
    kind: Over(|_, _| {}),
};

fn credentials(section: &Section<'_>, endpoint: &mut ConfiguredEndpoint) {
    let [user, password] = [("user", Redaction::Open), ("password", Redaction::Literals)].map(|(key, redaction)| {
        let item = section.get(key)?;
        let template = item.template()?.with_redaction(redaction);
        request::look_at_files(&item, &template);
        Some(template)
    });
    for (key, other) in [("user", "password"), ("password", "user")] {
        if section.has(key) && !section.has(other) {
            section.fault(key, format!("is of no use without `{other}`"), "give both, as texts or references");
        }
    }
    if let (Some(user), Some(password)) = (user, password) {
        if user.as_literal().is_some_and(|user| user.contains(':')) {
            section.fault("user", "has a colon, which no user may have", "leave it out: it stands before the password");
        }
        endpoint.digest = Some(Box::new(Digest { user, password }));
    }
}

/// What does not go with it.
pub(super) fn rules(section: &Section<'_>, endpoint: &ConfiguredEndpoint) {
    if endpoint.digest.is_none() {
        return;
    }
    let wrote = |key: &str| section.has(key) || section.has("digest");
    if endpoint.headers.iter().any(|(name, _)| *name == AUTHORIZATION) && wrote("headers") {
        let hint = "keep one: the header, or `digest`";
        section.fault("digest", "`headers.Authorization` is given, and stands in place of any answer", hint);
    }
    if endpoint.http2.mode == Mode::Require && wrote("http2") {
        let hint = "write http2 = \"auto\" or leave it out: the upgrade goes by HTTP/1.1 then";
        section.fault("digest", "Digest authentication is not answered by HTTP/2", hint);
    }
}

/// What does not go with it in URLs.
pub(super) fn look_at_urls(section: &Section<'_>, endpoint: &ConfiguredEndpoint) {
    let has_userinfo = |url: &Template| {
        url.as_literal().and_then(|text| Target::parse(&text).ok()).is_some_and(|target| target.basic_auth.is_some())
    };
    if endpoint.digest.is_some() && endpoint.urls.iter().any(has_userinfo) {
        let hint = "keep one: `digest`, whose password never leaves in clear, or the URL's, which goes as Basic before it is asked for";
        section.fault("digest", "the URL brings user and password too", hint);
    }
}

#[cfg(test)]
mod tests {
    use crate::config::check::read_keys as read;

    #[test]
    fn user_and_password_stand_together_and_alone() {
        let both = "digest = { user = 'al', password = '${env:PW}' }";
        for good in [both, "digest = { user = '${env:U}', password = 'x' }", &format!("{both}\nhttp2 = 'auto'")] {
            assert_eq!(read(good), Ok(Vec::new()), "{good}");
        }
        for (bad, told) in [
            ("digest = { user = 'al' }", "digest.user: is of no use without `password`"),
            ("digest = { password = 's3cret' }", "digest.password: is of no use without `user`"),
            ("digest = { user = 'a:b', password = 's3cret' }", "has a colon"),
            ("digest = { user = 1, password = 's3cret' }", "must be a string"),
            ("digest = { user = 'al', password = '${var:x}' }", "has no value here"),
            ("digest = { user = 'al', pass = 's3cret' }", "digest.pass"),
            ("digest = 's3cret'", "must be a section"),
            (&format!("{both}\nheaders = {{ authorization = 'Bearer s3cret' }}"), "in place of any answer"),
            (&format!("{both}\nhttp2 = 'require'"), "not answered by HTTP/2"),
        ] {
            let faults = read(bad).unwrap_err();
            assert!(faults.contains(told) && !faults.contains("s3cret"), "{bad}: {faults}");
        }
    }
}
