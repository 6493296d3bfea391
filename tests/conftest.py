"""Puts this folder on the path, so that tests can import what they share."""

import os

from hypothesis import settings

# Tests run side by side, one process on each core: more threads would wait for one another.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# A busy machine is no failure.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")
