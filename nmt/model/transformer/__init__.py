"""The transformer's encoder and decoder, and the layers of which both consist.

The recurrent networks are in `nmt.model.rnn`; an encoder of one kind can be combined with a decoder of the other.
"""
