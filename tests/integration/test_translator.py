"""The translator keeps its promises on raw text: order, batches, matrices, forced scores."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from nmt.commands.train import run_train
from nmt.config import Config, DecodingConfig
from nmt.data.batching import batch_of
from nmt.data.tokenizer import Tokenizer
from nmt.decoding.ensemble import Ensemble
from nmt.decoding.request import Request
from nmt.decoding.translation import Translation
from nmt.decoding.translator import Translator
from nmt.errors import DataError
from nmt.model.seq2seq import Seq2Seq, evaluating
from nmt.runs.load import load_model
from nmt.training.corpus_loss import corpus_nll
from tests.variants import MODELS, TRANSFORMER_DECODER

LINES = [
    "the black cat sees me",
    "I love you",
    "",
    "two big dogs eat",
    "a cat",
    "we do not see them today",
    " ",
    "is it raining?",
]


def translator_of(model: Seq2Seq, tokenizer: Tokenizer, **settings: object) -> Translator:
    decoding = DecodingConfig.model_validate({"beam_size": 3, "max_length_ratio": 1.0} | settings)
    return Translator(model, tokenizer, decoding, torch.device("cpu"))


def assert_same(a: Translation, b: Translation) -> None:
    assert a.tgt == b.tgt
    assert a.log_prob == pytest.approx(b.log_prob, rel=1e-6, abs=1e-5)  # a sum of many float32
    assert a.score == pytest.approx(b.score, abs=1e-5)
    np.testing.assert_allclose(a.weights, b.weights, atol=1e-5)


@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_matrices_do_not_depend_on_batch_size_company_or_order(
    make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer, beam: int, name: str
) -> None:
    model = make_model(**MODELS[name])
    many = translator_of(model, tokenizer, beam_size=beam).translate(LINES)
    single = translator_of(model, tokenizer, beam_size=beam, batch_size=1).translate(LINES)
    reverse = translator_of(model, tokenizer, beam_size=beam, batch_size=4).translate(LINES[::-1])[::-1]
    assert [translation.src.text for translation in many] == LINES
    for one, two, three in zip(many, single, reverse, strict=True):
        assert_same(one, two)
        assert_same(one, three)


@pytest.mark.parametrize("name", MODELS)
def test_forcing_what_was_found_gives_its_scores_and_matrix(
    make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer, name: str
) -> None:
    translator = translator_of(make_model(**MODELS[name]), tokenizer)
    found = [translation for translation in translator.translate(LINES) if translation.src.ids]
    # A random model says pieces in another segmentation than its text would have, so the pieces are forced.
    forced = translator._score([(translation.src, translation.tgt) for translation in found])
    for translation, (log_probs, score, weights) in zip(found, forced, strict=True):
        assert score == pytest.approx(translation.score, rel=1e-5, abs=1e-5)
        assert sum(log_probs) == pytest.approx(translation.log_prob, rel=1e-6, abs=1e-5)  # a sum of many float32
        assert log_probs == pytest.approx(translation.token_log_probs, abs=1e-5)
        np.testing.assert_allclose(weights, translation.weights, atol=1e-5)
    texts = [("a cat", "un chat"), ("", "rien"), ("I love you", "je t'aime")]
    assert [(translation.src.text, translation.tgt.text) for translation in translator.force(texts)] == texts


def test_an_empty_line_stays_empty_and_keeps_its_place(
    make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer
) -> None:
    translations = translator_of(make_model(), tokenizer).translate(LINES)
    assert [translation.tgt.text for translation in (translations[2], translations[6])] == ["", ""]
    matrix = translations[2].alignment()
    assert matrix is not None
    assert matrix.weights.shape == (0, 0)


def test_every_level_and_policy_gives_rows_that_sum_to_one(
    make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer
) -> None:
    for translation in translator_of(make_model(), tokenizer).translate(LINES):
        for level in ("words", "pieces"):
            for keep_eos in (True, False):
                matrix = translation.alignment(level, keep_eos)
                assert matrix is not None
                if matrix.weights.size:
                    np.testing.assert_allclose(matrix.weights.sum(1), 1.0, atol=1e-5)
                    assert (matrix.weights >= 0).all()


def test_a_model_without_attention_translates_but_has_no_matrix(
    make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer
) -> None:
    translator = translator_of(make_model(attention={"score": "none"}), tokenizer)
    translation, forced = translator.translate(["a cat"])[0], translator.force([("a cat", "un chat")])[0]
    assert translation.alignment() is None
    assert forced.alignment() is None
    assert forced.log_prob < 0


def test_a_source_that_the_model_has_no_places_for_is_refused_unless_it_is_to_be_cut(
    make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer
) -> None:
    model = make_model(attention={"score": "fc", "max_src_length": 100})
    lines = ["a cat", "a black cat sleeps " * 50]
    for use in (
        lambda translator: translator.translate(lines),
        lambda translator: translator.force([(line, "un chat") for line in lines]),
    ):
        with pytest.raises(DataError, match=r"line 2 has \d+ pieces.* positions for 100.*decoding.max_src_length=100"):
            use(translator_of(model, tokenizer))
        found = use(translator_of(model, tokenizer, max_src_length=100))
        assert len(found[1].src.ids) == 100


def test_a_source_over_the_limit_is_cut_with_a_warning_that_names_its_line(
    make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    translator = translator_of(make_model(), tokenizer, max_src_length=4)
    translation = translator.translate(["a cat", "the black cat sees me today"])[1]
    assert "line 2 has" in caplog.text
    assert "only the first 4 are read" in caplog.text
    assert len(translation.src.ids) == 4
    matrix = translation.alignment()
    assert matrix is not None
    assert len(matrix.src_tokens) <= 4


def test_n_best_are_in_order_and_each_has_its_matrix(make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer) -> None:
    translator = translator_of(make_model(), tokenizer)
    for translation in translator.translate(LINES, n_best=3):
        if not translation.src.ids:
            assert translation.others == ()
            continue
        every = [translation, *translation.others]
        assert len(every) == 3
        assert [one.score for one in every] == sorted((one.score for one in every), reverse=True)
        assert len({tuple(one.tgt.ids) for one in every}) == 3
        forced = translator._score([(one.src, one.tgt) for one in every])
        for one, (log_probs, _, weights) in zip(every, forced, strict=True):
            assert sum(log_probs) == pytest.approx(one.log_prob, abs=1e-5)
            np.testing.assert_allclose(weights, one.weights, atol=1e-5)


def test_random_translations_depend_on_seed_and_line_only(
    make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer
) -> None:
    def drawn(seed: int, batch_size: int = 64) -> list[str]:
        sampling = {"enabled": True, "seed": seed}
        translator = translator_of(make_model(), tokenizer, sampling=sampling, batch_size=batch_size)
        return [one.tgt.text for one in translator.translate(LINES)]

    assert drawn(1) == drawn(1, batch_size=2)
    assert drawn(1) != drawn(2)


def test_an_ensemble_of_one_model_twice_is_that_model_and_of_two_their_mean(
    make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer
) -> None:
    rnn, transformer = make_model(), make_model(**MODELS["encoder linear, transformer"])
    one = translator_of(rnn, tokenizer).translate(LINES)
    twice = Translator(
        Ensemble([rnn, rnn]), tokenizer, translator_of(rnn, tokenizer).settings, torch.device("cpu")
    ).translate(LINES)
    for a, b in zip(one, twice, strict=True):
        assert_same(a, b)
    pairs = [("a cat", "un chat"), ("I love you", "je t'aime")]
    mixed = Translator(
        Ensemble([rnn, transformer]), tokenizer, translator_of(rnn, tokenizer).settings, torch.device("cpu")
    )
    parts = [translator_of(model, tokenizer).force(pairs) for model in (rnn, transformer)]
    for both, a, b in zip(mixed.force(pairs), *parts, strict=True):
        assert both.log_prob == pytest.approx((a.log_prob + b.log_prob) / 2, abs=1e-5)
        np.testing.assert_allclose(both.weights, (a.weights + b.weights) / 2, atol=1e-5)
    found = [one for one in mixed.translate(LINES) if one.src.ids]
    for translation, (log_probs, _, _) in zip(found, mixed._score([(t.src, t.tgt) for t in found]), strict=True):
        assert sum(log_probs) == pytest.approx(translation.log_prob, rel=1e-6, abs=1e-5)  # a sum of many float32


def test_alignments_read_one_step_later_have_the_rows_of_the_step_after(
    make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer
) -> None:
    plain = translator_of(make_model(), tokenizer)
    settings = plain.settings.model_copy(update={"alignment_at": "input"})
    later = Translator(plain.model, tokenizer, settings, plain.device)
    for one, two in zip(plain.translate(LINES), later.translate(LINES), strict=True):
        assert one.tgt == two.tgt
        np.testing.assert_array_equal(one.weights, two.weights)  # what the model did is told as it was
        a, b = one.alignment("pieces", keep_eos=True), two.alignment("pieces", keep_eos=True)
        assert a is not None
        assert b is not None
        np.testing.assert_array_equal(b.weights[:-1], a.weights[1:])


def test_a_prefix_longer_than_the_model_has_places_is_refused(
    make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer
) -> None:
    decoder = {**TRANSFORMER_DECODER, "positions": "learned", "max_positions": 101}
    translator = translator_of(make_model(decoder=decoder), tokenizer)
    with pytest.raises(DataError, match=r"line 1: the prefix has \d+ pieces, but the model has positions for 101"):
        translator.translate([Request("a cat", prefix="chat " * 120)])
    roomy = translator_of(translator.model, tokenizer, max_tgt_length=1000)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"line 8 of the target has \d+ pieces, but the model has positions for 101"):
        roomy.force([("a cat", "un chat"), ("a cat", "chat " * 120)], first_line=7)


def test_a_space_after_a_prefix_ends_its_word(make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer) -> None:
    model = make_model()
    inner = next(piece for piece in range(4, tokenizer.tgt_size) if not tokenizer.begins_word[piece])
    with torch.no_grad():
        model.output.bias[inner] += 9.0  # a piece that would be glued to the prefix
    translator = translator_of(model, tokenizer, min_length=4)
    open_ended, closed = (translator.translate([Request("a cat", prefix=prefix)])[0].text for prefix in ("le", "le "))
    assert open_ended.startswith("le" + str(tokenizer.tgt.id_to_piece(inner)))
    assert closed.startswith("le ")


def test_a_prefix_that_cannot_be_said_is_refused_by_line(
    make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer
) -> None:
    with pytest.raises(DataError, match=r"line 2: the prefix contains '漢字', which is not in the model's vocabulary"):
        translator_of(make_model(), tokenizer).translate(["a cat", Request("a dog", prefix="le 漢字")])


def test_unknown_pieces_are_replaced_if_wanted(make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer) -> None:
    replaced = 0
    for seed in range(20):
        torch.manual_seed(seed)
        model = make_model()
        with torch.no_grad():
            model.output.bias[1] += 4.0  # say the unknown piece often
        kept, new = (translator_of(model, tokenizer, unk=unk).translate(["a 漢 cat"])[0] for unk in ("keep", "replace"))
        assert kept.tgt.ids == new.tgt.ids
        if 1 in kept.tgt.ids:
            replaced += 1
            assert "⁇" in kept.text
            assert "⁇" not in new.text
            assert new.alignment() is not None
    assert replaced > 0


def test_the_perplexity_of_an_ensemble_is_that_of_a_distribution(
    make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer
) -> None:
    rnn, transformer = make_model(), make_model(**MODELS["encoder linear, transformer"])
    device, size = torch.device("cpu"), tokenizer.tgt_size
    batch = batch_of([([5, 6, 7], []) for _ in range(1)])
    for models in ([rnn], [rnn, rnn], [rnn, transformer]):
        ensemble = Ensemble(models)
        every = batch_of([([5, 6, 7], [piece]) for piece in range(size)])
        with evaluating(ensemble):
            first = ensemble.normalised(every)[:, 0]  # each piece after BOS
            ended = ensemble.normalised(batch)[:, 0]
        total = first.exp().sum()
        assert float(total) == pytest.approx(1.0, abs=1e-4)
        assert float(ended) == pytest.approx(float(first[3]), abs=1e-4)  # EOS is piece 3
    alone = corpus_nll(rnn, [batch], device)
    assert corpus_nll(Ensemble([rnn, rnn]), [batch], device) == pytest.approx(alone, abs=1e-5)
    with evaluating(rnn):
        plain = Ensemble([rnn, transformer]).forced(batch)[0]
    assert corpus_nll(Ensemble([rnn, transformer]), [batch], device) < -float(plain.sum())  # which sums to less than 1


@pytest.mark.parametrize("wiring", ["luong", "bahdanau"])
def test_posterior_matrices_of_search_are_those_of_the_same_translation_forced(
    make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer, wiring: str
) -> None:
    model = make_model(decoder={"wiring": wiring})
    attention = translator_of(model, tokenizer).translate(LINES, n_best=2)
    translator = translator_of(model, tokenizer, alignment_from="posterior")
    found = translator.translate(LINES, n_best=2)
    for one, other in zip(attention, found, strict=True):
        assert (one.tgt, one.score) == (other.tgt, other.score)
        assert not one.src.ids or not np.allclose(one.weights, other.weights, atol=1e-4)
    found = [one for first in found if first.src.ids for one in (first, *first.others)]
    again = translator._score([(one.src, one.tgt) for one in found])
    for one, (log_probs, score, weights) in zip(found, again, strict=True):
        np.testing.assert_allclose(one.weights, weights, atol=1e-5)
        assert score == pytest.approx(one.score, rel=1e-5, abs=1e-5)
        assert sum(log_probs) == pytest.approx(one.log_prob, rel=1e-6, abs=1e-5)
        matrix = one.alignment()
        assert matrix is not None
        assert matrix.read_from == "posterior attention"


def test_posterior_weights_are_0_on_hidden_words(make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer) -> None:
    translator = translator_of(make_model(), tokenizer, alignment_from="posterior")
    found = translator.translate([Request("the black cat sees me", hidden=((4, 9),))])[0]
    matrix = found.alignment()
    assert matrix is not None
    assert matrix.src_tokens[1] == "black"
    assert not matrix.weights[:, 1].any()
    np.testing.assert_allclose(matrix.weights.sum(axis=1), 1.0, atol=1e-4)


@pytest.mark.parametrize("order", [1, -1])
def test_the_alignment_of_an_ensemble_belongs_to_its_first_model_with_attention(
    make_config: Callable[..., Config], order: int
) -> None:
    training = {"max_updates": 1, "guided_alignment": {"enabled": True, "step": "input"}}
    models = {"guided": {}, "without": {"attention": {"score": "none"}}}
    runs = [run_train(make_config(name=name, model=model, training=training)).path for name, model in models.items()]
    alone, both = load_model(runs[0]), load_model(runs[::order])
    assert alone.translator.at_input
    for one, two in zip(*(each.translator.force([("a cat", "un chat")]) for each in (alone, both)), strict=True):
        matrices = [translation.attention() for translation in (one, two)]
        np.testing.assert_allclose(*(matrix.weights for matrix in matrices if matrix is not None), atol=1e-6)
