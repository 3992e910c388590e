//! One value of the tree, read as what its key needs.
//!
//! A value from the environment or the command line is text; it is read as the number or boolean that the key needs. In a file the type
//! must be right. No complaint repeats a string from the configuration but for closed sets of words, because it may be a secret.

#![allow(clippy::wildcard_enum_match_arm, reason = "kinds of a foreign crate: every one that is not read is refused")]

use std::{ops::RangeInclusive, path::Path, time::Duration};

use bytesize::ByteSize;
use config::{Value, ValueKind};
use humantime::DurationError;

use super::section::{Report, suggestion};
use crate::config::{
    COMMAND_LINE, environment,
    text::{self, NoDuration},
};
use wskeeper_link::endpoint::template::{Template, TemplateFault};

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Item<'a> {
    pub(crate) report: &'a Report,
    pub(crate) path: String,
    pub(crate) value: &'a Value,
}

fn is_loose(origin: &str) -> bool {
    origin.starts_with(environment::ORIGIN) || origin.starts_with(COMMAND_LINE)
}

impl<'a> Item<'a> {
    /// Something is wrong with it.
    pub(crate) fn fault(&self, problem: impl Into<String>, hint: impl Into<String>) {
        self.report.fault(self.value.origin(), &self.path, problem, hint);
    }

    fn wrong_type<T>(&self, wanted: &str, hint: &str) -> Option<T> {
        self.fault(format!("must be {wanted}, not {}", what(&self.value.kind)), hint);
        None
    }

    /// Text from the environment or the command line, which may stand for another type.
    fn loose(&self) -> Option<&'a str> {
        match &self.value.kind {
            ValueKind::String(text) if is_loose(self.value.origin()?) => Some(text.trim()),
            _ => None,
        }
    }

    pub(crate) fn bool(&self) -> Option<bool> {
        match (&self.value.kind, self.loose()) {
            (ValueKind::Boolean(value), _) => Some(*value),
            (_, Some("true")) => Some(true),
            (_, Some("false")) => Some(false),
            _ => self.wrong_type("true or false", "write it without quotes"),
        }
    }

    /// A string, not empty unless the key allows it.
    pub(crate) fn text(&self) -> Option<&'a str> {
        match &self.value.kind {
            ValueKind::String(text) => Some(text),
            _ => self.wrong_type("a string", "write it in quotes"),
        }
    }

    pub(crate) fn integer(&self, range: RangeInclusive<u64>) -> Option<u64> {
        if let Some(number) = self.beyond() {
            self.fault(format!("{} is out of range", figure(number)), format!("write {}", between(&range)));
            return None;
        }
        let whole: Option<i128> = match (&self.value.kind, self.loose()) {
            (ValueKind::I64(value), _) => Some((*value).into()),
            (ValueKind::U64(value), _) => Some((*value).into()),
            (ValueKind::I128(value), _) => Some(*value),
            (ValueKind::U128(value), _) => Some(i128::try_from(*value).unwrap_or(i128::MAX)),
            (_, Some(text)) => text.parse().ok(),
            _ => None,
        };
        let Some(whole) = whole else {
            return self.wrong_type("a whole number", &format!("write {}", between(&range)));
        };
        let fits = u64::try_from(whole).ok().filter(|value| range.contains(value));
        if fits.is_none() {
            self.fault(format!("{whole} is out of range"), format!("write {}", between(&range)));
        }
        fits
    }

    /// A whole number that the file's parser had no room for.
    fn beyond(&self) -> Option<f64> {
        const ROOM: f64 = 9e18;
        match &self.value.kind {
            ValueKind::Float(number) if number.abs() > ROOM => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn number(&self, range: RangeInclusive<f64>) -> Option<f64> {
        #[allow(clippy::cast_precision_loss, reason = "a multiplier or a rate, not a count")]
        let number = match (&self.value.kind, self.loose()) {
            (ValueKind::Float(value), _) => Some(*value),
            (ValueKind::I64(value), _) => Some(*value as f64),
            (ValueKind::U64(value), _) => Some(*value as f64),
            (_, Some(text)) => text.parse().ok(),
            _ => None,
        };
        let hint = format!("write a number from {} to {}", figure(*range.start()), figure(*range.end()));
        let Some(number) = number else { return self.wrong_type("a number", &hint) };
        if range.contains(&number) {
            return Some(number);
        }
        self.fault(format!("{} is out of range", figure(number)), hint);
        None
    }

    pub(crate) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        const FORM: &str = "write a number with its unit, such as \"500ms\", \"20s\", \"10min\" or \"1h\"";
        let ValueKind::String(text) = &self.value.kind else { return self.wrong_type("a duration", FORM) };
        match text::duration(text) {
            Ok(duration) if range.contains(&duration) => Some(duration),
            Err(NoDuration::Months) => {
                self.fault("the unit M stands for months", "write 5min for minutes");
                None
            }
            Err(NoDuration::Form(DurationError::NumberOverflow)) => {
                self.fault("the duration is too long or too fine", duration_hint(&range));
                None
            }
            Ok(duration) => {
                self.fault(format!("{} is out of range", humantime::format_duration(duration)), duration_hint(&range));
                None
            }
            Err(NoDuration::Form(_)) => {
                self.fault("is not a duration", FORM);
                None
            }
        }
    }

    pub(crate) fn size(&self, range: RangeInclusive<u64>) -> Option<u64> {
        const FORM: &str = "write a number with its unit, such as \"64KiB\" or \"8MiB\", or a number of bytes";
        let bytes = match &self.value.kind {
            ValueKind::String(text) => {
                let Ok(size) = text.trim().parse::<ByteSize>() else {
                    self.fault("is not a size", FORM);
                    return None;
                };
                Some(size.as_u64())
            }
            ValueKind::I64(value) => u64::try_from(*value).ok(),
            ValueKind::U64(value) => Some(*value),
            _ if self.beyond().is_some() => None,
            _ => return self.wrong_type("a size", FORM),
        };
        let fits = bytes.filter(|bytes| range.contains(bytes));
        if fits.is_none() {
            let (from, to) = (ByteSize(*range.start()), ByteSize(*range.end()));
            self.fault("the size is out of range", format!("write a size from {from} to {to}"));
        }
        fits
    }

    /// One of a closed set of words.
    pub(crate) fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let hint = match suggestion(text, &known) {
                near if near.starts_with("did") => near,
                _ => format!("write one of {}", quoted(&known)),
            };
            self.fault("is not one of the words that it may be", hint);
        }
        found.map(|(_, value)| *value)
    }

    /// The values of a list, each with its place.
    pub(crate) fn list(&self) -> Option<Vec<Item<'a>>> {
        let ValueKind::Array(list) = &self.value.kind else {
            let hint =
                if self.loose().is_some() { "write JSON: [\"a\", \"b\"]" } else { "write it in brackets: [ … ]" };
            return self.wrong_type("a list", hint);
        };
        let item = |(index, value)| Item { report: self.report, path: format!("{}[{index}]", self.path), value };
        Some(list.iter().enumerate().map(item).collect())
    }

    /// A string with references.
    pub(crate) fn template(&self) -> Option<Template> {
        self.template_by(Template::parse)
    }

    /// As `template`, where values have been made, and variables of the session have values too.
    pub(crate) fn template_with_variables(&self) -> Option<Template> {
        self.template_by(Template::parse_with_variables)
    }

    fn template_by(&self, parse: fn(&str, &Path) -> Result<Template, TemplateFault>) -> Option<Template> {
        let folder = self.report.folder_of(self.value.origin());
        match parse(self.text()?, &folder) {
            Ok(template) => Some(template),
            Err(fault) => {
                self.fault(fault.problem, fault.hint);
                None
            }
        }
    }
}

