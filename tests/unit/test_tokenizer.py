import itertools
from pathlib import Path

import pytest
import sentencepiece as spm
from pydantic import ValidationError

from nmt.alignment.words import word_spans
from nmt.config import TokenizerConfig
from nmt.data.builtin.phrasebook import phrasebook
from nmt.data.subword_regularization import Sampling
from nmt.data.tokenizer import BOS, EOS, PAD, SPACE, UNK, SentencePieceTokenizer
from nmt.data.tokenizer_import import import_tokenizer
from nmt.data.tokenizer_training import feasible_sizes, train_tokenizer
from nmt.errors import TokenizerError

PAIRS = [(src, tgt) for src, tgt, _ in itertools.islice(phrasebook("train"), 500)]


@pytest.mark.parametrize("kind", ["bpe", "unigram", "word", "char"])
def test_text_survives_the_way_to_pieces_and_back(kind: str) -> None:
    config = TokenizerConfig(type=kind, vocab_size=200)  # type: ignore[arg-type]
    if kind in ("char", "word"):  # take all there is
        with pytest.raises(TokenizerError, match="can have") as caught:
            train_tokenizer(config.model_copy(update={"vocab_size": 100_000}), lambda: PAIRS)
        config = config.model_copy(update={"vocab_size": int(str(caught.value).split(" pieces;")[0].split()[-1])})
    tokenizer = train_tokenizer(config, lambda: PAIRS)
    text = PAIRS[3][1]
    encoded = tokenizer.encode_tgt(text)
    assert tokenizer.decode_tgt(encoded.ids).text == text
    assert tokenizer.src_size == config.vocab_size
    assert not {PAD, BOS, EOS, UNK} & set(encoded.ids)


def test_offsets_cover_the_text_in_order(tokenizer: SentencePieceTokenizer) -> None:
    text = "the  black cat — zzz"
    encoded = tokenizer.encode_src(text)
    assert encoded.offsets[0][0] == 0
    assert encoded.offsets[-1][1] == len(text)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(encoded.offsets))
    normalised = encoded.text
    for piece, (start, end) in zip(encoded.pieces, encoded.offsets, strict=True):
        assert normalised[start:end].strip() == piece.replace(SPACE, "").strip()


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_an_elided_word_can_be_one_piece(kind: str) -> None:
    elided = []
    for cut in ("unicode_script", "words"):
        config = TokenizerConfig(type=kind, vocab_size=400, pretokenization=cut)  # type: ignore[arg-type]
        tokenizer = train_tokenizer(config, lambda: PAIRS)
        elided.append(tokenizer.encode_tgt("je l'aime").pieces[:3])
    assert "'" in elided[0]
    assert elided[1][1] == "▁l'"


@pytest.mark.parametrize("cut", ["unicode_script", "words"])
def test_no_piece_belongs_to_two_words(cut: str) -> None:
    tokenizer = train_tokenizer(TokenizerConfig(vocab_size=400, pretokenization=cut), lambda: PAIRS)  # type: ignore[arg-type]
    for _, text in PAIRS:
        spans = word_spans(text)
        for start, end in tokenizer.encode_tgt(text).offsets:
            assert sum(max(start, a) < min(end, b) for a, b in spans) <= 1, text


@pytest.mark.parametrize(
    ("kind", "size"), [("bpe", 100_000), ("bpe", 10), ("unigram", 90_000), ("word", 50_000), ("char", 9_000)]
)
def test_an_impossible_vocabulary_names_the_feasible_range(kind: str, size: int) -> None:
    with pytest.raises(TokenizerError) as caught:
        train_tokenizer(TokenizerConfig(type=kind, vocab_size=size), lambda: PAIRS)  # type: ignore[arg-type]
    words = str(caught.value).split(" can have ")[1].split()
    lowest, highest = int(words[0]), int(words[2])
    for feasible in (lowest, highest):
        assert train_tokenizer(TokenizerConfig(type=kind, vocab_size=feasible), lambda: PAIRS).src_size == feasible  # type: ignore[arg-type]


