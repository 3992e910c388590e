//! A configuration that is any text: it is read, or refused at a place that it has.

use wskeeper::config::{Faults, Loaded, parse_json, parse_toml, parse_yaml};

/// Reads a text, which is in the file of this name.
type Parse = fn(&str, &str) -> Result<Loaded, Faults>;

/// The first byte says in which language, the others are the text.
pub(crate) fn config(data: &[u8]) {
    let Some((language, text)) = data.split_first() else { return };
    read(&String::from_utf8_lossy(text), usize::from(*language) % 3);
}

/// Reads the text in the first, second or third language.
pub(crate) fn read(text: &str, language: usize) {
    let (name, parse): (&str, Parse) =
        [("f.toml", parse_toml as _), ("f.yaml", parse_yaml as _), ("f.json", parse_json as _)][language];
    match parse(text, name) {
        Ok(loaded) => drop(format!("{loaded:?}")),
        Err(faults) => {
            assert!(faults.len() > 0 && !faults.to_string().is_empty());
            // For YAML, other characters end lines too.
            let lines = text.matches(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count() + 2;
            for fault in faults.iter() {
                let line = fault.file.strip_prefix(name).and_then(|rest| rest.strip_prefix(':'));
                let line = line.map(|line| line.parse::<usize>().expect("a line is a number"));
                assert!(line.is_none_or(|line| (1..=lines).contains(&line)), "{fault} of {lines} lines");
            }
        }
    }
}
