#!/bin/sh
# Runs everything that needs a GPU: the tests, the training speed at the paper's size and, if $MODEL names a model, its
# translation speed.
# usage: [MODEL=folder of a trained model] measurements/gpu.sh [folder for the results]; needs only the core's packages and pytest.
set -eu
out=${1:-gpu-results}
mkdir -p "$out"
python -m pytest -q -rs tests/model tests/objective tests/decoding tests/training tests/systems -m "not slow" 2>&1 | tee "$out/tests.txt"
for options in "" "--compile"; do
    # shellcheck disable=SC2086
    python -m mtnat bench train --size base --precision auto --json $options | tee -a "$out/train.jsonl"
done
if [ -n "${MODEL:-}" ]; then
    python -m mtnat bench decode --model "$MODEL" --precision auto --json | tee "$out/decode.jsonl"
fi
