"""Shards are disjoint and cover the data: one record, one discriminator."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.data.partition import partition
from triptych.errors import ConfigError


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 99))
def test_every_record_lies_in_exactly_one_shard(shards, size, seed):
    """A record in two shards would change two blocks of a release and double the sensitivity."""
    rows = partition(shards * size, shards, seed=seed)
    assert rows.shape == (shards, size)
    assert np.array_equal(np.sort(rows, axis=None), np.arange(shards * size))


@pytest.mark.parametrize(("shards", "nearest"), [(250, "240 and 288"), (0, "1"), (2000, "1440")])
def test_unequal_shards_are_refused_with_the_nearest_divisors(shards, nearest):
    """The user can type the number from the message."""
    with pytest.raises(ConfigError, match=f"nearest: {nearest}$"):
        partition(1440, shards, seed=0)
