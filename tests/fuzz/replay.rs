//! Inputs of a fuzz target for tests: those that are kept in `tests/fuzz/corpus`, and such as lie near them.
//!
//! What a reader would get wrong: each package whose targets are tried has this as a module of its own, by its path.

use std::{fs, path::Path};

use proptest::{prelude::*, sample::Index};

/// Those that are kept, in the order of their names.
pub(crate) fn kept(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|above| above.join("tests/fuzz/corpus"))
        .find(|corpus| corpus.is_dir())
        .unwrap()
        .join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// One of those that are kept, changed in places; or any bytes.
pub(crate) fn near(target: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let bytes = |most| {
        prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(vec![0, 1, 0x7F, 0x80, 0xFF])], 0..most)
    };
    let change = (any::<Index>(), 0..6_usize, bytes(6));
    let changed =
        (prop::sample::select(kept(target)), prop::collection::vec(change, 0..5)).prop_map(|(mut input, changes)| {
            for (at, gone, new) in changes {
                let at = at.index(input.len() + 1);
                let end = (at + gone).min(input.len());
                input.splice(at..end, new);
            }
            input
        });
    prop_oneof![9 => changed, 1 => bytes(200)]
}
