"""Which libraries that are not always installed are here."""

from __future__ import annotations

from importlib.util import find_spec

#: How to get what workers need.
CLUSTER_MISSING = 'Procrastinate is not installed here: `pip install "batchsend[cluster]"` brings it.'


def has_cluster() -> bool:
    """Can `cluster.py` be imported?"""
    return find_spec("procrastinate") is not None
