#!/bin/sh
# Everything that waits for a GPU, in one go: the tests that need one, training speed at the paper's size, and how fast a model
# translates, where $MODEL names one.
# usage: [MODEL=folder of a trained model] measurements/gpu.sh [folder for the results]; needs only the core's packages and pytest.
set -eu
out=${1:-gpu-results}
mkdir -p "$out"
python -m pytest -q -rs tests/model tests/objective tests/decoding tests/training -m "not slow" 2>&1 | tee "$out/tests.txt"
for options in "" "--compile"; do
    # shellcheck disable=SC2086
    python -m mtnat bench train --size base --precision auto --json $options | tee -a "$out/train.jsonl"
done
if [ -n "${MODEL:-}" ]; then
    python -m mtnat bench decode --model "$MODEL" --precision auto --json | tee "$out/decode.jsonl"
fi
