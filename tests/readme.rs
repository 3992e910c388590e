//! The README as a stranger types it: each block of commands in a shell of its own, in a folder that has been built, with no state
//! but what the blocks before have written there.
//!
//! The test's binary stands for `target/release/wskeeper`, and free ports for 7700 and 9001: somebody may use those. The programs in
//! Python and JavaScript run too, if `tests/run` has installed their libraries.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::{fs::symlink, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

/// Between two tries to reach what a block has started.
const PAUSE: Duration = Duration::from_millis(20);

/// A block that goes on until Ctrl-C.
struct Terminal(Child);

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

/// The README's blocks of commands, but for those that build.
fn blocks() -> Vec<String> {
    let blocks = blocks_of("sh").into_iter();
    blocks.filter(|block| !block.contains("cargo ") && !block.contains("tests/run")).collect()
}

/// The README's blocks in a language.
fn blocks_of(language: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let start = format!("```{language}\n");
    text.split(&start).skip(1).map(|rest| rest.split("\n```").next().unwrap().to_owned()).collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

/// A new shell, which knows nothing but where programs of the system are.
fn shell(folder: &Path, block: &str, api: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-euc", block]).current_dir(folder).env_clear();
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", folder);
    // In place of the default address, which another daemon may have.
    command.env("WSKEEPER__API__LISTEN", api).env("WSKEEPER_API", format!("http://{api}"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command
}

#[test]
fn each_block_of_the_readme_works_in_a_shell_of_its_own() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("skipped: there is no curl");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("target/release")).unwrap();
    symlink(env!("CARGO_BIN_EXE_wskeeper"), folder.path().join("target/release/wskeeper")).unwrap();
    let (api, peer) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let mut terminals = Vec::new();
    let blocks = blocks();
    assert!(blocks.len() > 6, "{blocks:?}");
    for block in blocks {
        let block = block.replace("127.0.0.1:7700", &api).replace("127.0.0.1:9001", &peer).replace("100000", "1000");
        let goes_on = ["wskeeper echo", "wskeeper run", "--watch", "curl -N", "wskeeper tail"];
        if !goes_on.iter().any(|verb| block.contains(verb)) {
            let output = shell(folder.path(), &block, &api).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{block}\n{}{said}", String::from_utf8_lossy(&output.stdout));
            continue;
        }
        let mut child = shell(folder.path(), &block, &api).spawn().unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        terminals.push(Terminal(child));
        if block.contains("wskeeper run") {
            // Its log goes to stderr.
            std::thread::spawn(move || BufReader::new(stderr).lines().for_each(drop));
            answers(folder.path(), &api);
        } else {
            let first = BufReader::new(stdout).lines().next();
            let said = || BufReader::new(stderr).lines().map_while(Result::ok).collect::<Vec<_>>().join("\n");
            assert!(first.is_some_and(|line| line.is_ok()), "{block} says nothing: {}", said());
        }
    }
    run_programs(folder.path(), &api);
}

/// Runs the README's programs beside the daemon. Without its library a program is skipped.
fn run_programs(folder: &Path, api: &str) {
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
        let blocks = blocks_of(language);
        assert_eq!(blocks.len(), 1, "{language}");
        fs::write(folder.join(file), blocks[0].replace("127.0.0.1:7700", api)).unwrap();
        let output = shell(folder, &command, api).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && !said.trim().is_empty(),
            "{command}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Waits until the daemon's links are ready, as somebody does who looks at `status` before typing on.
fn answers(folder: &Path, api: &str) {
    for _ in 0..1500 {
        let output = shell(folder, "target/release/wskeeper status", api).output().unwrap();
        if String::from_utf8_lossy(&output.stdout).contains("2 ready") {
            return;
        }
        #[allow(clippy::disallowed_methods, reason = "no runtime here; the loop waits for a condition")]
        std::thread::sleep(PAUSE);
    }
    panic!("the daemon's links are not ready");
}
