//! The tokens' secrets as their files and variables hold them now, read beside the runtime's threads.
//!
//! They are read again at most twice a second, so a rotated secret counts within a second and a flood of requests costs no
//! file reads; and never twice at the same time, so a file that hangs holds one thread and no probe. While there are streams
//! somebody looks all the time, and tells them when anything has changed.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, watch},
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep, timeout},
};

use crate::config::{Config, InForce, Token};
use wskeeper_link::endpoint::Secret;

/// How long a secret counts without being read again.
const FRESH: Duration = Duration::from_millis(500);
/// How often streams' tokens are looked at, and how long a look may take.
const LOOK: Duration = Duration::from_millis(200);

/// The secrets of `api.tokens`, in their order; `None` for one that cannot be read.
pub(super) type Secrets = Arc<[Option<Secret>]>;

/// What tokens there are and what they allow, at a time.
#[derive(Debug, Clone)]
pub(super) struct Ruling {
    pub(super) config: Arc<Config>,
    pub(super) secrets: Secrets,
}

/// Reads secrets and keeps them for a moment.
#[derive(Debug)]
pub(super) struct Keys {
    state: Mutex<State>,
    /// `None` until somebody wants to know.
    ruling: watch::Sender<Option<Ruling>>,
}

impl Default for Keys {
    fn default() -> Self {
        Self { state: Mutex::default(), ruling: watch::Sender::new(None) }
    }
}

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
    /// Changes of what tokens allow, from now on.
    pub(super) fn rulings(&self) -> watch::Receiver<Option<Ruling>> {
        self.ruling.subscribe()
    }

    /// Looks after the tokens of streams. Never ends.
    pub(super) async fn look_after(&self, in_force: &InForce) {
        loop {
            sleep(LOOK).await;
            if self.ruling.receiver_count() == 0 {
                // Who comes next is told of the first look: something may have changed that nobody saw.
                self.ruling.send_replace(None);
                continue;
            }
            let config = in_force.get();
            let looked = timeout(LOOK, self.secrets(&config)).await;
            let Some(secrets) = looked.ok().or_else(|| self.carried_over(&config)) else { continue };
            self.ruling.send_if_modified(|ruling| {
                let is_same = |ruling: &Ruling| Arc::ptr_eq(&ruling.config, &config) && ruling.secrets == secrets;
                let is_new = !ruling.as_ref().is_some_and(is_same);
                if is_new {
                    *ruling = Some(Ruling { config: Arc::clone(&config), secrets });
                }
                is_new
            });
        }
    }

    /// While a file hangs: what is known of those tokens that are still there, so that a reload can take them away.
    fn carried_over(&self, config: &Config) -> Option<Secrets> {
        let ruling = self.ruling.borrow();
        let Ruling { config: old, secrets } = ruling.as_ref()?;
        let known = |token: &Token| {
            let place = old.api.tokens.iter().position(|it| (&it.name, &it.secret) == (&token.name, &token.secret))?;
            secrets.get(place)?.clone()
        };
        Some(config.api.tokens.iter().map(known).collect())
    }

    /// The secrets of this configuration's tokens.
    pub(super) async fn secrets(&self, config: &Arc<Config>) -> Secrets {
        let mut state = self.state.lock().await;
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

    #[test]
    fn a_change_is_noticed_within_a_second() {
        assert!(FRESH + LOOK * 2 < Duration::from_secs(1));
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
