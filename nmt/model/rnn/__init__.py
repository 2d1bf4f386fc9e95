"""The recurrent encoder and decoder: their cells, the bridge between them, and how attention is wired in.

The attention mechanisms themselves are in `nmt.model.attention`.
"""
