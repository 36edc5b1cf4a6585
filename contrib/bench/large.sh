#!/bin/bash
# large.sh - what the size of a database changes for who opens it: time, and memory.
#
#   large.sh [MOST [ROUNDS]]      the largest database has MOST records (10000000), rounds (500)
#
# Databases of 1000 records, ten times as many, and so on up to MOST, unsorted, each merged into one
# sorted run.  Then whole processes in turn: a program that does nothing, linked statically as the
# tools are; kevo-get -V, which opens nothing; and kevo-get of one key from each.  And what a kevo-get
# that goes on has in memory after a first and after 10,000 answers: its own, and what it has mapped
# and shares with others.  A record has 16 + 100 bytes: ten million take some 3 GB below ${TMPDIR:-/tmp}.
# Packages: gcc musl-tools
set -eu
here=$(cd "$(dirname "$0")" && pwd)
MOST=${1:-10000000} ROUNDS=${2:-500}
bin=${KEVO_BIN:-$here/../../build/bin}
PATH=$(cd "$bin" && pwd):$PATH
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

gcc -O2 -w "$here/spawn.c" -o spawn
musl-gcc -static -no-pie -O2 "$here/nop.c" -o nop 2>/dev/null || gcc -static -O2 "$here/nop.c" -o nop

# records N COUNT: so many of the keys below N, scattered; as 7368787 has no divisor in common with a
# power of ten, N of them are all.
records() {
    awk -v n="$1" -v count="$2" 'BEGIN { v = sprintf("%096d", 0)
        for (i = 0; i < count; i++) { k = i * 7368787 % n; printf "%016d\t%s%04x\n", k, v, k % 65536 } }'
}
sizes=()
for ((n = 1000; n <= MOST; n *= 10)); do
    sizes+=("$n")
    records "$n" "$n" | kevo-put -i --sync=none "$n.kv"
    kevo-compact --full -w inf "$n.kv"
    [ "$(kevo-scan -c "$n.kv")" = "$n" ]
done

echo '== one process, one record'
args=(./nop -- kevo-get -V)
for n in "${sizes[@]}"; do
    args+=(-- kevo-get "$n.kv" "$(printf %016d $((n / 2)))")
done
./spawn "$ROUNDS" "${args[@]}"

echo '== memory of one process, in KiB'
memory() { # PID WHAT
    awk -v what="$2" '/^RssAnon:/ { a = $2 } /^RssFile:|^RssShmem:/ { m += $2 }
        END { printf "%-44s %8d own %10d mapped\n", what, a, m }' "/proc/$1/status"
}
mkfifo in
answered() { until [ "$(wc -l <out)" -ge "$1" ]; do sleep 0.01; done; }
for n in "${sizes[@]}"; do
    count=$((n < 10000 ? n : 10000))
    kevo-get -i "$n.kv" <in >out &
    exec 3>in
    echo 0000000000000000 >&3
    answered 1
    memory $! "kevo-get -i, $n records, 1 answer"
    records "$n" "$count" | cut -f1 >&3
    answered $((count + 1))
    memory $! "kevo-get -i, $n records, $count answers"
    exec 3>&-
    wait $!
done
