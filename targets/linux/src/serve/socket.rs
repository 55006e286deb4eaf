//! Unix sockets whose file goes when they do.

use super::crew::start;
use crate::Error;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// How long to wait where the system has no connection to spare.
const PAUSE: Duration = Duration::from_millis(100);

/// The file of a socket; removed when this is dropped.
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0); // someone else may have removed it
    }
}

/// Listens at `path`, where nobody else does, and gives every connection to `take`.
pub(super) fn listen(
    path: &Path,
    mut take: impl FnMut(UnixStream) + Send + 'static,
) -> Result<SocketFile, Error> {
    let listener = bind(path).map_err(Error::io(path))?;
    let file = SocketFile(path.to_path_buf());
    start(move || {
        for connection in listener.incoming() {
            match connection {
                Ok(stream) => take(stream),
                Err(_) => sleep(PAUSE),
            }
        }
    })?;
    Ok(file)
}

/// Replaces the file of a socket that nobody listens at, and no other file.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(cause) if cause.kind() == ErrorKind::AddrInUse && is_abandoned(path) => {
            fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        result => result,
    }
}

fn is_abandoned(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = |cause: io::Error| cause.kind() == ErrorKind::ConnectionRefused;
    is_socket && UnixStream::connect(path).is_err_and(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_socket_is_replaced_and_nothing_else() -> Result<(), Box<dyn std::error::Error>>
    {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("s");
        drop(UnixListener::bind(&path)?);
        let file = listen(&path, drop)?;
        assert!(listen(&path, drop).is_err(), "two listen at one place");
        assert!(path.exists());
        drop(file);
        assert!(!path.exists());
        fs::write(&path, "precious")?;
        assert!(listen(&path, drop).is_err());
        assert_eq!(fs::read_to_string(&path)?, "precious");
        Ok(())
    }
}
