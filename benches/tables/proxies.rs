//! Relays that others wrote, set up as their manuals say for WebSocket: one process, one core, no log of requests.

use std::{fs, process::Command};

use super::contestant::{self, Contestant, find, folder, installed, pinned, port};
use crate::support::Result;

/// Starts a relay in front of a peer, unless it is not installed.
type Start = fn(u16) -> Result<Option<Contestant>>;

/// All of them.
pub(crate) const RELAYS: [Start; 4] = [haproxy, nginx, websocat, node];

fn haproxy(peer: u16) -> Result<Option<Contestant>> {
    let port = port()?;
    let config = format!(
        "global\n  nbthread 1\n  maxconn 4000\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 1h\n  \
         timeout server 1h\n  timeout tunnel 1h\nfrontend near\n  bind 127.0.0.1:{port}\n  default_backend far\n\
         backend far\n  server peer 127.0.0.1:{peer}\n"
    );
    let path = folder()?.join("haproxy.cfg");
    fs::write(&path, config)?;
    started("HAProxy", find("haproxy"), port, |command| {
        command.args(["-db", "-f"]).arg(&path);
    })
}

fn nginx(peer: u16) -> Result<Option<Contestant>> {
    let port = port()?;
    let place = folder()?.join("nginx");
    fs::create_dir_all(&place)?;
    let config = format!(
        "daemon off;\nmaster_process off;\npid {place}/pid;\nerror_log stderr;\nevents {{ worker_connections 4096; }}\n\
         http {{\n  access_log off;\n  client_body_temp_path {place};\n  proxy_temp_path {place};\n  server {{\n    \
         listen 127.0.0.1:{port};\n    location / {{\n      proxy_pass http://127.0.0.1:{peer};\n      \
         proxy_http_version 1.1;\n      proxy_set_header Upgrade $http_upgrade;\n      \
         proxy_set_header Connection upgrade;\n      proxy_read_timeout 1h;\n      proxy_send_timeout 1h;\n    }}\n  }}\n}}\n",
        place = place.display()
    );
    let path = place.join("nginx.conf");
    fs::write(&path, config)?;
    started("nginx", find("nginx"), port, |command| {
        command.arg("-e").arg("stderr").arg("-c").arg(&path);
    })
}

fn websocat(peer: u16) -> Result<Option<Contestant>> {
    let port = port()?;
    let program = installed().join("bin/websocat");
    let program = program.exists().then(|| program.to_string_lossy().into_owned());
    started("websocat", program, port, |command| {
        command.args(["-q", "-t", &format!("ws-listen:127.0.0.1:{port}"), &format!("ws://127.0.0.1:{peer}/")]);
    })
}

fn node(peer: u16) -> Result<Option<Contestant>> {
    let port = port()?;
    let Some(mut command) = contestant::node("relay.cjs") else { return Ok(None) };
    command.args([port.to_string(), peer.to_string()]);
    Contestant::start("Node ws", command, port).map(Some)
}

fn started(
    name: &'static str,
    program: Option<String>,
    port: u16,
    arguments: impl FnOnce(&mut Command),
) -> Result<Option<Contestant>> {
    let Some(program) = program else { return Ok(None) };
    let mut command = pinned(&program);
    arguments(&mut command);
    Contestant::start(name, command, port).map(Some)
}
