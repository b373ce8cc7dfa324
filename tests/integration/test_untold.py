"""What a task's code may do beside its answers, without a word: its worker lives on."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis import Redis

from resident.protocol import FAILURE_CALLBACK
from tests.support.live import Live, start_worker
from tests.support.odd import FOLDER
from tests.support.processes import Processes
from tests.support.project import copy_project
from tests.support.waiting import wait_until

UNTOLD = {
    "syntax": "model_error",
    "nameless": "model_error",
    "mute": "model_error",
    "caused": "model_error",
    "no memory": "model_error",
    "exit in check": "invalid_question",
    "hang in check": "invalid_question",
    "exit in cost": "",
    "hang in cost": "",
    "close all": "",
}


@pytest.fixture
def untold(processes: Processes, connection: Redis, tmp_path: Path) -> Live:
    project = copy_project(tmp_path / "project")
    text = (Path(FOLDER) / "untold.py").read_text("utf-8")
    (project / "tasks" / "untold.py").write_text(text, "utf-8")
    start_worker(processes, connection, tmp_path / "output", "untold", folder=project)
    return Live(connection, "untold")


@pytest.mark.parametrize("deed", UNTOLD)
def test_what_no_task_should_do_beside_its_answers_kills_no_worker(
    deed: str, untold: Live, tmp_path: Path
) -> None:
    first, culprit, last = untold.put(*[untold.fields({"do": do}) for do in ("a", deed, "b")])
    assert (untold.answer(first), untold.answer(last)) == ("a", "b")
    reply = untold.reply(culprit)
    assert reply.get("answer") == deed if reply["ok"] else reply["error"]["code"] == UNTOLD[deed]
    assert "worker died" not in (tmp_path / "output").read_text("utf-8")


def test_an_error_without_a_text_is_a_models_error_on_rqs_own_path_too(untold: Live) -> None:
    fields = untold.fields({"do": "syntax"}) | {"stopped_callback_name": FAILURE_CALLBACK}
    (culprit,) = untold.put(fields)
    assert untold.error_code(culprit) == "model_error"
    wait_until(lambda: untold.connection.zscore(untold.of.failed, culprit) is not None)
