//! The image of `deploy/docker/Dockerfile` as a folder: what its last stage holds and says, with the binary under test in it.
//!
//! The real one is static and alone. This one is linked as tests build it, so the libraries that it names are there too; nothing
//! else is: no shell, no `/tmp`, no `/etc/passwd`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use regex_lite::Regex;

use super::manifests::root;

const BINARY: &str = env!("CARGO_BIN_EXE_wskeeper");

/// What the last stage of the Dockerfile says.
#[derive(Debug)]
pub struct Image {
    /// What is run, before the arguments.
    pub entrypoint: Vec<String>,
    /// The variables.
    pub environment: Vec<(String, String)>,
    /// Files of this machine, and where they are in the image.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// Folders in the image.
    pub folders: Vec<PathBuf>,
}

impl Image {
    /// Reads the Dockerfile.
    pub fn read() -> Self {
        let text = fs::read_to_string(root().join("deploy/docker/Dockerfile")).unwrap();
        let (_, last) = text.split_once("\nFROM scratch\n").expect("a last stage on an empty image");
        let word = |key: &str| {
            let found = Regex::new(&format!("(?m)^{key} (.+)$")).unwrap().captures(last);
            found.unwrap_or_else(|| panic!("no {key}"))[1].to_owned()
        };
        let variable = word("ENV");
        let (name, value) = variable.split_once('=').expect("a variable and its value");
        let copied = Regex::new(r"(?m)^COPY --from=build (?:--chown=\S+ )?\S+ (\S+)$").unwrap();
        let (mut files, mut folders) = (libraries(), Vec::new());
        for place in copied.captures_iter(last).map(|found| found[1].to_owned()) {
            match place.as_str() {
                "/wskeeper" => files.push((BINARY.into(), place.into())),
                "/etc/ssl/certs/ca-certificates.crt" => files.push((place.clone().into(), place.into())),
                "/var/lib/wskeeper" => folders.push(place.into()),
                other => panic!("the image has {other}, which is not laid out here"),
            }
        }
        Self {
            entrypoint: serde_json::from_str(&word("ENTRYPOINT")).unwrap(),
            environment: vec![(name.to_owned(), value.to_owned())],
            files,
            folders,
        }
    }
}

/// What the dynamic linker would load.
fn libraries() -> Vec<(PathBuf, PathBuf)> {
    let listed = Command::new("ldd").arg(BINARY).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let paths = listed.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new);
    paths.map(|path| (path.to_owned(), path.to_owned())).collect()
}
