//! Each target of this package with inputs that are kept, and with such as lie near them.

use proptest::prelude::*;

use crate::replay::{kept, near};

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, ..ProptestConfig::default() }
}

#[test]
fn what_is_kept_of_the_inputs_holds() {
    for (name, target) in
        [("deflate", super::deflate as fn(&[u8])), ("frames", super::frames), ("upgrade", super::upgrade)]
    {
        for input in kept(name) {
            target(&input);
        }
    }
}

proptest! {
    #![proptest_config(cases(4096))]

    #[test]
    fn compression_holds_whatever_comes_and_whatever_is_given(input in near("deflate")) {
        super::deflate(&input);
    }

    #[test]
    fn frames_are_read_as_tungstenite_reads_them(input in near("frames")) {
        super::frames(&input);
    }

    #[test]
    fn an_answer_to_an_upgrade_is_judged_however_it_comes(input in near("upgrade")) {
        super::upgrade(&input);
    }
}