@pytest.mark.parametrize("joint", [True, False])
def test_the_feasible_sizes_are_the_smallest_and_the_largest_that_can_be_trained(joint: bool) -> None:
    config = TokenizerConfig(joint=joint)
    lowest, highest = feasible_sizes(config, lambda: PAIRS)
    for size in (lowest, highest):
        assert train_tokenizer(config.model_copy(update={"vocab_size": size}), lambda: PAIRS).src_size == size
    for size in (lowest - 1, highest + 1):
        with pytest.raises(TokenizerError, match="can have"):
            train_tokenizer(config.model_copy(update={"vocab_size": size}), lambda: PAIRS)


def test_sampling_differs_between_seeds_and_repeats_for_one() -> None:
    tokenizer = train_tokenizer(TokenizerConfig(vocab_size=300), lambda: PAIRS)
    _, sampler = tokenizer.samplers(Sampling("bpe", 0.2, -1))
    best = [ids for _, ids in tokenizer.encode_corpus(PAIRS)]
    one, again, other = ([sampler.sample(ids, seed) for ids in best] for seed in (1, 1, 2))
    assert one == again
    assert one != other
    assert one != best
    assert tokenizer.decode_tgt(one[5]).text == PAIRS[5][1]


def test_two_sides_have_two_vocabularies(tmp_path_factory: pytest.TempPathFactory) -> None:
    tokenizer = train_tokenizer(TokenizerConfig(vocab_size=200, joint=False), lambda: PAIRS)
    assert not tokenizer.joint
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(folder)
    loaded = SentencePieceTokenizer.load(folder)
    assert loaded.encode_src("the cat") == tokenizer.encode_src("the cat")
    assert loaded.encode_tgt("le chat") != loaded.encode_src("le chat")


def test_byte_fallback_leaves_nothing_unknown() -> None:
    tokenizer = train_tokenizer(TokenizerConfig(vocab_size=500, byte_fallback=True), lambda: PAIRS)
    encoded = tokenizer.encode_src("the 漢 cat")
    assert UNK not in encoded.ids
    assert tokenizer.decode_tgt(encoded.ids).text == "the 漢 cat"


def test_normalization_can_be_left_out() -> None:
    text = "（全角）！ＡＢＣ"
    config = TokenizerConfig(vocab_size=13, type="char")  # the special ones, eight characters and the space
    rules = ("nmt_nfkc", "nfkc_cf", "identity")
    found = {}
    for rule in rules:
        chosen = config.model_copy(update={"normalization": rule})
        tokenizer = train_tokenizer(chosen, lambda: [(text, text)] * 20)
        assert isinstance(tokenizer, SentencePieceTokenizer)
        found[rule] = tokenizer.decode_tgt(tokenizer.encode_tgt(text).ids).text, tokenizer.fingerprint
    assert [found[rule][0] for rule in rules] == ["(全角)!ABC", "(全角)!abc", text]
    assert len({fingerprint for _, fingerprint in found.values()}) == 3


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_symbol_of_the_user_is_never_cut(kind: str) -> None:
    symbols = ["<brand-x>", "ＦＵＬＬ", "house"]
    pairs = [(f"{src} <brand-x>s", tgt) for src, tgt in PAIRS]
    config = TokenizerConfig(type=kind, vocab_size=300, user_defined_symbols=symbols)  # type: ignore[arg-type]
    tokenizer = train_tokenizer(config, lambda: pairs)
    for symbol in symbols:
        encoded = tokenizer.encode_src(f"the cat{symbol}the {symbol}")
        assert encoded.pieces.count(symbol) == 2
        assert tokenizer.decode_src(encoded.ids).text == f"the cat{symbol}the {symbol}"
        alpha = 0.1 if kind == "unigram" else 0.5
        text = f"the black cat sees the {symbol}s"
        sampler, _ = tokenizer.samplers(Sampling(kind, alpha, -1))  # type: ignore[arg-type]
        best = tokenizer.encode_src(text).ids
        sampled = [sampler.sample(best, seed) for seed in range(30)]
        assert len({tuple(ids) for ids in sampled}) > 1
        assert all(encoded.ids[encoded.pieces.index(symbol)] in ids for ids in sampled)
        assert {tokenizer.decode_src(ids).text for ids in sampled} == {text}


@pytest.mark.parametrize("symbols", [[""], ["a b"], ["▁a"], ["a", "a"]])
def test_a_symbol_that_can_be_no_piece_is_refused(symbols: list[str]) -> None:
    with pytest.raises(ValueError, match="a symbol "):
        TokenizerConfig(user_defined_symbols=symbols)


