//! The tools that render and judge: kustomize, the schemas of Kubernetes and of the Prometheus operator, checkov, hadolint.
//!
//! All cases of a test go to a tool at once: starting one takes longer than judging a hundred manifests.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::{Builder, TempDir};

use super::{
    manifests::{MONITORED, Manifests, RECIPE, items, root},
    page::{Step, steps},
    rules,
};

/// Who found a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judge {
    /// The schemas, with unknown keys refused.
    Schema,
    /// checkov's policies.
    Checkov,
    /// hadolint, for the Dockerfile.
    Hadolint,
    /// Our own.
    Rules,
}

/// A fault, and who found it.
pub type Verdict = (Judge, String);

/// Where the tools are.
#[derive(Debug)]
pub struct Tools {
    kustomize: PathBuf,
    /// The folder of the Python environment's programs.
    bin: PathBuf,
}

impl Tools {
    /// The installed ones; `None`, aloud, where there are none.
    pub fn found() -> Option<Self> {
        let folder = env::var_os("WSKEEPER_TEST_ENV").map_or_else(|| root().join("target/test-env"), PathBuf::from);
        let (kustomize, bin) = (folder.join("debian/usr/bin/kustomize"), folder.join("manifests/bin"));
        if ["python", "checkov", "hadolint"].iter().all(|name| bin.join(name).exists()) && kustomize.exists() {
            return Some(Self { kustomize, bin });
        }
        assert!(env::var_os("WSKEEPER_TEST_REAL").is_none(), "kustomize or a judge is missing in {}", folder.display());
        eprintln!("SKIPPED: kustomize or a judge of manifests is not installed; tests/run installs them");
        None
    }

    /// What `kubectl apply -k` would send.
    pub fn render(&self, overlay: &str) -> Manifests {
        let place = if overlay == MONITORED { "tests/kubernetes" } else { "deploy/kubernetes/overlays" };
        let (folder, _beside) = match overlay {
            RECIPE => {
                let beside = recipe();
                (beside.path().join("program"), Some(beside))
            }
            other => (root().join(place).join(other), None),
        };
        let rendered = output(Command::new(&self.kustomize).arg("build").arg(folder));
        assert!(rendered.status.success(), "{overlay}: {}", String::from_utf8_lossy(&rendered.stderr));
        Manifests::parse(&String::from_utf8(rendered.stdout).unwrap())
    }

    /// What every judge has against each case.
    pub fn judge(&self, cases: &[Manifests]) -> Vec<Vec<Verdict>> {
        // checkov passes over hidden folders, which the default name would be.
        let folder = Builder::new().prefix("manifests").tempdir().unwrap();
        let names: Vec<String> = (0..cases.len()).map(|place| format!("{place:03}.yaml")).collect();
        for (case, name) in cases.iter().zip(&names) {
            fs::write(folder.path().join(name), case.to_yaml()).unwrap();
        }
        let mut found = self.schemas(folder.path());
        for (name, faults) in self.checkov(&["-d".as_ref(), folder.path().as_os_str()], "kubernetes") {
            found.entry(name).or_default().extend(faults);
        }
        let verdicts = cases.iter().zip(&names).map(|(case, name)| {
            let own = rules::faults(case).into_iter().map(|fault| (Judge::Rules, fault));
            found.remove(name).unwrap_or_default().into_iter().chain(own).collect()
        });
        verdicts.collect()
    }

    /// What is to be said against a Dockerfile. hadolint stands back where the other's verdict alone is wanted.
    pub fn judge_dockerfile(&self, path: &Path, by_checkov_alone: bool) -> Vec<Verdict> {
        let found = self.checkov(&["-f".as_ref(), path.as_os_str()], "dockerfile");
        let mut verdicts: Vec<Verdict> = found.into_values().flatten().collect();
        if !by_checkov_alone {
            let linted = output(Command::new(self.bin.join("hadolint")).arg("--no-color").arg(path));
            let lines = String::from_utf8(linted.stdout).unwrap();
            assert_eq!(linted.status.success(), lines.is_empty(), "{lines}");
            verdicts.extend(lines.lines().map(|line| (Judge::Hadolint, line.to_owned())));
        }
        verdicts
    }

    fn schemas(&self, folder: &Path) -> BTreeMap<String, Vec<Verdict>> {
        let script = root().join("tests/kubernetes/schemas.py");
        let answer = output(Command::new(self.bin.join("python")).arg(script).arg(folder));
        assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
        let faults: BTreeMap<String, Vec<String>> = serde_json::from_slice(&answer.stdout).unwrap();
        let with_judge = |faults: Vec<String>| faults.into_iter().map(|fault| (Judge::Schema, fault)).collect();
        faults.into_iter().map(|(name, faults)| (name, with_judge(faults))).collect()
    }

    fn checkov(&self, what: &[&OsStr], framework: &str) -> BTreeMap<String, Vec<Verdict>> {
        let config = root().join("tests/kubernetes/checkov.yaml");
        let mut command = Command::new(self.bin.join("checkov"));
        command.args(what).args(["--framework", framework, "--config-file"]).arg(config);
        let answer = output(&mut command);
        let report: Value = serde_json::from_slice(&answer.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&answer.stderr)));
        assert_eq!(report["summary"]["parsing_errors"], 0, "{report:#}");
        assert!(
            report["summary"]["passed"].as_u64().is_some_and(|passed| passed > 5),
            "nothing was looked at: {report:#}"
        );
        let mut found: BTreeMap<String, Vec<Verdict>> = BTreeMap::new();
        for check in items(&report["results"]["failed_checks"]) {
            let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
            let name = text("file_path").rsplit('/').next().unwrap_or_default().to_owned();
            let fault = format!("{} {}: {}", text("check_id"), text("resource"), text("check_name"));
            found.entry(name).or_default().push((Judge::Checkov, fault));
        }
        found
    }
}

/// A folder with the files of `docs/recipes/sidecar.md` in `program`, beside this repository.
pub fn recipe() -> TempDir {
    let folder = Builder::new().prefix("recipe").tempdir().unwrap();
    let program = folder.path().join("program");
    fs::create_dir(&program).unwrap();
    symlink(root(), folder.path().join("wskeeper")).unwrap();
    for step in steps(&fs::read_to_string(root().join("docs/recipes/sidecar.md")).unwrap()) {
        if let Step::Write { name, text } = step {
            fs::write(program.join(name), text).unwrap();
        }
    }
    folder
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}
