//! Whatever stands in a configuration, loading it gives a `Config` or faults, and never a panic.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use proptest::{prelude::*, test_runner::FileFailurePersistence};
use wskeeper::config::parse_toml;
use wskeeper_link::endpoint::url::Target;

#[path = "fuzz/configuration.rs"]
mod configuration;
#[path = "fuzz/replay.rs"]
mod replay;
#[path = "fuzz/sessions.rs"]
mod sessions_of_any_server;

use replay::{kept, near};

const WHOLE: &str = include_str!("../config/wskeeper.toml");

/// Seeds of cases that once failed; they are tried first.
const REGRESSIONS: FileFailurePersistence =
    FileFailurePersistence::Direct(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/regressions/config.txt"));

fn look(text: &str) {
    for language in 0..3 {
        configuration::read(text, language);
    }
}

/// The examples of the document about sessions, each of an endpoint: together they are one configuration.
fn sessions() -> Vec<&'static str> {
    let blocks = include_str!("../docs/sessions.md").split("```toml\n").skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

fn mutated(text: &str, cuts: &[(proptest::sample::Index, usize, String)]) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for (at, length, new) in cuts {
        let at = at.index(text.len());
        let end = (at + length).min(text.len());
        text.splice(at..end, new.chars());
    }
    text.into_iter().collect()
}

#[test]
fn the_sessions_that_are_mutated_are_valid() {
    let loaded = parse_toml(&sessions().concat(), "f.toml").expect("the examples are valid");
    assert_eq!(loaded.config.endpoints.len(), sessions().len());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: Some(Box::new(REGRESSIONS)), ..ProptestConfig::default() })]

    #[test]
    fn a_configuration_near_those_that_are_kept_is_read_or_refused(input in near("config")) {
        configuration::config(&input);
    }

    #[test]
    fn a_session_holds_whatever_a_server_says(input in near("session")) {
        sessions_of_any_server::session(&input);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,400}") {
        look(&text);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        look(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_mutated_configuration_is_read_or_refused(
        cuts in proptest::collection::vec((any::<proptest::sample::Index>(), 0_usize..12, "[\\[\\]{}=\"'.,#$:0-9a-z\\n -]{0,6}"), 1..6)
    ) {
        look(&mutated(&WHOLE.replace("\n#: ", "\n"), &cuts));
    }

    #[test]
    fn a_mutated_session_is_read_or_refused(
        cuts in proptest::collection::vec((any::<proptest::sample::Index>(), 0_usize..12, "[\\[\\]{}=\"'.,$:|!/*~0-9a-z\\n -]{0,6}"), 1..6)
    ) {
        look(&mutated(&sessions().concat(), &cuts));
    }

    #[test]
    fn any_value_of_any_key_is_read_or_refused(
        index in any::<proptest::sample::Index>(),
        value in prop_oneof![
            Just("[]".to_owned()), Just("{}".to_owned()), Just("true".to_owned()), Just("nan".to_owned()),
            any::<i64>().prop_map(|n| n.to_string()), any::<f64>().prop_map(|n| format!("{n:?}")),
            "\\PC{0,40}".prop_map(|text| format!("{text:?}")), "[0-9]{1,22}(ns|s|min|y|KiB|EiB)".prop_map(|text| format!("{text:?}")),
        ]
    ) {
        let lines: Vec<&str> = WHOLE.lines().map(|line| line.trim_start_matches("#: ")).collect();
        let keys: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].contains(" = ") && !lines[*at].starts_with('#')).collect();
        let chosen = keys[index.index(keys.len())];
        let changed: Vec<String> = lines.iter().enumerate().map(|(at, line)| match line.split_once(" = ") {
            Some((key, _)) if at == chosen => format!("{key} = {value}"),
            _ => (*line).to_owned(),
        }).collect();
        look(&changed.join("\n"));
    }

    #[test]
    fn any_url_leads_somewhere_or_is_refused(text in "(ws|wss|http|x)?(://)?\\PC{0,60}") {
        if let Ok(target) = Target::parse(&text) {
            prop_assert!(!target.shown.contains('?') && target.port != 0);
            prop_assert!(target.request_target().starts_with('/'));
        }
    }
}

#[test]
fn what_is_kept_of_the_inputs_holds() {
    for input in kept("config") {
        configuration::config(&input);
    }
    for input in kept("session") {
        sessions_of_any_server::session(&input);
    }
}

#[test]
fn deep_nesting_is_read_or_refused() {
    for (open, times) in
        [("[", 100_000), ("{\"a\":", 50_000), ("- ", 100_000), ("a: ", 50_000), ("{a: ", 50_000), ("a.", 50_000)]
    {
        look(&open.repeat(times));
    }
    let block: Vec<String> = (0..600).map(|depth| format!("{}a:", " ".repeat(depth))).collect();
    look(&block.join("\n"));
}
