"""What the documents name, and how long a file may grow."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from resident.program import EXIT_MISCONFIGURED
from resident.settings import Settings
from tests.support.processes import ROOT

#: A file that is longer has more than one noun.
MOST_LINES = 400
CODE = [
    path
    for kind in ("py", "lua", "php")
    for path in sorted([*ROOT.glob(f"*.{kind}"), *ROOT.glob(f"[!.]*/**/*.{kind}")])
    if "vendor" not in path.parts
]
PAGES = sorted(ROOT.glob("docs/**/*.md"))


def test_no_file_is_too_long_to_be_read_in_one_go() -> None:
    assert len(CODE) > 300
    assert not [path for path in CODE if len(path.read_text("utf-8").splitlines()) > MOST_LINES]


def test_each_file_of_the_engine_has_its_place_on_the_page() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    table = "\n".join(line for line in page.splitlines() if line.startswith("| `"))
    named = re.findall(r"`(?:resident/)?(\w+\.py)`", table)
    files = [path.name for path in ROOT.glob("resident/[!_]*.py")]
    assert sorted(named) == sorted(files)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!http|#)([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / link).exists(), link


def test_the_unit_for_systemd_waits_for_a_drain_and_leaves_a_wrong_setting_alone() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    unit = configparser.ConfigParser(interpolation=None)
    unit.read_string(page.partition("```ini\n")[2].partition("```")[0])
    service = unit["Service"]
    drain_s = Settings.model_fields["drain_timeout_s"].default
    assert float(service["TimeoutStopSec"]) >= drain_s + 5
    assert service["RestartPreventExitStatus"] == str(EXIT_MISCONFIGURED)
    assert service["KillMode"] == "mixed"
