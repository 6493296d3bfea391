"""Hypothesis strategies for traces."""

import numpy as np
from hypothesis import strategies as st

from hybridge.links.trace import Trace


@st.composite
def traces(draw):
    """Traces of up to six pieces, outages among them."""
    lengths_s = draw(st.lists(st.floats(0.01, 10), min_size=1, max_size=6))
    rate = st.just(0.0) | st.floats(1e3, 1e8)
    rates = draw(st.lists(rate, min_size=len(lengths_s), max_size=len(lengths_s)))
    edges = np.cumsum([0, *lengths_s])
    return Trace(edges[:-1].tolist(), rates, float(edges[-1]))
