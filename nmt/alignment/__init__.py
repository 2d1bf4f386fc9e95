"""Alignments: words and their links, matrices, statistical word aligners, error rates, and their files and pictures.

Nothing here needs a translation model; `nmt.decoding` makes the matrices of a translation model.
"""
