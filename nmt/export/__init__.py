"""Trained models as files for other runtimes: ONNX and CTranslate2.

What is written can be run without this package; training, search and our own format of models live elsewhere.
"""
