"""Techniques that put a cheaper layer in the place of a layer (model tree, table II)."""

from hybridge.design.compress import dense as dense
from hybridge.design.compress import fire as fire
from hybridge.design.compress import prune as prune
from hybridge.design.compress import separable as separable
