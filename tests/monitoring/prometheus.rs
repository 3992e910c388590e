//! Debian's Prometheus over the daemon's unix socket: by the nginx of `dashboards/prometheus/nginx-metrics.conf`, for Prometheus
//! itself cannot scrape one.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{
    files::{path, program, read},
    support::{api::Failure, free_port, until},
};
use wskeeper_link::clock::Calendar;

/// A Prometheus with the rules of this repository, and what leads it to the daemon.
pub struct Prometheus {
    children: Vec<Child>,
    port: u16,
    front: u16,
    _folder: TempDir,
}

impl Prometheus {
    /// One that scrapes the daemon on this socket each second; `None` where it is not installed and need not be.
    pub async fn start(socket: &Path) -> Option<Self> {
        let (prometheus, nginx) = (program("prometheus")?, program("nginx")?);
        let folder = TempDir::new().unwrap();
        let (front, port) = (free_port(), free_port());
        let mut children = Vec::new();
        let mut launch = |command: &mut Command, name: &str| {
            let log = fs::File::create(folder.path().join(name)).unwrap();
            let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
            children.push(child);
        };
        let proxy = folder.path().join("nginx.conf");
        fs::write(&proxy, nginx_config(folder.path(), front, socket)).unwrap();
        launch(Command::new(nginx).arg("-e").arg(folder.path().join("error.log")).arg("-c").arg(&proxy), "nginx.log");
        let config = folder.path().join("prometheus.yml");
        fs::write(&config, config_text(front)).unwrap();
        let arguments = [
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", folder.path().join("data").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        launch(Command::new(prometheus).args(arguments), "prometheus.log");
        let started = Self { children, port, front, _folder: folder };
        until("Prometheus to be ready", || async { started.get("/-/ready").await.map(|_| ()) }).await;
        Some(started)
    }

    /// The result of an expression now; `Err` says why there is none.
    pub async fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        self.result(&format!("/api/v1/query?query={}", encoded(expression))).await
    }

    /// The result of an expression over the last seconds.
    pub async fn query_range(&self, expression: &str, seconds: u32) -> Result<Vec<Value>, String> {
        let now = Calendar::default().since_epoch().as_secs();
        let (query, from) = (encoded(expression), now - u64::from(seconds));
        let step = (seconds / 100).max(1);
        self.result(&format!("/api/v1/query_range?query={query}&start={from}&end={now}&step={step}")).await
    }

    /// What its API has below `data`.
    pub async fn data(&self, path: &str) -> Result<Value, String> {
        let body = self.get(path).await?;
        let answer: Value = serde_json::from_slice(&body).map_err(|error| format!("{error}: {body:?}"))?;
        if answer["status"] == "success" { Ok(answer["data"].clone()) } else { Err(answer.to_string()) }
    }

    /// The status of a request to the proxy before the daemon's socket.
    pub async fn through_the_proxy(&self, method: Method, path: &str) -> u16 {
        call(self.front, method, path).await.unwrap().0.as_u16()
    }

    async fn result(&self, path: &str) -> Result<Vec<Value>, String> {
        let data = self.data(path).await?;
        Ok(data["result"].as_array().ok_or_else(|| data.to_string())?.clone())
    }

    async fn get(&self, path: &str) -> Result<Bytes, String> {
        let (status, body) = call(self.port, Method::GET, path).await.map_err(|error| error.to_string())?;
        if status.is_success() { Ok(body) } else { Err(format!("{status}: {}", String::from_utf8_lossy(&body))) }
    }
}

async fn call(port: u16, method: Method, path: &str) -> Result<(StatusCode, Bytes), Failure> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header("host", "localhost");
    let answer = sender.send_request(request.body(Full::new(Bytes::new()))?).await?;
    Ok((answer.status(), answer.into_body().collect().await?.to_bytes()))
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        for child in &mut self.children {
            let id = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
            // In order: nginx's workers outlive a killed master.
            let _sent = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM);
            let _reaped = child.wait();
        }
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The shipped `server`, on another port and before another socket.
fn nginx_config(folder: &Path, port: u16, socket: &Path) -> String {
    let shipped = read("dashboards/prometheus/nginx-metrics.conf");
    let server = shipped
        .replace("127.0.0.1:7701", &format!("127.0.0.1:{port}"))
        .replace("/run/wskeeper.sock", &socket.display().to_string());
    assert!(server.contains(&port.to_string()) && server.contains(&*socket.to_string_lossy()), "{server}");
    let folder = folder.display();
    format!(
        "daemon off; user root; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
{server}
}}
"
    )
}

/// The example in `dashboards/prometheus`, faster and with this target.
fn config_text(port: u16) -> String {
    let rules = path("dashboards/prometheus/rules");
    read("dashboards/prometheus/prometheus.yml")
        .replace("15s", "1s")
        .replace("rules/", &format!("{}/", rules.display()))
        .replace("127.0.0.1:7700", &format!("127.0.0.1:{port}"))
}
