//! Files that are read again and again while the daemon runs: secrets, certificates, the configuration itself.
//!
//! What a reader would get wrong: to open a pipe waits until somebody writes to it, for ever if nobody does. Such a thread would
//! be lost at each attempt, so only regular files are read, and opening never waits.

use std::{
    fs::OpenOptions,
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

/// Why a file's content is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system does not give it.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It can be read once at best.
    #[error("is {0}, and what is read again and again must be a regular file")]
    Kind(&'static str),
    /// It has more than that many bytes.
    #[error("is larger than {} KiB", .0 >> 10)]
    TooLarge(u64),
}

/// The bytes of a regular file that has no more than `most`. It may block for as long as the file system does.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|error| {
        let is_socket = std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
        if is_socket { FileError::Kind("a socket") } else { error.into() }
    })?;
    let metadata = file.metadata()?;
    let kind = metadata.file_type();
    if kind.is_fifo() {
        return Err(FileError::Kind("a pipe"));
    }
    if kind.is_dir() {
        return Err(FileError::Kind("a folder"));
    }
    if !kind.is_file() {
        return Err(FileError::Kind("a device"));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(FileError::TooLarge(most)) } else { Ok(bytes) }
}

/// What tells that files have changed, without reading them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FileMarks(Box<[Option<Mark>]>);

/// Device, inode, size, and when content and inode were changed.
type Mark = (u64, u64, u64, (i64, i64), (i64, i64));

impl FileMarks {
    /// As they are now. It may block for as long as the file system does.
    pub(crate) fn of(paths: &[PathBuf]) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let mark = |path: &PathBuf| {
            let file = std::fs::metadata(path).ok()?;
            let (content, inode) = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
            Some((file.dev(), file.ino(), file.size(), content, inode))
        };
        Self(paths.iter().map(mark).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_a_regular_file_is_read_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "four").unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        assert_eq!(read(&at("file"), 4).unwrap(), b"four");
        let said = |path: &Path| read(path, 3).unwrap_err().to_string();
        assert!(said(&at("file")).starts_with("is larger than"));
        assert!(said(&at("pipe")).starts_with("is a pipe, "));
        assert!(said(&at("socket")).starts_with("is a socket, "));
        assert!(said(folder.path()).starts_with("is a folder, "));
        assert!(said(Path::new("/dev/zero")).starts_with("is a device, "));
        assert!(said(&at("nothing")).starts_with("cannot be read: No such file"));
    }
}
