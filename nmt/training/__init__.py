"""Training: the loss, the optimizer, the loop of updates, validation, and what is reported on the way.

Data are prepared in `nmt.data`, and checkpoints are written by `nmt.runs`.
"""
