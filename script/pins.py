"""Checks that the compiled requirements are those of pyproject.toml; needs no network."""

# ruff: noqa: T201  (its output is what it is for)
from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

#: The file, and the extras that it was compiled with.
COMPILED = {
    "requirements.txt": ["faq", "api", "dashboard", "dev"],
    "deploy/requirements.txt": ["faq", "api", "dashboard"],
}
_PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*])?==([^\s;]+)")


def main() -> None:
    """Names every direct dependency that a file lacks or pins otherwise, and says what to do."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    faults = []
    for file, extras in COMPILED.items():
        pinned = _pins(Path(file).read_text(encoding="utf-8").splitlines())
        wanted = _pins(_direct(project["dependencies"], project["optional-dependencies"], extras))
        faults += [f"{file} lacks {name}=={version}" for name, version in sorted(wanted - pinned)]
    print("\n".join(faults) or f"{' and '.join(COMPILED)} have every pin of pyproject.toml")
    sys.exit("compile them again with the command in their first lines" if faults else 0)


def _direct(
    dependencies: list[str], optional: dict[str, list[str]], extras: list[str]
) -> list[str]:
    return dependencies + [line for extra in extras for line in optional[extra]]


def _pins(lines: list[str]) -> set[tuple[str, str]]:
    found = filter(None, map(_PIN.match, lines))
    return {(re.sub(r"[-_.]+", "-", name[1]).lower(), name[2]) for name in found}


if __name__ == "__main__":
    main()
