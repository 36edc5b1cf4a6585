#!/bin/bash
# table.sh - kevo and its peers in one markdown table, from these sources and Debian's packages.
#
#   table.sh [--n N] [--repeat R] [--peers a,b,c] [--dir DIR] [--secs S] [--quiet S]
#
#   --n N        records (1000000)         --repeat R   repeats, of which the median counts (3)
#   --peers ...  as run.sh takes them (kevo and whatever is installed)
#   --dir DIR    for databases and results (/tmp/kvbench); the table is DIR/table.md, and is printed
#   --secs, --quiet   as run.sh takes them
#
# Missing packages are installed if this runs as root, and named otherwise (contrib/deps.sh bench);
# a peer that is not there is left out.  kevo is built in DIR.  The rows are those of report.py's
# TABLE, once without compression, and gets, scan and size once more with each peer's own codec.
# With a million records it takes some minutes a repeat, most of it for the slowest peer.
set -eu
cd "$(dirname "$0")"
top=$(cd ../.. && pwd)
N=1000000 R=3 PEERS='' DIR=/tmp/kvbench MORE=()
while [ $# -gt 0 ]; do
    case $1 in
    --n) N=$2; shift 2;;
    --repeat) R=$2; shift 2;;
    --peers) PEERS=$2; shift 2;;
    --dir) DIR=$2; shift 2;;
    --secs | --quiet) MORE+=("$1" "$2"); shift 2;;
    *) sed -n '2,14s/^# \{0,1\}//p' "$0" >&2; exit 64;;
    esac
done
mkdir -p "$DIR"
DIR=$(cd "$DIR" && pwd)

"$top/contrib/deps.sh" bench
make -s -C "$top" O="$DIR/kevo-build" prefix="$DIR/kevo" install >&2
make -s KEVO="$DIR/kevo" >&2
PATH=$DIR/kevo/bin:$PATH        # writers start kevo-compact
# Without a word on peers all are measured that were built just now; the floor is none.
if [ -z "$PEERS" ]; then
    PEERS=kevo
    for a in lmdb rocksdb leveldb tkrzw bdb sqlite wiredtiger; do
        [ ! -e "build/adapter_$a.so" ] || PEERS=$PEERS,$a
    done
fi

rows=readrandom,readmissing,readhot,readseq,readreverse,seekrandom,fillrandom,fillbatch,overwrite
rows=$rows,readwhilewriting,mp_read,mp_sync,open,exec_get
./run.sh --peers "$PEERS" --workloads "$rows" --n "$N" --repeat "$R" --dir "$DIR" --mp 16 \
    --compress off --out "$DIR/table.off.tsv" "${MORE[@]}" >&2
./run.sh --peers "$PEERS" --workloads readrandom,readseq --n "$N" --repeat "$R" --dir "$DIR" \
    --compress on --out "$DIR/table.on.tsv" "${MORE[@]}" >&2

{
    printf 'By contrib/bench/table.sh --n %s --repeat %s, kevo %s; ' "$N" "$R" \
        "$(sed -n 's/^#define KEVO_VERSION "\(.*\)"/\1/p' "$top/lib/kevo.h")"
    printf '%s processors, %s.\n\n' "$(nproc)" "$(df --output=fstype "$DIR" | tail -n 1)"
    python3 ./report.py --table kevo "$DIR/table.off.tsv" "$DIR/table.on.tsv"
} >"$DIR/table.md"
cat "$DIR/table.md"
