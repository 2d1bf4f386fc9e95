#!/usr/bin/env bash
# Data diversification (Nguyen et al. 2020): two models, one of each direction, translate the training text, and a
# third model learns from the text and from both translations of it. Further options are passed to all three trainings.
#   bash scripts/diversify.sh CONFIG TRAIN.src TRAIN.tgt FOLDER [--teacher CONFIG] [--set KEY=VALUE ...]
# The translations are written to FOLDER. The third model is runs/NAME, where NAME is the name of the configuration
# file without .yaml. With --teacher, the forward model has a configuration of its own, such as that of a Transformer,
# and the backward model re-ranks its translations.
set -euo pipefail
config=$1 src=$(realpath "$2") tgt=$(realpath "$3") folder=$4
shift 4
teacher=$config rerank=()
name=$(basename "$config" .yaml)
if [ "${1:-}" = --teacher ]; then
  teacher=$2 rerank=(--backward "runs/$name-backward" -b 6)
  shift 2
fi
half=$((($(getconf _NPROCESSORS_ONLN) + 1) / 2))
mkdir -p "$folder"
folder=$(realpath "$folder")

# Train both directions at once, each on half of the cores. Their alignments are not needed, so no aligner is kept.
own=(--set training.threads="$half" --set decoding.alignment_from=attention)
nmt train "$teacher" --set name="$name-forward" "${own[@]}" "$@" &
nmt train "$config" --set name="$name-backward" --set data.reverse=true "${own[@]}" "$@"
wait $!
nmt translate -m "runs/$name-forward" -i "$src" -o "$folder/forward.tgt" ${rerank[@]+"${rerank[@]}"} --set training.threads="$half" &
nmt translate -m "runs/$name-backward" -i "$tgt" -o "$folder/backward.src" --set training.threads="$half"
wait $!

# The first corpus of the list is the text itself. Links in a file would fit this one only, so new ones are made. The
# filter shared_sides keeps translations of validation and test sentences out, which the text may contain.
filters=$("$(dirname "$(command -v nmt)")/python" -c '
import sys, pathlib, nmt.config.load as c
print([*{*c.load_config(pathlib.Path(sys.argv[1])).data.filters, "shared_sides"}])' "$config")
quoted() { printf "'%s'" "${1//\'/\'\'}"; }
src=$(quoted "$src") tgt=$(quoted "$tgt") forward=$(quoted "$folder/forward.tgt") backward=$(quoted "$folder/backward.src")
nmt train "$config" --set name="$name" "$@" --set training.guided_alignment.links=bitext --set "data.filters=$filters" \
  --set "data.train=[
  {src: $src, tgt: $tgt}, {src: $src, tgt: $forward}, {src: $backward, tgt: $tgt}]"
