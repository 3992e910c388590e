//! (room of process)
