//! Being a daemon: what the system tells the process, where the process tells what happens, and what systemd has to do with it.

pub mod child;
pub mod files;
pub mod logging;
pub mod notify;
pub mod passed;
pub mod signals;
