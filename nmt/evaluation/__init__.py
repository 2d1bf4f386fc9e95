"""Scores of translations: BLEU, chrF and TER with their intervals, calibration, and pictures of them.

Texts and numbers come in; nothing here translates, which `nmt.commands.evaluate` does.
"""
