"""Jupyter's server with the token "right", in the folder in which it is started: PORT."""

import os
import sys

FOLDER = os.getcwd()
for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "HOME"):
    os.environ[name] = os.path.join(FOLDER, "jupyter")

from jupyter_server.serverapp import launch_new_instance  # noqa: E402

launch_new_instance(
    [
        "--allow-root",
        "--no-browser",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={sys.argv[1]}",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=right",
        f"--ServerApp.root_dir={FOLDER}",
    ]
)
