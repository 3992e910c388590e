//! The configuration as an operator meets it: files, folders, environment, and every complaint.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test helper that fails says where")]

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use wskeeper::config::{self, Config, Listen, Loaded};
use wskeeper_core::{close::Cause, outbox::OnFull, outcome::Action};

fn toml(text: &str) -> Config {
    config::parse_toml(text, "test.toml").unwrap_or_else(|faults| panic!("{faults}")).config
}

fn faults(text: &str) -> String {
    config::parse_toml(text, "test.toml").expect_err("it is wrong").to_string()
}

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn load(path: &Path, pairs: &[(&str, &str)]) -> Loaded {
    config::load(path, &environment(pairs)).unwrap_or_else(|faults| panic!("{faults}"))
}

const ONE: &str = "[endpoints.a]\nurl = \"ws://127.0.0.1:1/\"\n";

#[test]
fn every_broken_file_gets_the_complaints_beside_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    let prefix = format!("{}/", folder.display());
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "expected") {
            continue;
        }
        let expected = path.with_added_extension("expected");
        let complaints = match config::load(&path, &BTreeMap::new()) {
            Ok(_) => panic!("{} is taken for right", path.display()),
            Err(faults) => format!("{}\n", faults.to_string().replace(&prefix, "")),
        };
        if std::env::var_os("WSKEEPER_BLESS").is_some() {
            fs::write(&expected, &complaints).unwrap();
        }
        let wanted = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(complaints, wanted, "complaints of {}", path.display());
        count += 1;
    }
    assert!(count >= 12, "only {count} broken files were found");
}

/// A value of every key in a table of the configuration, wrong for each of them, in pairs.
#[test]
fn of_two_faults_in_one_table_neither_hides_the_other() {
    let keys = config::keys();
    let mut tables: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for key in keys.iter().filter(|key| !key.ends_with('*')) {
        let (table, own) = key.rsplit_once('.').unwrap_or(("", key));
        tables.entry(table).or_default().push(own);
    }
    assert!(tables.len() > 15 && tables["api.tokens[]"].len() == 4, "{tables:?}");
    let mut pairs = 0;
    for (table, own) in &tables {
        for (number, one) in own.iter().enumerate() {
            for other in &own[number + 1..] {
                let steps = table.rsplit('.').filter(|step| !step.is_empty());
                let wrong = serde_json::json!({ *one: [[]], *other: [[]] });
                let whole = steps.fold(wrong, |inner, step| match step.strip_suffix("[]") {
                    Some(step) => serde_json::json!({ step: [inner] }),
                    None => serde_json::json!({ step.replace('*', "x"): inner }),
                });
                let told = config::parse_json(&whole.to_string(), "x.json").expect_err("it is wrong");
                for key in [one, other] {
                    let path = if table.is_empty() { (*key).to_owned() } else { format!("{table}.{key}") };
                    let path = path.replace("[]", "[0]").replace('*', "x");
                    let is_told = told.iter().any(|fault| fault.path == path || fault.path == format!("{path}[0]"));
                    assert!(is_told, "{path} is not told of in {whole}:\n{told}");
                }
                pairs += 1;
            }
        }
    }
    assert!(pairs > 300, "only {pairs} pairs");
}

#[test]
fn a_variable_that_is_almost_one_of_ours_is_told_of_and_others_are_not() {
    let folder = folder(&[("w.toml", ONE)]);
    let path = folder.path().join("w.toml");
    for (name, right) in [
        ("WSKEEPER_API__LISTEN", "WSKEEPER__API__LISTEN"),
        ("WSKEEPER_API_LISTEN", "WSKEEPER__API__LISTEN"),
        ("wskeeper__api__listen", "WSKEEPER__API__LISTEN"),
        ("Wskeeper__Limits__Drain", "WSKEEPER__LIMITS__DRAIN"),
        ("WSKEEPER_DEFAULTS_RECONNECT_ON_CLEAN_CLOSE", "WSKEEPER__DEFAULTS__RECONNECT__ON_CLEAN_CLOSE"),
        ("WSKEEPER-LOG-LEVEL", "WSKEEPER__LOG__LEVEL"),
        ("WSKEEPER_ENDPOINTS__A__LINKS", "WSKEEPER__SECTION__KEY"),
        ("WSKEEPER___API__LISTEN", "WSKEEPER__API__LISTEN"),
    ] {
        if name.starts_with("WSKEEPER__") {
            assert!(config::load(&path, &environment(&[(name, "1s")])).is_err(), "{name}");
            continue;
        }
        let warnings = load(&path, &[(name, "1s")]).warnings;
        let wanted =
            format!("environment variable {name} is not read; write {right}, with two underscores between parts");
        assert_eq!(warnings, [wanted]);
    }
    let others = [
        "WSKEEPER_API",
        "WSKEEPER_LOG",
        "WSKEEPER_TOKEN",
        "WSKEEPER_TOKEN_FILE",
        "WSKEEPER_IMAGE",
        "WSKEEPERS__X",
        // A Service of Kubernetes makes these.
        "WSKEEPER_SERVICE_HOST",
        "WSKEEPER_PORT",
        "WSKEEPER_PORT_7700_TCP_ADDR",
        "WSKEEPER_API_SERVICE_PORT_HTTP",
        "WSKEEPER_API_PORT",
        "WSKEEPER_METRICS_PORT_7700_TCP",
    ];
    let others: Vec<_> = others.iter().map(|name| (*name, "1")).collect();
    assert_eq!(load(&path, &others).warnings, [""; 0]);
    let told = config::load(&path, &environment(&[("WSKEEPER__API_LISTEN", "127.0.0.1:1")])).unwrap_err().to_string();
    assert!(told.contains("write WSKEEPER__API__LISTEN"), "{told}");
}

