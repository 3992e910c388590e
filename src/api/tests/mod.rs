//! The API as a whole, over real sockets in this process; its links go nowhere.

mod bench;
mod bodies;
mod places;
mod sockets;
mod tokens;
