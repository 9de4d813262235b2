//! The asking side of the control socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::protocol::{Answer, Request};
use super::{absolute, socket_path};

/// Longer than the server itself waits for its switch.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no server runs with the data folder {}; start one with `ringfort run --data {}`, or name its folder with --data", absolute(data_dir).display(), absolute(data_dir).display())]
    NotRunning { data_dir: PathBuf },
    #[error("{}: {source}; only the user that the server runs as, and root, may talk to it", path.display())]
    Denied { path: PathBuf, source: io::Error },
    #[error("the server at {} does not answer: {source}", path.display())]
    Broken { path: PathBuf, source: io::Error },
    /// The server said no, in words.
    #[error("{0}")]
    Refused(String),
}

/// A connection to a running server.
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Client {
    /// # Errors
    /// [`ClientError::NotRunning`] where no server listens there.
    pub fn connect(data_dir: &Path) -> Result<Client, ClientError> {
        let path = socket_path(data_dir);
        let stream = UnixStream::connect(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning { data_dir: data_dir.to_owned() }
            }
            io::ErrorKind::PermissionDenied => ClientError::Denied { path: path.clone(), source },
            _ => ClientError::Broken { path: path.clone(), source },
        })?;
        let ready = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
        ready.map_err(|source| ClientError::Broken { path: path.clone(), source })?;
        Ok(Client { path, stream: BufReader::new(stream) })
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the server's words, or the connection broke.
    pub fn ask(&mut self, request: &Request) -> Result<Value, ClientError> {
        match self.exchange(request) {
            Ok(Answer::Ok(value)) => Ok(value),
            Ok(Answer::Error(words)) => Err(ClientError::Refused(words)),
            Err(source) => Err(ClientError::Broken { path: self.path.clone(), source }),
        }
    }

    fn exchange(&mut self, request: &Request) -> io::Result<Answer> {
        let mut line = request.to_line();
        line.push('\n');
        self.stream.get_mut().write_all(line.as_bytes())?;
        let mut answer = String::new();
        if self.stream.read_line(&mut answer)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"));
        }
        serde_json::from_str(&answer).map_err(io::Error::from)
    }
}