#[test]
fn files_of_a_folder_that_are_not_read_are_told_of() {
    let some = ["b.tml", "c.toml.bak", "d.conf", "e.TOML", "f.txt", "g", ".hidden", "h.toml~", "i.md", "README.md"];
    let mut files = vec![("a.toml", ONE)];
    files.extend(some.iter().map(|name| (*name, "x = 1")));
    let folder = folder(&files);
    fs::create_dir(folder.path().join("more")).unwrap();
    let place = folder.path().display();
    let wanted = format!(
        "{place}: not read, for their names end in none of .toml, .yaml, .yml and .json: b.tml, c.toml.bak, d.conf, e.TOML, \
         f.txt and 2 more"
    );
    assert_eq!(load(folder.path(), &[]).warnings, [wanted]);
    fs::remove_file(folder.path().join("a.toml")).unwrap();
    let told = config::load(folder.path(), &BTreeMap::new()).unwrap_err().to_string();
    assert!(told.contains("no configuration file") && told.contains("b.tml is not read"), "{told}");
}

#[test]
fn the_files_that_come_with_it_load_without_a_word() {
    for name in ["config/wskeeper.toml", "config/minimal.toml"] {
        let loaded = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join(name), &[]);
        assert_eq!(loaded.warnings, Vec::<String>::new(), "{name}");
    }
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples")).unwrap() {
        load(&entry.unwrap().path(), &[]);
    }
}

/// Keys of the annotated file, commented-out ones too, in the form of `config::keys`.
fn keys_written(text: &str) -> Vec<String> {
    let mut section = String::new();
    let mut keys = Vec::new();
    for line in text.lines() {
        let line = line.trim_start_matches("#:").trim();
        if let Some(name) =
            line.strip_prefix("[[").and_then(|rest| rest.split("]]").next()).filter(|_| line.starts_with("[["))
        {
            keys.push(normal(name));
            section = format!("{}[]", normal(name));
        } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            section = normal(name);
            keys.push(section.clone());
        } else if let Some((key, _)) = line.split_once('=')
            && !line.starts_with('#')
        {
            let key = key.trim();
            let named = [
                ".headers",
                ".proxy_headers",
                ".resolve",
                "values",
                ".streams[].match",
                ".push[].match",
                ".bridges[].match",
                ".match.header",
            ]
            .iter()
            .any(|end| section.ends_with(end));
            let key = if named { "*" } else { key };
            let key = key.replace('"', "");
            keys.push(if section.is_empty() { key } else { format!("{section}.{key}") });
        }
    }
    keys
}

fn normal(section: &str) -> String {
    let mut parts: Vec<&str> = section.split('.').collect();
    if parts[0] == "endpoints" && parts.len() > 1 {
        parts[1] = "*";
        match parts.get(2) {
            Some(&"outcomes") if parts.len() > 3 => parts[2] = "outcomes[]",
            Some(&"streams") if parts.len() > 3 => parts[2] = "streams[]",
            Some(&"push") if parts.len() > 3 => parts[2] = "push[]",
            Some(&"bridges") if parts.len() > 3 => parts[2] = "bridges[]",
            Some(_) | None => {}
        }
    }
    if parts[0] == "brokers" && parts.len() > 1 {
        parts[1] = "*";
    }
    parts.join(".")
}

