//! A pod of the rendered manifests that runs: its container in a root of its own, as the user, with the volumes, the variables and
//! the arguments that the manifest says; asked as a kubelet asks, and stopped as a kubelet stops.
//!
//! What a reader would get wrong: there is no kubelet and no cluster. What neither the kernel nor this file enforces (the memory limit, seccomp,
//! the `NetworkPolicy`) is not tested here. A key of the manifest that this file does not know how to play is a failure, not a silence.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    image::Image,
    manifests::{Manifests, items},
    volume::{self, Files, Projected},
    waiting::{PATIENCE, until},
};

/// The pod's address.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 7);
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// A pod.
#[derive(Debug)]
pub struct Pod {
    manifests: Manifests,
    folder: TempDir,
    volumes: BTreeMap<String, Projected>,
    /// `unshare`, whose only child is the daemon.
    child: Child,
}

/// An answer to a request: status and body.
pub type Answer = Result<(u16, String), String>;

impl Pod {
    /// Starts one with the files of its `ConfigMap` and its Secret. What it claims is below `claims`, and stays.
    pub fn start(manifests: &Manifests, config: &Files, secret: &Files, claims: &Path) -> Self {
        let folder = TempDir::new().unwrap();
        let group = number(&manifests.pod()["securityContext"]["fsGroup"]);
        let mut volumes = BTreeMap::new();
        for volume in items(&manifests.pod()["volumes"]) {
            let (kind, files) = if volume["secret"].is_null() { ("configMap", config) } else { ("secret", secret) };
            let source = &volume[kind];
            assert!(!source.is_null(), "a volume of a kind that is not played here: {volume}");
            let files = chosen(files, source);
            let mode = source["defaultMode"].as_u64().unwrap_or(0o644);
            let name = text(&volume["name"]).to_owned();
            let place = folder.path().join("volumes").join(&name);
            volumes.insert(name, Projected::make(place, &files, u32::try_from(mode).unwrap(), group));
        }
        let image = Image::read();
        let script = script(manifests, &image, folder.path(), &volumes, claims);
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new("unshare")
            .args(["--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "sh", "-e", "-c", &script, "pod"])
            .args(&image.entrypoint)
            .args(items(&manifests.daemon()["args"]).map(text))
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(image.environment)
            // What the kubelet gives every container.
            .envs([
                ("HOSTNAME", "wskeeper-0"),
                ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
                ("KUBERNETES_SERVICE_PORT", "443"),
            ])
            .envs(items(&manifests.daemon()["env"]).map(|variable| (text(&variable["name"]), text(&variable["value"]))))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { manifests: manifests.clone(), folder, volumes, child }
    }

    /// Waits until the startup probe has succeeded, as often as it may fail; then until the pod is ready.
    pub fn until_ready(&mut self) {
        let probe = self.manifests.daemon()["startupProbe"].clone();
        let most = probe["periodSeconds"].as_u64().unwrap_or(10) * probe["failureThreshold"].as_u64().unwrap_or(3);
        for (name, patience) in [("startupProbe", Duration::from_secs(most)), ("readinessProbe", PATIENCE)] {
            until(&format!("the {name}"), patience, || {
                assert!(self.child.try_wait().unwrap().is_none(), "the container ended");
                self.probe(name)
            });
        }
    }

    /// Panics unless the pod would be left alone: as many probes as would restart it, or take it out of the Service.
    pub fn assert_well(&self) {
        for name in ["livenessProbe", "readinessProbe"] {
            let threshold = self.manifests.daemon()[name]["failureThreshold"].as_u64().unwrap_or(3);
            for _ in 0..threshold {
                self.probe(name).unwrap_or_else(|seen| panic!("{name}: {seen}"));
            }
        }
    }

    /// Asks one probe as the kubelet does.
    pub fn probe(&self, name: &str) -> Result<(), String> {
        let container = self.manifests.daemon();
        let (probe, get) = (&container[name], &container[name]["httpGet"]);
        let is_plain = get["scheme"].as_str().is_none_or(|scheme| scheme == "HTTP") && get["host"].is_null();
        assert!(is_plain && get["httpHeaders"].is_null(), "not played here: {probe}");
        let address = self.address(&get["port"]);
        let timeout = Duration::from_secs(probe["timeoutSeconds"].as_u64().unwrap_or(1));
        let head = format!(
            "GET {} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: kube-probe/1.35\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            text(&get["path"])
        );
        match exchange(address, &head, timeout)? {
            (200..400, _) => Ok(()),
            (status, body) => Err(format!("{status} {body}")),
        }
    }

    /// A call of the API by somebody with a token, at an authority such as `wskeeper:7700`.
    pub fn call(&self, method: &str, authority: &str, path: &str, token: &str, body: &str) -> Answer {
        let address = self.address(&json!("api"));
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {token}\r\nContent-Type: text/plain\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        exchange(address, &head, PATIENCE)
    }

    /// Asks by `GET` until the answer is as wanted.
    pub fn until(&self, what: &str, path: &str, token: &str, is: impl Fn(u16, &str) -> bool) {
        until(what, PATIENCE, || {
            let seen = self.call("GET", self.authority(), path, token, "");
            if seen.as_ref().is_ok_and(|(status, body)| is(*status, body)) { Ok(()) } else { Err(seen) }
        });
    }

    /// What its callers call it: the Service, or where a program beside it finds it.
    pub fn authority(&self) -> &'static str {
        let is_served = self.manifests.of("Service").iter().any(|service| service["metadata"]["name"] == "wskeeper");
        if is_served { "wskeeper:7700" } else { "127.0.0.1:7700" }
    }

    /// The volume of this name; beside a program's own volumes it is `wskeeper-NAME`.
    pub fn volume(&self, name: &str) -> &Projected {
        self.volumes.get(name).unwrap_or_else(|| &self.volumes[&format!("wskeeper-{name}")])
    }

    /// Panics unless the daemon is the one process of its container, without root and without a right, on a root that nobody can write.
    pub fn assert_confined(&self) {
        let daemon = self.daemon();
        let read = |name: &str| fs::read_to_string(format!("/proc/{daemon}/{name}")).unwrap();
        let status = read("status");
        let said = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let (user, group) = (number(self.manifests.context("runAsUser")), number(self.manifests.context("runAsGroup")));
        assert_eq!(said("Uid"), format!("{user} {user} {user} {user}"));
        assert_eq!(said("Gid"), format!("{group} {group} {group} {group}"));
        assert_eq!(said("Groups"), self.manifests.pod()["securityContext"]["fsGroup"].to_string());
        assert_eq!(said("CapEff"), "0000000000000000");
        assert_eq!(said("NoNewPrivs"), "1");
        assert!(said("NSpid").ends_with(" 1"), "{status}");
        let mounts = read("mountinfo");
        let root = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some("/")).expect("a root");
        assert!(root.split(' ').nth(5).unwrap().split(',').any(|option| option == "ro"), "{root}");
    }

