"""Attention: scores of queries with keys, normalisers that turn energies into weights, windows, and coverage.

Each decoder defines where attention is wired in; see `nmt.model.rnn` and `nmt.model.transformer`.
"""
