#!/usr/bin/env bash
# What the kinds of packs cost: one node with two slots on this machine, and tasks that do next to
# nothing. Takes two minutes. A kind whose tools are not here is left out.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
pytasks=${PYTASKS:-$root/pytasks}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

bench() { "$pytasks" bench --json --local 1 --slots 2 --verify sample "$@" 2>>"$dir/log" || { cat "$dir/log" >&2 && exit 1; }; }
value() { grep -o "\"$1\": *[0-9.]*" <<<"$2" | grep -o '[0-9.]*$'; }
has() { for tool in "$@"; do command -v "$tool" >/dev/null || return 1; done; }

# row KIND TASKS TYPE ARGS [OPTION...]: three measurements, each of a node of its own.
row() {
	local kind=$1 tasks=$2 load=(--type "$3" --args "$4" "${@:5}") one many batches
	one=$(bench "${load[@]}" --tasks $((tasks / 10)) --connections 1 --wait)
	many=$(bench "${load[@]}" --tasks "$tasks" --connections 64)
	batches=$(bench "${load[@]}" --tasks "$tasks" --connections 4 --batch 100)
	printf '%-8s %10.1f ms %10.2f ms %10.2f ms %10.0f /s %10.0f /s\n' "$kind" "$(value first "$one")" "$(value p50 "$one")" \
		"$(value p99 "$one")" "$(value end_to_end_per_s "$many")" "$(value end_to_end_per_s "$batches")"
}

printf '%-8s %13s %13s %13s %13s %13s\n' pack 'first call' 'median' 'p99' '64 at once' 'batches'
row go 40000 test.main.echo '{"value":null}'
if has python3; then
	row python 20000 modern.main.noop '{}' --install "$root/node/testdata/packs/modern"
fi
if has make cc; then
	cp -r "$root/taskpacks/command/example" "$dir/command"
	make -sBC "$dir/command"
	row command 4000 inc.main.hypot '{"x":3,"y":4}' --install "$dir/command"
fi
if has go; then
	cp -r "$root/taskpacks/wasm/example" "$dir/wasm"
	(cd "$root/taskpacks/wasm/example" && GOOS=wasip1 GOARCH=wasm go build -ldflags='-s -w' -o "$dir/wasm/main.wasm" .)
	row wasm 4000 numbers.main.summary '{"values":[1,2,3]}' --install "$dir/wasm"
fi
