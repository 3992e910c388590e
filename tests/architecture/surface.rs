//! What `wskeeper-link` and `wskeeper-core` promise to programs that embed them: every public item, by a list that was reviewed.
//!
//! What a reader would get wrong: `pub` is enough to be on the list. The lint `unreachable_pub` allows it only on what can be reached from
//! outside, so each item stands where it is defined, beside the `pub use` that leads to it.

#![allow(clippy::wildcard_enum_match_arm, reason = "of what there is in Rust, this looks for what has a `pub`")]

use std::{collections::BTreeSet, env, fs, path::Path};

use quote::ToTokens;
use syn::{
    Attribute, Fields, ImplItem, Item, ItemEnum, ItemImpl, ItemMod, ItemTrait, Meta, TraitItem, Type, UseTree,
    Visibility,
};

use super::FOR_TESTS;

#[test]
fn what_is_public_is_meant_to_be() {
    for package in ["src/link", "src/core"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(package);
        let mut surface = Surface::default();
        surface.file(&root.join("lib.rs"), &root, "");
        let (kept, now) = (root.join("public.txt"), surface.lines());
        if env::var_os("WSKEEPER_WRITE_DOCS").is_some() {
            fs::write(&kept, now.iter().flat_map(|line| [line, "\n"]).collect::<String>()).unwrap();
            continue;
        }
        let text = fs::read_to_string(&kept).unwrap_or_default();
        let before: BTreeSet<&str> = text.lines().collect();
        let after: BTreeSet<&str> = now.iter().map(String::as_str).collect();
        let gone = before.difference(&after).map(|line| format!("- {line}\n"));
        let new = after.difference(&before).map(|line| format!("+ {line}\n"));
        let change: String = gone.chain(new).collect();
        assert!(
            change.is_empty(),
            "{package} promises something else than {package}/public.txt:\n{change}\
             Is it meant? Then WSKEEPER_WRITE_DOCS=1 cargo test --test architecture, and commit the list. If not: pub(crate)."
        );
    }
}

#[test]
fn the_list_has_what_a_program_could_name() {
    let mut surface = Surface::default();
    let text = "pub use a::{b, c as d}; pub struct S { pub x: u8, y: u8 } impl S { pub fn f(&self) {} fn g() {} } impl Clone for S {}
                enum E { A } impl Clone for E {} pub enum V { A(u8), B { c: u8 } } pub trait T { fn t(); } trait H {} impl H for S {} #[cfg(test)] pub fn test() {} #[cfg(any(test, feature = \"fuzzing\"))] pub mod fuzzing { pub fn target() {} }
                pub(crate) fn near() {} #[derive(Debug)] pub struct P(pub u8, u8); impl From<u8> for P {}";
    surface.items(syn::parse_file(text).unwrap().items, Path::new(""), "m");
    let named: Vec<String> = surface.lines();
    let expected = [
        "m: pub use a::b",
        "m: pub use a::c as d",
        "m::P: #[derive(Debug)] pub struct P(pub u8, _)",
        "m::P: impl From<u8> for P",
        "m::S: impl Clone for S",
        "m::S: pub struct S { pub x: u8, _ }",
        "m::S::f: pub fn f(&self)",
        "m::T: pub trait T",
        "m::T::t: fn t()",
        "m::V: pub enum V",
        "m::V::A: A(u8)",
        "m::V::B: B { c: u8 }",
    ];
    assert_eq!(named, expected);
}

/// The public items of a package, one a line.
#[derive(Debug, Default)]
struct Surface {
    lines: BTreeSet<String>,
    /// Types that are public, and what is implemented, for whom: the one may stand in another file than the other.
    types: BTreeSet<String>,
    implemented: Vec<Implemented>,
    /// Traits that nobody outside can name.
    hidden: BTreeSet<String>,
}

#[derive(Debug)]
struct Implemented {
    path: String,
    of: String,
    line: String,
}

impl Surface {
    fn lines(mut self) -> Vec<String> {
        for Implemented { path, of, line } in self.implemented {
            if self.types.contains(path.rsplit("::").next().unwrap_or_default()) && !self.hidden.contains(&of) {
                self.lines.insert(format!("{path}: {line}"));
            }
        }
        self.lines.into_iter().collect()
    }

