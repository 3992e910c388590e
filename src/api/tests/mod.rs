//! The API as a whole, over real sockets in this process; its links go nowhere.

mod access;
mod bench;
mod bodies;
mod bound;
mod browsers;
mod closing;
mod document;
mod endpoints;
mod health;
mod kept;
mod page;
mod places;
mod reference;
mod requests;
mod revoked;
mod sends;
mod sleepers;
mod sockets;
mod tokens;
mod transparent;
