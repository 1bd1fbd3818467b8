# SPDX-License-Identifier: MIT
"""How structures are packed into batches and shared among processes."""

import dataclasses
import itertools

import numpy as np
import pytest
from pyictp import train
from pyictp.config.load import TrainConfig
from pyictp.errors import UserError
from pyictp.graph.packing import pack
from pyictp.training.parallel import shares
from train_toys import assert_same_run, changed, make_config, rows


@pytest.mark.parametrize("max_structures", [1, 4, None])
@pytest.mark.parametrize("max_edges", [1, 60, 150, None])
def test_batches_are_as_large_as_the_bounds_allow(max_structures, max_edges):
    rng = np.random.default_rng(3)
    edges = rng.integers(0, 100, 40).tolist()
    order = rng.permutation(40).tolist()
    plan = list(pack(order, edges.__getitem__, max_structures, max_edges))

    def fits(batch):
        return (max_structures is None or len(batch) <= max_structures) and (
            max_edges is None or sum(edges[i] for i in batch) <= max_edges
        )

    assert list(itertools.chain(*plan)) == order
    assert all(fits(batch) or len(batch) == 1 for batch in plan)
    for batch, following in itertools.pairwise(plan):
        assert not fits([*batch, following[0]])  # one more would not have gone in


def test_no_samples_no_batches():
    assert list(pack([], len, 3, None)) == []


@pytest.mark.parametrize("num_shares", [1, 2, 3])
def test_shares_are_near_the_best_possible(num_shares):
    rng = np.random.default_rng(num_shares)
    for number in range(8):
        costs = rng.integers(1, 50, number).tolist()
        parts = shares(costs, num_shares)
        assert sorted(itertools.chain(*parts)) == list(range(number))
        assert all(part == sorted(part) for part in parts)
        largest = max(sum(costs[i] for i in part) for part in parts)
        best = (
            min(
                max(np.bincount(owners, weights=costs, minlength=num_shares))
                for owners in itertools.product(range(num_shares), repeat=number)
            )
            if number
            else 0
        )
        assert largest <= 4 / 3 * best


def test_structures_without_edges_are_shared_by_number():
    assert [len(part) for part in shares([0] * 6, 3)] == [2, 2, 2]


@pytest.mark.usefixtures("quick_training")
def test_training_with_batches_by_edges(tmp_path):
    config = changed(
        make_config(tmp_path), batch_size=None, batch_edges=150, max_epochs=3, schedule="plateau"
    )
    trainer, _ = train.train(config)
    edges = [batch.graph.num_edges for batch in trainer.train_batches]
    plan = trainer.batches.epoch(0)
    assert 1 < len(plan) < len(edges)
    assert rows(tmp_path / "run")[0]["step"] == str(len(plan))
    # one epoch at a time is the same training, bit for bit
    again = changed(config, output=str(tmp_path / "again"))
    for epochs in (1, 2, 3):
        train.train(changed(again, max_epochs=epochs), resume=epochs > 1)
    assert_same_run(tmp_path / "run", tmp_path / "again")


@pytest.mark.usefixtures("quick_training")
def test_a_bound_by_edges_that_splits_nothing_changes_nothing(tmp_path):
    config = changed(make_config(tmp_path), max_epochs=2)
    train.train(config)
    train.train(changed(config, output=str(tmp_path / "again"), batch_edges=10**6))
    assert_same_run(tmp_path / "run", tmp_path / "again")


def test_a_batch_needs_a_bound():
    with pytest.raises(
        UserError, match=r"^training: set batch_size or batch_edges, both are null$"
    ):
        TrainConfig(batch_size=None)
    with pytest.raises(UserError, match=r"^training.batch_edges: expected 1 or more, got 0$"):
        dataclasses.replace(TrainConfig(), batch_edges=0)
