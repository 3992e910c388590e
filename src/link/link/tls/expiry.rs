//! When a certificate expires, read from its DER.
//!
//! What is read here is for a metric only: whether a certificate is good was decided in the handshake. A peer's certificate
//! is a stranger's bytes; one that cannot be read has no date, and is no failure.

use std::time::Duration;

use der::{
    Decode, Reader, SliceReader, Tag,
    asn1::{GeneralizedTime, UtcTime},
};
use rustls::pki_types::CertificateDer;

/// When the first certificate of a chain expires, in seconds since 1970.
pub(super) fn of(chain: &[CertificateDer<'_>]) -> Option<i64> {
    let mut certificate = SliceReader::new(chain.first()?).ok()?;
    let end = certificate.sequence(in_certificate).ok()?;
    i64::try_from(end.as_secs()).ok()
}

/// RFC 5280 §4.1: what is signed, and the signature.
fn in_certificate(certificate: &mut SliceReader<'_>) -> der::Result<Duration> {
    let end = certificate.sequence(in_signed_part)?;
    certificate.drain(certificate.remaining_len())?;
    Ok(end)
}

fn in_signed_part(part: &mut SliceReader<'_>) -> der::Result<Duration> {
    // The version, which the first one leaves out.
    if Tag::peek(part)?.is_context_specific() {
        part.tlv_bytes()?;
    }
    for _skipped in ["serialNumber", "signature", "issuer"] {
        part.tlv_bytes()?;
    }
    let end = part.sequence(in_validity)?;
    part.drain(part.remaining_len())?;
    Ok(end)
}

fn in_validity(validity: &mut SliceReader<'_>) -> der::Result<Duration> {
    let _not_before = validity.tlv_bytes()?;
    if Tag::peek(validity)? == Tag::UtcTime {
        Ok(UtcTime::decode(validity)?.to_unix_duration())
    } else {
        Ok(GeneralizedTime::decode(validity)?.to_unix_duration())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(until_year: i32) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(until_year, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn expiry(der: Vec<u8>) -> Option<i64> {
        of(&[CertificateDer::from(der)])
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_forms_of_a_date() {
        assert_eq!(expiry(certificate(2030)), Some(1_893_456_000));
        // From 2050 on the year has four digits (RFC 5280 §4.1.2.5).
        assert_eq!(expiry(certificate(2060)), Some(2_840_140_800));
    }

    #[test]
    fn no_certificate_and_half_a_one_have_no_end() {
        assert_eq!(of(&[]), None);
        let whole = certificate(2030);
        for length in 0..whole.len() / 2 {
            assert_eq!(expiry(whole[..length].to_vec()), None, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn a_damaged_certificate_never_panics(damage in prop::collection::vec((0..4096_usize, any::<u8>()), 1..8)) {
            let mut der = certificate(2030);
            for (at, byte) in damage {
                let at = at % der.len();
                der[at] = byte;
            }
            let _any = expiry(der);
        }
    }
}
