//! Keys of a session and `preset`: they live beside what a pool is given, for links do not look at them.

use std::collections::BTreeMap;

use super::{
    kinds::{By, Number, Optional, Over, Time, Whole, Word, count, size, some_time},
    value::Field,
};
use crate::config::{
    ConfiguredEndpoint,
    check::session as check,
    preset::{self, Preset},
    session::{Names, Part, Said, Steps, Word as Name, Written},
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
    DURABLE: durable, Optional<By<Names>> = Optional(By(check::names));
    TIMEOUT: timeout, Time = some_time();
    MAX_JSON: max_json, Whole<usize> = size(1..=1 << 30);
    VALUES: values, Over<BTreeMap<String, Written>> = Over(check::values);
}

/// The same in those of its subscriptions.
macro_rules! subscriptions {
    ($($NAME:ident: $name:ident, $kind:ty = $value:expr;)*) => {$(
        #[doc = concat!("`subscriptions.", stringify!($name), "`")]
        pub(super) static $NAME: Field<ConfiguredEndpoint, $kind> = Field {
            get: |endpoint| &endpoint.keys.subscriptions.$name,
            get_mut: |endpoint| &mut endpoint.keys_mut().subscriptions.$name,
            kind: $value,
        };
    )*};
}

subscriptions! {
    KEYS: keys, Optional<By<Names>> = Optional(By(check::names));
    REMOVE: remove, Optional<By<Said>> = Optional(By(check::said));
    BATCH: batch, Whole<usize> = count(1..=10_000);
    RATE: rate, Optional<Number> = Optional(Number(0.001..=100_000.0));
    CONFIRM: confirm, Optional<By<Steps>> = Optional(By(check::answers));
    REFUSE: refuse, Optional<By<Steps>> = Optional(By(check::answers));
    ANSWER_TIMEOUT: timeout, Time = some_time();
    SKIP_WHEN: skip_when, Optional<By<Name>> = Optional(By(check::word));
    READY_WHEN: until_confirmed, Word<bool> = Word(&[("sent", false), ("confirmed", true)]);
    MAX_KEYS: max_keys, Whole<usize> = count(1..=1_000_000);
    PER_LINK: per_link, Optional<Whole<u32>> = Optional(count(1..=1_000_000));
    SPREAD_AFTER: spread_after, Time = some_time();
    MIN_LINKS: min_links, Optional<Whole<u32>> = Optional(count(1..=100_000));
    MAX_LINKS: max_links, Optional<Whole<u32>> = Optional(count(1..=100_000));
    CLOSE_AFTER: close_after, Time = some_time();
}
