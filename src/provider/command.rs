//! What a program prints: without a shell, in a process group of its own, within a time and a size.
//!
//! What a reader would get wrong: a program may start others, so it is the group that is killed, at the end of the time and when nobody
//! waits any more. Its words of trouble are not shown: there may be a secret in them.

use std::{process::Stdio, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Child,
    time::timeout,
};

use crate::process::child::start;

/// So much of what it prints is taken.
const MAX_BYTES: u64 = 64 << 10;

/// Runs a program, gives it `input`, and answers with what it printed, without the line's end.
pub(super) async fn output(arguments: &[String], input: Bytes, within: Duration) -> Result<String, String> {
    let (mut child, _group) = start(arguments, (Stdio::piped(), Stdio::piped(), Stdio::null()))?;
    match timeout(within, talk(&mut child, input)).await {
        Ok(said) => said,
        Err(_) => Err(format!("the program had not ended after {within:?}, and was killed")),
    }
}

async fn talk(child: &mut Child, input: Bytes) -> Result<String, String> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // One that reads nothing may end first.
            let _ = stdin.write_all(&input).await;
        }
    };
    let read = async {
        let mut said = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(MAX_BYTES.saturating_add(1)).read_to_end(&mut said).await?;
        }
        Ok::<_, std::io::Error>(said)
    };
    let ((), said) = tokio::join!(write, read);
    let said = said.map_err(|error| format!("what the program prints cannot be read: {error}"))?;
    if said.len() as u64 > MAX_BYTES {
        return Err(format!("the program prints more than {MAX_BYTES} bytes"));
    }
    let status = child.wait().await.map_err(|error| error.to_string())?;
    if !status.success() {
        return Err(format!("the program ended with {status}"));
    }
    let mut text = String::from_utf8(said).map_err(|_| "the program prints what is not UTF-8")?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(script: &str, within: Duration) -> Result<String, String> {
        let arguments = ["/bin/sh", "-c", script].map(str::to_owned);
        output(&arguments, Bytes::from_static(b"{\"link\":0}"), within).await
    }

    #[tokio::test]
    async fn what_a_program_prints_is_the_value_and_it_is_told_the_variables() {
        let minute = Duration::from_mins(1);
        assert_eq!(run("cat; echo", minute).await.unwrap(), "{\"link\":0}");
        assert_eq!(run("exec <&-; printf 'a b\\n'", minute).await.unwrap(), "a b");
        assert_eq!(run("exit 3", minute).await.unwrap_err(), "the program ended with exit status: 3");
        assert!(run("head -c 70000 /dev/zero", minute).await.unwrap_err().contains("more than 65536 bytes"));
        let none = output(&["/no/such/program".to_owned()], Bytes::new(), minute).await.unwrap_err();
        assert!(none.starts_with("the program does not start: "), "{none}");
    }

    #[tokio::test]
    async fn what_takes_too_long_is_killed_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let (mine, child) = (folder.path().join("mine"), folder.path().join("child"));
        let script = format!("sleep 600 & echo $! > {}; echo $$ > {}; wait", child.display(), mine.display());
        let error = run(&script, Duration::from_secs(1)).await.unwrap_err();
        assert!(error.contains("was killed"), "{error}");
        for file in [mine, child] {
            let pid: i32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
            let is_gone = || {
                let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                status.is_empty() || status.contains(") Z ")
            };
            while !is_gone() {
                tokio::task::yield_now().await;
            }
        }
    }
}
