"""A slice of the campaign in `benchmarks/fuzz_readers.py`: damaged files through every reader."""

from pathlib import Path

import pytest

from benchmarks.fuzz_readers import READERS, campaign
from pipelines.compose import read_overrides
from triptych.config import load
from triptych.config.checks import equal_shards
from triptych.data.files import read_json
from triptych.data.idx import parse_idx
from triptych.deploy.boards import find_board
from triptych.errors import ConfigError, DataError


@pytest.mark.parametrize("name", READERS)
def test_damage_is_refused_with_a_typed_error(name: str, tmp_path: Path):
    """What people put into a folder must not crash, hang or run code."""
    cases = 40 if name in ("config", "hydra_overrides") else 300
    tally = campaign(name, cases, seed=1, keep=tmp_path)
    assert tally.cases == cases
    assert tally.refused > cases // 10


@pytest.mark.parametrize("name", READERS)
def test_undamaged_file_is_read(name: str, tmp_path: Path):
    """A reader that refuses everything would pass every fuzzer."""
    target = READERS[name]()
    for seed in target.seeds:
        path = tmp_path / target.name
        path.write_bytes(seed)
        target.read(path)


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}", b"\xff{}"],
    ids=["nesting", "digits", "no text"],
)
def test_json_that_breaks_the_parser_is_a_data_error(content: bytes, tmp_path: Path):
    """Python's parser has three ways to fail that are not a JSON error."""
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.json is not valid JSON"):
        read_json(tmp_path / "x.json")


def test_idx_without_data_is_refused():
    """A size of zero lets the other sizes claim anything."""
    header = b"\0\0\x08\x03" + b"\0\0\0\0" + b"\xff" * 8
    with pytest.raises(DataError, match="holds 0 bytes of data"):
        parse_idx(header, name="x")


def test_interpolated_value_is_checked_like_a_written_one():
    """A reference to another key must not smuggle in the wrong type."""
    with pytest.raises(ConfigError, match="rivals"):
        load({"seed": 5, "robust": {"rivals": "${seed}"}})


def test_impossible_shards_of_a_huge_set_are_refused_at_once():
    """The nearest divisors are found without counting to the size."""
    with pytest.raises(ConfigError, match=r"nearest: 8 and 10"):
        equal_shards("k", 9, 10**8)


def test_aliases_that_multiply_cost_no_more_than_their_file(tmp_path: Path):
    """Twelve lines of YAML stand for a billion values; a message must not spell them out."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join(10 * [f'*a{n - 1}'])}]" for n in range(1, 12)]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="no table of single values"):
        find_board(str(tmp_path / "bomb.yaml"))
    inside = "\n".join([*("  " + line for line in lines), "private: [*a11]"])
    (tmp_path / "overrides.yaml").write_text(f"all:\n{inside}")
    with pytest.raises(ConfigError) as refused:
        read_overrides(tmp_path / "overrides.yaml", "private")
    assert len(str(refused.value)) < 2000
