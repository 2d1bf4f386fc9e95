"""Scores of translations: BLEU, chrF and TER with their intervals, calibration, and pictures of them.

Nothing here translates: the functions take texts and numbers, and `nmt.commands.evaluate` does the translating.
"""
