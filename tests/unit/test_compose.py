"""docker-compose.yml, read as text: what may be published, what is secret, what is run."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from enqueue_api.__main__ import main as enqueue_api
from resident.settings import Settings
from resident.stopping import LAST_WORDS_S
from tasks.faq import FaqSettings
from tests.support.vectors import read as read_vectors

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
OVERRIDE = ROOT / "deploy" / "compose.expose-redis.yml"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"

#: What `up` starts, and so without the demonstration.
STARTED = {"redis", "worker", "api", "dashboard"}
_LOOPBACK = "127.0.0.1:"
_REQUIRED = re.compile(r"\$\{(RESIDENT_\w+_PASSWORD):\?set \1, e\.g\. in \.env}")


def read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return read(COMPOSE)["services"]


def test_up_starts_redis_workers_the_api_and_the_dashboard(services: dict[str, Any]) -> None:
    assert {name for name, it in services.items() if "profiles" not in it} == STARTED


def test_only_the_api_and_the_dashboard_are_published_and_only_on_loopback(
    services: dict[str, Any],
) -> None:
    published = {name: it["ports"] for name, it in services.items() if "ports" in it}

    assert published.keys() == {"api", "dashboard"}
    assert all(port.startswith(_LOOPBACK) for ports in published.values() for port in ports)
    assert not any("network_mode" in it for it in services.values())


def test_the_override_publishes_redis_on_loopback_and_changes_nothing_else() -> None:
    assert read(OVERRIDE) == {
        "services": {"redis": {"ports": ["127.0.0.1:${RESIDENT_REDIS_PORT:-6379}:6379"]}}
    }


def test_every_password_is_required_and_none_is_a_literal(services: dict[str, Any]) -> None:
    secret = {
        f"{name}.{variable}": str(value)
        for name, it in services.items()
        for variable, value in it.get("environment", {}).items()
        if re.search(r"PASSWORD|AUTH|_URL$", variable)
    }

    assert set(secret) >= {"redis.REDISCLI_AUTH", "worker.RESIDENT_REDIS_URL"}
    for place, value in secret.items():
        assert _REQUIRED.search(value), place
        # Around it stands at most the rest of a URL, which names no password.
        assert re.fullmatch(r"(redis://\w+:@redis:6379/0)?", _REQUIRED.sub("", value)), place


def test_each_is_the_user_of_redis_that_is_meant_for_it(services: dict[str, Any]) -> None:
    users = {
        name: re.findall(r"redis://(\w+):\$\{RESIDENT_(\w+)_PASSWORD", str(it["environment"]))
        for name, it in services.items()
    }
    assert users == {
        "redis": [],
        "worker": [("worker", "WORKER")],
        "api": [("asker", "ASKER")],
        "php": [("asker", "ASKER")],
        "dashboard": [("dashboard", "DASHBOARD")],
    }


def test_no_password_stands_on_a_command_line(services: dict[str, Any]) -> None:
    for name, it in services.items():
        words = [*it.get("entrypoint", []), *it.get("command", [])]
        assert not any("${RESIDENT_" in word or "--password" in word for word in words), name


def test_redis_keeps_its_queue_and_refuses_rather_than_forgets(services: dict[str, Any]) -> None:
    [script] = services["redis"]["command"]

    assert "appendonly yes" in script
    assert "maxmemory-policy noeviction" in script
    assert "requirepass $$REDISCLI_AUTH" in script
    assert services["redis"]["volumes"] == ["redis-data:/data"]
    assert "redis-data" in read(COMPOSE)["volumes"]


def test_who_needs_redis_waits_until_it_is_healthy(services: dict[str, Any]) -> None:
    assert "healthcheck" in services["redis"]
    for name in STARTED - {"redis"}:
        assert services[name]["depends_on"]["redis"] == {"condition": "service_healthy"}, name


def test_a_worker_has_longer_than_its_drain_before_it_is_killed(services: dict[str, Any]) -> None:
    drain_s = float(services["worker"]["environment"]["RESIDENT_DRAIN_TIMEOUT_S"])
    grace_s = float(services["worker"]["stop_grace_period"].removesuffix("s"))

    assert grace_s > drain_s + LAST_WORDS_S  # only then the supervisor itself kills a worker


def test_a_worker_is_healthy_while_the_file_is_there_that_it_writes_when_it_is_ready(
    services: dict[str, Any],
) -> None:
    worker = services["worker"]
    file = Path(worker["environment"]["RESIDENT_READY_FILE"])

    assert worker["healthcheck"]["test"] == ["CMD", "test", "-e", str(file)]
    assert str(file.parent) in worker["tmpfs"]  # the rest is read-only, and it goes with the worker


def test_workers_can_be_scaled(services: dict[str, Any]) -> None:
    assert not services["worker"].keys() & {"container_name", "ports", "hostname"}


@pytest.mark.parametrize(
    ("service", "sources", "by_other_ways"),
    [
        ("worker", ["worker.py", "resident/*.py"], set()),
        # Its place is on the command line.
        ("api", ["enqueue_api/*.py", "resident/log.py"], {"http_host", "http_port"}),
    ],
)
def test_each_service_gets_the_settings_that_it_reads_and_no_others(
    services: dict[str, Any], service: str, sources: list[str], by_other_ways: set[str]
) -> None:
    read = {
        name
        for pattern in sources
        for path in ROOT.glob(pattern)
        for name in re.findall(r"settings\.(\w+)", path.read_text(encoding="utf-8"))
    }
    expected = variables("RESIDENT_", read & Settings.model_fields.keys() - by_other_ways)
    if service == "worker":  # which serves the task faq
        expected |= variables("RESIDENT_FAQ_", set(FaqSettings.model_fields))

    assert {it for it in services[service]["environment"] if "RESIDENT" in it} == expected


def test_php_gets_what_its_command_and_its_client_read_and_the_dashboard_nothing_of_ours(
    services: dict[str, Any],
) -> None:
    command = ROOT / services["php"]["command"][1]
    read = set(re.findall(r"getenv\('(RESIDENT_\w+)'\)", command.read_text(encoding="utf-8")))
    read |= {f"RESIDENT_{one['setting'].upper()}" for one in read_vectors("settings")["defaults"]}

    assert services["php"]["environment"].keys() == read | {"RQ_KEY_PREFIX"}
    assert not [it for it in services["dashboard"]["environment"] if it.startswith("RESIDENT_")]


def test_every_service_that_makes_keys_gets_rqs_prefix(services: dict[str, Any]) -> None:
    for name in ("worker", "api", "dashboard", "php"):
        assert "RQ_KEY_PREFIX" in services[name]["environment"], name


def variables(prefix: str, names: set[str]) -> set[str]:
    return {f"{prefix}{name.upper()}" for name in names}


def test_the_commands_exist(services: dict[str, Any]) -> None:
    worker, api, dashboard, php = (
        services[name]["command"] for name in ("worker", "api", "dashboard", "php")
    )
    scripts = importlib.metadata.distribution("rq-dashboard").entry_points

    assert worker[:2] == ["python", "worker.py"]
    assert all((ROOT / "tasks" / f"{task}.py").is_file() for task in worker[2:])
    assert api[:4] == ["python", "-m", "enqueue_api", "serve"]
    options = {name for it in enqueue_api.commands["serve"].params for name in it.opts}
    assert {word for word in api if word.startswith("--")} <= options
    assert dashboard[0] in {script.name for script in scripts}
    assert (ROOT / php[1]).is_file()


def test_the_image_has_what_the_commands_need_and_no_test_tools() -> None:
    copied = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE.read_text("utf-8"), re.MULTILINE)
    pins = (ROOT / "deploy" / "requirements.txt").read_text("utf-8")
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()

    assert {"worker.py", "resident", "tasks", "enqueue_api"} <= set(copied)
    assert all(f"!{path}" in ignored for path in copied)
    assert {"rq-dashboard", "six", "uvicorn"} <= set(re.findall(r"^([\w-]+)==", pins, re.M))
    assert "pytest" not in pins


def test_nobody_is_root_in_the_image() -> None:
    users = re.findall(r"^USER (\S+)", DOCKERFILE.read_text("utf-8"), re.MULTILINE)

    assert users[-1:] == ["resident"]
