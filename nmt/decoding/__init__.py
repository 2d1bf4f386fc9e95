"""Translating: greedy search, beam search and sampling, their rules, ensembles, and the translator of raw text.

Trained models are found and loaded by `nmt.runs`; `nmt.api` is the door for Python programs.
"""
