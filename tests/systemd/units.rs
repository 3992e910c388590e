//! The units, judged by systemd's own tools. Neither needs a running systemd.

use std::{fs, process::Command};

const SERVICE: &str = include_str!("../../deploy/systemd/wskeeper.service");

/// Runs `systemd-analyze` on the units in a folder where the binary is at hand; `None` where there is none.
fn analyze(words: &[&str], service: &str) -> Option<(bool, String)> {
    let folder = tempfile::tempdir().unwrap();
    // What the units name must be there for `verify`.
    let service = service.replace("/usr/bin/wskeeper", env!("CARGO_BIN_EXE_wskeeper"));
    let service = service.replace("Documentation=man:wskeeper(1) ", "Documentation=");
    fs::write(folder.path().join("wskeeper.service"), service).unwrap();
    let socket = include_str!("../../deploy/systemd/optional/wskeeper.socket").replace("man:wskeeper(1) ", "");
    fs::write(folder.path().join("wskeeper.socket"), socket).unwrap();
    let units = ["wskeeper.service", "wskeeper.socket"].map(|name| folder.path().join(name));
    let units = if words[0] == "verify" { &units[..] } else { &units[..1] };
    match Command::new("systemd-analyze").args(words).args(units).output() {
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
        }
        Err(_) if std::env::var_os("WSKEEPER_TEST_REAL").is_none() => {
            eprintln!("skipped: there is no systemd-analyze; tests/run installs it");
            None
        }
        Err(error) => panic!("systemd-analyze: {error}"),
    }
}

#[test]
fn the_units_are_clean() {
    let Some((is_clean, said)) = analyze(&["verify", "--man=no"], SERVICE) else { return };
    assert!(is_clean && said.trim().is_empty(), "{said}");
}

#[test]
fn a_unit_with_a_wrong_key_would_be_found() {
    let Some((_, said)) = analyze(&["verify", "--man=no"], &SERVICE.replace("PrivateTmp=", "PrivatTmp=")) else {
        return;
    };
    assert!(said.contains("PrivatTmp"), "{said}");
}

#[test]
fn the_service_is_exposed_by_no_more_than_1_2() {
    let words = ["security", "--offline=true", "--threshold=12", "--no-pager"];
    let Some((is_safe, said)) = analyze(&words, SERVICE) else { return };
    assert!(is_safe, "{said}");
    let Some((is_safe, _)) = analyze(&words, &SERVICE.replace("CapabilityBoundingSet=\n", "")) else { return };
    assert!(!is_safe, "a weaker unit would be found");
}
