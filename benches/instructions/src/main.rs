//! How many instructions the core's hot paths take, counted by valgrind and compared with what was recorded.
//!
//! `cargo run --release -p instructions -- check` fails where a path takes 5 % more than recorded; `record` takes the counts of
//! today for right. Counts, unlike times, are the same on a busy machine; they belong to a compiler, so that with another one
//! than recorded the limit is wider.

mod paths;

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    process::{Command, ExitCode, Stdio},
};

use paths::PATHS;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recorded");
/// A path is walked so often, and not at all, and the difference counts.
const WALKS: u32 = 1_000;
const LIMIT: f64 = 1.05;
const LIMIT_OF_ANOTHER_COMPILER: f64 = 1.25;
/// What ten rules of a session may cost, against reading the same message as JSON and doing nothing with it.
const RULES: (&str, f64, &str) = ("ten rules see a message", 1.5, "serde_json reads it alone");
/// What a reader of one symbol of a thousand may cost by its stream, against filtering all of them by itself.
const STREAM: (&str, f64, &str) = ("a stream's reader takes one", 0.1, "a reader filters a message");
/// So much less is worth recording: what was gained would be lost unseen.
const GAINED: f64 = 0.90;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["check"] => check(),
        ["record"] => record().map(|()| true),
        ["walk", path, times] => walk(path, times).map(|()| true),
        _ => Err("usage: instructions check | record".into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> Result<bool> {
    let recorded = fs::read_to_string(RECORDED)?;
    let recorded: BTreeMap<&str, &str> = recorded.lines().filter_map(|line| line.split_once(": ")).collect();
    let is_same = recorded.get("compiler") == Some(&&*compiler()?);
    let limit = if is_same { LIMIT } else { LIMIT_OF_ANOTHER_COMPILER };
    println!("{:<28}{:>10}{:>10}{:>8}", "instructions a walk", "recorded", "now", "");
    let (mut is_good, mut counts) = (true, BTreeMap::new());
    for (name, _) in PATHS {
        let before: f64 = recorded.get(name).ok_or_else(|| format!("{name} is not recorded"))?.parse()?;
        let now = count(name)?;
        let ratio = now / before;
        counts.insert(name, now);
        let verdict = match ratio {
            worse if worse > limit => {
                is_good = false;
                "TOO MANY"
            }
            better if better < GAINED => "gained: record it",
            _ => "",
        };
        println!("{name:<28}{before:>10.0}{now:>10.0}{ratio:>8.3}  {verdict}");
    }
    println!("limit {limit} × recorded{}", if is_same { "" } else { ", because another compiler was recorded" });
    for ((path, most, bare), of) in [(RULES, 1.0), (STREAM, 1_000.0)] {
        let ratio = counts[path] / (of * counts[bare]);
        println!("{path}: {ratio:.6} of {of} times {bare:?}, at most {most}");
        is_good &= ratio <= most;
    }
    if !is_good {
        println!("if it is worth that, say why and take it for right: cargo run --release -p instructions -- record");
    }
    Ok(is_good)
}

fn record() -> Result<()> {
    let mut text = format!("compiler: {}\n", compiler()?);
    for (name, _) in PATHS {
        text += &format!("{name}: {:.0}\n", count(name)?);
    }
    print!("{text}");
    Ok(fs::write(RECORDED, text)?)
}

/// Instructions of one walk.
fn count(path: &str) -> Result<f64> {
    Ok((f64::from(total(path, WALKS)?) - f64::from(total(path, 0)?)) / f64::from(WALKS))
}

fn total(path: &str, times: u32) -> Result<u32> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["walk", path, &times.to_string()])
        .stdout(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind cannot be started (Debian: valgrind): {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : ").map(|(_, count)| count));
    match (output.status.success(), collected) {
        (true, Some(count)) => Ok(count.trim().parse()?),
        _ => Err(format!("valgrind counted nothing: {said}").into()),
    }
}

fn walk(path: &str, times: &str) -> Result<()> {
    let (_, walk) = PATHS.iter().find(|(name, _)| *name == path).ok_or("no such path")?;
    walk(times.parse()?);
    Ok(())
}

fn compiler() -> Result<String> {
    let output = Command::new("rustc").arg("--version").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
