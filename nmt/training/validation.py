"""Validation: the loss on the validation split, and BLEU and chrF after decoding some of its sentences."""

import logging
import math
import statistics
from dataclasses import dataclass
from itertools import islice

from nmt.alignment.aer import score_links
from nmt.alignment.diagnostics import diagnose
from nmt.alignment.links import parse_pharaoh
from nmt.alignment.matrix import AlignmentMatrix
from nmt.config import Config
from nmt.config.decoding import DiversityConfig, MbrConfig, SamplingConfig
from nmt.data.prepare import Corpora
from nmt.data.references import warn_if_unwritable
from nmt.decoding.translation import Translation
from nmt.decoding.translator import Translator
from nmt.errors import NOT_FINITE, ModelError
from nmt.evaluation.metrics import choose_tokenizer, corpus_scores, perplexity
from nmt.training.corpus_loss import corpus_loss
from nmt.training.trainer import Trainer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Validation:
    """What one validation found.

    Attributes:
        metrics: `loss` and `ppl`; `bleu`, `chrf` and diagnostics of the attention if sentences were decoded; `aer`,
            `link_precision` and `link_recall` of the attention over the references that have gold links.
        matrices: alignments of the first few decoded sentences.
    """

    metrics: dict[str, float]
    matrices: list[AlignmentMatrix]


class Validator:
    """Scores the model of a trainer on the validation split."""

    def __init__(self, config: Config, corpora: Corpora, trainer: Trainer):
        """Choose the sentences to decode; they are spread evenly over the split and the same in every validation."""
        plain = {"diversity": DiversityConfig(), "mbr": MbrConfig(), "sampling": SamplingConfig()}
        settings = config.resolved_decoding.model_copy(
            update={"beam_size": config.training.validation.beam_size, **plain}
        )
        self.config, self.corpora, self.trainer = config, corpora, trainer
        self.translator = Translator(trainer.model, corpora.tokenizer, settings, trainer.device)
        text, wanted = corpora.valid_text, config.training.validation.sentences
        count = min(wanted, len(text))
        chosen = text.select([index * len(text) // count for index in range(count)]) if count else text.select([])
        self.srcs, self.refs = list(chosen["src"]), list(chosen["tgt"])
        gold = [row for row in text.rows("src", "tgt", "links") if row[2]]
        self.gold = list(islice((row for row in gold if self.translator.fits(row[0], row[1])), wanted))
        is_first = trainer.processes.is_first  # only this one warns, since the others would say the same
        if is_first and len(self.gold) < min(len(gold), wanted):
            log.warning(
                "the AER leaves out validation pairs that are too long (decoding.max_src_length and max_tgt_length)"
            )
        if is_first:
            warn_if_unwritable(self.refs, corpora.tokenizer, config.evaluation.lowercase)
        self.bleu_tokenize = choose_tokenizer(config.evaluation.bleu_tokenize, self.refs)
        if count and config.evaluation.bleu_tokenize == "auto" and self.bleu_tokenize != "13a":
            log.info(
                "BLEU is computed with sacrebleu's tokenizer '%s', because the targets are written without spaces "
                "(evaluation.bleu_tokenize)",
                self.bleu_tokenize,
            )
        self._warned = False

    def run(self) -> Validation:
        """Score the split, which the processes share, and return the result; the matrices only in the first process.

        Raises:
            ModelError: if the loss is not finite.
        """
        smoothing, processes = self.trainer.objective.smoothing, self.trainer.processes
        loss = corpus_loss(self.trainer.model, self.corpora.valid.in_order(), self.trainer.device, smoothing, processes)
        if not math.isfinite(loss.loss):
            raise ModelError(NOT_FINITE)
        metrics = {"loss": loss.loss, "ppl": perplexity(loss.nll)}
        if not self.srcs:
            return Validation(metrics, [])
        translations = processes.gather(self.translator.translate(processes.shard(self.srcs)))
        if not processes.is_first:
            return Validation(processes.broadcast({}), [])
        found = self._scores(metrics, translations)
        return Validation(processes.broadcast(found.metrics), found.matrices)

    def _scores(self, metrics: dict[str, float], translations: list[Translation]) -> Validation:
        """Return the given metrics with those of the translations, and the alignments; write samples to the log."""
        hyps = [translation.tgt.text for translation in translations]
        samples = self.config.training.validation.samples
        for src, hyp, ref in list(zip(self.srcs, hyps, self.refs, strict=True))[:samples]:
            log.info("  src: %s\n  hyp: %s\n  ref: %s", src, hyp, ref)
        scores = corpus_scores(
            hyps, self.refs, self.bleu_tokenize, self.config.evaluation.lowercase, metrics=("bleu", "chrf")
        )
        metrics |= {name: score.value for name, score in scores.items()}
        self._warn_of_zero_bleu(metrics)
        matrices = [matrix for one in translations if (matrix := one.attention()) is not None]
        if matrices:
            diagnoses = [diagnose(matrix) for matrix in matrices]
            metrics["attention_entropy"] = statistics.mean(one.entropy for one in diagnoses)
            metrics["source_coverage"] = statistics.mean(one.coverage for one in diagnoses)
        metrics |= self._agreement_with_gold()
        drawable = [one.attention() for one in translations[:samples] if one.tgt.ids]
        return Validation(metrics, [matrix for matrix in drawable if matrix is not None])

    def _agreement_with_gold(self) -> dict[str, float]:
        """Return how well the attention agrees with the gold links, as metrics; empty if there are no such links."""
        matrices = [one.attention() for one in self.translator.force([(src, tgt) for src, tgt, _ in self.gold])]
        links = [matrix.links() for matrix in matrices if matrix is not None]
        if not links:
            return {}
        score = score_links(links, [parse_pharaoh(line) for _, _, line in self.gold])
        return {"aer": score.aer, "link_precision": score.precision, "link_recall": score.recall}

    def _warn_of_zero_bleu(self, metrics: dict[str, float]) -> None:
        """Warn once if BLEU finds no match but chrF does, since BLEU's tokenizer may not fit the language."""
        if not self._warned and metrics["bleu"] == 0.0 and metrics["chrf"] >= 20.0:
            self._warned = True
            log.warning(
                "BLEU is 0.00 although chrF is %.1f: BLEU's tokenizer '%s' may not split this language into words; see "
                "evaluation.bleu_tokenize",
                metrics["chrf"],
                self.bleu_tokenize,
            )
