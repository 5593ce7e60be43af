"""Comparison of the canonical forms of linear attention."""
