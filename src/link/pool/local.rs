//! Programs on this machine as the pool's clients: a [`Consumer`] reads an inbox, a [`Follower`] what is of one connection, [`Sends`] takes
//! messages in order.
//!
//! The API's streams and sockets are made of these, and whatever else passes messages on can be. What a reader would get wrong: neither is
//! a task. Who holds one polls it, so that what waits is bounded by what its holder reads.

mod consumer;
mod follower;
mod sends;

pub use self::{
    consumer::{Consumer, EventType, Lag, Told, Wish},
    follower::{Follower, Heard},
    sends::{Answering, Became, Outcome, Request, Sends},
};
