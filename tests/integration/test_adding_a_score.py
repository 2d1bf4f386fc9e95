"""docs/attention.md's promise: a score is one class in one file and its name in the configuration's `Literal`."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIG = """
name: added
data: {train: {src: a, tgt: b}, valid: {src: a, tgt: b}, cache_dir: cache}
tokenizer: {type: char, vocab_size: 19}
model:
  embedding_size: 24
  encoder: {hidden_size: 16}
  decoder: {hidden_size: 32}
  attention: {score: negative_distance, normaliser: sparsemax, window: local-p, coverage: neural}
training: {max_updates: 4, batch_size: 400, threads: 1, tensorboard: false, validation: {sentences: 4}}
decoding: {max_length_ratio: 1.0, max_length_extra: 3}
"""


def test_the_documented_score_trains_and_gives_matrices_once_it_is_written_and_named(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "nmt", tmp_path / "nmt", ignore=shutil.ignore_patterns("__pycache__"))
    (written,) = re.findall(r"```python\n(class .*?)```", (ROOT / "docs/attention.md").read_text("utf-8"), re.DOTALL)
    attention, config = tmp_path / "nmt/model/attention.py", tmp_path / "nmt/config/model.py"
    attention.write_text(attention.read_text("utf-8") + "\n\n" + written, encoding="utf-8")
    named = config.read_text("utf-8").replace('"fc", "kernel"', '"fc", "kernel", "negative_distance"', 1)
    config.write_text(named, encoding="utf-8")
    (tmp_path / "a").write_text("I love you\nyou see me\n" * 20, encoding="utf-8")
    (tmp_path / "b").write_text("je t'aime\ntu me vois\n" * 20, encoding="utf-8")
    (tmp_path / "added.yaml").write_text(CONFIG, encoding="utf-8")

    def nmt(*arguments: str) -> str:
        command = [sys.executable, "-m", "nmt", *arguments]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert result.returncode == 0, result.stderr
        return result.stdout

    assert nmt("train", "-c", "added.yaml") == "runs/added\n"
    nmt("translate", "--alignments", "links.json", "I love you")
    (sentence,) = json.loads((tmp_path / "links.json").read_text("utf-8"))["sentences"]
    assert sentence["src"] == ["I", "love", "you"]
    for row in sentence["weights"]:
        assert abs(sum(row) - 1) < 1e-3