/// Keys that have a second place, at the endpoint itself; the files explain the one in `outbox`.
fn stands_in_outbox(key: &str) -> bool {
    ["delivery", "durability", "confirm_interval"].iter().any(|name| key == format!("endpoints.*.{name}"))
}

#[test]
fn the_annotated_file_has_every_key_and_no_other() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/wskeeper.toml")).unwrap();
    let written = keys_written(&text);
    let known: Vec<String> = config::keys().into_iter().filter(|key| !key.starts_with("defaults")).collect();
    let implied = |key: &String| written.iter().any(|other| other.starts_with(&format!("{key}.")) || other == key);
    let missing: Vec<_> = known.iter().filter(|key| !implied(key) && !stands_in_outbox(key)).collect();
    assert!(missing.is_empty(), "not explained in config/wskeeper.toml: {missing:?}");
    let all = config::keys();
    let strange: Vec<_> = written
        .iter()
        .filter(|key| !all.contains(key) && *key != "endpoints.*" && *key != "brokers.*" && !key.ends_with("[].match"))
        .collect();
    assert!(strange.is_empty(), "config/wskeeper.toml explains what does not exist: {strange:?}");
}

#[test]
fn the_annotated_values_are_the_defaults() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/wskeeper.toml")).unwrap();
    let annotated = toml(&text);
    // That the section is there says that programs may subscribe.
    let bare = toml("[endpoints.trades]\nurl = \"wss://feed.example/v2\"\n[endpoints.trades.subscriptions]");
    assert_eq!(annotated.api, bare.api);
    assert_eq!(annotated.log, bare.log);
    assert_eq!(annotated.limits, bare.limits);
    assert_eq!(annotated.admission, bare.admission);
    assert_eq!(annotated.storage, bare.storage);
    assert_eq!(format!("{:?}", annotated.endpoints), format!("{:?}", bare.endpoints));
}

#[test]
fn every_key_is_in_the_reference() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md")).unwrap();
    for key in config::keys() {
        let name = key.rsplit('.').next().unwrap().trim_end_matches("[]");
        assert!(
            name == "*" || text.contains(&format!("`{name}`")) || text.contains(&format!("[{key}]")),
            "{key} is not in docs/configuration.md"
        );
    }
}

#[test]
fn an_endpoint_inherits_key_by_key() {
    let config = toml(
        "[defaults]\nlinks = 3\nheaders = { X-A = \"1\", X-B = \"2\" }\n[defaults.heartbeat]\nidle = \"7s\"\n\
         [endpoints.a]\nurl = \"ws://h/\"\nheaders = { x-b = \"3\" }\n[endpoints.a.heartbeat]\ntimeout = \"3s\"",
    );
    let a = &config.endpoints["a"];
    assert_eq!(a.links, 3);
    assert_eq!((a.link.heartbeat.idle, a.link.heartbeat.timeout), (Duration::from_secs(7), Duration::from_secs(3)));
    let headers: Vec<_> = a.headers.iter().map(|(name, value)| (name.as_str(), value.source())).collect();
    assert_eq!(headers, [("x-a", "1"), ("x-b", "3")]);
}

#[test]
fn an_endpoint_leaves_out_an_inherited_header_by_saying_false() {
    let config = toml(
        "[defaults]\nheaders = { Authorization = \"${env:T}\", X-A = \"1\" }\n\
         [endpoints.a]\nurl = \"wss://h/\"\nheaders = { authorization = false, X-None = false, X-False = \"false\" }",
    );
    let headers = &config.endpoints["a"].headers;
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.source())).collect();
    assert_eq!(headers, [("x-a", "1"), ("x-false", "false")]);
    assert!(faults(&format!("{ONE}headers = {{ X-A = true }}")).contains("must be a string, not a boolean"));
}

#[test]
fn a_folder_is_merged_in_order_of_names_and_leftovers_are_skipped() {
    let folder = folder(&[
        ("10-base.toml", "[log]\nlevel = \"warn\"\n[endpoints.a]\nurl = \"ws://h/\"\nlinks = 1"),
        ("20-site.yaml", "endpoints:\n  a:\n    links: 5\n"),
        ("30-more.json", "{\"endpoints\": {\"B.c\": {\"url\": \"ws://h/\"}}}"),
        (".99-hidden.toml", "x = 1"),
        ("99-old.toml~", "x = 1"),
        ("#99-old.toml#", "x = 1"),
        ("README.md", "not a configuration"),
    ]);
    let config = load(folder.path(), &[]).config;
    assert_eq!(config.endpoints["a"].links, 5);
    assert_eq!(config.log.level, "warn");
    assert!(config.endpoints.contains_key("B.c"), "names keep their case and their dots");
}

