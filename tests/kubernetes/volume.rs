//! What the kubelet mounts into a pod: folders whose files are links through `..data`, so that all of them change at once.
//!
//! What a reader would get wrong: the modes are not those of the manifest alone. With an `fsGroup` the kubelet gives every file
//! to that group and lets the group read it; without that, user 65532 could not read a file of mode 0400.

use std::{
    cell::Cell,
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
};

/// The content of files, by name.
pub type Files = Vec<(String, String)>;

/// The folder of a `ConfigMap` or a Secret.
#[derive(Debug)]
pub struct Projected {
    folder: PathBuf,
    mode: u32,
    group: u32,
    round: Cell<u32>,
}

impl Projected {
    /// Makes it with these files, of this mode, for this group.
    pub fn make(folder: PathBuf, files: &[(String, String)], mode: u32, group: u32) -> Self {
        fs::create_dir_all(&folder).unwrap();
        own(&folder, 0o3777, group);
        let volume = Self { folder, mode: mode | 0o440, group, round: Cell::new(0) };
        volume.swap(files);
        volume
    }

    /// Puts other files in their place, as the kubelet does when the object has changed: a new folder, then one rename.
    pub fn swap(&self, files: &[(String, String)]) {
        self.round.set(self.round.get() + 1);
        let data = format!("..2026_11_26_03_00_{:02}.123456789", self.round.get());
        let new = self.folder.join(&data);
        fs::create_dir(&new).unwrap();
        own(&new, 0o2755, self.group);
        for (name, text) in files {
            fs::write(new.join(name), text).unwrap();
            own(&new.join(name), self.mode, self.group);
        }
        let (link, draft) = (self.folder.join("..data"), self.folder.join("..data_tmp"));
        let old = fs::read_link(&link);
        symlink(&data, &draft).unwrap();
        fs::rename(draft, link).unwrap();
        for (name, _) in files {
            if fs::symlink_metadata(self.folder.join(name)).is_err() {
                symlink(Path::new("..data").join(name), self.folder.join(name)).unwrap();
            }
        }
        if let Ok(old) = old {
            fs::remove_dir_all(self.folder.join(old)).unwrap();
        }
    }

    /// Where it is on the node.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// A new volume of a claim: root's, and the group may write.
pub fn claim(folder: &Path, group: u32) {
    fs::create_dir_all(folder).unwrap();
    own(folder, 0o2775, group);
}

fn own(path: &Path, mode: u32, group: u32) {
    chown(path, Some(0), Some(group)).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}
