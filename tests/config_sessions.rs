//! Sessions in the configuration: presets, documents, and warnings.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test helper that fails says where")]

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use wskeeper::config::{self, Config, Loaded};
use wskeeper_core::outcome::Action;

fn toml(text: &str) -> Config {
    config::parse_toml(text, "test.toml").unwrap_or_else(|faults| panic!("{faults}")).config
}

fn load(path: &Path) -> Loaded {
    config::load(path, &BTreeMap::new()).unwrap_or_else(|faults| panic!("{faults}"))
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn every_example_in_the_documents_about_sessions_is_valid() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let pages = fs::read_dir(docs.join("presets")).unwrap().map(|entry| entry.unwrap().path());
    let mut count = 0;
    for page in pages.chain([docs.join("sessions.md"), docs.join("subscriptions.md")]) {
        let text = fs::read_to_string(&page).unwrap();
        for block in text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
            config::parse_toml(block, "x.toml")
                .unwrap_or_else(|faults| panic!("{}: {faults}\n{block}", page.display()));
            count += 1;
        }
    }
    assert!(count >= 18, "only {count} examples");
}

#[test]
fn every_preset_has_a_page_an_example_and_a_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for preset in &config::preset::ALL {
        let name = preset.name;
        let page = fs::read_to_string(root.join(format!("docs/presets/{name}.md"))).unwrap();
        assert!(page.contains("**Source.**") && page.contains("**Lost with a connection.**"), "{name}");
        assert!(preset.text.contains("\n# Source: "), "{name} does not say where its facts are from");
        let example = load(&root.join(format!("config/examples/{name}.toml"))).config;
        let endpoint = example.endpoints.values().next().unwrap();
        assert_eq!(endpoint.keys.preset.map(|preset| preset.name), Some(name));
        assert!(endpoint.session.is_some(), "{name}");
        let index = fs::read_to_string(root.join("docs/presets/README.md")).unwrap();
        assert!(index.contains(&format!("({name}.md)")), "{name}");
    }
    let files = fs::read_dir(root.join("config/presets")).unwrap().count();
    assert_eq!(files, config::preset::ALL.len());
}

#[test]
fn keys_of_an_endpoint_lie_over_those_of_its_preset_one_by_one() {
    let config = toml(
        "[endpoints.a]\nurl = \"wss://h/\"\npreset = \"discord\"\nheartbeat = { idle = \"7s\" }\n\
         outcomes = [{ match = { code = 4004 }, then = \"park\" }]\n\
         [endpoints.a.session]\nvalues = { token = \"${env:T}\", intents = 1 }\nmute = { after = \"1min\" }\n",
    );
    let a = &config.endpoints["a"];
    assert_eq!((a.link.heartbeat.idle, a.link.heartbeat.abort_code), (Duration::from_secs(7), Some(4000)));
    assert_eq!((a.link.outcomes[0].then, a.link.outcomes[1].then), (Action::Park, Action::Refresh));
    let session = a.session.as_ref().unwrap();
    assert!(session.plan.mute.is_some() && session.plan.open.len() == 4 && session.secrets.len() == 1, "{session:?}");
    let own =
        toml("[endpoints.a]\nurl = \"ws://h/\"\npreset = \"graphql-ws\"\nsession.open = [{ send = \"hello\" }]\n");
    assert_eq!(own.endpoints["a"].session.as_ref().unwrap().plan.open.len(), 1);
}

#[test]
fn what_looks_like_a_secret_in_clear_is_a_warning_where_others_can_read_it() {
    let text = |secret: &str| {
        format!(
            "[endpoints.a]\nurl = \"wss://h/\"\n[endpoints.a.session]\nvalues.token = \"{secret}\"\nopen = [\n\
             {{ send = \"CONNECT\\npasscode:{secret}\\n\" }},\n{{ send = {{ json = {{ auth = {{ password = \"{secret}\" }} }} }} }} ]\n"
        )
    };
    let folder =
        folder(&[("clear.toml", &text("s3cret")), ("kept.toml", &text("s3cret")), ("right.toml", &text("${env:T}"))]);
    let mode = |name: &str, mode| {
        fs::set_permissions(folder.path().join(name), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    mode("clear.toml", 0o644);
    mode("kept.toml", 0o600);
    let warnings = load(&folder.path().join("clear.toml")).warnings;
    let told: Vec<_> = warnings.iter().filter(|warning| warning.contains("a secret in clear")).collect();
    assert_eq!(told.len(), 3, "{warnings:?}");
    assert!(!warnings.join("\n").contains("s3cret"));
    for name in ["kept.toml", "right.toml"] {
        assert_eq!(load(&folder.path().join(name)).warnings, Vec::<String>::new(), "{name}");
    }
}
