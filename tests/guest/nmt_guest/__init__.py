"""A package of somebody else: a score, a normaliser, an encoder, a tokenizer and a metric for nmt."""