/// What a value is, in a sentence.
pub(crate) fn what(kind: &ValueKind) -> &'static str {
    match kind {
        ValueKind::Nil => "nothing",
        ValueKind::Boolean(_) => "a boolean",
        ValueKind::I64(_) | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => "a whole number",
        ValueKind::Float(_) => "a number with a fraction",
        ValueKind::String(_) => "a string",
        ValueKind::Table(_) => "a section",
        ValueKind::Array(_) => "a list",
    }
}

/// A number in few characters: written out, the largest have three hundred.
fn figure(number: f64) -> String {
    let is_short = number == 0.0 || (1e-6..1e15).contains(&number.abs());
    if is_short { number.to_string() } else { format!("{number:e}") }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
}

fn between(range: &RangeInclusive<u64>) -> String {
    format!("a whole number from {} to {}", range.start(), range.end())
}

fn duration_hint(range: &RangeInclusive<Duration>) -> String {
    let text = |duration: &Duration| humantime::format_duration(*duration).to_string();
    format!("write a duration from {} to {}", text(range.start()), text(range.end()))
}

#[cfg(test)]
mod tests {
    use super::figure;
    use crate::config::{parse_json, parse_toml, parse_yaml};

    #[test]
    fn a_number_is_told_in_few_characters() {
        for (number, wanted) in [
            (1e308, "1e308"),
            (1e-300, "1e-300"),
            (-1e300, "-1e300"),
            (0.001, "0.001"),
            (1_000_000.0, "1000000"),
            (0.0, "0"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(figure(number), wanted);
        }
    }

    #[test]
    fn a_number_that_no_parser_has_room_for_is_told_with_its_place_and_range_and_hides_no_other_fault() {
        for number in ["18446744073709551615", "99999999999999999999999999", "-99999999999999999999999999"] {
            let toml = format!(
                "[endpoints.x]\nurl = \"ws://h\"\noutbox.max_messages = {number}\noutbox.max_bytes = {number}\nlinks = 0\n\
                 reconnect.multiplier = {number}"
            );
            let json = format!(
                "{{\"endpoints\": {{\"x\": {{\"url\": \"ws://h\",\n\n\"outbox\": {{\"max_messages\": {number}}}}}}}}}"
            );
            let yaml = format!("endpoints:\n  x: {{url: 'ws://h', outbox: {{max_messages:\n    {number}}}}}");
            let told = [parse_toml(&toml, "f"), parse_json(&json, "f"), parse_yaml(&yaml, "f")];
            for told in told.iter().map(|told| told.as_ref().unwrap_err().to_string()) {
                let line = told.lines().find(|line| line.contains("max_messages")).unwrap_or_default();
                assert!(
                    line.contains("f:") && line.contains("out of range; write a whole number from 1 to 100000000"),
                    "{told}"
                );
            }
            let told = told[0].as_ref().unwrap_err().to_string();
            for key in ["f:4: endpoints.x.outbox.max_bytes: the size is", "links: 0 is", "multiplier: ", "max_messages"]
            {
                assert!(told.contains(key), "{key}: {told}");
            }
            assert!(told.lines().all(|line| line.len() < 150), "{told}");
        }
    }
}
