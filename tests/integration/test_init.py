"""From two raw files to a configuration that trains, and cleaned copies of them."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from nmt.cli import app
from nmt.config import Config
from nmt.config.load import load_config
from nmt.config.presets import CorpusSize, preset_settings
from nmt.data.examine import examine
from nmt.data.prepare import load_corpora
from nmt.data.sources import read_pairs
from nmt.data.tables import column_names
from nmt.errors import AlignmentError
from tests.conftest import SENTENCES

runner = CliRunner()
QUICK = ["--set", "training.epochs=1", "--set", "training.guided_alignment.enabled=false"]
QUICK += ["--set", "training.threads=1", "--set", "data.cache_dir=cache", "--set", "training.tensorboard=false"]
CYRILLIC = str.maketrans("abcdefghijklmnopqrstuvwxyz", "абцдефгхийклмнопярстувшьыз")
ARABIC = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ابتثجحخدذرزسشصضطظعغفقكلمنه")


@pytest.fixture
def pairs() -> list[tuple[str, str]]:
    from nmt.data.builtin.phrasebook import phrasebook

    return [(src, tgt) for src, tgt, _ in islice(phrasebook("train"), 300)]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(pairs: list[tuple[str, str]], name: str = "a", langs: tuple[str, str] = ("en", "fr")) -> list[str]:
    names = [f"{name}.{lang}" for lang in langs]
    for side, file in enumerate(names):
        Path(file).write_text("".join(pair[side] + "\n" for pair in pairs), encoding="utf-8")
    return names


def invoke(*arguments: str) -> str:
    result = runner.invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("kind", ["latin", "cyrillic", "arabic", "japanese", "tokenised"])
@pytest.mark.parametrize("preset", ["recurrent", "transformer"])
def test_two_files_become_a_configuration_that_trains(pairs: list[tuple[str, str]], kind: str, preset: str) -> None:
    change: dict[str, Callable[[str], str]] = {
        "latin": str,
        "cyrillic": lambda text: text.lower().translate(CYRILLIC),
        "arabic": lambda text: text.lower().translate(ARABIC),
        "japanese": lambda text: "".join(chr(0x3042 + ord(c) % 80) for c in text if c != " ") + "。",
        "tokenised": lambda text: text.replace("'", " ' ") + " .",
    }
    files = write([(src, change[kind](tgt)) for src, tgt in pairs])
    said = invoke("init", *files, "--preset", preset, "--no-estimate")
    assert said.endswith("my.yaml: written for 300 pairs\nnext: nmt train my.yaml\n")
    config = load_config(Path("my.yaml"))
    assert (config.evaluation.bleu_tokenize == "none") == (kind == "tokenised")
    assert config.tokenizer.joint == (kind in ("latin", "tokenised"))  # letters of two scripts have no pieces in common
    assert "finished" in invoke("train", "my.yaml", *QUICK)


def test_the_pairs_that_are_set_aside_are_in_no_training_data(pairs: list[tuple[str, str]], tmp_path: Path) -> None:
    files = write([*pairs, *pairs[:150]])  # whatever is drawn may occur twice
    invoke("init", *files, "--no-estimate")
    config = load_config(Path("my.yaml"), [f"data.cache_dir={tmp_path / 'cache'}"])
    assert config.data.filters == ["duplicates", "overlap"]
    held_out = {pair[:2] for split in ("valid", "test") for pair in read_pairs(config.data.source(split), split)}
    assert len(held_out) == 2 * 22  # one pair of 20, each different
    text = load_corpora(config).train_text
    trained_on = list(zip(text["src"], text["tgt"], strict=True))
    assert not held_out & set(trained_on)
    assert sorted(trained_on) == sorted(set(pairs) - held_out)
    Path("my.yaml").unlink()
    invoke("init", *files, "--no-estimate")  # the same pairs are set aside again, so their files may stay


def test_what_is_set_aside_overwrites_nothing_and_is_in_no_other_split(pairs: list[tuple[str, str]]) -> None:
    files = write(pairs)
    valid = write(pairs[:150], "v")
    invoke("init", *files, "--valid", *valid, "--no-estimate", "-o", "one.yaml")
    drawn = set(Path("one/test.en").read_text(encoding="utf-8").splitlines())
    assert not drawn & {src for src, _ in pairs[:150]}
    Path("two").mkdir()
    Path("two/test.fr").write_text("mine", encoding="utf-8")
    refused = runner.invoke(app, ["init", *files, "--no-estimate", "-o", "two.yaml"])
    assert (refused.exit_code, "two/test.fr already exists and is not overwritten" in refused.output) == (1, True)
    assert [path.name for path in Path("two").iterdir()] == ["test.fr"]
    for wrong, said in (
        (["-o", "three"], "must end with .yaml"),
        (["--src-lang", "a/b"], "cannot be the name of a language"),
        (["--src-lang", "en", "--tgt-lang", "en"], "both languages are called en"),
    ):
        other = runner.invoke(app, ["init", *files, "--no-estimate", *wrong])
        assert (other.exit_code, said in other.output) == (1, True)


def test_tables_beside_a_table_are_found(pairs: list[tuple[str, str]]) -> None:
    parts = {"train": pairs[:40], "dev": pairs[40:50], "test": pairs[50:60]}
    for name, part in parts.items():
        rows = "".join(f"{src}\t{tgt}\n" for src, tgt in [("en", "fr"), *part])
        Path(f"{name}.tsv").write_text(rows, encoding="utf-8")
    invoke("init", "train.tsv", "--no-estimate")
    data = load_config(Path("my.yaml")).data
    for split, name in (("train", "train"), ("valid", "dev"), ("test", "test")):
        source = data.source(split)
        assert source is not None
        assert [pair[:2] for pair in read_pairs(source, split)] == parts[name]


def test_cells_of_several_lines_are_written_as_one_line(make_config: Callable[..., Config]) -> None:
    Path("t.csv").write_text('en,fr\n"a dog\nruns","un\tchien"\nsame,same\n"b\nb","b\nb"\n', encoding="utf-8")
    Path("c.yaml").write_text(
        "data: {train: {path: t.csv, src: en, tgt: fr}, valid: builtin:phrasebook, filters: [identical]}\n",
        encoding="utf-8",
    )
    assert invoke("doctor", "c.yaml", "--write", "clean").startswith("clean: 1 pairs kept, 2 left out")
    assert Path("clean/train.src").read_text(encoding="utf-8") == "a dog runs\n"
    assert Path("clean/lines").read_text(encoding="utf-8") == "1\n"
    languages = ["--set", "data.src_lang=en", "--set", "data.tgt_lang=fr", "--set", "data.reverse=true"]
    invoke("doctor", "c.yaml", "--write", "turned", *languages)
    assert Path("turned/train.fr").read_text(encoding="utf-8") == "un\tchien\n"
    assert Path("turned/train.en").read_text(encoding="utf-8") == "a dog runs\n"
    rows = Path("clean/left-out.tsv").read_text(encoding="utf-8").splitlines()
    assert [row.split("\t") for row in rows] == [
        ["2", "source and target the same", "same", "same"],
        ["3", "source and target the same", "b b", "b b"],
    ]


def test_what_is_written_is_what_training_keeps_of_tagged_copies(pairs: list[tuple[str, str]]) -> None:
    names = write(pairs[:20], "train")
    write(pairs[20:30], "valid")
    Path("c.yaml").write_text(
        f"""
