//! Keys of a session and `preset`: they live in what the configuration keeps with an endpoint, which links do not look at.

use std::collections::BTreeMap;

use super::{
    kinds::{By, Optional, Over, Time, Whole, size, some_time},
    value::Field,
};
use crate::config::{
    check::session as check,
    preset::{self, Preset},
    session::{Names, Part, Steps, Written, keys, keys_mut},
};
use wskeeper_link::endpoint::Endpoint;

/// A row's value in the keys of a session.
macro_rules! fields {
    ($($NAME:ident: $name:ident, $kind:ty = $value:expr;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`")]
        pub(super) static $NAME: Field<Endpoint, $kind> =
            Field { get: |endpoint| &keys(endpoint).$name, get_mut: |endpoint| &mut keys_mut(endpoint).$name, kind: $value };
    )*};
}

fields! {
    PRESET: preset, Optional<By<&'static Preset>> = Optional(By(preset::read));
    OPEN: open, Optional<By<Steps>> = Optional(By(check::list));
    ON: on, Optional<By<Steps>> = Optional(By(check::list));
    EVERY: every, Optional<By<Steps>> = Optional(By(check::list));
    MUTE: mute, Optional<By<Part>> = Optional(By(check::part));
    LEAVE: leave, Optional<By<Steps>> = Optional(By(check::list));
    KEEP: keep, Optional<By<Names>> = Optional(By(check::names));
    TIMEOUT: timeout, Time = some_time();
    MAX_JSON: max_json, Whole<usize> = size(1..=1 << 30);
    VALUES: values, Over<BTreeMap<String, Written>> = Over(check::values);
}
