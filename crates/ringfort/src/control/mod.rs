//! The control socket: one JSON request a line, one JSON answer a line, over `DATA/ringfort.sock` (mode 0600: whoever may
//! open it administers the system). The commands of `ringfort ctl` and `apply` are its clients.

mod client;
mod protocol;
mod server;

pub use client::{Client, ClientError};
pub use protocol::{AdminRequest, Answer, Fields, Request};
pub use server::start;

use std::path::{Path, PathBuf};

/// A folder as it is called from anywhere, for words to the user.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Where a server with this data folder listens.
pub fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("ringfort.sock")
}
