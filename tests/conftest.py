"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start: shells have jobs in the background ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets: $PIMA_SHARED_DATA, else ../shared/data beside the checkout."""
    named = os.environ.get("PIMA_SHARED_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real data sets are not in {folder}: set PIMA_SHARED_DATA to their folder")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed, new for every test."""
    return np.random.default_rng(20231018)


@pytest.fixture(scope="session", autouse=True)
def single_thread() -> Iterator[None]:
    """One torch thread per test process: results repeat, parallel processes do not compete."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def unchanged_globals() -> Iterator[None]:
    """Fail a test that leaves torch's default dtype or gradient mode changed."""
    import torch

    before = torch.get_default_dtype(), torch.is_grad_enabled()
    yield
    after = torch.get_default_dtype(), torch.is_grad_enabled()
    torch.set_default_dtype(before[0])
    torch.set_grad_enabled(before[1])
    assert after == before, "the test changed torch's default dtype or gradient mode"
