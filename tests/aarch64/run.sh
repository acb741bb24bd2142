#!/usr/bin/env bash
# Runs the tests of kernels, engine and whole int8 networks as a Raspberry Pi 4 (Cortex-A72) and 5 (Cortex-A76), in an
# arm64 Python under qemu's user-mode emulation (see setup.sh). Kernels are compiled here, for those CPUs, into a bundle;
# the emulated Python has numpy, pytest and hypothesis, but no compiler.
#
# EDGENET_AARCH64: folder for the Python and the kernels, kept for the next run (default: ~/.cache/edgenet-aarch64).
# PYTHON: an environment with edgenet's test requirements (default: python3).
# Arguments are handed on to pytest instead of the default selection.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
every=()
python=${PYTHON:-python3}
folder=${EDGENET_AARCH64:-${XDG_CACHE_HOME:-$HOME/.cache}/edgenet-aarch64}
if [ $# = 0 ]; then
  # Linking object files is left to the machine that has the compiler.
  set -- tests/kernels tests/engine/test_model.py tests/engine/test_team.py tests/engine/test_parts.py \
    tests/engine/test_limits.py tests/engine/test_program_cache.py tests/aarch64/test_digests.py --ignore tests/kernels/test_object_file.py
  every=(-p tests.aarch64.every_kernel)
fi

"$here/setup.sh" "$folder"
folder=$(cd "$folder" && pwd)
unset EDGENET_ISA EDGENET_KERNELS
export EDGENET_CACHE=${EDGENET_CACHE:-$folder/kernels}
"$python" -m edgenet warmup --target cortex-a72 --target cortex-a76 -o "$folder/kernels.bundle"
"$python" -m tests.aarch64.networks "$folder/networks"

run_as() { # CPU, its instruction set, arguments of pytest
  local cpu=$1 isa=$2
  shift 2
  PYTHONPATH=$PWD EDGENET_ISA=$isa EDGENET_CACHE=$folder/unused EDGENET_KERNELS=$folder/kernels.bundle \
    EDGENET_TEST_NETWORKS=$folder/networks "$folder/python-$cpu" -m pytest -p no:cacheprovider "${every[@]}" "$@" \
    >"$folder/$cpu.log" 2>&1
}
failed=()
run_as cortex-a72 neon "$@" &
first=$!
run_as cortex-a76 neon_dotprod "$@" || failed+=(cortex-a76)
wait "$first" || failed+=(cortex-a72)
for cpu in cortex-a72 cortex-a76; do
  echo "$cpu:"
  case " ${failed[*]-} " in
    *" $cpu "*) tail -n 60 "$folder/$cpu.log" ;;
    *) tail -n 3 "$folder/$cpu.log" ;;
  esac
done
[ ${#failed[@]} = 0 ]
