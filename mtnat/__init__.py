"""mtnat: a study platform for non-autoregressive machine translation."""

__version__ = "0.1.0"
