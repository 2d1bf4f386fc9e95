"""Attention: how well a query fits each key, how energies become weights, and the windows and coverage around them.

Where in a decoder attention is wired is the decoder's matter; see `nmt.model.rnn` and `nmt.model.transformer`.
"""
