"""Rows can be read back any number of times, and are removed with the list."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsend.errors import ListError
from batchsend.lists import spool
from batchsend.lists.customer_list import open_list
from batchsend.lists.spool import RowBlock, Spool

BLOCKS = st.lists(
    st.builds(
        RowBlock,
        numbers=st.lists(st.integers()),
        columns=st.lists(st.lists(st.text(st.characters())).map(tuple)),
        odd=st.dictionaries(st.integers(), st.tuples(st.integers(), st.integers())),
        hidden=st.lists(st.integers()),
    )
)


@given(blocks=BLOCKS, memory=st.sampled_from([10, 10_000]))
def test_rows_come_back_unchanged_for_several_readers(blocks: list[RowBlock], memory: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "_IN_MEMORY", memory)
        kept = Spool()
        for block in blocks:
            kept.add(block)
    assert list(zip(kept.blocks(), kept.blocks(), strict=True)) == [(block, block) for block in blocks]


def test_no_file_is_left_even_by_a_refused_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "_IN_MEMORY", 1)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    sound, broken = tmp_path / "sound.csv", tmp_path / "broken.csv"
    sound.write_text("A\n1\n2\n", encoding="utf-8")
    broken.write_text('A\n1\n"2\n', encoding="utf-8")
    customers = open_list(sound)
    assert [row for chunk in customers.chunks() for row in chunk.frame.to_numpy().tolist()] == [["1"], ["2"]]
    del customers
    with pytest.raises(ListError):
        open_list(broken)
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_no_room_for_the_rows_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "list.csv"
    path.write_text("A\n1\n", encoding="utf-8")
    with Path("/dev/full").open("r+b", buffering=0) as full:
        monkeypatch.setattr(spool, "SpooledTemporaryFile", lambda *_, **__: full)
        with pytest.raises(ListError) as caught:
            open_list(path)
    assert f"{path}: Its rows could not be stored in {tempfile.gettempdir()}" in str(caught.value)
    assert os.strerror(errno.ENOSPC) in str(caught.value)
    assert "Free some space there" in str(caught.value)