    /// `folder` is where its modules are.
    fn file(&mut self, file: &Path, folder: &Path, module: &str) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.items(syn::parse_file(&text).unwrap().items, folder, module);
    }

    fn items(&mut self, items: Vec<Item>, folder: &Path, module: &str) {
        for item in items {
            match item {
                Item::Mod(item) if !is_for_tests(&item.attrs) => self.module(item, folder, module),
                Item::Impl(item) if !is_for_tests(&item.attrs) => self.implementation(item, module),
                other => self.item(other, module),
            }
        }
    }

    fn module(&mut self, item: ItemMod, folder: &Path, module: &str) {
        let name = item.ident.to_string();
        if is_public(&item.vis) {
            self.line(module, "", &format!("pub mod {name}"));
        }
        let (below, path) = (folder.join(&name), joined(module, &name));
        match item.content {
            Some((_, items)) => self.items(items, &below, &path),
            None if below.join("mod.rs").exists() => self.file(&below.join("mod.rs"), &below, &path),
            None => self.file(&below.with_extension("rs"), &below, &path),
        }
    }

    fn implementation(&mut self, item: ItemImpl, module: &str) {
        let Type::Path(named) = &*item.self_ty else { return };
        let name = named.path.segments.last().unwrap().ident.to_string();
        let path = joined(module, &name);
        if let Some((of, _)) = &item.trait_ {
            let (generics, last) = (shown(&item.generics), of.segments.last().unwrap().ident.to_string());
            let line = format!("impl{generics} {} for {}", shown(of), shown(&item.self_ty));
            self.implemented.push(Implemented { path, of: last, line });
            return;
        }
        for inner in item.items {
            match inner {
                ImplItem::Fn(item) if is_public(&item.vis) && !is_for_tests(&item.attrs) => {
                    self.line(&path, &item.sig.ident.to_string(), &format!("pub {}", shown(&item.sig)));
                }
                ImplItem::Const(item) if is_public(&item.vis) && !is_for_tests(&item.attrs) => {
                    self.line(&path, &item.ident.to_string(), &format!("pub const: {}", shown(&item.ty)));
                }
                _ => {}
            }
        }
    }

    fn item(&mut self, item: Item, module: &str) {
        if let Item::Trait(item) = &item
            && !is_public(&item.vis)
        {
            self.hidden.insert(item.ident.to_string());
        }
        if !is_seen(&item, module) {
            return;
        }
        match item {
            Item::Use(item) => self.used(module, "", &item.tree),
            Item::Fn(item) => self.line(module, &item.sig.ident.to_string(), &format!("pub {}", shown(&item.sig))),
            Item::Const(item) => self.line(module, &item.ident.to_string(), &format!("pub const: {}", shown(&item.ty))),
            Item::Static(item) => {
                self.line(module, &item.ident.to_string(), &format!("pub static: {}", shown(&item.ty)));
            }
            Item::Type(item) => {
                let line = format!("pub type{} = {}", shown(&item.generics), shown(&item.ty));
                self.line(module, &item.ident.to_string(), &line);
            }
            Item::Struct(item) => {
                let name = item.ident.to_string();
                let (derives, generics) = (derived(&item.attrs), shown(&item.generics));
                self.line(
                    module,
                    &name,
                    &format!("{derives}pub struct {name}{generics}{}", fields(&item.fields, true)),
                );
                self.types.insert(name);
            }
            Item::Enum(item) => self.enumeration(&item, module),
            Item::Trait(item) => self.contract(item, module),
            _ => {}
        }
    }

    fn enumeration(&mut self, item: &ItemEnum, module: &str) {
        let name = item.ident.to_string();
        let path = joined(module, &name);
        self.line(module, &name, &format!("{}pub enum {name}{}", derived(&item.attrs), shown(&item.generics)));
        for variant in &item.variants {
            let name = variant.ident.to_string();
            self.line(&path, &name, &format!("{name}{}", fields(&variant.fields, false)));
        }
        self.types.insert(name);
    }

    fn contract(&mut self, item: ItemTrait, module: &str) {
        let name = item.ident.to_string();
        let (path, above) = (joined(module, &name), shown(&item.supertraits));
        let above = if above.is_empty() { above } else { format!(": {above}") };
        self.line(module, &name, &format!("pub trait {name}{}{above}", shown(&item.generics)));
        for inner in item.items {
            match inner {
                TraitItem::Fn(inner) => {
                    let provided = if inner.default.is_some() { " { .. }" } else { "" };
                    let line = format!("{}{provided}", shown(&inner.sig));
                    self.line(&path, &inner.sig.ident.to_string(), &line);
                }
                TraitItem::Type(mut inner) => {
                    inner.attrs.clear();
                    self.line(&path, &inner.ident.to_string(), &shown(&inner));
                }
                other => panic!("{path}: this reader does not know {}", shown(&other)),
            }
        }
    }

    fn used(&mut self, module: &str, path: &str, tree: &UseTree) {
        match tree {
            UseTree::Path(tree) => self.used(module, &joined(path, &tree.ident.to_string()), &tree.tree),
            UseTree::Group(tree) => tree.items.iter().for_each(|tree| self.used(module, path, tree)),
            leaf => self.line(module, "", &format!("pub use {}", joined(path, &shown(leaf)))),
        }
    }

    fn line(&mut self, module: &str, name: &str, text: &str) {
        let path = if name.is_empty() { module.to_owned() } else { joined(module, name) };
        self.lines.insert(if path.is_empty() { text.to_owned() } else { format!("{path}: {text}") });
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}::{name}") }
}

