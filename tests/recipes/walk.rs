//! A reader who follows a recipe, in a folder of their own, with a shell of its own for each block.
//!
//! The test's binary stands for `wskeeper`, the clients of this repository for those that are installed, and a free port for 7700. Links come
//! back sooner than by default. Nothing else differs from what a reader has.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    net::TcpStream,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use nix::sys::signal::Signal;
use regex_lite::Regex;
use tempfile::TempDir;

use crate::{
    page::{Step, shown, steps},
    support::{
        free_port,
        peer::program_base,
        terminal::{Terminal, patiently},
    },
};

/// How links come back here.
const SOON: [(&str, &str); 5] = [
    ("WSKEEPER__DEFAULTS__RECONNECT__FIRST", "50ms"),
    ("WSKEEPER__DEFAULTS__RECONNECT__INITIAL", "50ms"),
    ("WSKEEPER__DEFAULTS__RECONNECT__MAX", "300ms"),
    ("WSKEEPER__DEFAULTS__CLOSE_TIMEOUT", "1s"),
    ("WSKEEPER__LIMITS__DRAIN", "1s"),
];

/// The block that was typed last.
enum Last {
    /// None was.
    Nothing,
    /// It is over, and has printed this.
    Over(String),
    /// It goes on in the terminal of this name.
    GoesOn(String),
}

/// Somebody who follows a recipe.
struct Reader {
    /// Those that go on, and stand-ins: they end before their folder goes.
    terminals: BTreeMap<String, Terminal>,
    folder: TempDir,
    /// The terminals that are stand-ins.
    peers: BTreeSet<String>,
    last: Last,
    /// The name of the terminal for the next block.
    next: Option<String>,
    ports: BTreeMap<String, u16>,
    replaced: Vec<(String, String)>,
    environment: Vec<(String, String)>,
}

