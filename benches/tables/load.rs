//! The near end: callers who send bursts and wait until each has come back in full.
//!
//! A burst of one is a closed loop; a burst of many is a pipeline whose depth everyone has to bear alike. A caller checks the
//! number of messages and of bytes that come back: who loses or changes one is no contestant.

use std::{rc::Rc, time::Duration};

use futures_util::future::try_join_all;
use tokio::{task::spawn_local, time::Instant};

use super::{
    frames::{self, CLOSE, PING, PONG},
    wire::Wire,
};
use crate::support::Result;

/// A caller waits this long for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection from which messages are sent and come back.
#[derive(Debug)]
pub(crate) struct Caller {
    wire: Wire,
}

/// What is sent at once.
#[derive(Debug, Clone)]
pub(crate) struct Burst {
    bytes: Rc<[u8]>,
    messages: u64,
    payload: u64,
}

impl Burst {
    /// So many messages of so many bytes.
    pub(crate) fn new(messages: usize, size: usize) -> Self {
        let bytes = frames::text(size, true).repeat(messages).into();
        Self { bytes, messages: messages as u64, payload: (messages * size) as u64 }
    }
}

impl Caller {
    pub(crate) async fn connect(port: u16, path: &str) -> Result<Self> {
        Self::connect_by(port, path, None).await
    }

    pub(crate) async fn connect_by(port: u16, path: &str, subprotocol: Option<&str>) -> Result<Self> {
        Ok(Self { wire: Wire::connect(port, path, subprotocol).await? })
    }

    /// Sends a burst and waits until it has come back.
    pub(crate) async fn send(&self, burst: &Burst) -> Result<()> {
        self.wire.write(&burst.bytes).await?;
        tokio::time::timeout(PATIENCE, self.take(burst.messages, burst.payload)).await?
    }

    /// Writes these bytes, and waits for no answer.
    pub(crate) async fn give(&self, bytes: &[u8]) -> Result<()> {
        Ok(self.wire.write(bytes).await?)
    }

    /// Waits until so many messages with so many bytes have come.
    pub(crate) async fn take(&self, messages: u64, bytes: u64) -> Result<()> {
        match self.read(messages).await? {
            came if came == (messages, bytes) => Ok(()),
            (got, payload) => {
                Err(format!("{got} messages of {payload} bytes came in place of {messages} of {bytes}").into())
            }
        }
    }

    /// Waits until so many messages have come, however long.
    pub(crate) async fn take_any(&self, messages: u64) -> Result<()> {
        match self.read(messages).await? {
            (got, _) if got == messages => Ok(()),
            (got, _) => Err(format!("{got} messages came in place of {messages}").into()),
        }
    }

    /// Reads until at least so many messages have come; how many did, and their bytes.
    async fn read(&self, messages: u64) -> Result<(u64, u64)> {
        let (mut got, mut payload, mut is_over) = (0, 0, false);
        let mut answers = Vec::new();
        while got < messages {
            self.wire
                .read(|head, bytes| match head.opcode {
                    PING => frames::append(&mut answers, PONG, true, bytes, true),
                    PONG => {}
                    CLOSE => is_over = true,
                    _ => {
                        got += u64::from(head.ends_message());
                        payload += bytes.len() as u64;
                    }
                })
                .await?;
            self.wire.write(&answers).await?;
            answers.clear();
            if is_over {
                return Err("the contestant closed a connection".into());
            }
        }
        Ok((got, payload))
    }
}

/// Lets all callers send bursts for a while; how many messages have come back.
pub(crate) async fn drive(callers: &[Rc<Caller>], burst: &Burst, lasting: Duration) -> Result<f64> {
    let until = Instant::now() + lasting;
    let running = callers.iter().map(|caller| {
        let (caller, burst) = (Rc::clone(caller), burst.clone());
        let task = spawn_local(async move {
            let mut messages = 0;
            while Instant::now() < until {
                caller.send(&burst).await?;
                messages += burst.messages;
            }
            Result::Ok(messages)
        });
        async { task.await? }
    });
    Ok(try_join_all(running).await?.into_iter().sum::<u64>() as f64)
}

/// Lets one caller send bursts for a while; how long each took.
pub(crate) async fn time(caller: &Caller, burst: &Burst, lasting: Duration) -> Result<Vec<Duration>> {
    let until = Instant::now() + lasting;
    let mut took = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        caller.send(burst).await?;
        took.push(began.elapsed());
    }
    Ok(took)
}
