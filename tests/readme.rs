//! The README and the tutorial as a stranger types them: each block of commands in a shell of its own, in a folder of their own,
//! with no state but what the blocks before have written there.
//!
//! The test's binary stands for `wskeeper`, and free ports for 7700 and 9001: somebody may use those. The programs in Python and
//! JavaScript run too, if `tests/run` has installed their libraries.
//!
//! Comments of a document, which its readers do not see, tell the test more: `<!-- expect: TEXT -->` says what the block before it
//! prints, `<!-- end: COMMAND -->` and `<!-- kill: COMMAND -->` say that the reader ends a command that goes on.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;
use regex_lite::Regex;
use support::{
    free_port,
    terminal::{Terminal, patiently},
};
use tempfile::TempDir;

/// Commands that go on until Ctrl-C.
const GO_ON: [&str; 5] = ["wskeeper echo", "wskeeper run", "--watch", "curl -N", "wskeeper tail"];

/// Blocks that build or install. `tests/systemd/released` types the latter.
const ELSEWHERE: [&str; 4] = ["cargo ", "tests/run", "tar -xf", "wskeeper demo"];

/// What a document has a reader do next.
#[derive(Debug)]
enum Step {
    /// Type a block, and see this text in what it prints, if there is one to see.
    Type(String, Option<String>),
    /// End a command that goes on, by this signal.
    End(String, Signal),
}

/// The document's steps, but for those that are done elsewhere.
fn steps(text: &str) -> Vec<Step> {
    let mark = Regex::new(r"(?ms)^```sh\n(.*?)^```$|^<!-- (expect|end|kill): ([^\n]*) -->$").unwrap();
    let mut steps: Vec<Step> = Vec::new();
    for found in mark.captures_iter(text) {
        let word = found.get(3).map(|word| word.as_str().to_owned());
        match (found.get(2).map(|kind| kind.as_str()), word) {
            (Some("end"), Some(command)) => steps.push(Step::End(command, Signal::SIGINT)),
            (Some("kill"), Some(command)) => steps.push(Step::End(command, Signal::SIGKILL)),
            (_, Some(text)) => match steps.last_mut() {
                Some(Step::Type(_, expected @ None)) => *expected = Some(text),
                other => panic!("what should print {text:?}? {other:?}"),
            },
            _ if ELSEWHERE.iter().any(|command| found[1].contains(command)) => {}
            _ => steps.push(Step::Type(found[1].to_owned(), None)),
        }
    }
    steps
}

