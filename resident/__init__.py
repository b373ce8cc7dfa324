"""Resident keeps a model in memory in RQ workers and answers questions through Redis."""

from resident.task import task

__all__ = ["task"]
__version__ = "0.1.0"
