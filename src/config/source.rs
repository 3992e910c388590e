//! Files and environment become one tree of values, each of which knows where it is written.
//!
//! The `config` crate parses; the merge is here, because the crate's own reads a dot in a name as a path and would tear
//! `[endpoints."feed.example"]` apart. A later file wins key by key; lists are replaced whole.

use std::{
    borrow::Cow,
    fs,
    path::{Path, PathBuf},
};

use config::{ConfigError, File, FileFormat, Map, Source as _, Value, ValueKind};

use super::{fault::Fault, place};
use wskeeper_core::hash;
use wskeeper_link::endpoint::file;

/// The largest configuration file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// The deepest indentation, and the most marks of structure on one line, that a YAML file may have.
const MAX_NESTING: usize = 256;

/// The most names of files that are not read in one warning.
const UNREAD: usize = 5;

/// What the files hold, compared without keeping it: they may have secrets in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u64);

/// The files of a configuration as they were read, at one moment.
#[derive(Debug)]
pub struct Sources {
    /// The file or folder.
    path: PathBuf,
    /// Where relative paths of environment variables start.
    folder: PathBuf,
    files: Vec<(PathBuf, FileFormat, String)>,
    faults: Vec<Fault>,
    /// Files of the folder that are not read, for what their names end in.
    unread: Vec<String>,
}

impl Sources {
    /// Reads one file, or all files of a folder in order of their names. What cannot be read becomes faults.
    pub fn read(path: &Path) -> Self {
        let is_folder = path.is_dir();
        let folder = if is_folder { path } else { path.parent().unwrap_or(Path::new("")) };
        let mut sources = Self {
            path: path.to_owned(),
            folder: folder.to_owned(),
            files: Vec::new(),
            faults: Vec::new(),
            unread: Vec::new(),
        };
        if is_folder {
            sources.read_folder(path);
        } else if !path.exists() {
            sources.fault(path, "the file does not exist", "give the path of a file or folder that does");
        } else if let Some(format) = format_of(path) {
            sources.read_file(path.to_owned(), format);
        } else {
            let hint = "give it a name that ends in .toml, .yaml, .yml or .json";
            sources.fault(path, "the file's format is unknown", hint);
        }
        sources
    }

    /// Files that hold nothing at all.
    pub(super) fn blank(&self) -> impl Iterator<Item = &Path> {
        let blank = |text: &str| text.trim_start_matches('\u{feff}').trim().is_empty();
        self.files.iter().filter(move |(_, _, text)| blank(text)).map(|(path, ..)| path.as_path())
    }

    /// Files that hold something.
    pub fn filled(&self) -> Vec<PathBuf> {
        let blank: Vec<_> = self.blank().collect();
        self.files.iter().map(|(path, ..)| path).filter(|path| !blank.contains(&path.as_path())).cloned().collect()
    }

    /// The same for the same content: of a few files that their owner writes, not of what an adversary makes.
    pub fn fingerprint(&self) -> Fingerprint {
        let files = self.files.iter().flat_map(|(path, _, text)| [path.to_string_lossy(), text.into()]);
        let faults = self.faults.iter().map(|fault| fault.to_string().into());
        let texts: Vec<Cow<'_, str>> = files.chain(faults).collect();
        Fingerprint(hash::stable(texts.iter().map(|text| &**text)))
    }

    /// One tree of all files. Faults that are there already are of what could not be read.
    pub(super) fn parse(&self, faults: &mut Vec<Fault>) -> Value {
        faults.extend(self.faults.iter().cloned());
        let mut root = empty();
        for (path, format, text) in &self.files {
            merge(&mut root, parse(text, &path.display().to_string(), *format, faults));
        }
        root
    }

    /// The file or folder that was read.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where relative paths of environment variables start.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What of a folder is not read, where it looks as if it were meant to be.
    pub(super) fn warnings(&self) -> Vec<String> {
        let more = self.unread.len().saturating_sub(UNREAD);
        let names = self.unread.iter().take(UNREAD).cloned().collect::<Vec<_>>().join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let told = format!(
            "{}: not read, for their names end in none of .toml, .yaml, .yml and .json: {names}{more}",
            self.folder.display()
        );
        if self.unread.is_empty() { Vec::new() } else { vec![told] }
    }

    fn read_folder(&mut self, path: &Path) {
        self.unread = unread(path);
        match files(path) {
            Ok(files) if files.is_empty() => {
                let unread = self.unread.first().map(|name| format!("; {name} is not read")).unwrap_or_default();
                let hint = format!("put files in it whose names end in .toml, .yaml, .yml or .json{unread}");
                self.fault(path, "the folder has no configuration file", &hint);
            }
            Ok(files) => files.into_iter().for_each(|(file, format)| self.read_file(file, format)),
            Err(error) => self.fault(path, &format!("the folder cannot be read: {error}"), ""),
        }
    }

    fn read_file(&mut self, path: PathBuf, format: FileFormat) {
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > MAX_FILE_BYTES) {
            return self.fault(&path, "the file is larger than 4 MiB", "split it, and give the folder");
        }
        match file::read(&path, MAX_FILE_BYTES).map(String::from_utf8) {
            Ok(Ok(text)) => self.files.push((path, format, text)),
            Ok(Err(_)) => self.fault(&path, "the file is not UTF-8", "save it as UTF-8"),
            Err(error) => self.fault(&path, &format!("the file {error}"), ""),
        }
    }

    fn fault(&mut self, path: &Path, problem: &str, hint: &str) {
        self.faults.push(fault(path, problem, hint));
    }
}

