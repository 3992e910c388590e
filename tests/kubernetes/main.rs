//! The manifests of `deploy/kubernetes`: rendered by kustomize, judged by others' tools and by the project's own rules; each
//! weakened copy of them must be found out; and the daemon is run as they say.
//!
//! `tests/run` installs kustomize and the judges; without them the tests say that they are skipped. The rules in `rules.rs` ask for
//! what no general tool can know: that the pod and the configuration inside it fit each other. `running.rs` needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(unreachable_pub, reason = "what the files share is as public as a library's items")]
#![allow(clippy::print_stderr, reason = "a skipped test and a failed one say why")]

mod edits;
mod image;
mod judges;
mod manifests;
#[allow(dead_code, reason = "of a recipe's page only its files are read here")]
#[path = "../recipes/page.rs"]
mod page;
mod pod;
mod rules;
mod running;
mod volume;
mod waiting;
mod weakened;

use std::{fs, process::Command};

use judges::{Judge, Tools};
use manifests::{JUDGED, MONITORED, Manifests, OVERLAYS};

#[test]
fn every_overlay_satisfies_every_judge() {
    let Some(tools) = Tools::found() else { return };
    let cases: Vec<Manifests> = JUDGED.iter().map(|overlay| tools.render(overlay)).collect();
    for (overlay, faults) in JUDGED.iter().zip(tools.judge(&cases)) {
        assert!(faults.is_empty(), "{overlay}: {faults:#?}");
    }
}

#[test]
fn what_is_shipped_applies_to_a_cluster_without_the_prometheus_operator() {
    let Some(tools) = Tools::found() else { return };
    for overlay in OVERLAYS {
        for object in tools.render(overlay).objects {
            let group = object["apiVersion"].as_str().unwrap().to_owned();
            let is_built_in = ["v1", "apps/v1", "policy/v1", "networking.k8s.io/v1"].contains(&group.as_str());
            assert!(is_built_in, "{overlay}: {group} needs a CRD");
        }
    }
}

#[test]
fn what_the_operator_is_given_carries_the_label_that_it_selects_by() {
    let Some(tools) = Tools::found() else { return };
    let rendered = tools.render(MONITORED);
    for kind in ["PodMonitor", "PrometheusRule"] {
        assert_eq!(rendered.of(kind)[0]["metadata"]["labels"]["release"], "kube-prometheus-stack", "{kind}");
    }
    assert!(rendered.workload()["metadata"]["labels"]["release"].is_null(), "and nothing else does");
}

#[test]
fn every_weakened_manifest_is_found_out() {
    let Some(tools) = Tools::found() else { return };
    let table = weakened::table();
    let rendered: Vec<Manifests> = JUDGED.iter().map(|overlay| tools.render(overlay)).collect();
    let cases: Vec<Manifests> = table
        .iter()
        .map(|weakness| {
            let place = JUDGED.iter().position(|overlay| *overlay == weakness.overlay).expect("an overlay");
            let mut case = rendered[place].clone();
            (weakness.apply)(&mut case);
            assert!(case != rendered[place], "{}: nothing was changed", weakness.what);
            case
        })
        .collect();
    let mut missed = Vec::new();
    for (weakness, faults) in table.iter().zip(tools.judge(&cases)) {
        let is_found = faults.iter().any(|(judge, fault)| *judge == weakness.by && fault.contains(weakness.saying));
        if !is_found {
            missed.push(format!("{} ({:?}, {:?}): {faults:?}", weakness.what, weakness.by, weakness.saying));
        }
    }
    assert!(missed.is_empty(), "not found out:\n{}", missed.join("\n"));
}

#[test]
fn the_daemon_itself_takes_the_configuration_of_every_overlay() {
    let Some(tools) = Tools::found() else { return };
    for overlay in JUDGED {
        let folder = tools.render(overlay).config_folder();
        let checked = Command::new(env!("CARGO_BIN_EXE_wskeeper")).arg("check").arg(folder.path()).output().unwrap();
        assert!(checked.status.success(), "{overlay}: {}", String::from_utf8_lossy(&checked.stderr));
    }
}

#[test]
fn the_prometheus_rule_holds_the_rules_of_the_dashboards() {
    let mut rule = String::from(
        "# Made of dashboards/prometheus/rules by `WSKEEPER_BLESS=1 cargo test --test kubernetes the_prometheus_rule`: edit those.\n\
         apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: wskeeper\n  namespace: wskeeper\n\
         \u{20} labels:\n    app.kubernetes.io/name: wskeeper\nspec:\n  groups:\n",
    );
    for name in ["recording.yml", "alerts.yml"] {
        let text = fs::read_to_string(manifests::root().join("dashboards/prometheus/rules").join(name)).unwrap();
        let (_, groups) = text.split_once("\ngroups:\n").expect("a list of groups");
        rule.extend(groups.lines().flat_map(|line| [if line.is_empty() { "" } else { "  " }, line, "\n"]));
    }
    let path = manifests::root().join("deploy/kubernetes/components/monitoring/prometheusrule.yaml");
    if std::env::var_os("WSKEEPER_BLESS").is_some() {
        fs::write(&path, &rule).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), rule, "{} is out of date", path.display());
}

#[test]
fn each_dockerfile_satisfies_its_judges() {
    let Some(tools) = Tools::found() else { return };
    let recipe = judges::recipe();
    for dockerfile in [manifests::root().join("deploy/docker/Dockerfile"), recipe.path().join("program/Dockerfile")] {
        let faults = tools.judge_dockerfile(&dockerfile, false);
        assert!(faults.is_empty(), "{}: {faults:#?}", dockerfile.display());
    }
}

#[test]
fn a_weakened_dockerfile_is_found_out() {
    let Some(tools) = Tools::found() else { return };
    let text = fs::read_to_string(manifests::root().join("deploy/docker/Dockerfile")).unwrap();
    for (from, to, judge, saying) in [
        ("USER 65532:65532", "USER root", Judge::Checkov, "CKV_DOCKER_8"),
        ("USER 65532:65532\n", "", Judge::Checkov, "CKV_DOCKER_3"),
        ("WORKDIR /src", "WORKDIR src", Judge::Hadolint, "DL3000"),
        ("COPY Cargo.toml", "ADD Cargo.toml", Judge::Checkov, "CKV_DOCKER_4"),
    ] {
        assert!(text.contains(from), "{from:?} is not in the Dockerfile");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Dockerfile");
        fs::write(&path, text.replace(from, to)).unwrap();
        let faults = tools.judge_dockerfile(&path, judge == Judge::Checkov);
        assert!(faults.iter().any(|(by, fault)| *by == judge && fault.contains(saying)), "{to:?}: {faults:?}");
    }
}
