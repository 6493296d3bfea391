from pathlib import Path

import pytest
from c_end import CEnd, compiled


@pytest.fixture(scope="session")
def c_program(tmp_path_factory):
    """The C end, compiled; skips where there is no compiler."""
    return compiled(Path(__file__).parent / "vectors.c", tmp_path_factory.mktemp("c") / "c_end")


@pytest.fixture
def c_end(c_program):
    end = CEnd(c_program)
    yield end
    end.close()
