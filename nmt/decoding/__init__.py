"""Translation: greedy search, beam search and sampling, their rules, ensembles, and the translator of raw text.

`nmt.runs` finds and loads trained models. Python programs use `nmt.api`.
"""
