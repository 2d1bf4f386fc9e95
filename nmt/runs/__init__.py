"""Runs on disk: their folders, locks and checkpoints, loading a model from a run, and resuming its training.

The training itself is in `nmt.training`; what the commands do with a run is in `nmt.commands`.
"""
