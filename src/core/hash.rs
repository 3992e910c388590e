//! One number for a text, the same on every machine and in every version: what takes a link by a key, or an owner by a name.
//!
//! What a reader would get wrong: another number for the same text moves keys to other links. So the function and its key are fixed here,
//! where std may change those of its `DefaultHasher`. It is no secret, and no defence against texts that somebody chooses.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

/// SipHash-1-3 of the texts in their order, each with 0xff behind it, which no text has in it. Its key is zero.
pub fn stable<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut hasher = SipHasher13::new();
    for text in texts {
        hasher.write(text.as_bytes());
        hasher.write(&[0xff]);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::stable;

    #[test]
    fn a_text_has_the_number_that_it_has_always_had() {
        let recorded: [(&[&str], u64); 8] = [
            (&[], 0xd1fb_a762_150c_532c),
            (&[""], 0x3040_6ea5_23c5_3def),
            (&["a"], 0x719b_50b9_a4f0_e9f3),
            (&["order-17"], 0x373b_757d_e172_b978),
            (&["Größe"], 0x80dc_feac_501f_b338),
            (&["0123456789abcdef0123456789abcdef"], 0xb7fc_4b7c_afcb_cea0),
            (&["a", "b"], 0xf0ae_e6ac_412c_b313),
            (&["ab", ""], 0xea1b_60cd_927f_8f83),
        ];
        for (texts, number) in recorded {
            assert_eq!(format!("{:#x}", stable(texts.iter().copied())), format!("{number:#x}"), "{texts:?}");
        }
    }

    proptest! {
        /// In few cases: it is about where texts begin and end.
        #[test]
        fn texts_that_are_cut_in_another_place_have_another_number(text in "[a-c]{1,12}", at in 0_usize..12) {
            let (one, other) = text.split_at(at.min(text.len()));
            prop_assert_ne!(stable([one, other]), stable([&*text]));
        }
    }
}
