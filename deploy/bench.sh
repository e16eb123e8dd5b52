#!/usr/bin/env bash
# What the client alone cannot measure: memory, restarts, idle cost, a deep queue and
# the loss of leaders, on three nodes of this machine. Linux only. Takes four minutes.
set -euo pipefail

pytasks=${PYTASKS:-$(cd "$(dirname "$0")/.." && pwd)/pytasks}
base=${BENCH_PORT:-19080} # HTTP ports are base, base+1, base+2; the others 100 and 200 above
kills=${BENCH_KILLS:-20}
dir=$(mktemp -d)
pids=()

url() { echo "http://127.0.0.1:$((base + $1))"; }
urls="$(url 0),$(url 1),$(url 2)"

cleanup() {
	for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
	for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

start() {
	local i=$1
	"$pytasks" start --name "n$i" --data-dir "$dir/$i" --bootstrap-expect 3 --slots 2 \
		--join "127.0.0.1:$((base + 100)),127.0.0.1:$((base + 101)),127.0.0.1:$((base + 102))" \
		--http "127.0.0.1:$((base + i))" --gossip "127.0.0.1:$((base + 100 + i))" --cluster "127.0.0.1:$((base + 200 + i))" \
		>>"$dir/$i.log" 2>&1 &
	pids[i]=$!
}

now() { date +%s%N; }
ms_since() { echo $((($(now) - $1) / 1000000)); }

await_ready() {
	for _ in $(seq 2000); do
		if curl -fs -o /dev/null "$(url "$1")/readyz"; then return; fi
		sleep 0.01
	done
	echo "node n$1 did not become ready: see its log" >&2
	tail -n 20 "$dir/$1.log" >&2
	exit 1
}

rss() { awk '/^VmRSS/ {print int($2 / 1024)}' "/proc/${pids[$1]}/status"; }
cpu_ns() { cat "/proc/${pids[$1]}"/task/*/schedstat | awk '{s += $1} END {print s}'; }
count() { curl -fs "$(url 0)/cluster" | grep -o "\"$1\":[0-9]*" | head -n 1 | cut -d: -f2; }
leader() { curl -fs "$(url "$1")/cluster" | grep -o '"leader":"n[0-9]' | tail -c 2; }
bench() { "$pytasks" bench --addr "$urls" --verify none "$@" 2>/dev/null | grep -E '^end to end' | awk '{print $4}'; }

for i in 0 1 2; do start "$i"; done
for i in 0 1 2; do await_ready "$i"; done

sleep 3
for i in 0 1 2; do before[i]=$(cpu_ns "$i"); done
sleep 20
printf 'idle, CPU of each node            '
for i in 0 1 2; do awk -v a="${before[i]}" -v b="$(cpu_ns "$i")" 'BEGIN {printf "%.1f %%  ", (b - a) / 200000000}'; done
printf 'of one core\n'

rate=$(bench --tasks 100000 --connections 64)
printf 'after 100,000 tasks (%s)     %d MB resident, three nodes together\n' "$rate" $(($(rss 0) + $(rss 1) + $(rss 2)))

# deep N: N tasks that all become due at once; prints how many end per second.
deep() {
	local n=$1 done0 at t
	done0=$(count SUCCESS)
	at=$(($(date +%s) + 3 + n / 20000))
	for _ in $(seq $((n / 5000))); do
		{
			printf '{"tasks":['
			for k in $(seq 5000); do
				if [ "$k" -gt 1 ]; then printf ','; fi
				printf '{"type":"test.main.add","args":{"x":%d,"y":1},"eta":%d}' "$k" "$at"
			done
			printf ']}'
		} >"$dir/batch"
		curl -fs -o /dev/null -H 'Content-Type: application/json' --data-binary "@$dir/batch" "$(url 1)/tasks/batch"
	done
	t=$((at * 1000000000))
	while [ $(($(count SUCCESS) - done0)) -lt "$n" ]; do sleep 0.01; done
	echo $((n * 1000 / $(ms_since "$t")))
}
deep 10000 >/dev/null
printf 'from a queue of 10,000            %d/s assigned, run and finished\n' "$(deep 10000)"
printf 'from a queue of 100,000           %d/s\n' "$(deep 100000)"

text=$(head -c 98 /dev/zero | tr '\0' 'x')
rate=$(bench --tasks $((1000000 - $(count SUCCESS))) --connections 16 --batch 100 --type test.main.echo --args "{\"value\":\"$text\"}")
sleep 5
printf '%s finished (%s)    %d, %d, %d MB resident\n' "$(count SUCCESS)" "$rate" "$(rss 0)" "$(rss 1)" "$(rss 2)"
kill -9 "${pids[1]}"
wait "${pids[1]}" 2>/dev/null || true
t=$(now)
start 1
await_ready 1
printf 'kill -9 of one, started again     ready after %d ms\n' "$(ms_since "$t")"

took=()
for _ in $(seq "$kills"); do
	for i in 0 1 2; do await_ready "$i"; done
	sleep 2
	lead=$(leader 0)
	other=$(((lead + 1) % 3))
	kill -9 "${pids[lead]}"
	t=$(now)
	wait "${pids[lead]}" 2>/dev/null || true
	until curl -fs -m 5 -o /dev/null -H 'Content-Type: application/json' -d '{"type":"test.main.add","args":{"x":1,"y":2}}' "$(url "$other")/task"; do
		sleep 0.02
	done
	took+=("$(ms_since "$t")")
	start "$lead"
done
printf '%s\n' "${took[@]}" | sort -n >"$dir/took"
printf 'kill -9 of the leader, %2d times   next write after %d ms (median), %d ms (p95), %d ms (max)\n' "$kills" \
	"$(sed -n "$(((kills + 1) / 2))p" "$dir/took")" "$(sed -n "$(((kills * 95 + 99) / 100))p" "$dir/took")" "$(tail -n 1 "$dir/took")"
