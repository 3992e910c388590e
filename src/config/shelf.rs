//! Endpoints that came by the API, on disk: a file each, so that people can read, copy and remove one.
//!
//! What a reader would get wrong: a file is never written where it stands. It is written aside, synced, and put in its place, so that a crash
//! leaves the old or the new; and one that is damaged is moved aside, because it may still be of use to people.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{Definition, check::endpoint::is_name, dynamic::MAX_BYTES};
use wskeeper_link::endpoint::file;

/// Below `storage.dir`.
const FOLDER: &str = "endpoints";
const LOCK: &str = ".lock";
const ENDING: &str = ".json";
/// What is added to the name of one that is damaged.
const DAMAGED: &str = ".damaged";
/// How one ends that is being written.
const DRAFT: &str = ".new";

/// An endpoint's name, and what was put.
type Found = (Arc<str>, Definition);

/// The folder, for one daemon at a time.
#[derive(Debug)]
pub struct Shelf {
    dir: PathBuf,
    /// Holds the lock, which is the kernel's and ends with the process.
    _lock: File,
}

impl Shelf {
    /// Takes the folder in `storage`, which is made where there is none. Answers with what is in it, by name.
    pub fn open(storage: &Path) -> io::Result<(Self, Vec<Found>)> {
        let dir = storage.join(FOLDER);
        if !dir.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
            sync(storage)?;
        }
        let lock = private().create(true).truncate(false).open(dir.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::other(format!("another daemon uses {}", dir.display())),
            TryLockError::Error(error) => error,
        })?;
        let shelf = Self { dir, _lock: lock };
        let mut found: Vec<Found> = Vec::new();
        for entry in fs::read_dir(&shelf.dir)? {
            let path = entry?.path();
            let Some(file) = path.file_name().and_then(|file| file.to_str()) else { continue };
            if file.starts_with('.') && file.ends_with(DRAFT) {
                // An earlier life was ended while it wrote; what stands in its place is whole.
                let _ = fs::remove_file(&path);
            }
            let Some(name) = file.strip_suffix(ENDING).filter(|name| is_name(name)) else { continue };
            match read(&path) {
                Ok(definition) => found.push((name.into(), definition)),
                Err(why) => shelf.set_aside(&path, &why),
            }
        }
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok((shelf, found))
    }

    /// How many endpoints are in the folder of `storage`, whoever has it.
    pub fn count(storage: &Path) -> usize {
        let files = fs::read_dir(storage.join(FOLDER)).into_iter().flatten().flatten();
        files.filter(|entry| entry.file_name().to_str().is_some_and(|file| file.ends_with(ENDING))).count()
    }

    /// Puts one in its place. When this is done it is there after a power cut too.
    pub fn put(&self, name: &str, definition: &Definition) -> io::Result<()> {
        let draft = self.dir.join(format!(".{name}{ENDING}{DRAFT}"));
        let written = private().create(true).truncate(true).open(&draft).and_then(|mut file| {
            file.write_all(definition.as_str().as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, self.place(name))
        });
        if written.is_err() {
            // It takes room where there may be none.
            let _ = fs::remove_file(&draft);
        }
        written?;
        sync(&self.dir)
    }

    /// Takes one away. One that is not there is no fault.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.place(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => sync(&self.dir),
        }
    }

    fn place(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}{ENDING}"))
    }

    fn set_aside(&self, path: &Path, why: &str) {
        let mut aside = path.as_os_str().to_owned();
        aside.push(DAMAGED);
        let moved = fs::rename(path, &aside).and_then(|()| sync(&self.dir));
        let (path, aside) = (path.display(), Path::new(&aside).display());
        match moved {
            Ok(()) => {
                tracing::error!(%path, why, moved_to = %aside, "an endpoint on disk is damaged and was set aside");
            }
            Err(error) => {
                tracing::error!(%path, why, %error, "an endpoint on disk is damaged, and cannot be set aside");
            }
        }
    }
}

fn read(path: &Path) -> Result<Definition, String> {
    let bytes = file::read(path, MAX_BYTES as u64).map_err(|error| format!("it {error}"))?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    match serde_json::from_str::<Map<String, Value>>(&text) {
        Ok(_) => Ok(Definition::kept(&text)),
        Err(error) => {
            Err(format!("it is no JSON object: {}", error.to_string().rsplit(" at ").next().unwrap_or_default()))
        }
    }
}

/// For the owner alone.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_put_is_found_again_and_what_is_damaged_is_set_aside() {
        let storage = tempfile::tempdir().unwrap();
        let dir = storage.path().join(FOLDER);
        let text = Definition::kept("{\"url\":\"ws://h/\"}");
        {
            let (shelf, found) = Shelf::open(storage.path()).unwrap();
            assert!(found.is_empty());
            shelf.put("a.b-1", &Definition::kept("{}")).unwrap();
            shelf.put("a.b-1", &text).unwrap();
            shelf.put("gone", &text).unwrap();
            shelf.remove("gone").unwrap();
            shelf.remove("gone").unwrap();
            assert!(Shelf::open(storage.path()).unwrap_err().to_string().starts_with("another daemon uses "));
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&dir), mode(&dir.join("a.b-1.json"))), (0o700, 0o600));
        }
        for (file, bytes) in [
            ("half.json", &b"{\"url\":"[..]),
            ("list.json", b"[]"),
            ("bytes.json", b"{\xff}"),
            (".x.json.new", b"{"),
            ("README", b"x"),
        ] {
            fs::write(dir.join(file), bytes).unwrap();
        }
        let (_shelf, found) = Shelf::open(storage.path()).unwrap();
        assert_eq!(found, [("a.b-1".into(), text)]);
        let mut files: Vec<_> =
            fs::read_dir(&dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        let wanted = [".lock", "README", "a.b-1.json", "bytes.json.damaged", "half.json.damaged", "list.json.damaged"];
        assert_eq!(files, wanted);
        assert_eq!(Shelf::count(storage.path()), 1);
    }
}
