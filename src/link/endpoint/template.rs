//! Strings with secrets in them: `${env:NAME}`, `${file:PATH}`, `${credential:NAME}`, evaluated at each attempt; in some also
//! `${var:NAME|DEFAULT}`, a variable of the session that the link keeps, and `${value:NAME}`, which is made before the attempt.
//!
//! The source text may hold a secret too, written in clear by someone in a hurry. So [`Template::shown`] and `Debug`
//! follow a [`Redaction`], and only [`Template::source`] gives the text as written.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    file::{self, FileError},
    secret::Secret,
    shown,
};

/// The largest secret file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 64 << 10;

/// How much of a template's own text may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redaction {
    /// All of it.
    Open,
    /// References only; what is written in clear becomes `***`.
    Literals,
    /// A URL: without userinfo and query.
    Url,
}

/// A string that may refer to secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    source: Box<str>,
    parts: Box<[Part]>,
    redaction: Redaction,
}

impl Template {
    /// Text without references, taken as it is.
    pub fn literal(text: &str) -> Self {
        let source = text.replace("${", "$${");
        Self { source: source.into(), parts: Box::new([Part::Text(text.into())]), redaction: Redaction::Open }
    }

    /// Reads the references in `source`. A relative `${file:…}` is sought in `folder`.
    pub fn parse(source: &str, folder: &Path) -> Result<Self, TemplateFault> {
        let template = Self::parse_with_values(source, folder)?;
        match template.values().count() {
            0 => Ok(template),
            1.. => Err(TemplateFault { problem: "${value:…} has no value here".into(), hint: KINDS.into() }),
        }
    }

    /// As [`Template::parse`], where values have been made.
    pub fn parse_with_values(source: &str, folder: &Path) -> Result<Self, TemplateFault> {
        let template = Self::parse_with_variables(source, folder)?;
        match template.variables().count() {
            0 => Ok(template),
            1.. => Err(TemplateFault { problem: "${var:…} has no value here".into(), hint: KINDS.into() }),
        }
    }

    /// As [`Template::parse_with_values`], where variables of a session have values too.
    pub fn parse_with_variables(source: &str, folder: &Path) -> Result<Self, TemplateFault> {
        Ok(Self { source: source.into(), parts: parts(source, folder)?.into(), redaction: Redaction::Open })
    }

    /// The same template, shown less freely.
    #[must_use]
    pub fn with_redaction(self, redaction: Redaction) -> Self {
        Self { redaction, ..self }
    }

    /// Evaluates every reference now, from the process environment and the file system. It reads files, so it blocks.
    pub fn evaluate(&self) -> Result<Secret, SecretError> {
        self.evaluate_with(&|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// Evaluates every reference now, with another environment.
    pub(crate) fn evaluate_with(&self, environment: &dyn Fn(&str) -> Option<String>) -> Result<Secret, SecretError> {
        self.evaluate_by(environment, &|_| None, &|_| None)
    }

    /// As [`Template::evaluate`], with the variables of a session as they are, and with values that have been made.
    pub fn evaluate_for(
        &self,
        variables: &dyn Fn(&str) -> Option<String>,
        values: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Secret, SecretError> {
        let environment = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        self.evaluate_by(&environment, variables, values)
    }

    /// As [`Template::evaluate_with`], of a URL: what references give for its user and password is percent-encoded, so that it may hold
    /// any character.
    pub(crate) fn evaluate_as_url(&self, environment: &dyn Fn(&str) -> Option<String>) -> Result<Secret, SecretError> {
        let mut text = String::new();
        for (at, part) in self.parts.iter().enumerate() {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Reference(reference) => {
                    let value = reference.evaluate(environment, &|_| None, &|_| None)?;
                    let is_followed =
                        || self.parts[at..].iter().any(|part| matches!(part, Part::Text(text) if text.contains('@')));
                    if text.contains("://") && is_followed() {
                        text.extend(utf8_percent_encode(&value, NON_ALPHANUMERIC));
                    } else {
                        text.push_str(&value);
                    }
                }
            }
        }
        Ok(Secret::new(text))
    }

    fn evaluate_by(
        &self,
        environment: &dyn Fn(&str) -> Option<String>,
        variables: &dyn Fn(&str) -> Option<String>,
        values: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Secret, SecretError> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Reference(reference) => text.push_str(&reference.evaluate(environment, variables, values)?),
            }
        }
        Ok(Secret::new(text))
    }