/// Reads a text as if it were the file `name`.
pub(crate) fn parse(text: &str, name: &str, format: FileFormat, faults: &mut Vec<Fault>) -> Value {
    if format == FileFormat::Yaml && is_too_deep(text) {
        faults.push(fault(Path::new(name), "the file is nested too deep", "no key lies deeper than six levels"));
        return empty();
    }
    let text = text.trim_start_matches('\u{feff}');
    let text = &*if format == FileFormat::Toml { place::with_large_numbers(text) } else { Cow::Borrowed(text) };
    let complaint = match File::from_str(text, format).collect() {
        Ok(table) => {
            let mut root = Value::new(Some(&name.to_owned()), table);
            set_origin(&mut root, &name.to_owned());
            place::set_lines(&mut root, name, text, format);
            let repeated = if format == FileFormat::Json { place::repeated_key(text) } else { None };
            let Some(complaint) = repeated else { return root };
            complaint
        }
        Err(ConfigError::FileParse { cause, .. }) => cause.to_string(),
        Err(error) => error.to_string(),
    };
    faults.push(syntax_fault(name, &complaint));
    empty()
}

/// Lays `over` over `under`: tables are merged, anything else is replaced.
pub(crate) fn merge(under: &mut Value, over: Value) {
    let origin = over.origin().map(str::to_owned);
    match (&mut under.kind, over.kind) {
        (ValueKind::Table(under), ValueKind::Table(over)) => {
            for (key, value) in over {
                match under.get_mut(&key) {
                    Some(there) => merge(there, value),
                    None => {
                        under.insert(key, value);
                    }
                }
            }
        }
        (_, kind) => *under = Value::new(origin.as_ref(), kind),
    }
}

/// A tree without a key.
pub(crate) fn empty() -> Value {
    Value::new(None, Map::<String, Value>::new())
}

/// The YAML parser recurses without a limit in block style, and would end the process by a stack overflow.
fn is_too_deep(text: &str) -> bool {
    text.split(['\n', '\r']).any(|line| {
        let indent = line.len() - line.trim_start().len();
        let nested =
            ["- ", "? ", ": ", "-\t", "?\t", ":\t"].iter().map(|mark| line.matches(mark).count()).sum::<usize>();
        indent > MAX_NESTING || nested > MAX_NESTING
    })
}

/// The configuration files of a folder, in order of name.
pub(super) fn files(folder: &Path) -> std::io::Result<Vec<(PathBuf, FileFormat)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // Through symbolic links: a mounted ConfigMap is made of them.
        if let Some(format) = format_of(&path).filter(|_| path.is_file() && !is_leftover(&path)) {
            files.push((path, format));
        }
    }
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(files)
}

/// The files of a folder that are neither configuration nor leftovers, in order of name.
fn unread(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let ignored = entries.filter(|path| path.is_file() && !is_leftover(path) && format_of(path).is_none());
    let mut names: Vec<String> =
        ignored.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect();
    names.retain(|name| !name.starts_with("README"));
    names.sort();
    names
}

/// Hidden files, and what editors and package managers leave behind.
fn is_leftover(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(['.', '#', '~']) || name.ends_with(['~', '#'])
}

fn format_of(path: &Path) -> Option<FileFormat> {
    match path.extension()?.to_str()? {
        "toml" => Some(FileFormat::Toml),
        "yaml" | "yml" => Some(FileFormat::Yaml),
        "json" => Some(FileFormat::Json),
        _ => None,
    }
}

fn set_origin(value: &mut Value, origin: &String) {
    *value = Value::new(Some(origin), std::mem::take(&mut value.kind));
    match &mut value.kind {
        ValueKind::Table(table) => table.values_mut().for_each(|value| set_origin(value, origin)),
        ValueKind::Array(list) => list.iter_mut().for_each(|value| set_origin(value, origin)),
        ValueKind::Nil
        | ValueKind::Boolean(_)
        | ValueKind::I64(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Float(_)
        | ValueKind::String(_) => {}
    }
}

/// The parsers' messages quote the line at fault, which may hold a secret: only its number and the complaint are kept.
fn syntax_fault(name: &str, message: &str) -> Fault {
    // The crate says so, with the whole text, of a file that is one value and not a table.
    if message.starts_with("invalid type: ") && message.ends_with("expected a map") {
        let hint = "begin with a section, such as [endpoints.NAME] in TOML or `endpoints:` in YAML";
        return fault(Path::new(name), "the file holds no sections", hint);
    }
    let line =
        message.split_once("line ").map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    let complaint = match message.rsplit_once("^\n") {
        Some((_, complaint)) => complaint.trim().replace('\n', ", "),
        None => message.trim().replace('\n', ", "),
    };
    let file = line.filter(|line| !line.is_empty()).map_or_else(|| name.to_owned(), |line| format!("{name}:{line}"));
    Fault { file, path: String::new(), problem: format!("syntax error: {complaint}"), hint: String::new() }
}

fn fault(path: &Path, problem: &str, hint: &str) -> Fault {
    Fault { file: path.display().to_string(), path: String::new(), problem: problem.into(), hint: hint.into() }
}
