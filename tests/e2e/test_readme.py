"""README's promises: its code runs, its table is the settings there are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from resident.settings import Settings
from tests.support.processes import ROOT, Processes

READMES = ["README.md", "README.zh-CN.md"]
#: Speaks as tasks/chat.py does, whose model is an extra.
STAND_IN = """
from collections.abc import Iterator
from resident import task

@task(load=dict)
def answer(model: dict, question: str) -> Iterator[str]:
    yield from question
"""
#: Settings of tasks stand in README, but not in Settings.
OF_TASKS = {"RESIDENT_FAQ_FILE", "RESIDENT_FAQ_THRESHOLD"}


def blocks(readme: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    text = (ROOT / readme).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, to which README's own task can be added."""
    copy = tmp_path_factory.mktemp("project")
    for name in ("resident", "tasks", "enqueue_api", "php_client", "script"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("worker.py", "pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, copy)
    return copy


def run(command: list[str], folder: Path, redis_url: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "RESIDENT_REDIS_URL": redis_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("readme", READMES)
def test_the_php_and_python_blocks_are_answered(
    readme: str, processes: Processes, redis_url: str
) -> None:
    processes.start_worker("faq")
    (php, _stream) = blocks(readme, "php")
    assert run(["php", "-r", php], ROOT, redis_url)
    (python, _task) = blocks(readme, "python")
    assert run([sys.executable, "-c", python], ROOT, redis_url)
    (_demo, shell) = blocks(readme, "sh")
    assert run(["sh", "-ec", shell], ROOT, redis_url)


@pytest.mark.parametrize("readme", READMES)
def test_the_task_of_ones_own_is_served_as_it_stands(
    readme: str, project: Path, processes: Processes, redis_url: str
) -> None:
    (project / "tasks" / "shout.py").write_text(blocks(readme, "python")[1], encoding="utf-8")
    processes.start_worker("shout", folder=project)
    assert run(["php", "php_client/bin/ask", "shout", "hello"], project, redis_url) == "HELLO!\n"


@pytest.mark.parametrize("readme", READMES)
def test_the_stream_is_read_as_it_stands(
    readme: str, project: Path, processes: Processes, redis_url: str
) -> None:
    (project / "tasks" / "chat.py").write_text(STAND_IN, encoding="utf-8")
    processes.start_worker("chat", folder=project)
    (php, stream) = blocks(readme, "php")
    with_client = php.rpartition("echo")[0] + stream
    printed = run(["php", "-r", with_client], project, redis_url)
    assert re.fullmatch(r"Why is the sky blue\?[0-9.]+", printed)


@pytest.mark.parametrize("readme", READMES)
def test_the_table_lists_every_setting(readme: str) -> None:
    text = (ROOT / readme).read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(RESIDENT_\w+)` ", text, re.MULTILINE))
    assert listed == {f"RESIDENT_{name.upper()}" for name in Settings.model_fields} | OF_TASKS


@pytest.mark.parametrize("readme", READMES)
def test_the_table_states_the_defaults(readme: str) -> None:
    text = (ROOT / readme).read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\| `RESIDENT_(\w+)` \| `?([^|`]*)`? \|", text, re.MULTILINE))
    for name, field in Settings.model_fields.items():
        default = field.get_default()
        value = default.get_secret_value() if name == "redis_url" else default
        expected = f"{value:g}" if isinstance(value, float) else "" if value == () else str(value)
        assert stated[name.upper()].strip() == expected, name


def test_every_link_leads_somewhere() -> None:
    others = ["CONTRIBUTING.md", "CHANGELOG.md", "deploy/README.md"]
    for page in [*READMES, *others, *(f"php_client/{readme}" for readme in READMES)]:
        text = (ROOT / page).read_text(encoding="utf-8")
        for link in re.findall(r"\]\((?!http)([^)#]+)", text):
            assert ((ROOT / page).parent / link).exists(), f"{page}: {link}"


@pytest.mark.timeout(300)
def test_the_demonstration_ends_well() -> None:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RESIDENT_")}
    done = subprocess.run(
        ["script/demo"],
        cwd=ROOT,
        env=ours,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "今天" in done.stdout