    /// Stops it as the kubelet does, and panics when the grace period would have ended with a kill, or the exit code is not 0.
    pub fn stop(mut self) {
        assert!(self.manifests.daemon()["lifecycle"].is_null(), "a hook is not played here");
        let grace = Duration::from_secs(number(&self.manifests.pod()["terminationGracePeriodSeconds"]).into());
        kill(self.daemon(), Signal::SIGTERM).unwrap();
        let status =
            until("its end, which a kill would have made", grace, || self.child.try_wait().unwrap().ok_or("it runs"));
        assert!(status.success(), "{status}");
    }

    /// Where a port of the container is, by its name or its number.
    fn address(&self, port: &Value) -> SocketAddr {
        let named = items(&self.manifests.daemon()["ports"]).find(|known| known["name"] == *port);
        let port = number(named.map_or(port, |known| &known["containerPort"]));
        SocketAddr::new(IpAddr::V4(ADDRESS), u16::try_from(port).unwrap())
    }

    /// The daemon's process.
    fn daemon(&self) -> Pid {
        let parent = self.child.id();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
        Pid::from_raw(children.trim().parse().unwrap())
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // The daemon goes with it.
        let _ended = self.child.kill();
        self.child.wait().unwrap();
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        if thread::panicking() {
            eprintln!("--- the container's log ---\n{log}");
        } else {
            assert!(!log.contains("panicked at"), "the daemon panicked:\n{log}");
        }
    }
}

