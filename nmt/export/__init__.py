"""Trained models as files for other runtimes: ONNX and CTranslate2.

The exported files run without this package. Training, search and this package's own model format are elsewhere.
"""
