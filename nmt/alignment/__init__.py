"""Alignments: words and their links, matrices, statistical word aligners, error rates, and their files and pictures.

Nothing here needs a translation model: matrices that one has made come from `nmt.decoding`.
"""
