#!/usr/bin/env bash
# Three nodes on this machine: tasks to each, results from another one, and what happens
# to running tasks when the leader is killed. Needs the binary (make build) and curl.
set -euo pipefail

pytasks=${PYTASKS:-$(cd "$(dirname "$0")/.." && pwd)/pytasks}
base=${DEMO_PORT:-18080} # HTTP ports are base, base+1, base+2; the others 100 and 200 above
names=(alice bob carol)
dir=$(mktemp -d)
pids=()

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
url() { echo "http://127.0.0.1:$((base + $1))"; }

cleanup() {
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

start() { # start the node of that number
	local i=$1
	env -u PYTASKS_CONFIG "$pytasks" start --name "${names[i]}" --data-dir "$dir/${names[i]}" --bootstrap-expect 3 --slots 4 \
		--join "127.0.0.1:$((base + 100)),127.0.0.1:$((base + 101)),127.0.0.1:$((base + 102))" \
		--http "127.0.0.1:$((base + i))" --gossip "127.0.0.1:$((base + 100 + i))" --cluster "127.0.0.1:$((base + 200 + i))" \
		>"$dir/${names[i]}.log" 2>&1 &
	pids[i]=$!
}

await_ready() { # wait until the node of that number takes requests
	for _ in $(seq 150); do
		if curl -fs -o "$dir/ready" "$(url "$1")/readyz"; then return; fi
		if ! kill -0 "${pids[$1]}" 2>/dev/null; then break; fi
		sleep 0.1
	done
	echo "${names[$1]} did not become ready. Its log ends:" >&2
	tail -n 20 "$dir/${names[$1]}.log" >&2
	exit 1
}

say "Starting three nodes that find each other; none of them is special"
for i in 0 1 2; do start "$i"; done
for i in 0 1 2; do await_ready "$i"; done
"$pytasks" node ls --addr "$(url 0)"

say "Tasks are sent to each node, and each result is read from the next one"
for i in 0 1 2; do
	here=$(url "$i") next=$(url $(((i + 1) % 3))) nextname=${names[(i + 1) % 3]}
	for task in "test.main.add x=$i y=40" "test.main.hypot x=3.0 y=4.0" \
		"physicsjs.main.mov3d dt=0.1 r0=[0,2,0] v0=[$((i + 1)),3,0] mass=1 radius=0.1 drag=true"; do
		read -ra words <<<"$task"
		id=$("$pytasks" run --addr "$here" --tag demo "${words[@]}")
		result=$("$pytasks" task get --addr "$next" --wait "$id" | sed -n -e 's/^status  *//p' -e 's/^result  *//p' | cut -c 1-70 | paste -sd ' ')
		printf '  %-6s took %-22s %s says: %s\n' "${names[i]}" "${words[0]}" "$nextname" "$result"
	done
done

say "Who ran what"
"$pytasks" task ls --addr "$(url 0)" --tag demo

leader=$("$pytasks" node ls --addr "$(url 0)" | awk '$2 == "leader" { print $1 }')
for i in 0 1 2; do
	if [ "${names[i]}" = "$leader" ]; then victim=$i; fi
done
left=$(url $(((victim + 1) % 3))),$(url $(((victim + 2) % 3)))

say "Twelve tasks of two seconds each, and kill -9 of the leader, $leader, while they run"
ids=()
for i in $(seq 12); do
	ids+=("$("$pytasks" run --addr "$left" --tag long test.main.sleep seconds=2)")
done
sleep 0.5
kill -9 "${pids[victim]}"
wait "${pids[victim]}" 2>/dev/null || true
"$pytasks" node ls --addr "$left"

say "The other two go on: every task ends, those that $leader was running in a second attempt"
for id in "${ids[@]}"; do
	state=$("$pytasks" task get --addr "$left" --wait --json "$id")
	if [[ $state != *'"status":"SUCCESS"'* ]]; then
		echo "task $id did not succeed: $state" >&2
		exit 1
	fi
done
"$pytasks" task ls --addr "$left" --tag long
"$pytasks" node ls --addr "$left"

say "$leader comes back, catches up, and knows them all"
start "$victim"
await_ready "$victim"
for _ in $(seq 100); do
	count=$("$pytasks" task ls --addr "$(url "$victim")" --tag long --status SUCCESS --all | tail -n +2 | wc -l)
	if [ "$count" = 12 ]; then break; fi
	sleep 0.1
done
echo "  $leader sees $count of 12 tasks finished"
[ "$count" = 12 ]

say "That was the demo. Try one yourself: pytasks dev"
