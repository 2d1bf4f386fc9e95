"""Model sections of configurations, one for each part that a model can be made of."""

from typing import Any

_STACK = {"layers": 2, "heads": 2, "feed_forward": 20}
ENCODERS: dict[str, dict[str, Any]] = {
    "rnn": {"hidden_size": 8},
    "self_attention": {"type": "self_attention", **_STACK},
    "self_attention, post, learned": {
        "type": "self_attention",
        **_STACK,
        "norm": "post",
        "positions": "learned",
        "max_positions": 120,
    },
    "dot products alone": {"type": "self_attention", "projections": "none", "heads": 1, "layers": 1, "feed_forward": 0},
    "positional": {"type": "positional", **_STACK, "max_positions": 120},
    "positional, factorised": {"type": "positional", **_STACK, "max_positions": 120, "form": "factorised", "rank": 3},
    "linear": {"type": "linear", **_STACK},
    "perceiver": {"type": "perceiver", **_STACK, "latents": 4},
}
TRANSFORMER_DECODER = {"type": "transformer", **_STACK, "layers": 3}
MODELS: dict[str, dict[str, Any]] = {
    **{f"encoder {name}": {"encoder": encoder} for name, encoder in ENCODERS.items()},
    **{
        f"encoder {name}, transformer": {"encoder": encoder, "decoder": TRANSFORMER_DECODER}
        for name, encoder in ENCODERS.items()
    },
    "transformer, post, learned": {
        "decoder": {**TRANSFORMER_DECODER, "norm": "post", "positions": "learned", "max_positions": 120}
    },
    "transformer, linear": {"decoder": {**TRANSFORMER_DECODER, "self_attention": "linear"}},
    "transformer, alignment of head 2 of layer 3": {
        "decoder": {**TRANSFORMER_DECODER, "alignment_layer": 3, "alignment_heads": [2]}
    },
    **{
        f"{score}, coverage {coverage}, {wiring}": {
            "attention": {
                "score": score,
                "coverage": coverage,
                **({"size": 10} if score in ("additive", "qkv") else {}),
                **({"coverage_size": 3} if coverage == "neural" else {}),
            },
            "decoder": {"hidden_size": 16, "wiring": wiring, "input_feeding": wiring == "bahdanau"},
        }
        for score in ("additive", "general", "qkv", "fc")
        for coverage in ("linguistic", "neural")
        for wiring in ("luong", "bahdanau")
    },
    **{
        f"window {window}, {wiring}": {
            "attention": {"score": "general", "window": window, "window_size": 2.0},
            "decoder": {"hidden_size": 16, "wiring": wiring, "input_feeding": False},
        }
        for window in ("local-m", "local-p")
        for wiring in ("luong", "bahdanau")
    },
    **{
        f"normaliser {name}": {"attention": {"score": "general", "normaliser": name}}
        for name in ("sparsemax", "entmax15", "hard")
    },
    "qkv in 2 heads": {"attention": {"score": "qkv", "size": 10, "heads": 2}},
    "normed": {"attention": {"score": "additive", "size": 10, "normed": True}},
    # Wide enough that no query has all its keys at the very edge, where weights are ratios of tiny numbers.
    **{
        f"kernel {name}": {"attention": {"score": "kernel", "size": 10, "kernel": name, "width": 8.0}}
        for name in ("gaussian", "boxcar", "epanechnikov")
    },
    "kernel constant": {"attention": {"score": "kernel", "size": 10, "kernel": "constant"}},
    **{
        f"residual, {cell}, {wiring}, input feeding {feeding}": {
            "encoder": {"cell": cell, "hidden_size": 8, "layers": 3, "residual": True},
            "decoder": {
                "cell": cell,
                "hidden_size": 16,
                "layers": 3,
                "residual": True,
                "wiring": wiring,
                "input_feeding": feeding,
            },
        }
        for cell, wiring, feeding in (("lstm", "bahdanau", True), ("gru", "bahdanau", False), ("lstm", "luong", False))
    },
}
