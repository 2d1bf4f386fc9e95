"""`nmt push`: a packed model with its card, in a folder or on the Hugging Face hub."""

import json
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from nmt.alignment.heatmap import save_heatmaps
from nmt.alignment.words import split_words
from nmt.config import Config, DataConfig, Source
from nmt.config.load import load_config, save_config
from nmt.data.sources import read_pairs
from nmt.errors import CheckpointError, NmtError
from nmt.runs.folder import RunFolder
from nmt.runs.hub import HUB, MODEL, upload
from nmt.runs.load import LoadedModel, load_model
from nmt.runs.pack import Precision, pack

_PICTURE = "alignment.png"
_PATHS = ("src", "tgt", "path", "hub", "links", "model")  # settings that may be the path of a file or folder
_EXAMPLES, _EXAMPLE_WORDS = 1_000, 8  # validation sentences that are looked at, and words of the one that is shown


def run_push(
    model: Path | None,
    name: str,
    *,
    folder: Path | None = None,
    private: bool = False,
    precision: Precision = "bf16",
    license_name: str | None = None,
    example: str | None = None,
) -> str:
    """Pack a model, write its card, and put both on the hub; return where they are.

    Args:
        model: a run folder, or a packed model; None for the run trained last.
        name: ``OWNER/NAME`` on the hub.
        folder: a folder to write the files to instead of uploading them, for inspection; it must not exist.
        private: whether a new repository is visible only to its owner.
        precision: the precision of the weights.
        license_name: the hub's name of a licence, such as ``cc-by-4.0``; None to state no licence.
        example: the sentence whose alignment the card shows; None for a sentence of the validation data.

    Raises:
        NmtError: if there is no model, or the files or the repository cannot be written.
    """
    if len(name.split("/")) != 2 or not all(name.split("/")):
        raise CheckpointError(f"{name}: a model on the hub is called OWNER/NAME")
    loaded = load_model(model)
    with _files_folder(folder) as files:
        pack(loaded.run, files / MODEL, loaded.checkpoint.name, precision, _without_paths(loaded.run, files))
        shown = _draw_example(loaded, example, files / _PICTURE)
        card = model_card(loaded, name, license_name, shown, (files / _PICTURE).exists())
        (files / "README.md").write_text(card, encoding="utf-8", newline="\n")
        if folder is not None:
            return f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}"
        return upload(files, name, private)


