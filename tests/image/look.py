"""Says what is wrong with an image: its configuration as buildah tells it, its files as they are mounted. Nothing when all is well."""

import json
import os
import stat
import struct
import subprocess
import sys

described, root = sys.argv[1:]
with open(described, encoding="utf-8") as file:
    config = json.load(file)["OCIv1"]["config"]

OWN = 65532
# Path: mode and owner.
EXPECTED = {
    "etc": (0o40755, 0),
    "etc/ssl": (0o40755, 0),
    "etc/ssl/certs": (0o40755, 0),
    "etc/ssl/certs/ca-certificates.crt": (0o100644, 0),
    "var": (0o40755, 0),
    "var/lib": (0o40755, 0),
    "var/lib/wskeeper": (0o40700, OWN),
    "wskeeper": (0o100755, 0),
}


def compare(what, found, wanted):
    if found != wanted:
        print(f"{what} is {found!r}, not {wanted!r}")


compare("the user", config.get("User"), f"{OWN}:{OWN}")
compare("the entrypoint", config.get("Entrypoint"), ["/wskeeper"])
compare("the command", config.get("Cmd"), ["run", "--config", "/etc/wskeeper"])
compare("the stop signal", config.get("StopSignal"), "SIGTERM")
compare("what is exposed", list(config.get("ExposedPorts", {})), ["7700/tcp"])
# The builder's PATH and the like stay with the builder.
compare("the environment (SSL_CERT_FILE)", [word for word in config.get("Env", []) if not word.startswith("PATH=")],
        ["SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"])

there = {}
for folder, folders, files in os.walk(root):
    for name in folders + files:
        path = os.path.join(folder, name)
        status = os.lstat(path)
        there[os.path.relpath(path, root)] = (status.st_mode, status.st_uid)
for path in sorted(there.keys() - EXPECTED.keys())[:10]:
    print(f"/{path} is not expected")
for path, (mode, owner) in EXPECTED.items():
    if path not in there:
        print(f"/{path} is missing")
    elif there[path] != (mode, owner):
        print(f"/{path} is {stat.filemode(there[path][0])} of {there[path][1]}, not {stat.filemode(mode)} of {owner}")

with open(os.path.join(root, "wskeeper"), "rb") as file:
    binary = file.read()
if binary[:4] != b"\x7fELF":
    sys.exit("/wskeeper is no program")
(table,) = struct.unpack_from("<Q", binary, 32)
size, count = struct.unpack_from("<HH", binary, 54)
# PT_INTERP: a program that loads others.
if any(struct.unpack_from("<I", binary, table + size * index)[0] == 3 for index in range(count)):
    print("/wskeeper is not static: it asks for a loader")
else:
    for words in (["--version"], ["check", "/etc"]):
        ran = subprocess.run(["chroot", f"--userspec={OWN}:{OWN}", root, "/wskeeper", *words],
                             capture_output=True, text=True, check=False, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        wanted = "wskeeper " if words == ["--version"] else "no configuration file"
        if wanted not in ran.stdout + ran.stderr:
            print(f"/wskeeper {words} says {ran.stdout!r} {ran.stderr!r}")
# Flags for SQLite come from the project's own settings of cargo: without them its full-text search is in.
if b"fts5" in binary.lower():
    print("/wskeeper has all of SQLite: .cargo/config.toml was not read")
# Debug builds can be wedged on purpose.
if b"WSKEEPER_WEDGE" in binary:
    print("/wskeeper is a debug build")
