#!/bin/bash
# ship.sh - what followers, archives, backups and watchers cost, beside cp and a writer that is alone.
#
#   ship.sh [N [ROUNDS]]      N records (1000000), rounds (5)
#
# Everything runs in turn, several rounds, in a fresh directory below ${TMPDIR:-/tmp}.  Times are
# wall clock in milliseconds, and processor time where it says so: compare rows of one run, not runs.
# Loading durably is done alone; with somebody who takes the stream and keeps nothing, which is what
# shipping costs a writer; and with a replica that follows through a pipe on the same machine and the
# same disk, whose own work that includes.
set -u
here=$(cd "$(dirname "$0")" && pwd)
N=${1:-1000000} ROUNDS=${2:-5}
bin=${KEVO_BIN:-$here/../../build/bin}
PATH=$(cd "$bin" && pwd):$PATH || exit 1
dir=$(mktemp -d) || exit 1
link=
stop() { if [ -n "$link" ]; then kill "$link" 2>/dev/null; wait "$link" 2>/dev/null; link=; fi; }
trap 'stop; rm -rf "$dir"' EXIT
cd "$dir" || exit 1

awk -v n="$N" 'BEGIN { srand(1); v = sprintf("%096d", 0)
    for (i = 0; i < n; i++) printf "%08d%08d\t%s%04x\n", int(rand() * 1e8), i, v, i % 65536 }' >in.tsv

TIMEFORMAT='%R %U %S'
row() { # NAME COMMAND...
    local t
    t=$( { time "${@:2}" >/dev/null 2>err; } 2>&1 ) || { echo "$1: failed: $(head -n 1 err)"; return; }
    awk -v n="$1" '{ printf "%-44s %8d ms  %8d ms processor\n", n, $1 * 1000, ($2 + $3) * 1000 }' <<<"$t"
}
load() { kevo-put -i p.kv <in.tsv; }
fresh() { rm -rf p.kv r.kv; kevo-init -q --set compaction=manual p.kv; }
replica() { kevo-walship base p.kv --to - | kevo-walship restore - --into r.kv; kevo-walship slot p.kv create r1; }
follow() {
    kevo-walship recv --follow --apply r.kv \
        --via 'kevo-walship send p.kv --to - --slot r1 --acks - --follow' 2>link.err &
    link=$!
}
away() { kevo-walship send p.kv --to - --slot r1 --follow >/dev/null 2>link.err & link=$!; }
same() { [ "$(kevo-walship pos p.kv)" = "$(kevo-walship pos r.kv)" ]; }
catch_up() { follow; until same; do sleep 0.01; done; }
archive() { kevo-walship send p.kv --to ar; }
copy() { rm -rf copy && cp -r p.kv copy && find copy -exec sync {} +; }
restore() { rm -rf n.kv; kevo-restore -q n.kv b.tar; }

for ((r = 1; r <= ROUNDS; r++)); do
    echo "== round $r"
    fresh; row 'kevo-put -i, alone' load
    fresh; kevo-walship slot p.kv create r1; away
    row 'kevo-put -i, sent to nobody' load
    stop
    fresh; replica; follow
    kevo-put p.kv first x
    until same; do sleep 0.01; done
    row 'kevo-put -i, with a follower' load
    row '  until the follower has all of it' bash -c 'until [ "$(kevo-walship pos p.kv)" = "$(kevo-walship pos r.kv)" ]; do sleep 0.01; done'
    stop
    fresh; replica; load
    row 'a follower that starts late, all of it' catch_up
    stop
    rm -rf ar; row 'kevo-walship send, to an archive' archive
    row 'cp -r and sync' copy
    row 'kevo-backup, to a synced file' sh -c 'rm -f b.tar; kevo-backup -q -o b.tar p.kv'
    row 'kevo-restore' restore
done

median() { # of microseconds
    sort -n | awk '{ a[NR] = $1 } END { printf "median %.2f ms, 90 %% below %.2f ms, longest %.2f ms\n",
        a[int((NR + 1) / 2)] / 1000, a[int(NR * .9)] / 1000, a[NR] / 1000 }'
}

echo '== from the end of a durable put to a get on the replica'
fresh; replica; follow
kevo-put p.kv first x
until same; do sleep 0.01; done
for ((i = 0; i < 200; i++)); do
    kevo-put p.kv "k$i" v
    s=$(date +%s%N)
    until kevo-get r.kv "k$i" >/dev/null; do :; done
    e=$(date +%s%N)
    echo $(((e - s) / 1000))
done | median
stop

echo '== from the end of a durable put to its line from kevo-watch'
fresh
kevo-put p.kv first x
mkfifo lines
kevo-watch --since=1 p.kv >lines &
link=$!
exec 3<lines
for ((i = 0; i < 200; i++)); do
    kevo-put p.kv "k$i" v
    s=${EPOCHREALTIME/./}
    read -r line <&3
    echo $((${EPOCHREALTIME/./} - s))
done | median
exit 0
