//! The dashboards drawn with a real daemon's data, as pictures to look at: Grafana's grid, thresholds and legends, as far as a
//! picture needs them. They are left in `target/test-env/dashboards`.

use std::{fs, path::Path, process::Command};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::{
    files::{Board, boards, path, program, read},
    prometheus::Prometheus,
};

/// Seconds that plots show.
pub const SPAN: u32 = 30;

/// An expression with the dashboard's variables filled in.
pub fn filled_in(expression: &str, endpoint: &str) -> String {
    expression
        .replace("$__rate_interval", "15s")
        .replace("$__range", "10m")
        .replace("$job", ".+")
        .replace("$instance", ".+")
        .replace("$endpoint", endpoint)
}

/// Draws them all, and fails where a panel of a picture is empty.
pub async fn draw(prometheus: &Prometheus) {
    let Some(chromium) = program("chromium") else { return };
    let folder = path("target/test-env/dashboards");
    fs::create_dir_all(&folder).unwrap();
    for board in boards() {
        let file = folder.join(format!("{}.html", board.name));
        fs::write(&file, page(prometheus, &board).await).unwrap();
        let (picture, browser, height) = (file.with_extension("png"), chromium.clone(), height(&board));
        let _old = fs::remove_file(&picture);
        tokio::task::spawn_blocking(move || photograph(&browser, &file, height)).await.unwrap();
        assert!(fs::metadata(&picture).is_ok_and(|picture| picture.len() > 20_000), "no picture of {}", board.name);
    }
}

async fn page(prometheus: &Prometheus, board: &Board) -> String {
    let mut results = Map::new();
    for panel in board.panels() {
        let mut all = Vec::new();
        for target in panel["targets"].as_array().unwrap() {
            let expression = filled_in(target["expr"].as_str().unwrap(), ".+");
            let series = if target["instant"] == true {
                prometheus.query(&expression).await
            } else {
                prometheus.query_range(&expression, SPAN).await
            };
            all.push(json!({ "refId": target["refId"], "legend": target["legendFormat"], "series": series.unwrap() }));
        }
        results.insert(panel["id"].to_string(), Value::Array(all));
    }
    // In a script no text may end it.
    let data = json!({ "board": board.json, "results": results }).to_string().replace("</", "<\\/");
    read("tests/monitoring/look.html").replace("/*DATA*/ null", &data)
}

/// Pixels that the page needs: 38 for a row of the grid, and its head.
fn height(board: &Board) -> u64 {
    let bottom = |panel: &&Value| panel["gridPos"]["y"].as_u64().unwrap() + panel["gridPos"]["h"].as_u64().unwrap();
    let rows = board.panels().iter().map(bottom).max().unwrap();
    rows * 38 + 60
}

fn photograph(chromium: &Path, file: &Path, height: u64) {
    let profile = TempDir::new().unwrap();
    let output = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--window-size=1600,{height}"))
        .arg(format!("--screenshot={}", file.with_extension("png").display()))
        .arg("--dump-dom")
        .arg(format!("file://{}", file.display()))
        .output()
        .unwrap();
    let page = String::from_utf8_lossy(&output.stdout);
    let said = page.lines().find(|line| line.contains("<body")).unwrap_or_default();
    assert!(
        said.contains("data-empty=\"\""),
        "{}: {said}\n{}",
        file.display(),
        String::from_utf8_lossy(&output.stderr)
    );
}
