"""Checks whether the optional libraries for workers are installed."""

from __future__ import annotations

from importlib.util import find_spec

#: How to install what workers need.
CLUSTER_MISSING = 'Procrastinate is not installed here. Install it: `pip install "batchsend[cluster]"`.'


def has_cluster() -> bool:
    """Whether `queue.py` can be imported."""
    return find_spec("procrastinate") is not None
