from __future__ import annotations

import io
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from dplabtools.output.containers.write_back_file import WriteBackFile

steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 20_000), st.binary(max_size=9000)),
        st.tuples(st.just("read"), st.integers(0, 20_000), st.integers(0, 9000)),
        st.tuples(st.just("truncate"), st.integers(0, 20_000), st.none()),
    ),
    max_size=8,
)


@given(st.binary(max_size=10_000), steps)
def test_it_is_as_a_file_in_memory(
    before: bytes, wanted: list[tuple[str, int, object]]
) -> None:
    memory = io.BytesIO(before)
    with TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(before)
        with closing(WriteBackFile(path)) as held:
            for _, place, what in wanted:
                for each in (memory, held):
                    each.seek(place)
                if isinstance(what, bytes):
                    for each in (memory, held):
                        each.write(what)
                elif isinstance(what, int):
                    assert held.read(what) == memory.read(what)
                else:
                    size = min(place, len(memory.getvalue()))
                    for each in (memory, held):
                        each.truncate(size)
            assert path.read_bytes() == before
            held.apply()
        assert path.read_bytes() == memory.getvalue()


def test_what_is_not_applied_is_lost(tmp_path: Path) -> None:
    with closing(WriteBackFile(tmp_path / "file")) as held:
        held.write(b"lost")
    assert (tmp_path / "file").read_bytes() == b""
