#!/usr/bin/env bash
# Runs each fuzz target, or those named as arguments, for SECONDS_PER_TARGET seconds (default 10).
#
# Works on the stable toolchain with a C++ compiler: coverage comes from a pass that every LLVM has, and libFuzzer is
# built from its sources by libfuzzer-sys. Address sanitizer would need nightly; the decoders forbid `unsafe`, so it
# would have little to find. What was found new stays in fuzz/corpus-run, what crashed in fuzz/artifacts: copy it to
# fuzz/corpus/<target>/, and `cargo test -p adit-tests --test corpus` replays it.
set -euo pipefail
cd "$(dirname "$0")"

seconds="${SECONDS_PER_TARGET:-10}"
cargo="${CARGO:-cargo}"
host="$(rustc -vV | sed -n 's/^host: //p')"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"

if [ "$#" -gt 0 ]; then
    targets=("$@")
else
    targets=()
    for program in fuzz_targets/*.rs; do
        targets+=("$(basename "$program" .rs)")
    done
fi
[ "${#targets[@]}" -gt 0 ] || { echo "no fuzz targets in $PWD/fuzz_targets" >&2; exit 1; }

# With --target the flags reach what is fuzzed and not the build scripts.
"$cargo" build --release --locked --target "$host" --bins

failed=()
for target in "${targets[@]}"; do
    mkdir -p "corpus-run/$target" "artifacts/$target"
    log="artifacts/$target.log"
    if "$CARGO_TARGET_DIR/$host/release/$target" "corpus-run/$target" "corpus/$target" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -artifact_prefix="artifacts/$target/" \
        >"$log" 2>&1; then
        printf '%-20s %s\n' "$target" "$(grep '^Done' "$log" | tail -n 1)"
    else
        failed+=("$target")
        printf '%-20s FAILED, see fuzz/%s\n' "$target" "$log"
        grep -E 'panicked|ERROR|SUMMARY|Test unit written' -A 2 "$log" | head -n 20 >&2
    fi
done

if [ "${#failed[@]}" -gt 0 ]; then
    echo "failed: ${failed[*]}" >&2
    exit 1
fi
