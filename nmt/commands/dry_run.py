"""`nmt train --dry-run`: check configuration and data, and say how large everything is."""

from nmt.config import Config
from nmt.data.batching import plan_batches
from nmt.data.prepare import load_corpora
from nmt.model.build import build_model
from nmt.runs.folder import RunFolder
from nmt.runs.resume import earlier_checkpoint
from nmt.runtime import choose_device, choose_precision


def run_dry_run(config: Config) -> str:
    """Everything that training would do before its first update, as a table of sizes.

    Raises:
        NmtError: for anything that would stop the training.
    """
    device = choose_device(config.training.device)
    precision = choose_precision(config.training.precision, device)
    earlier = earlier_checkpoint(config, RunFolder(config.run_dir))
    corpora = load_corpora(config)
    model = build_model(config, corpora.tokenizer.src_size, corpora.tokenizer.tgt_size)
    training, train = config.training, corpora.train
    plan = plan_batches(train.src_len, train.tgt_len, training.batch_size, training.batch_unit, config.seed, 0)
    padded = max(int(train.costs[chosen].max()) * len(chosen) for chosen in plan)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    updates = -(-len(plan) // training.accumulate)
    sides = "joint" if corpora.tokenizer.joint else f"source, {corpora.tokenizer.tgt_size} target"
    memory = _memory(config, parameters, padded, corpora.tokenizer.tgt_size) / 2**30
    rows = [
        ("training pairs", f"{len(train)}"),
        ("dropped, a side empty", f"{train.drops.empty}"),
        ("dropped, too long", f"{train.drops.too_long} (more than {config.data.max_length} pieces)"),
        ("validation pairs", f"{len(corpora.valid)}"),
        ("pieces per sentence", f"{train.src_len.mean():.1f} source, {train.tgt_len.mean():.1f} target"),
        ("vocabulary", f"{corpora.tokenizer.src_size} {sides}"),
        ("parameters", f"{parameters:,}"),
        ("batches per epoch", f"{len(plan)}, {updates} updates"),
        ("largest batch", f"{padded} padded tokens"),
        (
            "estimated memory",
            f"{memory:.1f} GiB beside the program itself",
        ),
        ("device", f"{device}, {str(precision).removeprefix('torch.')}"),
        ("run folder", f"{config.run_dir} ({f'goes on with {earlier.name}' if earlier else 'new'})"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _memory(config: Config, parameters: int, padded: int, vocabulary: int) -> float:
    """Bytes, roughly: weights, gradients and two moments; logits three times; some twenty activations per token."""
    model = config.model
    decoder = model.decoder
    width = max(decoder.hidden_size if decoder.type == "rnn" else 0, model.memory_size, model.embedding_size)
    layers = model.encoder.layers + model.decoder.layers
    attention = 0
    if decoder.type == "rnn" and model.attention.score in ("additive", "concat"):  # their hidden layer is [B, T, S, A]
        attention = 3 * config.data.max_length * model.attention.size // 4
    return 4.0 * (4 * parameters + padded * (3 * vocabulary + 20 * layers * width + attention))
