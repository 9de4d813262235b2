//! The answering side of the control socket: a thread that accepts, and one for each connection, few at once.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::protocol::{Answer, Request};
use super::socket_path;

/// Connections at once; more are closed unanswered.
const CONNECTIONS: usize = 32;
/// A request line, with a site file in it, may be this long.
const LINE_LIMIT: u64 = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(300);
const STACK: usize = 512 * 1024;

/// The listening socket; its file goes when this is dropped.
pub struct Server {
    path: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = fs::remove_file(&self.path);
    }
}

/// Listens in the data folder, whose lock the caller holds: a socket file that is there is a leftover.
///
/// # Errors
/// The socket cannot be made, or its path is too long for the system.
pub fn start(data_dir: &Path, answer: impl Fn(Request) -> Answer + Send + Sync + 'static) -> io::Result<Server> {
    let path = socket_path(data_dir);
    // Under its name it is never anything but its owner's alone.
    let fresh = path.with_extension("sock.new");
    match fs::remove_file(&fresh) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))?;
    fs::rename(&fresh, &path)?;
    let answer = Arc::new(answer);
    let open = Arc::new(AtomicUsize::new(0));
    thread::Builder::new().name("control".into()).stack_size(128 * 1024).spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                thread::sleep(Duration::from_millis(100));
                continue;
            };
            if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
                open.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let (answer, open) = (answer.clone(), open.clone());
            let serving = open.clone();
            let spawned = thread::Builder::new().name("control-conn".into()).stack_size(STACK).spawn(move || {
                // A client that goes away half-way is no event.
                let _ = serve(&stream, &*answer);
                serving.fetch_sub(1, Ordering::Relaxed);
            });
            if spawned.is_err() {
                open.fetch_sub(1, Ordering::Relaxed);
            }
        }
    })?;
    Ok(Server { path })
}

fn serve(stream: &UnixStream, answer: &(impl Fn(Request) -> Answer + ?Sized)) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        if (&mut reader).take(LINE_LIMIT).read_line(&mut line)? == 0 {
            return Ok(());
        }
        let reply = match Request::parse(line.trim_end()) {
            Ok(request) => answer(request),
            Err(words) => Answer::Error(words),
        };
        let mut out = serde_json::to_string(&reply)?;
        out.push('\n');
        let mut writer = stream;
        writer.write_all(out.as_bytes())?;
        if !line.ends_with('\n') {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Client, ClientError};
    use super::*;
    use crate::control::AdminRequest;

    #[test]
    fn requests_are_answered_in_order_and_the_socket_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let server = start(dir.path(), |request| match request {
            Request::Admin(AdminRequest::Revisions) => Answer::Ok(serde_json::json!({ "items": [] })),
            Request::Admin(_) | Request::Switch(_) => Answer::Error("not today".to_owned()),
        })
        .unwrap();
        let mode = fs::metadata(socket_path(dir.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let mut client = Client::connect(dir.path()).unwrap();
        let items = client.ask(&Request::Admin(AdminRequest::Revisions)).unwrap();
        assert_eq!(items.to_string(), "{\"items\":[]}");
        let error = client.ask(&Request::Admin(AdminRequest::Stop)).unwrap_err();
        assert_eq!(error.to_string(), "not today");
        drop(server);
        assert!(matches!(Client::connect(dir.path()), Err(ClientError::NotRunning { .. })));
    }

    #[test]
    fn a_leftover_socket_of_a_killed_server_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        drop(UnixListener::bind(socket_path(dir.path())).unwrap());
        let _server = start(dir.path(), |_| Answer::Ok(serde_json::json!({}))).unwrap();
        Client::connect(dir.path()).unwrap();
    }
}
