"""Reading a mailbox, and the end of a budget, without a Redis."""

from __future__ import annotations

import pytest
from redis.exceptions import InvalidResponse

from enqueue_api.deadline import GRACE_S, Deadline
from enqueue_api.mailbox import Mailbox
from enqueue_api.many import Many
from resident import keys
from resident.errors import CallerError, ErrorCode
from resident.protocol import id_in_reply
from resident.settings import Settings


def words(mailbox: Mailbox) -> list[str]:
    return [command[0] for command in mailbox.commands("1.000")]


def test_a_mailbox_is_one_that_workers_honour() -> None:
    assert keys.is_mailbox(Mailbox().key)
    assert Mailbox().key != Mailbox().key


@pytest.mark.parametrize("answer", [7, None, b"a", [b"a", 7], [b"a", None]])
def test_what_is_no_list_of_replies_is_none(answer: object) -> None:
    with pytest.raises(InvalidResponse):
        Mailbox().read(answer)


def test_replies_are_taken_out_with_the_read_after_theirs() -> None:
    mailbox = Mailbox()
    assert words(mailbox) == ["BLMOVE", "LRANGE"]
    assert mailbox.read([b"a", b"b", b"c"]) == [b"a", b"b", b"c"]
    assert mailbox.commands("1.000")[0] == ("LTRIM", mailbox.key, "3", "-1")
    assert mailbox.read([b"d"]) == [b"d"]


def test_replies_are_taken_out_once() -> None:
    mailbox = Mailbox()
    mailbox.read([b"a"])
    assert mailbox.take_out() == [("LTRIM", mailbox.key, "1", "-1")]
    assert mailbox.take_out() == []
    assert words(mailbox) == ["BLMOVE", "LRANGE"]


def test_a_wait_that_brought_nothing_takes_out_nothing() -> None:
    mailbox = Mailbox()
    assert mailbox.read([]) == []
    assert words(mailbox) == ["BLMOVE", "LRANGE"]


def test_answers_that_were_lost_are_read_again() -> None:
    mailbox = Mailbox()
    mailbox.read([b"a"])
    mailbox.start_over()
    assert words(mailbox) == ["BLMOVE", "LRANGE"]


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"[]", b'{"id":1}', b'{"id":"\xff"}', b"[" * 99_999]
)
def test_what_is_no_reply_is_nobodys(payload: bytes) -> None:
    assert id_in_reply(payload) == ""


def test_a_deadline_leaves_a_little_time_to_hear_of_it() -> None:
    deadline = Deadline(1)
    while not deadline.is_over:
        assert deadline.left_s <= 0.001
    assert (deadline.left_s, deadline.block_s) == (0.0, "0.001")
    assert 0 < deadline.patience_s < GRACE_S


def test_what_came_of_many_is_in_their_order() -> None:
    many = Many.of(Settings(), "echo", ["a", {1: 2}, "c"], 1000)
    refused = CallerError(ErrorCode.UNKNOWN_TASK, "?")
    many.note({one.id: refused for one in many.good})
    first, second, third = many.outcomes()
    assert first is third is refused
    assert isinstance(second, CallerError)
    assert second.code is ErrorCode.INVALID_QUESTION
