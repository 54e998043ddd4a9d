# What the steps share; sourced by each.
# shellcheck shell=bash
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
step=$(basename "$0")

Say() { echo "$step: $*" >&2; }
Fail() { Say "$@"; exit 1; }

# Usage COUNT "$@": prints the comment at the head of the step when it is asked for, or called with too few words.
Usage() {
  local count=$1 code=2; shift
  if [[ ${1:-} == --help || ${1:-} == -h ]]; then code=0; elif (($# >= count)); then return 0; fi
  sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0" >&$((code == 0 ? 1 : 2))
  exit "$code"
}

# Output NAME VALUE: a result for the next steps.
Output() {
  echo "$1=$2"
  if [[ -n ${GITHUB_OUTPUT:-} ]]; then echo "$1=$2" >>"$GITHUB_OUTPUT"; fi
}

Platform() { python3 "$root/deploy/platform/services.py" "$@"; }

# Field JSON EXPRESSION: a value of a JSON text, by a Python expression of `it`.
Field() { python3 -c 'import json, sys; it = json.loads(sys.argv[1]); print(eval(sys.argv[2]))' "$1" "$2"; }

# Tool PROGRAM ARGUMENT…: flambeau or flambeau-train, in the training image where FLAMBEAU_TOOLS is its `docker run …`.
Tool() {
  local prefix=()
  if [[ -n ${FLAMBEAU_TOOLS:-} ]]; then read -ra prefix <<<"$FLAMBEAU_TOOLS"; fi
  PATH="$PATH:$root/build/release/bin" "${prefix[@]}" "$@"
}