/// A document's blocks in a language.
fn blocks_of(language: &str, text: &str) -> Vec<String> {
    let block = Regex::new(&format!(r"(?ms)^```{language}\n(.*?)^```$")).unwrap();
    block.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

fn document(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Somebody with a folder of their own, who types.
struct Reader {
    folder: TempDir,
    api: String,
    peer: String,
    terminals: Vec<Terminal>,
}

impl Reader {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        symlink(env!("CARGO_BIN_EXE_wskeeper"), folder.path().join("bin/wskeeper")).unwrap();
        let [api, peer] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        Self { folder, api, peer, terminals: Vec::new() }
    }

    /// A new shell, which knows nothing but where programs are.
    fn shell(&self, block: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-euc", block]).current_dir(self.folder.path()).env_clear();
        let programs = format!("{}:/usr/local/bin:/usr/bin:/bin", self.folder.path().join("bin").display());
        command.env("PATH", programs).env("HOME", self.folder.path());
        // In place of the default address, which another daemon may have.
        command.env("WSKEEPER__API__LISTEN", &self.api).env("WSKEEPER_API", format!("http://{}", self.api));
        command.stdin(Stdio::null());
        command
    }

    /// Does all that a document says.
    fn follow(&mut self, text: &str) {
        for step in steps(text) {
            match step {
                Step::Type(block, expected) => self.types(&block, expected.as_deref().unwrap_or_default()),
                Step::End(command, signal) => {
                    let mut before = self.terminals.len();
                    self.terminals.retain_mut(|terminal| {
                        let is_ended = terminal.block.contains(&command);
                        if is_ended {
                            terminal.end(signal);
                        }
                        !is_ended
                    });
                    before -= self.terminals.len();
                    assert_eq!(before, 1, "{command} goes on in {before} terminals");
                }
            }
        }
    }

    fn types(&mut self, block: &str, expected: &str) {
        let here = block.replace("127.0.0.1:7700", &self.api).replace("127.0.0.1:9001", &self.peer);
        let here = here.replace("100000", "1000");
        let goes_on = GO_ON.iter().any(|command| block.contains(command)) && !block.contains("--count");
        if goes_on { self.opens(&here, expected) } else { self.runs(&here, expected) }
    }

    /// A block that ends well. What it shows of a link may have to come about first, so it is typed again until it does.
    fn runs(&self, block: &str, expected: &str) {
        let mut printed = String::new();
        let is_question = ["wskeeper status", "wskeeper explain"].iter().any(|verb| block.starts_with(verb));
        let is_seen = patiently(|| {
            let output = self.shell(block).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            printed = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{block}\n{printed}{said}");
            printed.contains(expected) || !is_question
        });
        assert!(is_seen && printed.contains(expected), "{block} does not print {expected:?}:\n{printed}");
    }

    /// A block that goes on, until it has printed what it should, or anything.
    fn opens(&mut self, block: &str, expected: &str) {
        let terminal = Terminal::open(self.shell(block), block);
        let is_seen = patiently(|| {
            let printed = terminal.printed();
            !printed.is_empty() && printed.contains(expected)
        });
        assert!(is_seen, "{block} does not print {expected:?}: {}", terminal.printed());
        if block.contains("wskeeper run") {
            let is_up = patiently(|| self.shell("wskeeper status").output().unwrap().status.success());
            assert!(is_up, "the daemon does not answer: {}", terminal.printed());
        }
        self.terminals.push(terminal);
    }
}

fn has_curl() -> bool {
    let is_there = Command::new("curl").arg("--version").output().is_ok();
    if !is_there {
        eprintln!("skipped: there is no curl");
    }
    is_there
}

#[test]
fn each_block_of_the_readme_works_in_a_shell_of_its_own() {
    if !has_curl() {
        return;
    }
    let text = document("README.md");
    assert!(steps(&text).len() > 6, "{:?}", steps(&text));
    let mut reader = Reader::new();
    reader.follow(&text);
    run_programs(&reader, &text);
}

#[test]
fn the_tutorial_goes_as_it_says() {
    let text = document("docs/tutorial.md");
    assert!(steps(&text).len() > 15, "{:?}", steps(&text));
    let mut reader = Reader::new();
    reader.follow(&text);
    let tail = reader.terminals.iter().find(|terminal| terminal.block.contains("wskeeper tail")).unwrap();
    let printed = tail.printed();
    assert!(printed.contains("hello\n") && printed.contains("while you were away\n"), "{printed}");
}

/// There is one way from a released file to a command that runs.
#[test]
fn the_readme_installs_as_the_install_page_does() {
    let installs = |name: &str| -> Vec<String> {
        blocks_of("sh", &document(name)).into_iter().filter(|block| block.contains("tar -xf")).collect()
    };
    assert_eq!(installs("README.md").len(), 1);
    assert_eq!(installs("README.md"), installs("docs/install.md"));
}

/// A translation has other words, and the same commands, programs and marks.
#[test]
fn translations_have_the_blocks_of_what_they_translate() {
    let fixed = Regex::new(r"(?ms)^```\w*\n.*?^```$|^<!-- [^\n]* -->$|^#+ ").unwrap();
    let fixed = |name: &str| -> Vec<String> {
        fixed.find_iter(&document(name)).map(|found| found.as_str().to_owned()).collect()
    };
    for (original, translation) in [("README.md", "README.zh-CN.md"), ("docs/tutorial.md", "docs/tutorial.zh-CN.md")] {
        assert_eq!(fixed(original), fixed(translation), "{translation}");
    }
}

/// Runs the README's programs beside the daemon. Without its library a program is skipped.
fn run_programs(reader: &Reader, text: &str) {
    let (folder, api) = (reader.folder.path(), &reader.api);
    let tools = env::var_os("WSKEEPER_TEST_ENV").map_or_else(|| root().join("target/test-env"), PathBuf::from);
    let (python, modules) = (tools.join("python/bin/python"), tools.join("node/node_modules"));
    let programs = [
        ("python", python.clone(), "hello.py", format!("timeout 60 {} hello.py", python.display())),
        ("js", modules.join("ws"), "hello.mjs", "timeout 60 node hello.mjs".to_owned()),
    ];
    for (language, needed, file, command) in programs {
        if !needed.exists() {
            eprintln!("skipped: there is no {}", needed.display());
            continue;
        }
        let _ = symlink(&modules, folder.join("node_modules"));
        let blocks = blocks_of(language, text);
        assert_eq!(blocks.len(), 1, "{language}");
        fs::write(folder.join(file), blocks[0].replace("127.0.0.1:7700", api)).unwrap();
        let output = reader.shell(&command).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && !said.trim().is_empty(),
            "{command}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
