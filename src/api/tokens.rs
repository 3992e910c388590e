//! The tokens' secrets as their files and variables hold them now, read beside the runtime's threads.
//!
//! They are read again at most once a second, so a rotated secret counts within a second and a flood of requests costs no
//! file reads; and never twice at the same time, so a file that hangs holds one thread and no probe.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Mutex,
    task::{JoinHandle, spawn_blocking},
    time::Instant,
};

use crate::config::{Config, Secret, Token};

/// How long a secret counts without being read again.
const FRESH: Duration = Duration::from_secs(1);

/// The secrets of `api.tokens`, in their order; `None` for one that cannot be read.
pub(super) type Secrets = Arc<[Option<Secret>]>;

/// Reads secrets and keeps them for a moment.
#[derive(Debug, Default)]
pub(super) struct Keys(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    /// Goes on also where the request that began it has been given up.
    reading: Option<JoinHandle<Held>>,
}

#[derive(Debug)]
struct Held {
    /// Whose tokens.
    config: Arc<Config>,
    at: Instant,
    secrets: Secrets,
}

impl Keys {
    /// The secrets of this configuration's tokens.
    pub(super) async fn secrets(&self, config: &Arc<Config>) -> Secrets {
        let mut state = self.0.lock().await;
        loop {
            if let Some(held) = &state.held
                && Arc::ptr_eq(&held.config, config)
                && held.at.elapsed() < FRESH
            {
                return Arc::clone(&held.secrets);
            }
            let reading = state.reading.get_or_insert_with(|| {
                let config = Arc::clone(config);
                spawn_blocking(move || Held { at: Instant::now(), secrets: read(&config.api.tokens), config })
            });
            let read = reading.await;
            state.reading = None;
            match read {
                Ok(held) => state.held = Some(held),
                // It panicked, or the runtime ends: nobody is let in.
                Err(_) => return Secrets::default(),
            }
        }
    }
}

/// Reads files, so it blocks.
pub(super) fn read(tokens: &[Token]) -> Secrets {
    tokens.iter().map(|token| token.secret.evaluate().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_toml;

    fn config(folder: &std::path::Path) -> Arc<Config> {
        let text = format!(
            "[[api.tokens]]\nname = \"a\"\ntoken = \"${{file:{}}}\"\nscopes = [\"read\"]",
            folder.join("token").display()
        );
        Arc::new(parse_toml(&text, "test.toml").unwrap().config)
    }

    async fn first(keys: &Keys, config: &Arc<Config>) -> Option<String> {
        keys.secrets(config).await[0].as_ref().map(|secret| secret.expose().to_owned())
    }

    #[tokio::test]
    async fn a_secret_is_kept_for_a_moment_and_then_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let (keys, config) = (Keys::default(), config(folder.path()));
        assert_eq!(first(&keys, &config).await, None);
        std::fs::write(folder.path().join("token"), "one\n").unwrap();
        assert_eq!(first(&keys, &config).await, None);
        tokio::time::pause();
        tokio::time::advance(FRESH).await;
        tokio::time::resume();
        assert_eq!(first(&keys, &config).await.as_deref(), Some("one"));
    }

    #[tokio::test]
    async fn a_new_configuration_is_read_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (keys, old) = (Keys::default(), config(folder.path()));
        assert_eq!(first(&keys, &old).await, None);
        std::fs::write(folder.path().join("token"), "one\n").unwrap();
        assert_eq!(first(&keys, &config(folder.path())).await.as_deref(), Some("one"));
    }
}
