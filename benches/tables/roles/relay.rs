//! A minimal relay of tungstenite, in the three ways that people write it.

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    accept_async_with_config, client_async_with_config,
    tungstenite::{Error, Message, protocol::WebSocketConfig},
};

use crate::support::Result;

/// Buffers of the styles that are not `default`.
const BUFFER: usize = 8 << 10;

pub(super) async fn run(style: &str, port: u16, peer: u16) -> Result<()> {
    let (config, flushes_each) = match style {
        "each" => (WebSocketConfig::default().read_buffer_size(BUFFER), true),
        "drained" => (WebSocketConfig::default().read_buffer_size(BUFFER), false),
        "default" => (WebSocketConfig::default(), true),
        _ => return Err("no such style".into()),
    };
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (near, _) = listener.accept().await?;
        tokio::spawn(async move {
            // A connection that fails is its caller's to notice.
            let _ = relay(near, peer, config, flushes_each).await;
        });
    }
}

async fn relay(
    near: TcpStream,
    peer: u16,
    config: WebSocketConfig,
    flushes_each: bool,
) -> std::result::Result<(), Error> {
    let far = TcpStream::connect(("127.0.0.1", peer)).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (far, _) = client_async_with_config(format!("ws://127.0.0.1:{peer}/"), far, Some(config)).await?;
    let (far_out, far_in) = far.split();
    let (near_out, near_in) = accept_async_with_config(near, Some(config)).await?.split();
    if flushes_each {
        tokio::try_join!(pump_each(near_in, far_out), pump_each(far_in, near_out))?;
    } else {
        // `forward` flushes when there is nothing more to take.
        tokio::try_join!(near_in.forward(far_out), far_in.forward(near_out))?;
    }
    Ok(())
}

async fn pump_each(
    mut from: impl Stream<Item = std::result::Result<Message, Error>> + Unpin,
    mut to: impl Sink<Message, Error = Error> + Unpin,
) -> std::result::Result<(), Error> {
    while let Some(message) = from.next().await {
        to.send(message?).await?;
    }
    Ok(())
}
