"""Hybridge: hybrid edge-cloud inference, from two networks to a running hybrid."""

__version__ = "0.1.0"
