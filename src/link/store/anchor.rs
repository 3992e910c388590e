//! Whether an open file still stands at its path.
//!
//! An open file can be written for as long as one likes after it was removed or renamed, or another was put in its place, and
//! nobody will find it there. What a reader would get wrong: a file that was moved is not lost. It holds what it held, and is
//! the store again once it is back; only one that no folder names any more never comes back.

use std::{
    fs::{self, File, Metadata},
    os::unix::fs::MetadataExt,
    path::Path,
};

use super::WriteError;

/// Looks whether `file` is what stands at `path`.
pub(super) fn look(path: &Path, file: &File) -> Result<(), WriteError> {
    let shown = path.display();
    let away = |why: String| WriteError::Away(why.into());
    let held = file.metadata().map_err(|e| away(format!("{shown} cannot be looked at ({e})")))?;
    if held.nlink() == 0 {
        return Err(WriteError::Broken(format!("{shown} was removed while it was in use").into()));
    }
    let found = fs::metadata(path).map_err(|e| away(format!("{shown} cannot be found ({e})")))?;
    let is_same = |one: &Metadata, other: &Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
    if is_same(&held, &found) { Ok(()) } else { Err(away(format!("another file stands at {shown}"))) }
}
