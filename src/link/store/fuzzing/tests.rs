//! The target with inputs that are kept, and with such as lie near them.

use proptest::prelude::*;

use crate::replay::{kept, near};

#[test]
fn what_is_kept_of_the_inputs_holds() {
    for input in kept("store") {
        super::store(&input);
    }
}

proptest! {
    #[test]
    fn changed_files_are_opened_or_left_as_they_are(input in near("store")) {
        super::store(&input);
    }
}
