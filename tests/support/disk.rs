//! A small file system in memory, to be full on purpose.
//!
//! What a reader would get wrong: only root may mount one; a test without it says so and passes.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

/// A small file system in memory, unmounted when it is dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Of this size, at this folder; `None`, aloud, where that is not allowed.
    pub fn mount(at: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        Self::mount_with(at, &format!("size={size},mode=0700"))
    }

    /// One that nobody may write to.
    pub fn mount_read_only(at: &Path) -> Option<Self> {
        Self::mount_with(at, "ro,size=64k")
    }

    fn mount_with(at: &Path, options: &str) -> Option<Self> {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        eprintln!("skipped: only root may mount a file system");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

impl SmallDisk {
    /// Has no room from now on, until what this gives is removed.
    pub fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = fs::File::create(&path).unwrap();
        for piece in [64 << 10, 4096, 1] {
            while file.write_all(&vec![0; piece]).is_ok() {}
        }
        path
    }
}