/// Follows a recipe to its end. Without a program that it needs it is skipped, with a line that says so.
pub fn walk(page: &str) {
    let text = fs::read_to_string(root().join("docs/recipes").join(page)).unwrap();
    let steps = steps(&text);
    for step in &steps {
        let Step::Mark { verb, rest } = step else { continue };
        let missing: Vec<&str> = rest.split_whitespace().filter(|need| verb == "needs" && !is_there(need)).collect();
        if !missing.is_empty() {
            assert!(env::var_os("WSKEEPER_TEST_REAL").is_none(), "{page}: {missing:?} are not installed");
            eprintln!("SKIPPED: {page}: {missing:?} are not installed; tests/run installs them");
            return;
        }
    }
    let mut reader = Reader::new();
    for step in steps {
        reader.takes(step);
    }
    assert!(reader.next.is_none(), "no block follows the last `terminal`");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Whether `python/MODULE`, `node/PACKAGE` or a program is installed.
fn is_there(need: &str) -> bool {
    let base = program_base();
    match need.split_once('/') {
        Some(("python", module)) => {
            let libraries = fs::read_dir(base.join("python/lib")).into_iter().flatten().flatten();
            libraries.into_iter().any(|library| library.path().join("site-packages").join(module).exists())
        }
        Some(("node", package)) => base.join("node/node_modules").join(package).exists() && is_there("node"),
        Some(_) => Path::new(need).exists(),
        None => path(&[]).split(':').any(|folder| Path::new(folder).join(need).exists()),
    }
}

/// Where programs are looked for.
fn path(before: &[&Path]) -> String {
    // Programs that Python packages bring, such as nats-server.
    let python = program_base().join("python/bin");
    let mut folders: Vec<String> =
        before.iter().chain([&python.as_path()]).map(|folder| folder.display().to_string()).collect();
    folders.extend(["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin"].map(str::to_owned));
    folders.join(":")
}

impl Reader {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (bin, modules) = (folder.path().join("bin"), folder.path().join("node_modules"));
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(&modules).unwrap();
        symlink(env!("CARGO_BIN_EXE_wskeeper"), bin.join("wskeeper")).unwrap();
        symlink(root().join("clients/javascript"), modules.join("wskeeper")).unwrap();
        for package in fs::read_dir(program_base().join("node/node_modules")).into_iter().flatten().flatten() {
            let _ = symlink(package.path(), modules.join(package.file_name()));
        }
        let api = format!("127.0.0.1:{}", free_port());
        let variables = SOON.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut environment = Vec::from(variables);
        environment.push(("WSKEEPER__API__LISTEN".into(), api.clone()));
        environment.push(("WSKEEPER_API".into(), format!("http://{api}")));
        environment.push(("PYTHONPATH".into(), root().join("clients/python").display().to_string()));
        environment.push(("PYTHONUNBUFFERED".into(), "1".into()));
        environment.push(("PYTHONDONTWRITEBYTECODE".into(), "1".into()));
        let replaced = vec![("127.0.0.1:7700".into(), api)];
        Self {
            folder,
            terminals: BTreeMap::new(),
            peers: BTreeSet::new(),
            last: Last::Nothing,
            next: None,
            ports: BTreeMap::new(),
            replaced,
            environment,
        }
    }

    fn takes(&mut self, step: Step) {
        match step {
            Step::Write { name, text } => self.writes(&name, &text),
            // What installs packages has been done by `tests/run`.
            Step::Type(block) if ["pip install", "npm install"].iter().any(|verb| block.contains(verb)) => {}
            Step::Type(block) => self.types(&self.here(&block)),
            Step::Shows(lines) => self.sees(&self.here(&lines).lines().map(shown).collect::<Vec<_>>()),
            Step::Mark { verb, rest } => {
                let rest = self.filled(&rest);
                self.does(&verb, &rest);
            }
        }
    }

    fn does(&mut self, verb: &str, rest: &str) {
        let two = || rest.split_once(" = ").unwrap_or_else(|| panic!("{verb}: {rest} is not NAME = TEXT"));
        let pair = || (two().0.to_owned(), two().1.to_owned());
        match verb {
            "needs" => {}
            "peer" => {
                self.ports.insert(two().0.to_owned(), free_port());
                self.peers.insert(two().0.to_owned());
                self.starts(two().0, two().1);
            }
            "port" => assert!(self.ports.insert(rest.to_owned(), free_port()).is_none()),
            "replace" => self.replaced.push(pair()),
            "env" => self.environment.push(pair()),
            "terminal" => self.next = Some(rest.to_owned()),
            "expect" => self.sees(&[shown(rest)]),
            "end" => self.terminal(rest).end(Signal::SIGINT),
            "kill" => self.terminal(rest).end(Signal::SIGKILL),
            "again" => {
                let block = self.terminal(rest).block.clone();
                if self.peers.contains(rest) { self.starts(rest, &block) } else { self.opens(rest, &block) }
            }
            "until" => self.waits_for(rest),
            "do" => drop(self.runs(rest)),
            other => panic!("nobody does {other:?}"),
        }
    }

    fn terminal(&mut self, name: &str) -> &mut Terminal {
        self.terminals.get_mut(name).unwrap_or_else(|| panic!("there is no terminal {name:?}"))
    }

    /// A text of the page as it is here.
    fn here(&self, text: &str) -> String {
        self.replaced.iter().fold(text.to_owned(), |text, (old, new)| text.replace(old, new))
    }

    /// A text of a comment, with ports and the folder in it.
    fn filled(&self, text: &str) -> String {
        let text = text.replace("{folder}", &self.folder.path().display().to_string());
        self.ports.iter().fold(text, |text, (name, port)| text.replace(&format!("{{{name}}}"), &port.to_string()))
    }

    fn writes(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, self.here(text)).unwrap();
        let mode = if text.starts_with("#!") { 0o755 } else { 0o600 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A new shell, which knows nothing but where programs are.
    fn shell(&self, block: &str) -> Command {
        let mut command = Command::new("sh");
        let bin = self.folder.path().join("bin");
        command.args(["-euc", block]).current_dir(self.folder.path()).env_clear();
        command.env("PATH", path(&[&bin])).env("HOME", self.folder.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn types(&mut self, block: &str) {
        if let Some(name) = self.next.take() {
            self.opens(&name, block);
            self.last = Last::GoesOn(name);
        } else {
            self.last = Last::Over(self.runs(block));
        }
    }

    /// A block that ends well, and what it prints.
    fn runs(&self, block: &str) -> String {
        let mut terminal = Terminal::open(self.shell(block), block);
        let is_over = patiently(|| terminal.ended().is_some());
        let printed = terminal.all_printed();
        assert!(is_over && terminal.ended().unwrap().success(), "{block}\nfailed:\n{printed}\n{}", self.told());
        printed
    }

    fn opens(&mut self, name: &str, block: &str) {
        let terminal = Terminal::open(self.shell(block), block);
        self.terminals.insert(name.to_owned(), terminal);
        if block.contains("wskeeper run") {
            self.waits_for("wskeeper status");
        }
    }

    /// The block that was typed last prints these.
    fn sees(&mut self, lines: &[Regex]) {
        let mut printed = String::new();
        let is_seen = patiently(|| {
            let (text, is_over) = match &self.last {
                Last::Nothing => panic!("nothing was typed"),
                Last::Over(text) => (text.clone(), true),
                Last::GoesOn(name) => (self.terminals[name].printed(), false),
            };
            printed = text;
            is_over || lines.iter().all(|line| line.is_match(&printed))
        });
        let missing: Vec<&str> = lines.iter().filter(|line| !line.is_match(&printed)).map(Regex::as_str).collect();
        assert!(is_seen && missing.is_empty(), "not printed: {missing:?}\nbut: {printed}\n{}", self.told());
    }

    fn waits_for(&mut self, condition: &str) {
        let mut seen = String::new();
        let is_so = patiently(|| {
            let output = self.shell(condition).output().unwrap();
            seen = [output.stdout, output.stderr].iter().map(|said| String::from_utf8_lossy(said)).collect();
            output.status.success()
        });
        assert!(is_so, "waited in vain for {condition}: {seen}\n{}", self.told());
    }

    /// Starts a stand-in, and waits until it listens.
    fn starts(&mut self, name: &str, words: &str) {
        let port = self.ports[name];
        let (file, rest) = words.split_once(' ').unwrap_or((words, ""));
        let folders = ["tests/recipes/peers", "tests/real/peers"].map(|folder| root().join(folder).join(file));
        let script = folders.iter().find(|path| path.exists()).unwrap_or_else(|| panic!("there is no {file}"));
        let program = match script.extension().and_then(|ending| ending.to_str()) {
            Some("py") => "python3",
            _ => "bash",
        };
        let own = self.folder.path().join("peers").join(name);
        fs::create_dir_all(&own).unwrap();
        let mut command = self.shell(&format!("exec {program} {} {port} {rest}", script.display()));
        command.current_dir(own);
        self.terminals.insert(name.to_owned(), Terminal::open(command, words));
        let is_up = patiently(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        assert!(is_up, "the stand-in {name} does not listen\n{}", self.told());
    }

    /// What all terminals have printed, for a test that fails.
    fn told(&self) -> String {
        let told = self.terminals.iter().map(|(name, terminal)| {
            let printed = terminal.printed();
            let lines: Vec<&str> = printed.lines().collect();
            format!("--- {name} ---\n{}\n", lines[lines.len().saturating_sub(40)..].join("\n"))
        });
        told.collect::<Vec<_>>().concat()
    }
}
