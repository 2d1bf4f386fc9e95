"""Train attention-based neural machine translation and see which word looked at which."""

__version__ = "0.1.0"