    /// The text as it was written. It may hold a secret written in clear: use [`Template::shown`] for people.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text as people may see it.
    pub fn shown(&self) -> String {
        match self.redaction {
            Redaction::Open => self.source.to_string(),
            Redaction::Literals => shown::literals(&self.parts),
            Redaction::Url => shown::url(&self.parts),
        }
    }

    /// Whether anything is left to be evaluated.
    pub fn has_references(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Reference(_)))
    }

    /// Whether it is made of secrets or values.
    pub(crate) fn has_secrets(&self) -> bool {
        self.parts.iter().any(|part| match part {
            Part::Reference(Reference { kind, .. }) => !matches!(kind, ReferenceKind::Var(..)),
            Part::Text(_) => false,
        })
    }

    /// Whether its evaluation reads files.
    pub(crate) fn reads_files(&self) -> bool {
        self.parts.iter().any(|part| match part {
            Part::Reference(Reference { kind, .. }) => match kind {
                ReferenceKind::File(_) | ReferenceKind::Credential(_) => true,
                ReferenceKind::Env(_) | ReferenceKind::Var(..) | ReferenceKind::Value(_) => false,
            },
            Part::Text(_) => false,
        })
    }

    /// Whether it is one reference and nothing else.
    pub fn is_reference(&self) -> bool {
        matches!(&*self.parts, [Part::Reference(_)])
    }

    /// The files that it refers to, resolved.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.parts.iter().filter_map(|part| match part {
            Part::Reference(Reference { kind: ReferenceKind::File(path), .. }) => Some(path.as_path()),
            Part::Reference(_) | Part::Text(_) => None,
        })
    }

    /// The variables of a session that it refers to.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Reference(Reference { kind: ReferenceKind::Var(name, _), .. }) => Some(&**name),
            Part::Reference(_) | Part::Text(_) => None,
        })
    }

    /// The values that it refers to.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Reference(Reference { kind: ReferenceKind::Value(name), .. }) => Some(&**name),
            Part::Reference(_) | Part::Text(_) => None,
        })
    }

    /// The text between references, unescaped.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(&**text),
            Part::Reference(_) => None,
        })
    }

    /// The whole text, where there is nothing to evaluate.
    pub fn as_literal(&self) -> Option<String> {
        (!self.has_references()).then(|| self.literals().collect())
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.shown())
    }
}

/// A piece of a template.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// As written, unescaped.
    Text(Box<str>),
    /// To be evaluated.
    Reference(Reference),
}

/// `${KIND:NAME}`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// With its `${` and `}`.
    pub(super) written: Box<str>,
    kind: ReferenceKind,
}

#[derive(Clone, PartialEq, Eq)]
enum ReferenceKind {
    Env(Box<str>),
    File(PathBuf),
    Credential(Box<str>),
    /// With what stands for one that is not set.
    Var(Box<str>, Option<Box<str>>),
    /// Made before.
    Value(Box<str>),
}

impl Reference {
    fn evaluate(
        &self,
        environment: &dyn Fn(&str) -> Option<String>,
        variables: &dyn Fn(&str) -> Option<String>,
        values: &dyn Fn(&str) -> Option<String>,
    ) -> Result<String, SecretError> {
        let value = match &self.kind {
            ReferenceKind::Env(name) => environment(name)
                .ok_or_else(|| format!("the environment has no variable {name}: set it for the daemon")),
            ReferenceKind::File(path) => read(path),
            ReferenceKind::Credential(name) => match environment("CREDENTIALS_DIRECTORY") {
                Some(folder) => read(&Path::new(&folder).join(&**name)),
                None => Err(format!(
                    "CREDENTIALS_DIRECTORY is not set: give the unit LoadCredential={name}:PATH, or use ${{file:PATH}}"
                )),
            },
            ReferenceKind::Var(name, default) => variables(name)
                .or_else(|| default.as_deref().map(str::to_owned))
                .ok_or_else(|| format!("the variable {name} is not set: write `${{var:{name}|DEFAULT}}`")),
            ReferenceKind::Value(name) => values(name).ok_or_else(|| format!("there is no value {name}")),
        };
        if let (
            Ok(value),
            ReferenceKind::Env(_) | ReferenceKind::File(_) | ReferenceKind::Credential(_) | ReferenceKind::Value(_),
        ) = (&value, &self.kind)
        {
            super::secret::note(value);
        }
        value.map_err(|problem| SecretError { reference: self.written.to_string(), problem })
    }
}