data:
  train:
    - {{src: {names[0]}, tgt: {names[1]}}}
    - {{src: {names[0]}, tgt: {names[1]}, tag: <bt>}}
    - {{src: valid.en, tgt: valid.fr, tag: <bt>}}
  valid: {{src: valid.en, tgt: valid.fr}}
  filters: [duplicates, overlap]
""",
        encoding="utf-8",
    )
    assert invoke("doctor", "c.yaml", "--write", "clean").startswith("clean: 20 pairs kept, 30 left out")
    assert "<bt>" not in Path("clean/train.src").read_text(encoding="utf-8")


def test_splits_that_are_there_are_found_and_checked(pairs: list[tuple[str, str]]) -> None:
    files = write(pairs[:200], "train")
    write(pairs[200:250], "dev")
    write(pairs[250:], "test")
    invoke("init", *files, "--no-estimate", "-o", "found.yaml")
    assert "  train: {src: train.en, tgt: train.fr}  # 200 pairs\n" in Path("found.yaml").read_text(encoding="utf-8")
    config = load_config(Path("found.yaml"))
    assert config.data.valid.src == "dev.en"
    assert config.data.test is not None
    assert config.data.test.tgt == "test.fr"
    swapped = runner.invoke(app, ["init", *files, "--valid", "dev.fr", "dev.en", "-o", "swapped.yaml"])
    assert swapped.exit_code == 1
    assert "the valid data seems to have its sides swapped" in swapped.output
    assert not Path("swapped.yaml").exists()


def test_a_table_needs_its_columns_named_only_if_there_are_more_than_two(pairs: list[tuple[str, str]]) -> None:
    rows = [("en", "fr"), *pairs]
    Path("two.tsv").write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    Path("three.tsv").write_text("".join("\t".join((*row, "x")) + "\n" for row in rows), encoding="utf-8")
    invoke("init", "two.tsv", "--no-estimate", "-o", "two.yaml")
    config = load_config(Path("two.yaml"))
    assert (config.data.train.path, config.data.src_lang, config.data.tgt_lang) == ("two.tsv", "en", "fr")
    refused = runner.invoke(app, ["init", "three.tsv", "--no-estimate", "-o", "three.yaml"])
    assert refused.exit_code == 1
    assert "say which columns are source and target (en, fr, x): --columns SRC TGT" in refused.output
    invoke("init", "three.tsv", "--columns", "fr", "en", "--no-estimate", "-o", "three.yaml")
    assert load_config(Path("three.yaml")).data.src_lang == "fr"


def test_a_table_without_names_of_columns_has_numbers(pairs: list[tuple[str, str]]) -> None:
    Path("bare.tsv").write_text("".join("\t".join(row) + "\n" for row in pairs), encoding="utf-8")
    Path("bare.csv").write_text("Hello there my friend,Bonjour\n", encoding="utf-8")
    refused = runner.invoke(app, ["init", "bare.csv", "--no-estimate", "-o", "bare.yaml"])
    assert refused.exit_code == 1
    assert "'Hello there my friend' seems to be a sentence" in refused.output
    assert "--columns 1 2" in refused.output
    invoke("init", "bare.tsv", "--columns", "2", "1", "--no-estimate", "-o", "bare.yaml")
    data = load_config(Path("bare.yaml")).data
    assert (data.train.header, data.train.src, data.train.tgt) == (False, "2", "1")
    assert (data.src_lang, data.tgt_lang) == ("src", "tgt")
    assert len(list(read_pairs(data.train, "train"))) == len(pairs)
    invoke("init", "bare.tsv", "--columns", "1", "2", "--src-lang", "en", "--no-estimate", "-o", "named.yaml")
    assert load_config(Path("named.yaml")).data.languages == ("en", "tgt")


def test_what_cannot_be_used_is_refused_with_the_remedy(pairs: list[tuple[str, str]]) -> None:
    files = write(pairs[:99])
    few = runner.invoke(app, ["init", *files, "--no-estimate"])
    assert few.exit_code == 1
    assert "there are 99 pairs, too few to set 20 aside for validation and 20 for testing" in few.output
    Path("my.yaml").write_text("mine", encoding="utf-8")
    there = runner.invoke(app, ["init", *files])
    assert there.exit_code == 1
    assert "my.yaml already exists; choose another name with --output" in there.output
    assert Path("my.yaml").read_text(encoding="utf-8") == "mine"
    one = runner.invoke(app, ["init", files[0], "-o", "b.yaml"])
    assert "a.en is one file; give two parallel text files, a table" in one.output
    for name, text, advice in (
        ("a.xlsx", b"PK\x03\x04", "Save a spreadsheet as .csv"),
        ("a.tmx", b"<tmx/>", "Convert a translation memory to two text files"),
        ("a.txt", b"a\tb\nc\td\n", "give it a name that ends with .tsv"),
    ):
        Path(name).write_bytes(text)
        assert advice in runner.invoke(app, ["init", name, "-o", "b.yaml"]).output
    Path("a.csv").write_text("en;fr\na;b\n", encoding="utf-8")
    assert "separated by semicolons" in runner.invoke(app, ["init", "a.csv", "-o", "b.yaml"]).output
    Path("a.docx").write_bytes(b"PK\x03\x04")
    assert "a document of an office program" in runner.invoke(app, ["init", "a.docx", "a.en", "-o", "b.yaml"]).output


def test_french_questions_are_not_taken_for_tokenised_text() -> None:
    found = examine([("Where are you?", "Où es-tu ?")] * 30)
    assert not found.is_tokenised[1]
    assert examine([("Where are you?", "Où es-tu , toi ?")] * 30).is_tokenised == (False, True)


def test_chinese_targets_keep_their_punctuation() -> None:
    for scripts, rule in {("LATIN", "Chinese or Japanese"): "identity", ("Chinese or Japanese", "LATIN"): None}.items():
        settings = preset_settings("recurrent", CorpusSize(30_000, scripts))
        assert settings["tokenizer"].get("normalization") == rule


@pytest.mark.parametrize(("tgt", "rule"), [("می\u200cخواهم", "identity"), ("น้ำตก", "identity"), ("كتاب", None)])
def test_targets_that_normalization_changes_are_kept_as_they_are(tmp_path: Path, tgt: str, rule: str | None) -> None:
    for name, text in (("en", "a cat {}"), ("xx", tgt + " {}")):
        (tmp_path / f"c.{name}").write_text("".join(text.format(i) + "\n" for i in range(300)), encoding="utf-8")
    files = [str(tmp_path / f"c.{name}") for name in ("en", "xx")]
    result = runner.invoke(app, ["init", *files, "-o", str(tmp_path / "my.yaml"), "--no-estimate"])
    assert result.exit_code == 0, result.output
    assert yaml.safe_load((tmp_path / "my.yaml").read_text())["tokenizer"].get("normalization") == rule
    assert ("characters that tokenizer.normalization changes" in result.output) == (rule is not None)


def test_syllables_of_korean_that_are_rare_are_written_as_bytes() -> None:
    settings = preset_settings("recurrent", CorpusSize(30_000, ("LATIN", "HANGUL")))
    assert settings["tokenizer"]["byte_fallback"] is True
    assert settings["tokenizer"]["vocab_size"] >= 2_000


def test_columns_inside_an_object_are_found(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"id": 1, "translation": {"en": "a", "fr": "b"}}\n', encoding="utf-8")
    assert column_names(path) == ["id", "translation.en", "translation.fr"]


@pytest.mark.parametrize("pairs", [100, 999, 10_000, 100_000, 1_000_000, 50_000_000])
@pytest.mark.parametrize("scripts", [("LATIN", "LATIN"), ("LATIN", "Chinese or Japanese"), (None, None)])
def test_presets_are_valid_for_every_size(pairs: int, scripts: tuple[str | None, str | None]) -> None:
    for preset in ("recurrent", "transformer"):
        for tokenised in (False, True):
            settings = preset_settings(preset, CorpusSize(pairs, scripts, 0.0, tokenised))  # type: ignore[arg-type]
            data = {"train": "builtin:phrasebook", "valid": "builtin:phrasebook"}
            Config.model_validate({"data": data, **settings})


def test_the_doctor_writes_what_is_left_with_line_numbers_and_links(make_config: Callable[..., Config]) -> None:
    config = make_config()
    root = Path(str(config.data.root))
    pairs = [("same", "same"), *SENTENCES, SENTENCES[0]]
    links = [" ".join(["0-0"] * line) for line in range(1, len(pairs) + 1)]  # each line has another number of links
    for name, lines in (("en", [p[0] for p in pairs]), ("fr", [p[1] for p in pairs]), ("links", links)):
        (root / f"train.{name}").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    for split in ("valid", "test"):
        for name, text in (("en", SENTENCES[3][0]), ("fr", SENTENCES[3][1])):
            (root / f"{split}.{name}").write_text(text + "\n", encoding="utf-8")
    Path("c.yaml").write_text(
        f"data: {{root: {root}, train: {{src: train.en, tgt: train.fr, links: train.links}}, "
        "valid: {src: valid.en, tgt: valid.fr}, src_lang: en, tgt_lang: fr}\n",
        encoding="utf-8",
    )
    said = invoke("doctor", "c.yaml", "--write", "clean")
    assert said.startswith("clean: 7 pairs kept, 3 left out\n")
    kept = [2, 3, 4, 6, 7, 8, 9]
    assert [int(line) for line in Path("clean/lines").read_text().split()] == kept
    assert Path("clean/train.links").read_text().splitlines() == [links[line - 1] for line in kept]
    written = Path("clean/train.fr").read_text(encoding="utf-8").splitlines()
    assert written == [pairs[line - 1][1] for line in kept]
    reasons = [line.split("\t")[:2] for line in Path("clean/left-out.tsv").read_text(encoding="utf-8").splitlines()]
    assert reasons == [
        ["1", "source and target the same"],
        ["5", "pairs of the validation or test data"],
        ["10", "pairs that occurred before"],
    ]
    again = runner.invoke(app, ["doctor", "c.yaml", "--write", "clean"])
    assert again.exit_code == 1
    assert "already exists; choose another folder" in again.output


def test_links_of_a_file_are_those_of_the_pairs_that_filters_keep(make_config: Callable[..., Config]) -> None:
    config = make_config(data={"filters": ["identical"]}, training={"guided_alignment": {"enabled": True}})
    root = Path(str(config.data.root))
    pairs = [("same", "same"), *SENTENCES]
    for name, side in (("en", 0), ("fr", 1)):
        (root / f"train.{name}").write_text("".join(pair[side] + "\n" for pair in pairs), encoding="utf-8")
    (root / "own.links").write_text("".join(f"{n % 2}-{n % 2}\n" for n in range(len(pairs))), encoding="utf-8")
    guided = config.training.guided_alignment.model_copy(update={"links": "own.links"})
    config = config.model_copy(update={"training": config.training.model_copy(update={"guided_alignment": guided})})
    corpora = load_corpora(config)
    assert corpora.train.guide is not None
    assert corpora.train.guide._links.to_pylist() == [f"{n % 2}-{n % 2}" for n in range(1, len(pairs))]
    assert corpora.train_text["line"] == list(range(2, len(pairs) + 1))
    for lines, message in (
        (["0-0"] * (len(pairs) + 2), f"has {len(pairs) + 2} lines, but there are {len(pairs)} training pairs"),
        (["0-0", "0-0", "99-0"] + [""] * (len(pairs) - 3), "own.links, line 3: link 99-0"),
    ):
        (root / "own.links").write_text("\n".join(lines) + "\n", encoding="utf-8")
        with pytest.raises(AlignmentError, match=message):
            load_corpora(config)