def test_a_damaged_model_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "joint.model").write_bytes(b"not a model")
    with pytest.raises(TokenizerError, match="damaged"):
        SentencePieceTokenizer.load(folder)
    with pytest.raises(TokenizerError, match="no tokenizer here"):
        SentencePieceTokenizer.load(folder / "nowhere")


@pytest.mark.parametrize("kind", ["bpe", "unigram", "char", "word"])
def test_markup_in_a_text_is_text_and_no_special_piece(kind: str) -> None:
    marked = "<s> a <unk> b </s> <pad> < unk >"
    pairs = [(marked, marked)] * 20
    sizes = {"bpe": 30, "unigram": 18, "char": 16, "word": 13}
    model = train_tokenizer(TokenizerConfig(type=kind, vocab_size=sizes[kind], joint=True), lambda: pairs)  # type: ignore[arg-type]
    encoded = model.encode_src(marked)
    assert not set(encoded.ids) & {PAD, UNK, BOS, EOS}
    assert model.decode_src(encoded.ids).text == marked


def test_a_million_pairs_are_all_learnt_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nmt.data.tokenizer_training._MOST_PAIRS", len(PAIRS))
    read: list[int] = []
    monkeypatch.setattr(
        "nmt.data.tokenizer_training._train", lambda config, texts, name: read.append(len(list(texts()))) or b""
    )
    monkeypatch.setattr("nmt.data.tokenizer_training.SentencePieceTokenizer", lambda *models: None)
    train_tokenizer(TokenizerConfig(vocab_size=100), lambda: PAIRS)
    train_tokenizer(TokenizerConfig(vocab_size=100), lambda: PAIRS[:-1])
    monkeypatch.setattr("nmt.data.tokenizer_training._MOST_PAIRS", len(PAIRS) - 1)
    train_tokenizer(TokenizerConfig(vocab_size=100), lambda: PAIRS)
    assert read == [2 * len(PAIRS), 2 * (len(PAIRS) - 1), 2 * -(-len(PAIRS) // 2)]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("byte_fallback", [False, True])
def test_a_model_with_other_special_ids_cuts_as_before(tmp_path: Path, kind: str, byte_fallback: bool) -> None:
    prefix = tmp_path / "foreign"
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter([text for pair in PAIRS for text in pair]),
        model_prefix=str(prefix),
        vocab_size=500 if byte_fallback else 250,
        model_type=kind,
        byte_fallback=byte_fallback,
        user_defined_symbols=["<2fr>"],
        control_symbols=["<mask>"],
        minloglevel=2,
    )
    foreign = spm.SentencePieceProcessor(model_file=f"{prefix}.model")
    with pytest.raises(TokenizerError, match="has special ids"):
        SentencePieceTokenizer((tmp_path / "foreign.model").read_bytes())
    own = import_tokenizer(tmp_path / "foreign.model")
    assert own.joint
    assert own.src_size == foreign.get_piece_size() - 1 - 3 + 4  # without <mask>; unk, <s> and </s> become four
    for src, tgt in [*PAIRS[:200], ("<2fr> I love you", "漢字, du chat")]:
        for text in (src, tgt):
            encoded = own.encode_src(text)
            assert encoded.pieces == foreign.encode(text, out_type=str)
            assert not {PAD, BOS, EOS} & set(encoded.ids)
        assert own.decode_tgt(own.encode_tgt(tgt).ids).text == foreign.decode(foreign.encode(tgt))
    own.save(tmp_path / "run" / "tokenizer")
    assert import_tokenizer(tmp_path / "run").fingerprint == own.fingerprint
    with pytest.raises(TokenizerError, match=rf"but the model of .* is of type {kind}"):
        import_tokenizer(tmp_path / "foreign.model", "unigram" if kind == "bpe" else "bpe")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"hello", bytes(range(256))):
        (tmp_path / "x.model").write_bytes(content)
        with pytest.raises(TokenizerError, match=r"tokenizer.model|damaged"):
            import_tokenizer(tmp_path / "x.model")
    with pytest.raises(TokenizerError, match="cannot be read"):
        import_tokenizer(tmp_path / "missing.model")
    with pytest.raises(ValidationError, match="vocab_size has no effect with model"):
        TokenizerConfig(model="x.model", vocab_size=400)
