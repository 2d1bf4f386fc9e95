"""Training: the loss, the optimizer, the training loop, validation, and progress reports.

Data are prepared in `nmt.data`, and checkpoints are written by `nmt.runs`.
"""
