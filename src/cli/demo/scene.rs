//! The peers of the demo, the configuration of its daemon, and what the newcomer is told at the start.

use std::{io, path::Path, sync::Arc, time::Duration};

use crate::cli::echo::{Faults, Peer, Refusal, Refusing};

/// Three peers, one fault each; they live as long as this.
pub(super) struct Scene {
    dropping: Peer,
    stalling: Peer,
    refusing: Peer,
}

impl Scene {
    /// Starts the peers on free ports.
    pub(super) async fn start() -> io::Result<Self> {
        let dropping = Faults { drop_every: Some(Duration::from_secs(6)), ..Faults::default() };
        let stalling = Faults { stall: Some(Duration::from_secs(5)), ..Faults::default() };
        // The reset and the refusal begin together, so that a link is lost and then finds the door shut.
        let refusing = Faults {
            drop_every: Some(Duration::from_secs(14)),
            refuse: Some(Refusing {
                refusal: Refusal { status: 503, retry_after: Some(1) },
                lasting: Some(Duration::from_secs(4)),
                every: Some(Duration::from_secs(14)),
            }),
            ..Faults::default()
        };
        Ok(Self { dropping: peer(dropping).await?, stalling: peer(stalling).await?, refusing: peer(refusing).await? })
    }

    /// A configuration as a user would write it, with short times so that something happens within seconds.
    pub(super) fn configuration(&self, port: u16) -> String {
        format!(
            r#"
[api]
listen = "127.0.0.1:{port}"
chaos = true
[limits]
drain = "1s"
[defaults]
connect_timeout = "3s"
close_timeout = "500ms"
[defaults.heartbeat]
idle = "2s"
timeout = "2s"
[defaults.reconnect]
first = "1s"
initial = "500ms"
max = "4s"
stable = "3s"
[endpoints.dropping]
url = "{}"
[endpoints.stalling]
url = "{}"
[endpoints.refusing]
url = "{}"
"#,
            self.dropping.url(),
            self.stalling.url(),
            self.refusing.url()
        )
    }
}

async fn peer(faults: Faults) -> io::Result<Peer> {
    Peer::start("127.0.0.1:0", faults, Arc::new(|_| ())).await
}

/// What is happening, and what to try: with this program, which need not be where a shell finds it.
pub(super) fn introduction(program: &Path, port: u16, ends_by_itself: bool) -> String {
    let program = quoted(&program.display().to_string());
    let api = format!(" --api http://127.0.0.1:{port}");
    let end = if ends_by_itself { "It ends by itself." } else { "Ctrl-C ends it with a summary." };
    format!(
        "\
A wskeeper daemon is running, and holds three links to peers that misbehave:
  dropping/0   its peer resets every connection each 6 s
  stalling/0   its peer goes silent 5 s after it connects; a heartbeat finds out
  refusing/0   its peer answers 503 for 4 s of each 14 s
A program sends a message to each of them every half second through the local
HTTP API, and never has to reconnect. Each message gets a receipt: `confirmed`,
its peer has read it; `unknown`, it was on the wire when the link was lost, and
nothing tells whether the peer has read it.
{end}

See it in a browser: http://127.0.0.1:{port}/

Try in another terminal:
  {program} status --watch{api}
  {program} tail dropping{api}
  {program} explain stalling/0{api}
  {program} chaos dropping/0 drop{api}
  curl -s http://127.0.0.1:{port}/v1/links/stalling/0/history
"
    )
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = word.chars().all(|char| char.is_alphanumeric() || "/._-+".contains(char));
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[tokio::test]
    async fn the_demo_is_configured_like_any_daemon_and_without_a_warning() {
        let text = Scene::start().await.unwrap().configuration(7700);
        let loaded = config::parse_toml(&text, "demo").unwrap();
        assert_eq!(loaded.config.endpoints.len(), 3);
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    }

    #[test]
    fn the_introduction_names_things_to_try_that_reach_this_daemon_with_this_program() {
        let text = introduction(Path::new("/it's here/wskeeper"), 7701, false);
        assert!(text.contains("See it in a browser: http://127.0.0.1:7701/\n"), "{text}");
        assert_eq!(text.matches("  '/it'\\''s here/wskeeper' ").count(), 4, "{text}");
        let tries: Vec<&str> = text.split("Try in another terminal:\n").nth(1).unwrap().trim().lines().collect();
        assert_eq!(tries.len(), 5);
        assert!(tries.iter().all(|line| line.contains("127.0.0.1:7701")), "{text}");
        let (told, _) = text.split_once("Try in").unwrap();
        assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
    }
}
