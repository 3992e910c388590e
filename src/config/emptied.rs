//! A reload that would take everything away.
//!
//! What a reader would get wrong: such a configuration is valid, and at start it is followed. But a file that has become empty
//! while the daemon ran was more likely cut off (a full disk, an editor, a failed copy) than meant, and what a reload removes
//! loses its queue.

use std::path::{Path, PathBuf};

use super::{Config, Fault, Faults, Sources};

/// What of `sources`, which hold `new`, was there before and is gone. `filled` are the files that held something then.
pub fn emptied(sources: &Sources, new: &Config, old: &Config, filled: &[PathBuf]) -> Option<Faults> {
    if new.allow_empty {
        return None;
    }
    let hint = "write the endpoints again, or `allow_empty = true` above all sections if that is meant";
    let fault = |file: &Path, problem: String| Fault {
        file: file.display().to_string(),
        path: String::new(),
        problem,
        hint: hint.into(),
    };
    let mut faults: Vec<Fault> = sources
        .blank()
        .filter(|file| filled.iter().any(|known| known == file))
        .map(|file| fault(file, "the file is empty, and was not before".into()))
        .collect();
    let before = old.endpoints.len();
    if faults.is_empty() && new.endpoints.is_empty() && before > 0 {
        let problem = format!(
            "no endpoint is left, and there {}",
            if before == 1 { "was 1".into() } else { format!("were {before}") }
        );
        faults.push(fault(sources.path(), problem));
    }
    Faults::new(faults)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::*;

    const ONE: &str = "[endpoints.a]\nurl = \"ws://h/\"\n";
    const OTHER: &str = "[endpoints.b]\nurl = \"ws://h/\"\n";

    /// What a reload from `before` to `after`, files by name, says.
    fn said(before: &[(&str, &str)], after: &[(&str, &str)]) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let read = |files: &[(&str, &str)]| {
            for old in fs::read_dir(folder.path()).unwrap() {
                fs::remove_file(old.unwrap().path()).unwrap();
            }
            for (name, text) in files {
                fs::write(folder.path().join(name), text).unwrap();
            }
            let sources = Sources::read(folder.path());
            let config = sources.load(&BTreeMap::new()).unwrap().config;
            (sources, config)
        };
        let (old_sources, old) = read(before);
        let (new_sources, new) = read(after);
        let faults = emptied(&new_sources, &new, &old, &old_sources.filled())?.to_string();
        Some(faults.replace(&format!("{}", folder.path().display()), "F"))
    }

    #[test]
    fn a_file_that_has_become_empty_is_a_fault_that_names_it() {
        for empty in ["", " \n\n", "\u{feff}"] {
            let told = said(&[("a.toml", ONE)], &[("a.toml", empty)]).unwrap();
            assert!(told.starts_with("F/a.toml: the file is empty, and was not before; "), "{told}");
            assert!(told.contains("`allow_empty = true`"), "{told}");
        }
        let told = said(&[("a.toml", ONE), ("b.toml", OTHER)], &[("a.toml", ONE), ("b.toml", "")]).unwrap();
        assert!(told.starts_with("F/b.toml: the file is empty"), "one of several too: {told}");
    }

    #[test]
    fn no_endpoint_at_all_is_a_fault_where_there_was_one() {
        let told = said(&[("a.toml", ONE)], &[("a.toml", "# nothing\n")]).unwrap();
        assert!(told.starts_with("F: no endpoint is left, and there was 1; "), "{told}");
        let told = said(&[("a.toml", ONE), ("b.toml", OTHER)], &[("c.toml", "watch = true")]).unwrap();
        assert!(told.starts_with("F: no endpoint is left, and there were 2; "), "{told}");
    }

    #[test]
    fn what_is_meant_is_no_fault() {
        assert_eq!(said(&[("a.toml", ONE)], &[("a.toml", "allow_empty = true")]), None);
        assert_eq!(said(&[("a.toml", ONE), ("b.toml", OTHER)], &[("a.toml", ONE)]), None, "a file that was removed");
        assert_eq!(said(&[("a.toml", "")], &[("a.toml", "")]), None, "it was empty before");
        assert_eq!(said(&[("a.toml", "")], &[("a.toml", ONE)]), None);
        assert_eq!(said(&[("a.toml", ONE), ("b.toml", "")], &[("a.toml", ONE), ("b.toml", "")]), None);
    }
}
