//! JSON Web Tokens in their compact form (RFC 7515 §3.1), signed by what TLS has in the tree anyway.
//!
//! What a reader would get wrong: TLS writes a signature by ECDSA as ASN.1, and a token wants its two numbers side by side (RFC 7518 §3.4).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use rustls::{
    SignatureScheme,
    crypto::ring::sign::any_supported_type,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};
use wskeeper_core::session::{Algorithm, Value};

/// A token that says these claims. `more` are further members of its header.
pub(super) fn token(algorithm: Algorithm, key: &str, claims: &Value, more: Value) -> Result<String, String> {
    let mut header = serde_json::json!({ "alg": algorithm.as_str(), "typ": "JWT" });
    if let (Value::Object(header), Value::Object(more)) = (&mut header, more) {
        header.extend(more.into_iter().filter(|(name, _)| name != "alg"));
    }
    let [header, claims] = [&header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = format!("{header}.{claims}");
    let signature = sign(algorithm, key, signed.as_bytes())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn sign(algorithm: Algorithm, key: &str, message: &[u8]) -> Result<Vec<u8>, String> {
    let scheme = match algorithm {
        Algorithm::Hs256 => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
            return Ok(hmac::sign(&key, message).as_ref().to_vec());
        }
        Algorithm::Rs256 => SignatureScheme::RSA_PKCS1_SHA256,
        Algorithm::Es256 => SignatureScheme::ECDSA_NISTP256_SHA256,
        Algorithm::EdDsa => SignatureScheme::ED25519,
    };
    // Errors of the library may quote the key.
    let der = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| "its key is no private key in PEM")?;
    let key = any_supported_type(&der).map_err(|_| "its key is none that can be used: RSA, P-256 or Ed25519")?;
    let unfit = || format!("its key is not one for {}", algorithm.as_str());
    let signature = key.choose_scheme(&[scheme]).ok_or_else(unfit)?.sign(message).map_err(|_| unfit())?;
    match algorithm {
        Algorithm::Es256 => side_by_side(&signature).ok_or_else(unfit),
        Algorithm::Hs256 | Algorithm::Rs256 | Algorithm::EdDsa => Ok(signature),
    }
}

/// `SEQUENCE { r INTEGER, s INTEGER }` as two numbers of 32 bytes.
fn side_by_side(der: &[u8]) -> Option<Vec<u8>> {
    let [0x30, _, rest @ ..] = der else { return None };
    let (r, rest) = integer(rest)?;
    let (s, _) = integer(rest)?;
    let mut both = Vec::new();
    for number in [r, s] {
        let number = number.strip_prefix(&[0]).filter(|_| number.len() > 32).unwrap_or(number);
        both.resize(both.len().saturating_add(32_usize.checked_sub(number.len())?), 0);
        both.extend_from_slice(number);
    }
    Some(both)
}

fn integer(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x02, length, rest @ ..] = der else { return None };
    rest.split_at_checked(usize::from(*length))
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey, VerificationAlgorithm};
    use serde_json::json;

    use super::*;

    fn parts(token: &str) -> (String, Vec<u8>) {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        (signed.to_owned(), URL_SAFE_NO_PAD.decode(signature).unwrap())
    }

    fn is_good(token: &str, algorithm: &'static dyn VerificationAlgorithm, public: &[u8]) -> bool {
        let (signed, signature) = parts(token);
        UnparsedPublicKey::new(algorithm, public).verify(signed.as_bytes(), &signature).is_ok()
    }

    #[test]
    fn a_signature_by_a_secret_is_that_of_rfc_7515() {
        // Appendix A.1: its octets are not as we write JSON, so they are signed as they stand.
        let key = URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let signed = b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed);
        assert_eq!(URL_SAFE_NO_PAD.encode(tag), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        let token = token(Algorithm::Hs256, "secret", &json!({ "sub": "me" }), json!({ "kid": "7", "alg": "none" }));
        let (signed, tag) = parts(&token.unwrap());
        let header = String::from_utf8(URL_SAFE_NO_PAD.decode(signed.split('.').next().unwrap()).unwrap()).unwrap();
        assert_eq!(header, r#"{"alg":"HS256","kid":"7","typ":"JWT"}"#);
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
        assert!(hmac::verify(&key, signed.as_bytes(), &tag).is_ok());
    }

    #[test]
    fn a_signature_by_ed25519_is_that_of_rfc_8037() {
        // Appendix A.1 and A.4: d, as PKCS #8 holds it, and what is signed.
        let d = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let x = URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        der.extend(&d);
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
        let signature =
            sign(Algorithm::EdDsa, &pem, b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc").unwrap();
        let wanted = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        assert_eq!(URL_SAFE_NO_PAD.encode(signature), wanted);
        let token = token(Algorithm::EdDsa, &pem, &json!({}), json!({})).unwrap();
        assert!(is_good(&token, &ED25519, &x));
    }

    #[test]
    fn a_signature_by_rsa_is_that_of_rfc_7515() {
        // Appendix A.2: the numbers of its key, as PKCS #1 holds them, and what is signed.
        let numbers = [
            "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
            "AQAB",
            "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ",
            "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc",
            "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc",
            "BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0",
            "h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU",
            "IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U",
        ];
        let length = |bytes: usize| match u8::try_from(bytes) {
            Ok(short @ 0..=127) => vec![short],
            Ok(long) => vec![0x81, long],
            Err(_) => [0x82].into_iter().chain(u16::try_from(bytes).unwrap().to_be_bytes()).collect(),
        };
        let mut within = vec![2, 1, 0];
        for number in numbers.map(|number| URL_SAFE_NO_PAD.decode(number).unwrap()) {
            let sign = number[0] >> 7;
            within.push(2);
            within.extend(length(number.len() + usize::from(sign)));
            within.extend([0].iter().take(usize::from(sign)));
            within.extend(number);
        }
        let der: Vec<u8> = [0x30].into_iter().chain(length(within.len())).chain(within).collect();
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        let pem = format!("-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----\n");
        let signed = b"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = sign(Algorithm::Rs256, &pem, signed).unwrap();
        let wanted = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        assert_eq!(URL_SAFE_NO_PAD.encode(signature), wanted);
    }

    #[test]
    fn a_signature_by_p256_is_two_numbers_side_by_side() {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        for _ in 0..64 {
            let token = token(Algorithm::Es256, &pair.serialize_pem(), &json!({ "a": 1 }), json!({})).unwrap();
            assert_eq!(parts(&token).1.len(), 64);
            assert!(is_good(&token, &ECDSA_P256_SHA256_FIXED, pair.public_key_raw()));
        }
        assert_eq!(side_by_side(&[0x30, 6, 2, 1, 1, 2, 1, 2]).unwrap()[31..33], [1, 0]);
    }

    #[test]
    fn a_key_that_does_not_fit_is_refused_without_a_word_of_it() {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
        for (algorithm, key, told) in [
            (Algorithm::Rs256, pair.as_str(), "its key is not one for RS256"),
            (Algorithm::Es256, "s3cret", "its key is no private key in PEM"),
        ] {
            assert_eq!(sign(algorithm, key, b"").unwrap_err(), told);
        }
    }
}
