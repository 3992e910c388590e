//! The signature of a request: Standard Webhooks, version 1.
//!
//! What a reader would get wrong: a secret with `whsec_` before it is base64, and one without is taken as its text.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;

use crate::config::push::signing_key;

/// Signs `id.timestamp.body`; as the header has it.
pub(super) fn sign(secret: &str, id: &str, timestamp: u64, body: &[u8]) -> Result<String, String> {
    let key = signing_key(secret).map_err(|fault| format!("its secret {fault}"))?;
    let mut signing = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key));
    signing.update(format!("{id}.{timestamp}.").as_bytes());
    signing.update(body);
    Ok(format!("v1,{}", STANDARD.encode(signing.sign())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_standards_own_example() {
        // https://github.com/standard-webhooks/standard-webhooks, tests of its libraries.
        let signed = sign(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(["whsec_***", "whsec_", ""].into_iter().all(|secret| sign(secret, "a", 1, b"").is_err()));
        assert_ne!(sign("text", "a", 1, b"x"), sign("text", "a", 1, b"y"));
    }
}