/// What makes the container: its root, then the user, then the daemon.
fn script(
    manifests: &Manifests,
    image: &Image,
    folder: &Path,
    volumes: &BTreeMap<String, Projected>,
    claims: &Path,
) -> String {
    let (root, container) = (folder.join("root"), manifests.daemon());
    let inside = |path: &Path| root.join(path.strip_prefix("/").unwrap());
    let group = number(&manifests.pod()["securityContext"]["fsGroup"]);
    if let Some(files) = &image.built {
        let copied = Command::new("cp").arg("-a").args([files, &root]).status().unwrap();
        assert!(copied.success(), "cp {}: {copied}", files.display());
    }
    let mut lines = vec![format!("mount --bind {0} {0}", root.display())];
    let mut bind = |from: &Path, to: PathBuf, is_read_only: bool| {
        if from.is_dir() {
            fs::create_dir_all(&to).unwrap();
        } else {
            touch(&to);
        }
        lines.push(format!("mount --bind {} {}", from.display(), to.display()));
        if is_read_only {
            lines.push(format!("mount -o remount,bind,ro {}", to.display()));
        }
    };
    for place in &image.folders {
        fs::create_dir_all(inside(place)).unwrap();
    }
    for (from, to) in &image.files {
        bind(from, inside(to), true);
    }
    for device in DEVICES {
        bind(&Path::new("/dev").join(device), root.join("dev").join(device), false);
    }
    for mount in items(&container["volumeMounts"]) {
        let name = text(&mount["name"]);
        assert!(mount["subPath"].is_null(), "not played here: {mount}");
        let claimed = claims.join(name);
        let from = volumes.get(name).map_or(claimed.as_path(), Projected::folder);
        if !volumes.contains_key(name) && !claimed.exists() {
            volume::claim(&claimed, group);
        }
        bind(from, inside(Path::new(text(&mount["mountPath"]))), mount["readOnly"] == true);
    }
    // What the kubelet writes itself. Nobody answers at the cluster's name server here.
    for (path, content) in [
        ("etc/hosts", format!("127.0.0.1 localhost\n{ADDRESS} wskeeper-0\n")),
        ("etc/resolv.conf", "nameserver 10.96.0.10\noptions ndots:5 timeout:1 attempts:1\n".to_owned()),
    ] {
        touch(&root.join(path));
        fs::write(root.join(path), content).unwrap();
    }
    fs::create_dir_all(root.join("proc")).unwrap();
    lines.push(format!("mount -t proc proc {}", root.join("proc").display()));
    if container["securityContext"]["readOnlyRootFilesystem"] == true {
        lines.push(format!("mount -o remount,bind,ro {}", root.display()));
    }
    let rights =
        if container["securityContext"]["allowPrivilegeEscalation"] == false { "setpriv --no-new-privs" } else { "" };
    let (user, own) = (number(manifests.context("runAsUser")), number(manifests.context("runAsGroup")));
    lines.push(format!("exec {rights} chroot --userspec={user}:{own} --groups={group} {} \"$@\"", root.display()));
    lines.join("\n")
}

/// One request on a connection of its own.
fn exchange(address: SocketAddr, request: &str, timeout: Duration) -> Answer {
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error: std::io::Error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("no answer: {answer:?}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or_else(|| format!("no status: {head:?}"))?, body.to_owned()))
}

/// Of these files those that a volume's source picks; all of them unless it does.
fn chosen(files: &Files, source: &Value) -> Files {
    if source["items"].is_null() {
        return files.clone();
    }
    let picked = items(&source["items"]).map(|item| {
        let (_, content) = files.iter().find(|(name, _)| *name == text(&item["key"])).expect("a key that is there");
        (text(&item["path"]).to_owned(), content.clone())
    });
    picked.collect()
}

fn touch(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "").unwrap();
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or_else(|| panic!("no number: {value}"))
}
