//! (room of observe)
