//! What would help where a server asks for Digest authentication.

use wskeeper_link::{endpoint::Endpoint, link::DigestTrouble};

/// What to do about a 401 of this detail; `None` where it is about something else.
pub(super) fn about_digest(detail: &str, config: &Endpoint) -> Option<String> {
    let is_authorized = config.headers.iter().any(|(name, _)| name.as_str() == "authorization");
    Some(match (DigestTrouble::of(detail)?, &config.digest) {
        (DigestTrouble::Asked, _) if is_authorized => "The server takes Digest authentication, and no other was accepted: set digest.user and \
                                                        digest.password in place of headers.Authorization."
            .into(),
        (DigestTrouble::Asked, _) => "The server takes Digest authentication: set digest.user, and digest.password to \"${file:PATH}\", which is \
                                      read at each attempt."
            .into(),
        (DigestTrouble::Refused, Some(digest)) if digest.password.has_references() => format!(
            "The server does not take the user {} with the password of {}: put the right one there; it is read at each attempt.",
            digest.user.shown(),
            digest.password.shown()
        ),
        (DigestTrouble::Refused, Some(digest)) => format!(
            "The server does not take the user {} with this password: put the right one into digest.password and reload.",
            digest.user.shown()
        ),
        (DigestTrouble::Refused, None) => {
            "The server does not take user and password of the URL: put the right ones there, percent-encoded.".into()
        }
        (DigestTrouble::Unknown, _) => "The server asks for Digest authentication in a way that is not answered here: have it take SHA-256 or MD5 \
                                        with qop=auth, and leave `http2 = \"require\"` out."
            .into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_toml;

    #[test]
    fn what_helps_with_digest_authentication_names_the_key() {
        let about = |keys: &str, detail: &str| {
            let config = parse_toml(&format!("[endpoints.a]\nurl = \"ws://h/\"\n{keys}"), "test.toml").unwrap().config;
            about_digest(
                &format!("the server answered the upgrade with status 401, not with 101{detail}"),
                &config.endpoints["a"],
            )
        };
        let (asked, refused) = (
            "; it asks for Digest authentication, and there is no user and password for it",
            "; it did not take the answer to its Digest challenge",
        );
        let known = |password: &str| format!("digest = {{ user = 'al', password = '{password}' }}");
        for (keys, detail, wanted) in [
            ("", asked, "set digest.user, and digest.password to"),
            ("headers = { Authorization = 'Bearer s3cret' }", asked, "in place of headers.Authorization"),
            (&known("${env:PW}"), refused, "the user al with the password of ${env:PW}"),
            (&known("s3cret"), refused, "digest.password and reload"),
            ("", refused, "of the URL"),
            ("", "; it asks for Digest authentication in no way that is known here", "SHA-256 or MD5"),
        ] {
            let told = about(keys, detail).unwrap();
            assert!(told.contains(wanted) && !told.contains("s3cret"), "{keys}: {told}");
        }
        assert_eq!(about("", ""), None);
    }
}
