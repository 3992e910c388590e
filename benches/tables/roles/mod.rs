//! What this program is in a process of its own: the contestants that are bare Rust.
//!
//! They do what a reasonable person writes in an afternoon, with the same libraries as wskeeper: what they do not do
//! (reconnect, count, bound, remember) is what wskeeper may cost more.

mod client;
mod fan;
mod relay;
mod retry;
mod route;

use crate::support::Result;

/// Plays a role until it is killed.
pub(crate) fn play(args: &[&str]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match *args {
        ["relay", style, port, peer] => runtime.block_on(relay::run(style, port.parse()?, peer.parse()?)),
        ["count", buffer, peer, connections] => {
            runtime.block_on(client::count(buffer.parse()?, peer.parse()?, connections.parse()?))
        }
        ["count-tls", authority, buffer, peer, connections] => {
            runtime.block_on(client::count_tls(authority, buffer.parse()?, peer.parse()?, connections.parse()?))
        }
        ["retry", peer, connections] => runtime.block_on(retry::run(peer.parse()?, connections.parse()?)),
        ["fan", port, peer] => fan::run(port.parse()?, peer.parse()?),
        ["route", port] => runtime.block_on(route::run(port.parse()?)),
        _ => Err("no such role".into()),
    }
}
