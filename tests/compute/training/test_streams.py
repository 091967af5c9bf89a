import hashlib

import torch
from hypothesis import given
from hypothesis import strategies as st

from landscape_cli.compute.streams import seed_device, stream, stream_seed
from tests.oracle.plain_training import generator


def test_no_two_streams_are_alike() -> None:
    seeds = {
        stream_seed(purpose, seed, epoch)
        for purpose in ("init", "order", "augment", "dropout")
        for seed in range(60)
        for epoch in range(60)
    }
    assert len(seeds) == 4 * 60 * 60


def test_neighbouring_seeds_do_not_replay_each_other_an_epoch_apart() -> None:
    orders = {
        tuple(torch.randperm(50, generator=stream("order", seed, epoch)).tolist())
        for seed in range(5)
        for epoch in range(5)
    }
    assert len(orders) == 25


@given(st.text(max_size=5), st.integers(0, 2**63), st.lists(st.integers(0, 10**6), max_size=3))
def test_seeds_are_ones_that_torch_takes(purpose: str, seed: int, position: list[int]) -> None:
    assert 0 <= stream_seed(purpose, seed, *position) < 2**63


def test_the_same_stream_everywhere() -> None:
    """The definition is a contract: runs on disk were made with it."""
    digest = hashlib.blake2b(b"order/3/17", digest_size=8).hexdigest()
    assert stream_seed("order", 3, 17) == int(digest, 16) // 2
    ours, plain = (torch.randperm(9, generator=g) for g in (stream("order", 3, 17), generator("order", 3, 17)))
    assert torch.equal(ours, plain)


def test_seeding_a_device_seeds_its_draws() -> None:
    seed_device(torch.device("cpu"), 5)
    first = torch.rand(3)
    seed_device(torch.device("cpu"), 5)
    assert torch.equal(first, torch.rand(3))
