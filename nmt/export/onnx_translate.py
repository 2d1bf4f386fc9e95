"""Greedy translation with an exported model; it needs numpy, onnxruntime and sentencepiece, but not torch.

python translate.py "I love you"
"""

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import sentencepiece

FOLDER = Path(__file__).resolve().parent
FACTS = json.loads((FOLDER / "model.json").read_text(encoding="utf-8"))
ENCODER = onnxruntime.InferenceSession(str(FOLDER / "encoder.onnx"))
STEP = onnxruntime.InferenceSession(str(FOLDER / "step.onnx"))
NAMES = ("joint", "joint") if FACTS["joint_tokenizer"] else ("src", "tgt")
SRC, TGT = (sentencepiece.SentencePieceProcessor(model_file=str(FOLDER / f"{name}.model")) for name in NAMES)


def translate(text: str) -> tuple[str, list[str], list[str], Any]:
    """Return the translation of a line, its pieces, the source pieces, and the attention [target + 1, source].

    Row t belongs to target piece t or, for some models ("alignment_at": "input" in model.json), to the piece before it.
    """
    ids = SRC.encode(text)[: FACTS["max_src_length"]]
    if not ids:
        return "", [], [], np.zeros((1, 0))
    limit = int(FACTS["max_length_ratio"] * len(ids) + FACTS["max_length_extra"])
    limit = min(limit, FACTS["max_tgt_length"] or limit)
    tensors = dict(
        zip(
            FACTS["memory"] + FACTS["state"],
            ENCODER.run(None, {"src_ids": np.array([ids], dtype=np.int64)}),
            strict=True,
        )
    )
    wanted = {each.name for each in STEP.get_inputs()}
    token, found, rows = FACTS["bos"], list[int](), []
    while len(found) < limit:
        inputs = {"tokens": np.array([token])} | {name: value for name, value in tensors.items() if name in wanted}
        log_probs, weights, *state = STEP.run(None, inputs)
        tensors.update(zip(FACTS["state"], state, strict=True))
        rows.append(weights[0])
        log_probs[0, [FACTS["pad"], FACTS["bos"]]] = -np.inf
        token = FACTS["eos"] if len(found) == limit - 1 else int(log_probs[0].argmax())
        if token == FACTS["eos"]:
            break
        found.append(token)
    src_pieces = SRC.encode(text, out_type=str)[: len(ids)]  # also of what is unknown
    return TGT.decode(found), TGT.id_to_piece(found), src_pieces, np.array(rows)


if __name__ == "__main__":
    for line in sys.argv[1:] or io.TextIOWrapper(sys.stdin.buffer, "utf-8-sig", "replace", newline="\n"):
        translation, tgt_pieces, src_pieces, matrix = translate(line.strip())
        print(translation)
        for row, piece in enumerate(tgt_pieces if matrix.size else [], int(FACTS["alignment_at"] == "input")):
            print(f"  {piece} <- {src_pieces[int(matrix[row].argmax())]}", file=sys.stderr)
