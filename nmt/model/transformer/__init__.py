"""The transformer's encoder and decoder, and the layers that both are made of.

The recurrent networks are in `nmt.model.rnn`; an encoder of one kind works with a decoder of the other.
"""