/// A reference that cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reference}: {problem}")]
pub struct SecretError {
    /// The reference as written.
    pub reference: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

/// A template that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {hint}")]
pub struct TemplateFault {
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub hint: String,
}

/// A piece of a text: as written and unescaped, or a reference with its `${` and `}`.
pub enum Scanned<'s> {
    /// A text.
    Text(String),
    /// A reference.
    Reference(&'s str),
}

/// Finds the references in a text. There is one piece at least.
pub fn scan(source: &str) -> Result<Vec<Scanned<'_>>, TemplateFault> {
    let mut found = Vec::new();
    let mut text = String::new();
    let mut rest = source;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(unescaped) = before.strip_suffix('$') {
            text.push_str(unescaped);
            text.push_str("${");
            rest = &from[2..];
            continue;
        }
        let Some(end) = from.find('}') else {
            return Err(TemplateFault {
                problem: "a reference has no closing brace".into(),
                hint: "close it with `}`, or write `$${` for the two characters `${`".into(),
            });
        };
        text.push_str(before);
        if !text.is_empty() {
            found.push(Scanned::Text(std::mem::take(&mut text)));
        }
        found.push(Scanned::Reference(&from[..=end]));
        rest = &from[end + 1..];
    }
    text.push_str(rest);
    if !text.is_empty() || found.is_empty() {
        found.push(Scanned::Text(text));
    }
    Ok(found)
}

fn parts(source: &str, folder: &Path) -> Result<Vec<Part>, TemplateFault> {
    let part = |scanned| match scanned {
        Scanned::Text(text) => Ok(Part::Text(text.into())),
        Scanned::Reference(written) => Ok(Part::Reference(reference(written, folder)?)),
    };
    scan(source)?.into_iter().map(part).collect()
}

const KINDS: &str = "use ${env:NAME}, ${file:PATH} or ${credential:NAME}, or write `$${` for the two characters `${`";

fn reference(written: &str, folder: &Path) -> Result<Reference, TemplateFault> {
    let fault = |problem: String, hint: &str| TemplateFault { problem, hint: hint.into() };
    let inner = &written[2..written.len() - 1];
    let Some((kind, name)) = inner.split_once(':') else {
        return Err(fault("a reference does not say where its value is".into(), KINDS));
    };
    let kind = match kind {
        "exec" => return Err(fault("${exec:…} is not supported in this version".into(), KINDS)),
        "env" | "file" | "credential" | "var" | "value" if name.is_empty() => {
            return Err(fault(format!("${{{kind}:}} names nothing"), KINDS));
        }
        _ if name.contains('\0') => return Err(fault("a reference holds a NUL character".into(), KINDS)),
        "env" if name.contains('=') => {
            return Err(fault("a variable's name cannot contain `=`".into(), "use ${env:NAME}"));
        }
        "env" => ReferenceKind::Env(name.into()),
        "value" => ReferenceKind::Value(name.into()),
        "var" => match name.split_once('|') {
            Some(("", _)) => return Err(fault("${var:} names nothing".into(), "use ${var:NAME|DEFAULT}")),
            Some((name, default)) => ReferenceKind::Var(name.into(), Some(default.into())),
            None => ReferenceKind::Var(name.into(), None),
        },
        "file" => ReferenceKind::File(folder.join(name)),
        "credential" if name.contains('/') || name == "." || name == ".." => {
            return Err(fault("a credential has a name, not a path".into(), "use ${file:PATH} for a path"));
        }
        "credential" => ReferenceKind::Credential(name.into()),
        _ => return Err(fault("a reference is of an unknown kind".into(), KINDS)),
    };
    Ok(Reference { written: written.into(), kind })
}

/// A file's text without its trailing newline. Errors name the path, never what is in it.
fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let bytes = file::read(path, MAX_FILE_BYTES).map_err(|error| match error {
        FileError::TooLarge(_) => format!("{shown} {error}, which no secret is"),
        FileError::Io(_) | FileError::Kind(_) => format!("{shown} {error}"),
    })?;
    let mut text = String::from_utf8(bytes).map_err(|_| format!("{shown} is not UTF-8"))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
