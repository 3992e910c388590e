//! Notices that the files of a configuration have changed: by the kernel's word where there is one, by looking twice a minute
//! in any case.
//!
//! What a reader would get wrong: it is the *folders* that are listened to. An editor renames a new file over the old one, and
//! Kubernetes swaps the symbolic link `..data` beside it; who listens to the file itself hears that it is gone, and then nothing.
//! A word of the kernel is no more than a reason to look. A change counts when two looks a second apart have found the same
//! content, and it is not the content that was read last: a file that is being written is not read half.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{sleep, timeout};

use super::source::{self, Fingerprint, Sources};

/// After a word of the kernel, and between the two looks that must agree.
const SETTLE: Duration = Duration::from_secs(1);
/// Between looks without a word: network file systems give none, and neither does a kernel that has run out of watches.
const POLL: Duration = Duration::from_secs(30);
/// Symbolic links followed from one file; what has more is a circle.
const MAX_LINKS: usize = 40;

/// Watches the file or folder that a configuration is read from.
#[derive(Debug)]
pub struct FileWatch {
    path: PathBuf,
    /// The kernel could not be asked, and that has been said.
    is_deaf: bool,
}

impl FileWatch {
    /// For the path that the daemon was started with.
    pub fn new(path: PathBuf) -> Self {
        Self { path, is_deaf: false }
    }

    /// Waits until the content has changed, and has settled: it is another than that of `known`, which was read last. May be
    /// dropped and called again at any time.
    pub async fn changed(&mut self, known: impl Fn() -> Fingerprint) {
        let mut before = None;
        loop {
            // First listen, then look: what changes in between is heard.
            let (ears, seen) = self.look().await;
            if seen == Some(known()) || seen.is_none() {
                before = None;
                // An error is the time that has passed.
                let _ = timeout(POLL, ears.heard()).await;
            } else if seen == before {
                return;
            } else {
                before = seen;
            }
            sleep(SETTLE).await;
        }
    }

    /// What the files hold now, and ears that hear of all that changes from now on.
    async fn look(&mut self) -> (Ears, Option<Fingerprint>) {
        let (path, is_deaf) = (self.path.clone(), self.is_deaf);
        let looked = tokio::task::spawn_blocking(move || {
            let ears = if is_deaf { Ok(Ears::default()) } else { Ears::at(&folders(&path)) };
            (ears, Sources::read(&path).fingerprint())
        });
        match looked.await {
            Ok((Ok(ears), seen)) => (ears, Some(seen)),
            Ok((Err(error), seen)) => {
                self.is_deaf = true;
                let seconds = POLL.as_secs();
                tracing::warn!(%error, seconds, "changes of the configuration files are found by looking only");
                (Ears::default(), Some(seen))
            }
            Err(error) => {
                tracing::warn!(%error, "the configuration files could not be looked at");
                (Ears::default(), None)
            }
        }
    }
}

/// Every folder in which a change may concern the configuration: where its files are, and where the symbolic links stand that lead
/// there.
fn folders(path: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let files = source::files(&path).unwrap_or_default();
    if path.is_dir() {
        folders.insert(path.clone());
    }
    for file in files.into_iter().map(|(file, _)| file).chain([path]) {
        let mut left = MAX_LINKS;
        add_folders(&file, &mut folders, &mut left);
    }
    folders
}

fn add_folders(path: &Path, folders: &mut BTreeSet<PathBuf>, left: &mut usize) {
    folders.extend(path.parent().map(Path::to_owned));
    for part in path.ancestors() {
        let (Ok(target), Some(folder)) = (fs::read_link(part), part.parent()) else { continue };
        if *left == 0 {
            return;
        }
        *left -= 1;
        folders.insert(folder.to_owned());
        let rest = path.strip_prefix(part).unwrap_or(Path::new(""));
        add_folders(&folder.join(target).join(rest), folders, left);
    }
}

/// What hears of changes in folders. Made anew for each look, so that a folder which was replaced is listened to.
#[derive(Debug, Default)]
struct Ears {
    #[cfg(target_os = "linux")]
    kernel: Option<inotify::Inotify>,
}

