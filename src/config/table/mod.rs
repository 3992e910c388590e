//! The table of keys: what each is called, what it may be, what a reload does about it, and a line for people.
//!
//! Reading, comparing, showing and the documents all walk these rows, in their order. What a reader would get wrong: a section is
//! a row too, of the section that it stands in; and a row says where in [`Config`](super::Config) or [`ConfiguredEndpoint`](super::ConfiguredEndpoint)
//! its value lives, so a value that several keys make together has a row for each of them and is told of under one name.

use super::check::section::Section;

pub(crate) mod daemon;
#[cfg(test)]
mod documents;
pub(crate) mod endpoint;
mod kept;
pub(crate) mod kinds;
#[cfg(test)]
mod manual;
mod outbox;
mod requests;
mod session;
mod shown;
mod told;
pub(crate) mod transport;
pub(crate) mod value;
#[cfg(test)]
pub(crate) mod written;

pub use shown::Shown;
use value::Value;

/// What a reload does about a key whose value is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reload {
    /// It is followed at once.
    Live,
    /// A new connection follows it.
    Rotate,
    /// Links come or go by it, and those that stay are not touched.
    Links,
    /// Nothing before a restart: until then the old value stays in force.
    Restart,
    /// As `Restart` once the store is open: an open one cannot be changed, another is looked for where the new value says.
    Store,
}

/// A row: a key, or a section of them. `S` is what the values live in.
pub(crate) struct Key<S: 'static> {
    /// With the sections that it stands in: `heartbeat.idle`.
    pub(crate) path: &'static str,
    /// Under which path a plan tells of its change.
    pub(crate) told: &'static str,
    pub(crate) reload: Reload,
    /// For people: what it is, and after an empty line what only the reference has. Lines that begin with `>` stand in the annotated
    /// file in place of the key and its default. Without a text the key has another place, where it is described.
    #[cfg(test)]
    pub(crate) text: &'static [&'static str],
    pub(crate) holds: Holds<S>,
}

/// What a row is of.
pub(crate) enum Holds<S: 'static> {
    Value(&'static dyn Value<S>),
    Section(&'static Table<S>),
}

/// A key that has a value, and the way to it.
pub(crate) type Leaf<S> = (&'static Key<S>, &'static dyn Value<S>);

/// A section's rows, in the order in which they are read, shown and told of.
pub(crate) struct Table<S: 'static> {
    pub(crate) keys: &'static [Key<S>],
    /// Rules over several keys, once all are read.
    pub(crate) rules: fn(&Section<'_>, &mut S),
}

impl<S> Key<S> {
    /// Without the sections that it stands in.
    pub(crate) fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// Its name in the JSON of the API: `max_message` is `maxMessageBytes`.
    pub(crate) fn member(&self) -> String {
        let unit = match &self.holds {
            Holds::Value(value) => value.unit(),
            Holds::Section(_) => "",
        };
        let mut words = self.name().split('_');
        let mut member = words.next().unwrap_or_default().to_owned();
        for word in words {
            let (first, rest) = word.split_at(1);
            member.push_str(&first.to_uppercase());
            member.push_str(rest);
        }
        if !member.ends_with(unit) {
            member.push_str(unit);
        }
        member
    }
}

impl<S> Table<S> {
    /// Reads every key of a section over what is there. The caller finishes the section.
    pub(crate) fn read(&self, section: &Section<'_>, into: &mut S) {
        for key in self.keys {
            section.expect(key.name());
        }
        for key in self.keys {
            match &key.holds {
                Holds::Value(value) => value.read(section, key.name(), into),
                Holds::Section(table) => {
                    let section = section.section(key.name());
                    table.read(&section, into);
                    section.finish();
                }
            }
        }
        (self.rules)(section, into);
    }

    /// Every key that has a value, those of sections within it too.
    pub(crate) fn leaves(&'static self) -> Vec<Leaf<S>> {
        let leaves = |key: &'static Key<S>| match &key.holds {
            Holds::Value(value) => vec![(key, *value)],
            Holds::Section(table) => table.leaves(),
        };
        self.keys.iter().flat_map(leaves).collect()
    }

    /// Every key as people may see it.
    pub(crate) fn show(&self, of: &S) -> Vec<(String, Shown)> {
        let shown = |key: &Key<S>| match &key.holds {
            Holds::Value(value) => value.show(of),
            Holds::Section(table) => Some(Shown::Members(table.show(of))),
        };
        self.keys.iter().filter_map(|key| Some((key.member(), shown(key)?))).collect()
    }
}

