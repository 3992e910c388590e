//! Keys of a session and `preset`: they live beside what a pool is given, for links do not look at them.

use std::collections::BTreeMap;

use super::{
    kinds::{By, Optional, Over, Time, Whole, size, some_time},
    value::Field,
};
use crate::config::{
    ConfiguredEndpoint,
    check::session as check,
    preset::{self, Preset},
    session::{Names, Part, Steps, Written},
};

/// A row's value in the keys of a session.
macro_rules! fields {
    ($($NAME:ident: $name:ident, $kind:ty = $value:expr;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`")]
        pub(super) static $NAME: Field<ConfiguredEndpoint, $kind> =
            Field { get: |endpoint| &endpoint.keys.$name, get_mut: |endpoint| &mut endpoint.keys_mut().$name, kind: $value };
    )*};
}

fields! {
    PRESET: preset, Optional<By<&'static Preset>> = Optional(By(preset::read));
    DIAL: dial, Optional<By<Steps>> = Optional(By(check::list));
    OPEN: open, Optional<By<Steps>> = Optional(By(check::list));
    ON: on, Optional<By<Steps>> = Optional(By(check::list));
    EVERY: every, Optional<By<Steps>> = Optional(By(check::list));
    MUTE: mute, Optional<By<Part>> = Optional(By(check::part));
    ERROR: request_error, Optional<By<Part>> = Optional(By(check::part));
    LEAVE: leave, Optional<By<Steps>> = Optional(By(check::list));
    KEEP: keep, Optional<By<Names>> = Optional(By(check::names));
    TIMEOUT: timeout, Time = some_time();
    MAX_JSON: max_json, Whole<usize> = size(1..=1 << 30);
    VALUES: values, Over<BTreeMap<String, Written>> = Over(check::values);
}
