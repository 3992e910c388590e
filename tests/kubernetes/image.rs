//! The image of `deploy/docker/Dockerfile` as files: the one that `tests/image/run` has built, where it has; else what the last stage
//! of the Dockerfile says, with the binary under test in it.
//!
//! A built one is static and alone. The other is linked as tests build it, so the libraries that it names are there too; nothing
//! else is in either: no shell, no `/tmp`, no `/etc/passwd`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use regex_lite::Regex;
use serde_json::Value;

use super::manifests::{items, root};

const BINARY: &str = env!("CARGO_BIN_EXE_wskeeper");

/// What is in the image, and how it is run.
#[derive(Debug)]
pub struct Image {
    /// All its files, where it was built.
    pub built: Option<PathBuf>,
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
    /// The built one in the folder of `WSKEEPER_IMAGE`, else by the Dockerfile.
    pub fn read() -> Self {
        env::var_os("WSKEEPER_IMAGE").map_or_else(Self::by_dockerfile, |folder| Self::built(Path::new(&folder)))
    }

    fn built(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join("image.json")).unwrap();
        let told: Value = serde_json::from_str(&text).unwrap();
        let config = &told["OCIv1"]["config"];
        let words = |list| items(list).map(|word| word.as_str().unwrap().to_owned());
        let variable = |text: String| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            built: Some(folder.join("root")),
            entrypoint: words(&config["Entrypoint"]).collect(),
            environment: words(&config["Env"]).filter_map(variable).collect(),
            files: Vec::new(),
            folders: Vec::new(),
        }
    }

    fn by_dockerfile() -> Self {
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
                // The empty folder of the builder, which has but this.
                "/" => folders.push("/var/lib/wskeeper".into()),
                other => panic!("the image has {other}, which is not laid out here"),
            }
        }
        Self {
            built: None,
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