#[test]
fn a_fault_names_the_file_of_the_folder_that_it_is_in() {
    let folder = folder(&[("a.toml", ONE), ("b.yml", "endpoints:\n  a:\n    links: many\n    critical: 3\n")]);
    let faults = config::load(folder.path(), &BTreeMap::new()).unwrap_err();
    let file = folder.path().join("b.yml").display().to_string();
    assert_eq!(faults.len(), 2);
    let places: Vec<_> = faults.iter().map(|fault| fault.file.clone()).collect();
    assert_eq!(places, [format!("{file}:3"), format!("{file}:4")], "{faults}");
}

#[test]
fn the_environment_wins_and_finds_names_whatever_their_case() {
    let folder = folder(&[("w.toml", "[endpoints.EU-Trades]\nurl = \"ws://h/\"\nheaders = { X-Key = \"a\" }\n")]);
    let config = load(
        &folder.path().join("w.toml"),
        &[
            ("WSKEEPER__ENDPOINTS__EU_TRADES__LINKS", "4"),
            ("WSKEEPER__ENDPOINTS__EU_TRADES__CRITICAL", "true"),
            ("WSKEEPER__ENDPOINTS__EU_TRADES__RECONNECT__MULTIPLIER", "1.5"),
            ("WSKEEPER__ENDPOINTS__EU_TRADES__HEADERS__X_KEY", "123"),
            ("WSKEEPER__ENDPOINTS__EU_TRADES__PROTOCOLS", "[\"a\", \"B\"]"),
            ("WSKEEPER__ENDPOINTS__EU_TRADES__OUTBOX__ON_FULL", "wait"),
            ("WSKEEPER__ENDPOINTS__NEW__URL", "ws://n/"),
            ("WSKEEPER__API__MAX_BODY", "1024"),
            ("WSKEEPER_API", "http://elsewhere"),
            ("PATH", "/bin"),
        ],
    )
    .config;
    let trades = &config.endpoints["EU-Trades"];
    assert_eq!((trades.links, trades.critical, config.endpoints.len()), (4, true, 2));
    assert!((trades.link.backoff.multiplier - 1.5).abs() < f64::EPSILON);
    assert_eq!(trades.headers[0].1.source(), "123");
    assert_eq!(trades.protocols.iter().map(wskeeper_link::endpoint::Template::source).collect::<Vec<_>>(), ["a", "B"]);
    assert_eq!(trades.link.outbox.on_full, OnFull::Wait);
    assert_eq!(config.api.max_body, 1024);
}

#[test]
fn a_fault_of_the_environment_names_the_variable() {
    let folder = folder(&[("w.toml", "[endpoints.a-b]\nurl = \"ws://h/\"\n[endpoints.a_b]\nurl = \"ws://h/\"")]);
    let complaint = |name: &str, value: &str| {
        config::load(&folder.path().join("w.toml"), &environment(&[(name, value)])).unwrap_err().to_string()
    };
    let wrong = complaint("WSKEEPER__LIMITS__RECEIPTS", "lots");
    assert!(
        wrong.starts_with("environment variable WSKEEPER__LIMITS__RECEIPTS: limits.receipts: must be a whole number"),
        "{wrong}"
    );
    assert!(complaint("WSKEEPER__LOG__LEVLE", "info").contains("did you mean `level`?"));
    assert!(complaint("WSKEEPER__", "x").contains("empty part"));
    assert!(complaint("WSKEEPER__LOG____LEVEL", "x").contains("empty part"));
    assert!(complaint("WSKEEPER__ENDPOINTS__A_B__LINKS", "2").contains("may mean a-b or a_b"));
    assert!(complaint("WSKEEPER__ENDPOINTS__A_B", "x").contains("may mean"));
    assert!(complaint("WSKEEPER__LOG", "debug").contains("must be a section"));
}

#[test]
fn a_relative_path_starts_from_the_file_it_is_written_in() {
    let folder = folder(&[
        ("w.toml", "[endpoints.a]\nurl = \"ws://h/\"\nheaders = { X-Key = \"${file:key}\" }"),
        ("key", "k\n"),
    ]);
    let config = load(&folder.path().join("w.toml"), &[]).config;
    assert_eq!(config.endpoints["a"].headers[0].1.evaluate().unwrap().expose(), "k");
}