/// Rows as a [`Table`]: `NAME of WHAT, "PREFIX" at PLACE, rules RULES { ROWS }`. A row is one of
///
/// - `name: KIND, RELOAD;` at PLACE`.name`, or `name (some.place): KIND, RELOAD;`
/// - `name as "path": …` where a plan tells of another key's path
/// - `name by VALUE, RELOAD;` for what is no plain value at a place
/// - `name: section TABLE;`
macro_rules! table {
    ($(#[doc = $about:literal])* $NAME:ident of $S:ty, $prefix:literal at ($($at:ident).*), rules $rules:expr, { $($rows:tt)* }) => {
        $(#[doc = $about])*
        pub(crate) static $NAME: $crate::config::table::Table<$S> = $crate::config::table::Table {
            keys: table!(@rows $S, $prefix, [$($at)*], [] $($rows)*),
            rules: $rules,
        };
    };
    (@rows $S:ty, $prefix:literal, $at:tt, [$($done:tt)*]) => { &[$($done)*] };
    (@rows $S:ty, $prefix:literal, $at:tt, [$($done:tt)*] $(#[doc = $text:literal])* $name:ident: section $table:ident; $($rest:tt)*) => {
        table!(@rows $S, $prefix, $at, [$($done)* $crate::config::table::Key {
            path: concat!($prefix, stringify!($name)),
            told: concat!($prefix, stringify!($name)),
            reload: $crate::config::table::Reload::Live,
            #[cfg(test)]
            text: &[$($text),*],
            holds: $crate::config::table::Holds::Section(&$table),
        },] $($rest)*)
    };
    (@rows $S:ty, $prefix:literal, $at:tt, [$($done:tt)*] $(#[doc = $text:literal])* $name:ident $(as $told:literal)? by $value:expr, $reload:ident; $($rest:tt)*) => {
        table!(@rows $S, $prefix, $at, [$($done)* $crate::config::table::Key {
            path: concat!($prefix, stringify!($name)),
            told: table!(@told $prefix $name $($told)?),
            reload: $crate::config::table::Reload::$reload,
            #[cfg(test)]
            text: &[$($text),*],
            holds: $crate::config::table::Holds::Value(&$value),
        },] $($rest)*)
    };
    (@rows $S:ty, $prefix:literal, $at:tt, [$($done:tt)*] $(#[doc = $text:literal])* $name:ident $(($($place:ident).+))? $(as $told:literal)?: $kind:expr, $reload:ident; $($rest:tt)*) => {
        table!(@rows $S, $prefix, $at, [$($done)* $crate::config::table::Key {
            path: concat!($prefix, stringify!($name)),
            told: table!(@told $prefix $name $($told)?),
            reload: $crate::config::table::Reload::$reload,
            #[cfg(test)]
            text: &[$($text),*],
            holds: $crate::config::table::Holds::Value(&$crate::config::table::value::Field {
                get: |whole: &$S| table!(@get whole $at $name $($($place)+)?),
                get_mut: |whole: &mut $S| table!(@get_mut whole $at $name $($($place)+)?),
                kind: $kind,
            }),
        },] $($rest)*)
    };
    (@told $prefix:literal $name:ident) => { concat!($prefix, stringify!($name)) };
    (@told $prefix:literal $name:ident $told:literal) => { $told };
    (@get $whole:ident [$($at:ident)*] $name:ident) => { &$whole$(.$at)*.$name };
    (@get $whole:ident $at:tt $name:ident $($place:ident)+) => { &$whole$(.$place)+ };
    (@get_mut $whole:ident [$($at:ident)*] $name:ident) => { table!(@mut $whole $($at)* $name) };
    (@get_mut $whole:ident $at:tt $name:ident $($place:ident)+) => { table!(@mut $whole $($place)+) };
    // Links share their policy, and a policy's outbox is shared once more.
    (@mut $whole:ident link outbox $($place:ident)+) => {
        &mut ::std::sync::Arc::make_mut(&mut ::std::sync::Arc::make_mut(&mut $whole.link).outbox)$(.$place)+
    };
    (@mut $whole:ident link $($place:ident)+) => { &mut ::std::sync::Arc::make_mut(&mut $whole.link)$(.$place)+ };
    (@mut $whole:ident $($place:ident)+) => { &mut $whole$(.$place)+ };
}

/// A section of the daemon's that has a struct of its own, made here: `struct NAME, TABLE, "PREFIX" at PLACE, rules RULES { ROWS }`.
/// Rows are those of `table!` with `TYPE = DEFAULT,` before the kind; and rows `by`, which have no field.
macro_rules! section {
    ($(#[doc = $about:literal])* struct $Name:ident, $TABLE:ident of $S:ty, $prefix:literal at $at:ident, rules $rules:expr, { $($rows:tt)* }) => {
        section!(@rows [$(#[doc = $about])*] $Name, $TABLE of $S, $prefix at $at, $rules, [] [] $($rows)*);
    };
    (@rows $about:tt $Name:ident, $TABLE:ident of $S:ty, $prefix:literal at $at:ident, $rules:expr, [$($fields:tt)*] [$($done:tt)*]
     $(#[doc = $text:literal])* $name:ident $(as $told:literal)? by $value:expr, $reload:ident; $($rest:tt)*) => {
        section!(@rows $about $Name, $TABLE of $S, $prefix at $at, $rules, [$($fields)*]
            [$($done)* $(#[doc = $text])* $name $(as $told)? by $value, $reload;] $($rest)*);
    };
    (@rows $about:tt $Name:ident, $TABLE:ident of $S:ty, $prefix:literal at $at:ident, $rules:expr, [$($fields:tt)*] [$($done:tt)*]
     $(#[doc = $text:literal])* $name:ident: $type:ty = $default:expr, $kind:expr, $reload:ident; $($rest:tt)*) => {
        section!(@rows $about $Name, $TABLE of $S, $prefix at $at, $rules,
            [$($fields)* { $name: $type = $default }]
            [$($done)* $(#[doc = $text])* $name: $kind, $reload;] $($rest)*);
    };
    (@rows [$(#[doc = $about:literal])*] $Name:ident, $TABLE:ident of $S:ty, $prefix:literal at $at:ident, $rules:expr,
     [$({ $name:ident: $type:ty = $default:expr })*] [$($done:tt)*]) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $Name {
            $(#[doc = concat!("`", stringify!($name), "`, as its row says.")] pub $name: $type,)*
        }

        impl Default for $Name {
            fn default() -> Self {
                Self { $($name: $default),* }
            }
        }

        table! { $TABLE of $S, $prefix at ($at), rules $rules, { $($done)* } }
    };
}

pub(crate) use section;
pub(crate) use table;

/// Where no rule is over several keys.
pub(crate) fn none<S>(_section: &Section<'_>, _into: &mut S) {}
