//! Files that commands write. A file is whole or as it was before; what is no file (a pipe, a device) gets the bytes
//! as they come; and no input of a command is ever written over.

use crate::Error;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::NamedTempFile;

/// Symbolic links that are followed, as Linux follows them.
const MAX_LINKS: usize = 40;

/// Whether the result went to standard output, so that words belong elsewhere.
static STDOUT_TAKEN: AtomicBool = AtomicBool::new(false);

/// Whether a file was written to standard output.
pub(super) fn is_stdout_taken() -> bool {
    STDOUT_TAKEN.load(Ordering::Relaxed)
}

/// Checks, before any work, that all `outputs` can be written, are different, and none of them is one of the `inputs`,
/// whatever name or link leads to it. Of a folder, images and labels are inputs.
///
/// # Errors
/// [`Error::Usage`] for an input or the same file twice, [`Error::Io`] for what cannot be written.
pub(super) fn check_outputs<'a>(
    outputs: impl IntoIterator<Item = &'a Path>,
    inputs: &[PathBuf],
) -> Result<(), Error> {
    let mut files = Vec::new();
    for output in outputs {
        let Place::File(file) = Place::of(output)? else {
            continue;
        };
        writable(&file).map_err(Error::io(output))?;
        if let Some(input) = inputs.iter().find(|input| is_input(&file, input)) {
            return Err(Error::Usage(format!(
                "{}: would replace the input {}: give another name",
                output.display(),
                input.display()
            )));
        }
        let whole = fs::canonicalize(folder(&file)).map_err(Error::io(output))?;
        let name = file.file_name().unwrap_or_default().to_owned();
        if files.contains(&(whole.clone(), name.clone())) {
            let cause = "would be written twice: give each output its own name";
            return Err(Error::Usage(format!("{}: {cause}", output.display())));
        }
        files.push((whole, name));
    }
    Ok(())
}

/// Writes a file whole or not at all: to a temporary file beside it, which takes its place when it is on disk. Follows
/// symbolic links and keeps permissions. Pipes, devices and standard output are written to as they are.
///
/// # Errors
/// The file cannot be written.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write(path, bytes, Mode::Data)
}

/// As [`write_file`], a program.
///
/// # Errors
/// The file cannot be written.
pub fn write_executable(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write(path, bytes, Mode::Program)
}

/// Permissions of a new file.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Data = 0o666,
    Program = 0o777,
}

fn write(path: &Path, bytes: &[u8], mode: Mode) -> Result<(), Error> {
    match Place::of(path)? {
        Place::Stdout => {
            STDOUT_TAKEN.store(true, Ordering::Relaxed);
            let mut stdout = io::stdout().lock();
            stdout.write_all(bytes).and_then(|()| stdout.flush())
        }
        Place::Stream => OpenOptions::new()
            .append(true)
            .open(path)
            .and_then(|mut stream| stream.write_all(bytes)),
        Place::File(file) => replace(&file, bytes, mode),
    }
    .map_err(Error::io(path))
}

/// What an output's path leads to.
enum Place {
    /// This process's standard output.
    Stdout,
    /// A pipe, a device, or another file that this process has open.
    Stream,
    /// A file, which need not exist, behind all links.
    File(PathBuf),
}

impl Place {
    fn of(path: &Path) -> Result<Self, Error> {
        let metadata = fs::metadata(path).ok();
        if let Some(found) = &metadata {
            if found.is_dir() {
                let cause = "is a folder: name a file in it";
                return Err(Error::io(path)(io::Error::other(cause)));
            }
            if is_stdout(found, path) {
                return Ok(Self::Stdout);
            }
        }
        let is_stream = metadata.is_some_and(|found| !found.is_file());
        let target = (!is_stream).then(|| behind_links(path));
        match target.transpose().map_err(Error::io(path))? {
            Some(file) if !is_descriptor(&file) => Ok(Self::File(file)),
            _ => Ok(Self::Stream),
        }
    }
}

/// The file that symbolic links lead to; a link among those of a process's open files stays.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        let is_link = fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink());
        if !is_link || is_descriptor(&path) {
            return Ok(path);
        }
        path = folder(&path).join(fs::read_link(&path)?);
    }
    Err(io::Error::other("too many symbolic links"))
}

/// Whether a path is one of Linux's names for an open file, as behind `/dev/stdout`.
fn is_descriptor(path: &Path) -> bool {
    let folder = fs::canonicalize(folder(path)).unwrap_or_default();
    folder.starts_with("/proc") && folder.ends_with("fd")
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Fails where [`replace`] would, and changes nothing.
fn writable(file: &Path) -> io::Result<()> {
    let folder = folder(file);
    if !folder.is_dir() {
        let cause = format!("there is no folder {}: make it first", folder.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, cause));
    }
    if file.exists() {
        OpenOptions::new().write(true).open(file)?;
    }
    tempfile::tempfile_in(folder).map(drop)
}

/// Puts bytes in a file's place, with the file's owner and permissions if there is one, and waits until file and folder
/// are on disk.
fn replace(file: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
    writable(file)?;
    let mut temporary = beside(file, mode)?;
    temporary.write_all(bytes)?;
    if let Ok(before) = fs::metadata(file) {
        keep_permissions(temporary.as_file(), &before, mode)?;
    }
    temporary.as_file().sync_all()?;
    temporary.persist(file)?;
    sync_folder(folder(file));
    Ok(())
}

/// File systems that cannot sync a folder do no harm.
fn sync_folder(folder: &Path) {
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}

/// A temporary file beside one that it is to replace. It gets the mode less the umask.
#[cfg(unix)]
fn beside(file: &Path, mode: Mode) -> io::Result<NamedTempFile> {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(mode as u32))
        .tempfile_in(folder(file))
}

