"""From parallel text to batches: sources, reading, tokenizers, the cache, datasets and batching.

The settings are in `nmt.config`; the batches are used in `nmt.training`.
"""