#[test]
fn what_was_evaluated_or_written_in_clear_is_in_no_debug() {
    let folder = folder(&[
        (
            "w.toml",
            "[[api.tokens]]\nname = \"t\"\ntoken = \"${file:key}\"\nscopes = [\"read\"]\n\
             [endpoints.a]\nurl = \"wss://u:s3cret@h/?k=s3cret\"\nheaders = { X-Key = \"${file:key}\", Cookie = \"s3cret\" }",
        ),
        ("key", "s3cret\n"),
    ]);
    let loaded = load(&folder.path().join("w.toml"), &[]);
    for (_, template) in &loaded.config.endpoints["a"].headers {
        template.evaluate().unwrap();
    }
    assert!(!format!("{loaded:?}").contains("s3cret"), "{loaded:?}");
}

#[test]
fn no_complaint_repeats_a_value_that_may_be_secret() {
    let text = "[[api.tokens]]\nname = \"t\"\ntoken = \"s3cret\"\nscopes = [\"read\"]\n[endpoints.a]\nurl = \"s3cret://s3cret\"\n\
                headers = { Authorization = \"s3cret\\n\", X = [\"s3cret\"] }";
    let complaints = faults(text);
    assert!(!complaints.contains("s3cret"), "{complaints}");
    let syntax = faults("[endpoints.a]\nheaders = { Authorization = \"s3cret }\n");
    assert!(syntax.starts_with("test.toml:2: syntax error") && !syntax.contains("s3cret"), "{syntax}");
}

#[test]
fn an_address_that_others_can_reach_demands_tokens() {
    assert!(
        faults("[api]\nlisten = \"0.0.0.0:7700\"")
            .contains("api.listen: 0.0.0.0:7700 can be reached from other machines")
    );
    assert!(faults("[api]\nlisten = \"[::]:7700\"").contains("can be reached"));
    let unix = toml("[api]\nlisten = \"unix:/run/w.sock\"\nsocket_mode = \"0600\"");
    assert_eq!(unix.api.listen, Listen::Unix { path: "/run/w.sock".into(), mode: 0o600, group: None });
}

#[test]
fn rows_of_outcomes_are_built_and_staying_closed_comes_after_them() {
    let config = toml(
        "[endpoints.a]\nurl = \"ws://h/\"\noutcomes = [\n  { match = { code = \"4000-4099\", reason = \"(?i)banned\" }, then = \"park\" },\n  \
         { match = { status = 503 }, then = \"slow\", after = 3 }, { match = { class = \"dns\" }, then = \"now\" } ]\n\
         [endpoints.a.reconnect]\non_clean_close = \"stay_closed\"",
    );
    let rules = &config.endpoints["a"].link.outcomes;
    assert_eq!(rules[0].when.code, Some(4000..=4099));
    assert!(rules[0].when.reason.as_ref().unwrap().is_match(b"You are BANNED"));
    assert_eq!((rules[1].when.status.clone(), rules[1].then, rules[1].after), (Some(503..=503), Action::Slow, 3));
    assert_eq!(rules[2].when.class, Some(Cause::Dns));
    let closed: Vec<_> = rules[3..].iter().map(|rule| (rule.when.code.clone(), rule.then)).collect();
    assert_eq!(closed, [1000, 1001, 1005].map(|code| (Some(code..=code), Action::StayClosed)));
}

#[test]
fn warnings_tell_what_may_not_be_meant() {
    let folder = folder(&[
        (
            "w.toml",
            "[endpoints.a]\nurl = \"ws://feed.example/\"\nheaders = { Authorization = \"${file:key}\" }\n[endpoints.a.tls]\ninsecure = true",
        ),
        ("key", "k"),
    ]);
    let key = folder.path().join("key");
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let warnings = load(&folder.path().join("w.toml"), &[]).warnings.join("\n");
    for part in
        ["tls.insecure: any certificate is accepted", "url: credentials go over the network in clear", "chmod o-r"]
    {
        assert!(warnings.contains(part), "{part}: {warnings}");
    }
}

#[test]
fn a_missing_or_strange_file_is_told_of() {
    let folder = folder(&[("w.ini", "x"), ("latin.toml", "")]);
    fs::write(folder.path().join("latin.toml"), b"# caf\xe9").unwrap();
    let complaint = |name: &str| config::load(&folder.path().join(name), &BTreeMap::new()).unwrap_err().to_string();
    assert!(complaint("none.toml").contains("does not exist"));
    assert!(complaint("w.ini").contains("format is unknown"));
    assert!(complaint("latin.toml").contains("not UTF-8"));
    let empty = tempfile::tempdir().unwrap();
    assert!(config::load(empty.path(), &BTreeMap::new()).unwrap_err().to_string().contains("no configuration file"));
}