#[cfg(not(unix))]
fn beside(file: &Path, _: Mode) -> io::Result<NamedTempFile> {
    NamedTempFile::new_in(folder(file))
}

#[cfg(unix)]
fn keep_permissions(file: &File, before: &Metadata, mode: Mode) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
    let mut permissions = before.permissions();
    if mode == Mode::Program {
        permissions.set_mode(permissions.mode() | 0o111);
    }
    // Only root can give a file away: where that fails, it stays the user's own.
    let _ = fchown(file, Some(before.uid()), Some(before.gid()));
    file.set_permissions(permissions)
}

#[cfg(not(unix))]
fn keep_permissions(_: &File, _: &Metadata, _: Mode) -> io::Result<()> {
    Ok(())
}

/// Whether a file is an input, or an image or the labels in a folder of inputs.
fn is_input(file: &Path, input: &Path) -> bool {
    let Ok(found) = fs::metadata(input) else {
        return false;
    };
    if !found.is_dir() {
        return fs::metadata(file).is_ok_and(|output| is_same(&output, &found, file, input));
    }
    let inside = |file: PathBuf| file.starts_with(fs::canonicalize(input).unwrap_or_default());
    let is_read = ["jpg", "jpeg", "png"].iter().any(|image| {
        file.extension()
            .is_some_and(|e| e.eq_ignore_ascii_case(image))
    }) || file.file_name().is_some_and(|name| name == "labels.csv");
    is_read && fs::canonicalize(file).is_ok_and(inside)
}

#[cfg(unix)]
fn is_same(a: &Metadata, b: &Metadata, _: &Path, _: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata, a: &Path, b: &Path) -> bool {
    let whole = |path: &Path| fs::canonicalize(path).ok();
    whole(a).is_some() && whole(a) == whole(b)
}

/// Whether a path's file is this process's standard output. A terminal and `/dev/null` are many things at once: they
/// count only by standard output's own names.
#[cfg(unix)]
fn is_stdout(found: &Metadata, path: &Path) -> bool {
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileTypeExt;
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    let Ok(stdout) = stdout.and_then(|fd| File::from(fd).metadata()) else {
        return false;
    };
    let is_named = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"]
        .iter()
        .any(|name| path == Path::new(name));
    let is_one = !found.file_type().is_char_device();
    (is_named || is_one) && is_same(found, &stdout, path, path)
}

#[cfg(not(unix))]
fn is_stdout(_: &Metadata, _: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Vec<u8> {
        fs::read(path).unwrap()
    }

    fn check(output: &Path, input: &Path) -> Result<(), Error> {
        check_outputs([output], &[input.to_path_buf()])
    }

    #[test]
    fn two_outputs_in_one_file_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("./a"));
        assert!(check_outputs([a.as_path(), &b], &[]).is_err());
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_file(&path, b"one").unwrap();
        write_file(&path, b"two").unwrap();
        assert_eq!(read(&path), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_input_is_refused_by_every_name() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("m.onnx");
        write_file(&model, b"model").unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        let mut names = vec![model.clone(), folder.path().join("sub/../m.onnx")];
        #[cfg(unix)]
        {
            let link = folder.path().join("link");
            std::os::unix::fs::symlink("m.onnx", &link).unwrap();
            let hard = folder.path().join("hard");
            fs::hard_link(&model, &hard).unwrap();
            names.extend([link, hard]);
        }
        for name in names {
            let refused = check(&name, &model).unwrap_err();
            assert_eq!(refused.exit_code(), 2, "{}", name.display());
        }
        let other = folder.path().join("m.epk");
        check(&other, &model).unwrap();
        assert!(!other.exists(), "a check leaves nothing");
    }

    #[test]
    fn images_and_labels_of_an_input_folder_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.png", "labels.csv", "result.npy"] {
            write_file(&folder.path().join(name), b"x").unwrap();
        }
        let checked = |name: &str| check(&folder.path().join(name), folder.path());
        assert!(checked("a.png").is_err() && checked("labels.csv").is_err());
        checked("result.npy").unwrap();
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("none/m.epk");
        let message = check_outputs([missing.as_path()], &[])
            .unwrap_err()
            .to_string();
        assert!(message.contains("make it first"), "{message}");
        let message = check_outputs([folder.path()], &[]).unwrap_err().to_string();
        assert!(message.contains("is a folder"), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_and_its_target_is_written() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("sub")).unwrap();
        symlink("sub/target", at("link")).unwrap();
        write_file(&at("link"), b"one").unwrap();
        fs::set_permissions(at("sub/target"), fs::Permissions::from_mode(0o640)).unwrap();
        write_file(&at("link"), b"two").unwrap();
        assert_eq!(read(&at("sub/target")), b"two");
        assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
        let mode = fs::metadata(at("sub/target")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        symlink("loop", at("loop")).unwrap();
        assert!(write_file(&at("loop"), b"x").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_gets_the_bytes_and_stays_a_pipe() {
        use std::os::unix::fs::FileTypeExt;
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        check_outputs([pipe.as_path()], &[]).unwrap();
        write_file(&pipe, b"bytes").unwrap();
        assert_eq!(reader.join().unwrap(), b"bytes");
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        write_file(Path::new("/dev/null"), b"gone").unwrap();
        assert!(
            fs::metadata("/dev/null")
                .unwrap()
                .file_type()
                .is_char_device()
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_failed_write_leaves_the_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("full");
        write_file(&file, b"old").unwrap();
        let taken = folder.path().join("full/inside");
        assert!(write_file(&taken, b"new").is_err());
        assert_eq!(read(&file), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
