//! The end of a connection that was made only to see whether it is to be had.
//!
//! What a reader would get wrong: the server may have begun to send. What it sends is thrown away, up to a limit, while its Close is waited
//! for.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
};

use super::{Dialled, Wire};

/// For the closing handshake.
const PATIENCE: Duration = Duration::from_secs(2);
/// A longer message ends it.
const MOST: usize = 64 << 10;

/// Closes the connection with 1000.
pub(crate) async fn farewell<S: Wire>(dialled: Dialled<S>) {
    let config = WebSocketConfig::default().max_message_size(Some(MOST)).max_frame_size(Some(MOST));
    let closed = async {
        let Dialled { stream, early, .. } = dialled;
        let mut socket = WebSocketStream::from_partially_read(stream, early, Role::Client, Some(config)).await;
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        if socket.close(Some(frame)).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    // A server that says nothing more has been told all the same.
    let _ = timeout(PATIENCE, closed).await;
}