@contextmanager
def _files_folder(folder: Path | None) -> Iterator[Path]:
    """Make the folder that the files are written to, and yield it; remove it if the block fails."""
    if folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)
        return
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise CheckpointError(
            f"{folder}: cannot be created: {error.strerror}; name a folder that does not exist yet"
        ) from None
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _without_paths(run: RunFolder, folder: Path) -> bytes:
    """Return the run's configuration as YAML, without this machine's folders.

    Absolute paths, and those that lead out of the working directory, keep only their names, and the last folder if the
    files of both sides have one name.
    """
    own = load_config(run.config).model_dump(mode="json")

    def shortened(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            short = {key: shortened(each, key) for key, each in value.items()}
            src, tgt = value.get("src"), value.get("tgt")
            if src != tgt and short.get("src") == short.get("tgt"):  # en/train.txt and fr/train.txt
                short |= dict(zip(("src", "tgt"), _told_apart(Path(value["src"]), Path(value["tgt"])), strict=True))
            return short
        if isinstance(value, list):
            return [shortened(each, key) for each in value]
        if key not in _PATHS or not isinstance(value, str):
            return value
        names_folders = value.startswith("~") or Path(value).is_absolute() or ".." in Path(value).parts
        return Path(value).name if names_folders else value

    public = shortened(own)
    public.pop("runs_dir", None)
    for key in ("root", "cache_dir"):
        public["data"].pop(key, None)
    path = folder / "config.yaml"
    save_config(Config.model_validate(public), path)
    content = path.read_bytes()
    path.unlink()
    return content


def _told_apart(src: Path, tgt: Path) -> tuple[str, str]:
    """Return the last parts of two paths, as few as tell them apart, but at least two."""
    one, other = src.relative_to(src.anchor).parts, tgt.relative_to(tgt.anchor).parts
    longest = max(len(one), len(other))
    count = next((n for n in range(2, longest) if one[-n:] != other[-n:]), longest)
    return "/".join(one[-count:]), "/".join(other[-count:])


def _draw_example(model: LoadedModel, text: str | None, path: Path) -> tuple[str, str] | None:
    """Draw the alignment of a sentence; return the sentence and its translation, or None if there is no sentence."""
    text = text or _validation_sentence(model)
    if text is None:
        return None
    [translation] = model.translator.with_links(model.translator.translate([text]))
    matrix = translation.alignment("words")
    if matrix is not None and matrix.weights.size:
        save_heatmaps([matrix], path)
    return text, translation.tgt.text


def _validation_sentence(model: LoadedModel) -> str | None:
    """Return a validation sentence; None if there is none, or for a packed model, whose data may be elsewhere."""
    if not model.run.log.exists():
        return None
    try:
        found = [src for src, _, _ in islice(read_pairs(model.source("valid"), "valid"), _EXAMPLES) if src.strip()]
    except NmtError:  # the data are no longer there, and the card can do without
        return None
    return min(found, key=lambda src: abs(len(split_words(src)) - _EXAMPLE_WORDS), default=None)


def model_card(
    model: LoadedModel, name: str, license_name: str | None, shown: tuple[str, str] | None, has_picture: bool
) -> str:
    """Return the card of a model, as Markdown with the hub's header.

    Args:
        model: the model.
        name: ``OWNER/NAME``.
        license_name: see `run_push`.
        shown: a sentence and its translation; None for no example.
        has_picture: whether there is a picture of its alignment.
    """
    unnamed = DataConfig.model_fields["src_lang"].default, DataConfig.model_fields["tgt_lang"].default
    languages = [language for language in model.config.data.languages if language and language not in unnamed]
    header = ["pipeline_tag: translation", "library_name: nmt", "tags: [nmt, attention, translation]"]
    if languages:
        header.insert(0, f"language: {json.dumps(list(dict.fromkeys(languages)))}")
    if license_name:
        header.insert(0, f"license: {json.dumps(license_name)}")
    example, translation = (_plain(shown[0]), _plain(shown[1])) if shown else ("A sentence.", "")
    parts = [
        "---\n" + "\n".join(header) + "\n---",
        f"# {name.rpartition('/')[2]}",
        f"A translation model{' from ' + ' to '.join(languages) if len(languages) == 2 else ''}"
        f"{' that shows which word looked at which' if has_picture else ''}, trained with nmt.",
        f"    nmt translate -m {HUB}{name} {shlex.quote(example)}" + (f"\n    {translation}" if translation else ""),
        "## Scores\n\n" + (_scores(model) or "`nmt eval` had not been run when this card was written."),
        "## Model\n\n" + "\n".join(f"- {key}: {value}" for key, value in _facts(model, has_picture)),
    ]
    if has_picture:
        parts.append(f"## Which word looked at which\n\n![{_bare(example)}]({_PICTURE})")
    return "\n\n".join(parts) + "\n"


def _plain(text: str) -> str:
    """Return a text on one line, so that it cannot leave its place in the card."""
    return " ".join(text.split())


def _bare(text: str) -> str:
    """Return a text without the characters that have a meaning in a table or in the text of a link."""
    return re.sub(r"[\[\]()|`<>\\\\]", " ", _plain(text))


def _scores(model: LoadedModel) -> str:
    """Return a table of the scores that `nmt eval` has written for this checkpoint; empty if there are none."""
    rows = []
    for path in sorted((model.run.path / "eval").glob("*.json")):
        try:
            report: dict[str, Any] = json.loads(path.read_bytes())
            # of another checkpoint, of an ensemble, or with more than the model: one that re-ranks, or a glossary
            is_other = report["checkpoint"] != model.checkpoint.name or "+" in report["model"]
            if is_other or report.get("backward") or report.get("phrases"):
                continue
            data = " and ".join(Path(name.strip()).name for name in report["data"].split("|"))
            for score in report["scores"].values():
                margin = f" ± {score['margin']:.2f}" if score.get("margin") is not None else ""
                value = f"{score['value']:.2f}{margin}"
                rows.append(
                    f"| {_bare(data)} ({report['sentences']:,} sentences) | {score['name']} | {value} "
                    f"| {score['signature'].replace('|', ', ')} |"
                )
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            continue  # a file of another program, or damaged
    return "\n".join(["| data | metric | score | signature |", "|---|---|---:|---|", *rows]) if rows else ""


def _facts(model: LoadedModel, has_picture: bool) -> list[tuple[str, str]]:
    config = model.config
    parameters = sum(parameter.numel() for parameter in model.translator.model.parameters())
    source = config.data.source("train")
    data = [_data_name(part) for part in source.each] if source is not None else []
    decoder, tokenizer = str(config.model.decoder.type), model.translator.tokenizer
    sizes = [tokenizer.src_size] if tokenizer.joint else [tokenizer.src_size, tokenizer.tgt_size]
    return [
        ("encoder", str(config.model.encoder.type)),
        ("decoder", decoder),
        *([] if decoder == "transformer" else [("attention", str(config.model.attention.score))]),
        *([("alignments", f"read from {model.translator.read_from}")] if has_picture else []),
        ("vocabulary", " and ".join(f"{size:,}" for size in sizes) + " pieces"),
        ("parameters", f"{parameters:,}"),
        ("training data", ", ".join(data)),
        ("checkpoint", model.checkpoint.name),
    ]


def _data_name(source: Source) -> str:
    """Return the name of the data, without the folders of this machine."""
    if source.builtin or source.hub:
        return source.hub or f"the built-in {source.builtin}"
    files = [Path(name).name for name in (source.path, source.src, source.tgt) if name]
    return files[0] if source.path else " and ".join(files)
