"""Models for other runtimes: the same translations and matrices, without torch."""

import importlib.util
import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nmt.config import Config
from nmt.data.tokenizer import Tokenizer
from nmt.decoding.translator import Translator
from nmt.errors import ModelError
from nmt.export.ctranslate2_files import write_ctranslate2
from nmt.export.onnx_files import write_onnx
from nmt.model.graphs import EncoderGraph
from nmt.model.seq2seq import Seq2Seq
from tests.variants import MODELS, TRANSFORMER_DECODER

WORDS = ["the", "cat", "black", "I", "love", "you", "she", "sings", "a", "sees"]
LINES = [" ".join(words) for words in itertools.islice(itertools.permutations(WORDS, 5), 0, 30000, 150)]
TRANSFORMER = {"encoder": MODELS["encoder self_attention"]["encoder"], "decoder": TRANSFORMER_DECODER}


@pytest.fixture
def loaded_model(
    make_config: Callable[..., Config], make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer
) -> Callable[..., tuple[Translator, Config]]:
    """A random model with its configuration; keyword arguments are the configuration's model section."""

    def load(**model: Any) -> tuple[Translator, Config]:
        config = make_config(model=model, decoding={"beam_size": 1, "alignment_from": "attention"})
        return Translator(make_model(**model), tokenizer, config.decoding, torch.device("cpu")), config

    return load


def program_of(folder: Path) -> Any:
    """The exported program that translates, as a module."""
    spec = importlib.util.spec_from_file_location("exported", folder / "translate.py")
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program


@pytest.mark.parametrize(
    "name",
    [
        "encoder rnn",
        "encoder perceiver",
        "encoder self_attention, transformer",
        "encoder perceiver, transformer",
        "transformer, post, learned",
        "additive, coverage neural, bahdanau",
        "general, coverage linguistic, luong",
        "qkv in 2 heads",
        "normaliser entmax15",
    ],
)
def test_onnx_translates_and_aligns_alike(
    loaded_model: Callable[..., tuple[Translator, Config]], tmp_path: Path, name: str
) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    translator, config = loaded_model(**MODELS[name])
    folder = tmp_path / "onnx"
    folder.mkdir()
    write_onnx(translator.model, translator.tokenizer, config, folder)
    exported = program_of(folder)
    for own in translator.translate(LINES[:12]):
        text, tgt_pieces, src_pieces, matrix = exported.translate(own.src.text)
        assert text == own.text
        assert (tgt_pieces, src_pieces) == (own.tgt.pieces, own.src.pieces)
        np.testing.assert_allclose(matrix, own.weights, atol=1e-4)
    assert exported.translate("")[:3] == ("", [], [])


@pytest.mark.parametrize("wiring", ["luong", "bahdanau"])
def test_onnx_translates_without_attention_and_shows_unknown_words(
    loaded_model: Callable[..., tuple[Translator, Config]], tmp_path: Path, wiring: str
) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    decoder = {"cell": "gru", "hidden_size": 16, "wiring": wiring}
    translator, config = loaded_model(attention={"score": "none"}, decoder=decoder)
    write_onnx(translator.model, translator.tokenizer, config, tmp_path)
    exported = program_of(tmp_path)
    [own] = translator.translate(["the ☃ cat"])
    text, _, src_pieces, matrix = exported.translate(own.src.text)
    assert text == own.text
    assert src_pieces == own.src.pieces
    assert "☃" in "".join(src_pieces)
    assert matrix.size == 0
    assert exported.translate("")[:3] == ("", [], [])


