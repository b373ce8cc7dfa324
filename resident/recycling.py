"""Workers that have grown too large or too old make room for others, one of a task at a time."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import structlog

from resident.errors import ConfigurationError
from resident.memory import rss_mb
from resident.roster import Place, Roster, Running
from resident.settings import Settings

_log = structlog.get_logger()


def check_memory(settings: Settings) -> None:
    """Raises ConfigurationError if every worker would be recycled at once."""
    most_mb, own_mb = settings.recycle_rss_mb, rss_mb(os.getpid())
    if most_mb and most_mb <= own_mb:
        msg = (
            f"RESIDENT_RECYCLE_RSS_MB={most_mb} is below what the models take by themselves, "
            f"{own_mb:.0f} MB"
        )
        raise ConfigurationError(msg)


class Recycling:
    """Looks at a roster now and then; the replacement serves before the worn one is told to end."""

    def __init__(self, roster: Roster, settings: Settings, fork: Callable[[Place], object]) -> None:
        self._roster = roster
        self._settings = settings
        self._fork = fork

    def look(self) -> None:
        """Takes the next step for each task, if there is one to take."""
        for place in self._roster.places:
            staying = [one for one in self._roster.of(place) if not one.is_leaving]
            if len(staying) > place.workers:
                self._end_oldest(staying, place)
            elif not place.due and any(map(self._is_worn, staying)):
                self._fork(place)

    def _end_oldest(self, staying: list[Running], place: Place) -> None:
        serving = [one for one in staying if one.serves]
        worn = [one for one in serving if self._is_worn(one)]
        if worn and len(serving) > place.workers:
            oldest = worn[0]
            oldest.is_leaving = True
            jobs = int(oldest.pulse.jobs)
            _log.info("worker recycled", task=place.task.name, pid=oldest.pid, jobs=jobs)
            os.kill(oldest.pid, signal.SIGTERM)

    def _is_worn(self, one: Running) -> bool:
        most_mb, most_jobs = self._settings.recycle_rss_mb, self._settings.recycle_jobs
        return bool(
            (most_mb and rss_mb(one.pid) > most_mb) or (most_jobs and one.pulse.jobs >= most_jobs)
        )
