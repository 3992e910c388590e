"""The README's programs, each in a process of its own, and its version."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from world import PATIENCE, Daemon, Echo

import wskeeper

HERE = Path(__file__).parent.parent
PROGRAMS = re.findall(r"```python\n(.*?)```", (HERE / "README.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_a_program_of_the_readme_works(number: int, own: Callable[..., Daemon], echo: Echo, tmp_path: Path) -> None:
    daemon = own(
        f'[endpoints.trades]\nurl = "{echo.url}"\nrequests = {{ id = "/id", reply = "/id" }}\n'
        'subscriptions = { add = { text = "+${key}" } }\n'
    )
    environment = {**os.environ, "WSKEEPER_API": daemon.api, "PYTHONPATH": str(HERE)}
    program = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAMS[number]],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert program.returncode == 0, program.stderr
    assert program.stdout.strip()
    assert not program.stderr


def test_versions_agree() -> None:
    found = re.search(r'^version = "(.*?)"', (HERE / "pyproject.toml").read_text(), re.MULTILINE)
    assert found is not None
    assert found[1] == wskeeper.__version__
    cargo = HERE.parent.parent / "Cargo.toml"
    if cargo.exists():
        assert f'\nversion = "{found[1]}"' in cargo.read_text()