#[cfg(target_os = "linux")]
impl Ears {
    fn at(folders: &BTreeSet<PathBuf>) -> std::io::Result<Self> {
        use inotify::WatchMask;
        // Not what is read, for then each look would be the reason for the next; and not each write: the last one closes.
        let mask = WatchMask::CLOSE_WRITE
            | WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVE
            | WatchMask::ATTRIB
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        let kernel = inotify::Inotify::init()?;
        for folder in folders {
            // Else it is not there now, or not the daemon's to read; where it is made, its parent hears of it.
            if let Err(error) = kernel.watches().add(folder, mask)
                && error.raw_os_error() == Some(ENOSPC)
            {
                return Err(error);
            }
        }
        Ok(Self { kernel: Some(kernel) })
    }

    /// Waits until something has changed.
    async fn heard(self) {
        use futures_util::StreamExt;
        let stream = self.kernel.and_then(|kernel| kernel.into_event_stream([0; 1024]).ok());
        match stream {
            Some(mut stream) => match stream.next().await {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }
}

/// The user has no inotify watches left.
#[cfg(target_os = "linux")]
const ENOSPC: i32 = 28;

#[cfg(not(target_os = "linux"))]
impl Ears {
    #[allow(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    fn at(_: &BTreeSet<PathBuf>) -> std::io::Result<Self> {
        Ok(Self::default())
    }

    async fn heard(self) {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn fingerprint(path: &Path) -> Fingerprint {
        Sources::read(path).fingerprint()
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_the_kernel_does_not_tell_of_is_found_by_looking() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.toml");
        fs::write(&path, "a = 1").unwrap();
        let known = fingerprint(&path);
        let mut watch = FileWatch { path: path.clone(), is_deaf: true };
        let unchanged = timeout(POLL * 3, watch.changed(|| known)).await;
        assert!(unchanged.is_err(), "nothing has changed");
        fs::write(&path, "a = 2").unwrap();
        timeout(POLL * 3, watch.changed(|| known)).await.expect("the change is found");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_being_written_is_left_alone_until_it_has_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.toml");
        fs::write(&path, "a = 1").unwrap();
        let known = fingerprint(&path);
        let mut watch = FileWatch { path: path.clone(), is_deaf: true };
        let mut changed = std::pin::pin!(watch.changed(|| known));
        for round in 0..20 {
            let next = folder.path().join("next");
            fs::write(&next, format!("a = {}", "1".repeat(round + 2))).unwrap();
            fs::rename(next, &path).unwrap();
            assert!(timeout(SETTLE / 2, &mut changed).await.is_err(), "it changes twice a second");
        }
        changed.await;
    }

    #[test]
    fn the_folders_are_those_of_the_files_and_of_the_links_that_lead_there() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        for name in ["mount/..1", "releases/5", "away"] {
            fs::create_dir_all(base.join(name)).unwrap();
        }
        fs::write(base.join("mount/..1/w.toml"), "").unwrap();
        symlink("..1", base.join("mount/..data")).unwrap();
        symlink("..data/w.toml", base.join("mount/w.toml")).unwrap();
        let inside = |path: &str| -> Vec<String> {
            let folders = folders(&base.join(path));
            let inside = folders.iter().filter_map(|folder| folder.strip_prefix(&base).ok());
            inside.map(|folder| folder.display().to_string()).collect()
        };
        assert_eq!(inside("mount/w.toml"), ["mount", "mount/..1", "mount/..data"]);
        assert_eq!(inside("mount"), ["", "mount", "mount/..1", "mount/..data"]);
        fs::write(base.join("releases/5/w.toml"), "").unwrap();
        symlink("../releases/5", base.join("away/current")).unwrap();
        assert_eq!(inside("away/current/w.toml"), ["away", "away/../releases/5", "away/current"]);
        symlink("b.toml", base.join("a.toml")).unwrap();
        symlink("a.toml", base.join("b.toml")).unwrap();
        assert_eq!(inside("a.toml"), [""], "links in a circle end too");
    }
}
