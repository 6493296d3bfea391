"""Libraries that several tests read; none of them may change their weights."""

import pytest
from tiny_library import NAMES, tiny_library

from hybridge.design.modeltree.library import Library
from hybridge.design.store import Store


@pytest.fixture(scope="session", params=NAMES)
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Library:
    """A library of each network."""
    return tiny_library(request.param, Store(tmp_path_factory.mktemp("variants")))


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """A library of the chain alone."""
    return tiny_library(NAMES[0], Store(tmp_path_factory.mktemp("variants")))
