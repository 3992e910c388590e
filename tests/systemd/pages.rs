//! Manual pages and completions, as the package takes them from the binary.

use std::{collections::BTreeSet, fs, process::Command};

const BINARY: &str = env!("CARGO_BIN_EXE_wskeeper");

fn verbs() -> BTreeSet<String> {
    let help = Command::new(BINARY).arg("--help").output().unwrap().stdout;
    let help = String::from_utf8(help).unwrap();
    let list = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|verb| *verb != "help").map(str::to_owned).collect()
}

#[test]
fn there_is_a_manual_page_for_the_program_and_for_each_verb() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Command::new(BINARY).arg("man").arg(folder.path()).status().unwrap().success());
    let verbs = verbs();
    assert!(verbs.contains("run") && verbs.len() > 10, "{verbs:?}");
    for page in verbs.iter().map(|verb| format!("wskeeper-{verb}.1")).chain(["wskeeper.1".into()]) {
        let text = fs::read_to_string(folder.path().join(&page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{page}");
    }
}

#[test]
fn the_manual_can_be_read_without_a_folder() {
    let page = Command::new(BINARY).arg("man").output().unwrap().stdout;
    assert!(String::from_utf8(page).unwrap().contains(".TH wskeeper 1"));
}

/// The package's scripts ask the binary itself, so that they know what it knows.
#[test]
fn completions_ask_the_binary() {
    for shell in ["bash", "zsh", "fish"] {
        let script = Command::new(BINARY).args(["completions", shell]).output().unwrap().stdout;
        let script = String::from_utf8(script).unwrap();
        assert!(script.contains("WSKEEPER_COMPLETE") && script.contains("-- "), "{shell}: {script}");
    }
}
