"""Parallel text on its way to batches: sources, reading, tokenizers, the cache, datasets and batching.

The settings are in `nmt.config`, and what is made of the batches in `nmt.training`.
"""