/// Whether it is public, and not for tests alone.
fn is_seen(item: &Item, module: &str) -> bool {
    let (attributes, visibility) = match item {
        Item::Use(item) => (&item.attrs, &item.vis),
        Item::Fn(item) => (&item.attrs, &item.vis),
        Item::Const(item) => (&item.attrs, &item.vis),
        Item::Static(item) => (&item.attrs, &item.vis),
        Item::Type(item) => (&item.attrs, &item.vis),
        Item::Struct(item) => (&item.attrs, &item.vis),
        Item::Enum(item) => (&item.attrs, &item.vis),
        Item::Trait(item) => (&item.attrs, &item.vis),
        Item::Macro(item) => {
            let makes_items = item.ident.is_none() && !item.mac.path.is_ident("thread_local");
            let is_exported = item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export"));
            assert!(
                !is_exported && (!makes_items || is_for_tests(&item.attrs)),
                "{module}: this reader sees no macros"
            );
            return false;
        }
        _ => return false,
    };
    is_public(visibility) && !is_for_tests(attributes)
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| FOR_TESTS.contains(&&*shown(attribute)))
}

fn derived(attributes: &[Attribute]) -> String {
    let of = |attribute: &Attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("derive") => Some(format!("{} ", shown(attribute))),
        Meta::Path(path) if path.is_ident("non_exhaustive") => Some("#[non_exhaustive] ".to_owned()),
        _ => None,
    };
    attributes.iter().filter_map(of).collect()
}

/// Those that are private are one `_`: that there are some is all that is seen of them.
fn fields(fields: &Fields, have_visibility: bool) -> String {
    let is_seen = |field: &syn::Field| !have_visibility || is_public(&field.vis);
    let mut seen: Vec<String> = Vec::new();
    for field in fields.iter().filter(|field| is_seen(field)) {
        let mut field = field.clone();
        field.attrs.clear();
        seen.push(shown(&field));
    }
    if fields.iter().any(|field| !is_seen(field)) {
        seen.push("_".to_owned());
    }
    match fields {
        Fields::Named(_) => format!(" {{ {} }}", seen.join(", ")),
        Fields::Unnamed(_) => format!("({})", seen.join(", ")),
        Fields::Unit => String::new(),
    }
}

/// Nearly as `rustfmt` writes it.
fn shown(tokens: &impl ToTokens) -> String {
    let text = tokens.to_token_stream().to_string();
    let (mut line, mut last) = (String::new(), "");
    for token in text.split_whitespace() {
        let follows_word = last.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
        let is_tight = ["&", "(", "[", "<", "::", "'", "*", "#", "!"].iter().any(|before| last.ends_with(before))
            || [",", ";", ")", "]", ">", "::", ":", "."].iter().any(|after| token.starts_with(after))
            || ((follows_word || last == ">") && ["(", "<"].iter().any(|after| token.starts_with(after)));
        if !line.is_empty() && !is_tight {
            line.push(' ');
        }
        line.push_str(token);
        last = token;
    }
    line.replace(",)", ")").replace(",>", ">")
}
