//! Being a daemon: what the system tells the process, and where the process tells what happens.

pub mod files;
pub mod logging;
pub mod signals;