@pytest.mark.parametrize("at", ["input", "predicts"])
def test_the_example_prints_the_links_of_nmt(
    make_config: Callable[..., Config],
    make_model: Callable[..., Seq2Seq],
    tokenizer: Tokenizer,
    tmp_path: Path,
    at: str,
) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    decoding = {"beam_size": 1, "alignment_from": "attention", "alignment_at": at, "min_length": 2}
    config = make_config(model=TRANSFORMER, decoding=decoding)
    translator = Translator(make_model(**TRANSFORMER), tokenizer, config.resolved_decoding, torch.device("cpu"))
    write_onnx(translator.model, tokenizer, config, tmp_path)  # type: ignore[arg-type]
    printed = subprocess.run(
        [sys.executable, str(tmp_path / "translate.py"), LINES[0]], capture_output=True, text=True, check=True
    )
    [own] = translator.translate([LINES[0]])
    matrix = own.alignment("pieces")
    assert matrix is not None
    best = [matrix.src_tokens[int(row.argmax())] for row in matrix.weights]
    found = [line.split(" <- ")[1] for line in printed.stderr.splitlines()]
    assert printed.stdout.strip() == own.text
    assert found == best[: len(found)]
    assert len(found) == len(own.tgt.ids)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_ctranslate2_translates_alike(
    loaded_model: Callable[..., tuple[Translator, Config]], tmp_path: Path, norm: str, positions: str
) -> None:
    ctranslate2 = pytest.importorskip("ctranslate2")
    kind = {"norm": norm, "positions": positions} | ({"max_positions": 120} if positions == "learned" else {})
    translator, config = loaded_model(**{side: section | kind for side, section in TRANSFORMER.items()})
    folder = tmp_path / "ct2"
    folder.mkdir()
    write_ctranslate2(translator.model, translator.tokenizer, config, folder)
    other = ctranslate2.Translator(str(folder), device="cpu", inter_threads=1, intra_threads=1)
    same = 0
    assert len(LINES) >= 200
    own = translator.translate(LINES)
    for one in own:
        limit = int(2.0 * len(one.src.ids) + 10) - 1  # ours counts EOS
        [found] = other.translate_batch([one.src.pieces], beam_size=1, max_decoding_length=limit)
        same += found.hypotheses[0] == one.tgt.pieces
    assert same == len(own)
    assert len({one.text for one in own}) > 5


@pytest.mark.parametrize("heads", [[], [1], [2], [2, 1]], ids=str)
def test_ctranslate2_reads_alignments_from_the_same_heads(
    loaded_model: Callable[..., tuple[Translator, Config]], tmp_path: Path, heads: list[int]
) -> None:
    ctranslate2 = pytest.importorskip("ctranslate2")
    decoder = TRANSFORMER["decoder"] | {"alignment_heads": heads}
    translator, config = loaded_model(**TRANSFORMER | {"decoder": decoder})
    write_ctranslate2(translator.model, translator.tokenizer, config, tmp_path)
    other = ctranslate2.Translator(str(tmp_path), device="cpu", inter_threads=1, intra_threads=1)
    for one in translator.translate(LINES[:5]):
        limit = int(2.0 * len(one.src.ids) + 10) - 1  # ours counts EOS
        [found] = other.translate_batch([one.src.pieces], beam_size=1, max_decoding_length=limit, return_attention=True)
        assert found.hypotheses[0] == one.tgt.pieces
        np.testing.assert_allclose(found.attention[0], one.weights[: len(one.tgt.ids)], atol=1e-4)


def test_what_a_runtime_cannot_run_is_refused(
    loaded_model: Callable[..., tuple[Translator, Config]], tmp_path: Path
) -> None:
    pytest.importorskip("onnx")
    translator, config = loaded_model(**MODELS["window local-m, luong"])
    with pytest.raises(ModelError, match=r"model\.attention\.window cannot be exported"):
        write_onnx(translator.model, translator.tokenizer, config, tmp_path)
    translator, config = loaded_model(**MODELS["transformer, linear"])
    with pytest.raises(ModelError, match=r"self_attention linear cannot be exported"):
        write_onnx(translator.model, translator.tokenizer, config, tmp_path)
    for name in ("encoder rnn", "transformer, linear", "encoder dot products alone, transformer"):
        translator, config = loaded_model(**MODELS[name])
        with pytest.raises(ModelError, match="CTranslate2 runs Transformers only"):
            write_ctranslate2(translator.model, translator.tokenizer, config, tmp_path)


def test_an_exported_encoder_gets_the_lengths(loaded_model: Callable[..., tuple[Translator, Config]]) -> None:
    model, seen = loaded_model(**TRANSFORMER)[0].model, []
    assert isinstance(model, Seq2Seq)
    model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[2].tolist()))
    EncoderGraph(model)(torch.tensor([[4, 5, 6]]))
    assert seen == [[3]]
