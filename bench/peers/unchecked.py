"""Resident with the scripts of bench/unchecked/ in the place of its own."""

from __future__ import annotations

from bench import unchecked  # noqa: F401  (first: the next one loads what it brings)
from bench.peers.resident import ask, fill, links, serve

__all__ = ["ask", "fill", "links", "serve"]
