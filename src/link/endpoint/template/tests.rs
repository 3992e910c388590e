//! Tests of templates: what they give, what they refuse, what they show.

use super::*;

fn template(source: &str) -> Template {
    Template::parse(source, Path::new("/etc/wskeeper")).unwrap()
}

fn refused(source: &str) -> String {
    Template::parse(source, Path::new("/")).unwrap_err().to_string()
}

fn environment(name: &str) -> Option<String> {
    (name == "TOKEN").then(|| "s3cret".to_owned())
}

#[test]
fn references_are_evaluated_and_the_rest_is_kept() {
    let template = template("Bearer ${env:TOKEN}!");
    assert_eq!(template.evaluate_with(&environment).unwrap().expose(), "Bearer s3cret!");
    assert!(template.has_references() && !template.is_reference());
}

#[test]
fn two_dollars_before_a_brace_are_one_and_no_reference() {
    let template = template("a $${env:TOKEN} $ {b} $");
    assert!(!template.has_references());
    assert_eq!(template.evaluate_with(&environment).unwrap().expose(), "a ${env:TOKEN} $ {b} $");
}

#[test]
fn a_literal_is_taken_as_it_is() {
    let template = Template::literal("${env:TOKEN}");
    assert_eq!(template.evaluate_with(&environment).unwrap().expose(), "${env:TOKEN}");
    assert_eq!(template.source(), "$${env:TOKEN}");
}

#[test]
fn an_empty_string_is_an_empty_template() {
    assert_eq!(template("").evaluate().unwrap().expose(), "");
}

#[test]
fn bad_references_are_refused_with_what_would_be_right() {
    assert!(refused("${env:TOKEN").contains("no closing brace"));
    assert!(refused("${TOKEN}").contains("${env:NAME}"));
    assert!(refused("${env:}").contains("names nothing"));
    assert!(refused("${exec:vault}").contains("not supported in this version"));
    assert!(refused("${var:x}").contains("has no value here"));
    assert!(refused("${vault:x}").contains("unknown kind"));
    assert!(refused("${credential:../x}").contains("not a path"));
    assert!(refused("${env:A=B}").contains("`=`"));
}

#[test]
fn a_variable_of_the_session_has_its_value_or_its_default_and_is_seen_as_its_reference() {
    let folder = Path::new("");
    let url =
        Template::parse_with_variables("${var:resume|wss://h/}?v=1", folder).unwrap().with_redaction(Redaction::Url);
    assert_eq!(url.evaluate().unwrap().expose(), "wss://h/?v=1");
    assert_eq!(
        url.evaluate_for(&|name| Some(format!("ws://{name}/")), &|_| None).unwrap().expose(),
        "ws://resume/?v=1"
    );
    assert!(!url.shown().contains("v=1") && url.variables().eq(["resume"]), "{}", url.shown());
    let bare = Template::parse_with_variables("${var:resume}", folder).unwrap();
    assert!(bare.evaluate().unwrap_err().to_string().contains("not set"));
    assert!(Template::parse_with_variables("${var:|x}", folder).is_err());
}

#[test]
fn a_missing_variable_is_named_and_no_value_is() {
    let error = template("${env:TOKEN} ${env:NOT_THERE}").evaluate_with(&environment).unwrap_err();
    assert_eq!(error.reference, "${env:NOT_THERE}");
    assert!(!error.to_string().contains("s3cret"));
}

#[test]
fn a_file_loses_one_trailing_newline_and_is_sought_in_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "s3cret\n\n").unwrap();
    let template = Template::parse("${file:token}", folder.path()).unwrap();
    assert_eq!(template.evaluate().unwrap().expose(), "s3cret\n");
    assert_eq!(template.files().collect::<Vec<_>>(), [folder.path().join("token")]);
}

#[test]
fn a_file_that_changed_gives_its_new_value() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let template = Template::parse(&format!("${{file:{}}}", path.display()), Path::new("/")).unwrap();
    assert!(template.evaluate().unwrap_err().problem.contains("cannot be read"));
    std::fs::write(&path, "one\r\n").unwrap();
    assert_eq!(template.evaluate().unwrap().expose(), "one");
    std::fs::write(&path, "two").unwrap();
    assert_eq!(template.evaluate().unwrap().expose(), "two");
}

#[test]
fn a_file_too_large_or_not_text_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("large"), vec![b'x'; (64 << 10) + 1]).unwrap();
    std::fs::write(folder.path().join("binary"), [0xff, 0xfe]).unwrap();
    let problem = |name: &str| Template::parse(name, folder.path()).unwrap().evaluate().unwrap_err().problem;
    assert!(problem("${file:large}").contains("larger than 64 KiB"));
    assert!(problem("${file:binary}").contains("not UTF-8"));
}

#[test]
fn a_credential_is_sought_where_systemd_put_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("feed"), "s3cret\n").unwrap();
    let directory = folder.path().display().to_string();
    let found = template("${credential:feed}")
        .evaluate_with(&|name| (name == "CREDENTIALS_DIRECTORY").then(|| directory.clone()));
    assert_eq!(found.unwrap().expose(), "s3cret");
    let missing = template("${credential:feed}").evaluate_with(&|_| None).unwrap_err();
    assert!(missing.problem.contains("LoadCredential=feed"));
}

#[test]
fn text_in_clear_is_hidden_where_it_may_be_a_secret() {
    let shown = |source: &str| template(source).with_redaction(Redaction::Literals).shown();
    assert_eq!(shown("hunter2"), "***");
    assert_eq!(shown("Bearer hunter2"), "Bearer ***");
    assert_eq!(shown("bearer ${env:T}"), "Bearer ${env:T}");
    assert_eq!(shown("id=7;${file:/a/b}"), "***${file:/a/b}");
    assert_eq!(shown(""), "");
}

#[test]
fn a_url_is_shown_without_userinfo_and_query() {
    let shown = |source: &str| template(source).with_redaction(Redaction::Url).shown();
    assert_eq!(shown("wss://user:p@ss@feed.example/v2?key=1#x"), "wss://feed.example/v2");
    assert_eq!(shown("wss://${env:USER}:${file:/a@b/c?d}@feed.example:9/v2/@x"), "wss://feed.example:9/v2/@x");
    assert_eq!(shown("${env:URL}"), "${env:URL}");
    assert_eq!(shown("wss://feed.example?token=${env:T}"), "wss://feed.example");
}

#[test]
fn debug_shows_no_more_than_people_may_see() {
    let template = template("hunter2 ${env:T}").with_redaction(Redaction::Literals);
    assert_eq!(format!("{template:?}"), "\"***${env:T}\"");
}
