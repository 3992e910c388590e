//! Which challenges are answered, how, and how often.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

const MD5: &str = r#"Digest realm="r", nonce="n", qop="auth""#;
const SHA: &str = r#"Digest realm="r", nonce="n2", qop="auth, auth-int", algorithm=SHA-256, opaque="o""#;

fn answered(asked: &str, url: &str) -> Option<String> {
    let target = Target::parse(url).unwrap();
    let credentials = Credentials { user: Secret::new("al"), password: Secret::new("o:pen") };
    let answer = KnownChallenge::new(&target, Challenge::strongest(asked)?).answer(&target, &credentials)?;
    Some(answer.expose().to_owned())
}

#[test]
fn the_strongest_of_the_challenges_is_answered_whatever_their_order() {
    for asked in [format!("{MD5}\n{SHA}"), format!("{SHA}, {MD5}"), format!("Basic realm=\"b\", {MD5}, {SHA}")] {
        let answer = answered(&asked, "ws://h/v2?k=v").unwrap();
        for part in [
            "username=\"al\"",
            "uri=\"/v2?k=v\"",
            "nonce=\"n2\"",
            "algorithm=SHA-256",
            "qop=auth,",
            "nc=00000001",
            "opaque=\"o\"",
        ] {
            assert!(answer.starts_with("Digest ") && answer.contains(part), "{part}: {answer}");
        }
    }
    assert!(answered(MD5, "ws://h/").unwrap().contains("algorithm=MD5"));
    assert!(!answered(r#"Digest realm="r", nonce="n""#, "ws://h/").unwrap().contains("qop"), "as RFC 2069 has it");
    for unknown in [
        "Digest",
        "Basic realm=\"digest\"",
        "Digest realm=\"r\"",
        "Digest realm=\"r\", nonce=\"n\", algorithm=SHA-3",
        "Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\"",
        "",
    ] {
        assert_eq!(answered(unknown, "ws://h/"), None, "{unknown}");
    }
}

#[test]
fn an_answer_is_for_the_server_that_asked_and_counts_the_uses_of_its_nonce() {
    let here = Target::parse("wss://h/").unwrap();
    let credentials = Credentials { user: Secret::new("al"), password: Secret::new("hunter2") };
    let mut known = KnownChallenge::new(&here, Challenge::strongest(SHA).unwrap());
    for count in ["nc=00000001", "nc=00000002"] {
        let answer = known.answer(&here, &credentials).unwrap();
        assert!(answer.expose().contains(count) && !answer.expose().contains("hunter2"), "{}", answer.expose());
    }
    for other in ["ws://h/", "wss://h:8443/", "wss://i/"] {
        assert!(known.answer(&Target::parse(other).unwrap(), &credentials).is_none(), "{other}");
    }
    assert!(!format!("{credentials:?}").contains("hunter2"));
}

#[test]
fn a_challenge_is_answered_once_and_once_more_where_only_its_nonce_had_had_its_day() {
    let (fresh, stale) =
        (Challenge::strongest(MD5).unwrap(), Challenge::strongest(&format!("{MD5}, stale=true")).unwrap());
    let run = |challenges: &[&Challenge]| {
        let mut answers = AnswersGiven::default();
        challenges.iter().map(|challenge| answers.again(challenge)).collect::<Vec<_>>()
    };
    assert_eq!(run(&[&fresh, &fresh, &fresh]), [true, false, false]);
    assert_eq!(run(&[&fresh, &stale, &stale, &stale]), [true, true, false, false]);
    assert_eq!(run(&[&stale, &stale, &fresh]), [true, true, false]);
}

#[test]
fn of_a_refusal_the_lines_that_name_digest_are_looked_at() {
    let mut headers = HeaderMap::new();
    assert_eq!(asked(&headers), None);
    for line in ["Basic realm=\"x\"", "dIGEST realm=\"r\"", SHA] {
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(line).unwrap());
    }
    assert_eq!(asked(&headers).as_deref(), Some(&*format!("dIGEST realm=\"r\"\n{SHA}")));
    for (told, trouble) in
        [(ASKED, DigestTrouble::Asked), (REFUSED, DigestTrouble::Refused), (UNKNOWN, DigestTrouble::Unknown)]
    {
        assert_eq!(DigestTrouble::of(&format!("the server answered 401{told}")), Some(trouble));
    }
    assert_eq!(DigestTrouble::of("the server answered 401"), None);
}

proptest! {
    /// Whatever a server asks for, it is answered with a value that a header may have, or not at all.
    #[test]
    fn whatever_is_asked_for_an_answer_can_be_sent(
        asked in "(Digest|Basic|)[ ,]{0,2}((realm|nonce|qop|algorithm|stale|opaque|userhash|x)=?(\"[ -~]{0,9}\"?|auth|MD5|SHA-256-sess|true|[a-z,=]{0,5})[, ]{0,2}){0,7}",
        user in "\\PC{0,9}",
    ) {
        let target = Target::parse("ws://h/").unwrap();
        let credentials = Credentials { user: Secret::new(user), password: Secret::new("p") };
        let known = Challenge::strongest(&asked).map(|challenge| KnownChallenge::new(&target, challenge));
        if let Some(answer) = known.and_then(|mut known| known.answer(&target, &credentials)) {
            prop_assert!(HeaderValue::from_str(answer.expose()).is_ok(), "{}", answer.expose());
        }
    }
}
