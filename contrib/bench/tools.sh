#!/bin/bash
# tools.sh - kevo's tools beside sqlite3, mdb_load, tkrzw_dbm_util and cdb.
#
#   tools.sh [N [ROUNDS]]      N records (1000000), rounds (3)
#
# Everything runs in turn, several rounds, in a fresh directory below
# ${TMPDIR:-/tmp}; what is not installed is left out.  Times are wall clock
# in milliseconds: compare rows of one run, not runs.
# Packages: sqlite3 lmdb-utils tkrzw-utils tinycdb gcc musl-tools
set -u
here=$(cd "$(dirname "$0")" && pwd)
N=${1:-1000000} ROUNDS=${2:-3}
bin=${KEVO_BIN:-$here/../../build/bin}
PATH=$(cd "$bin" && pwd):$PATH || exit 1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1

gcc -O2 -w "$here/spawn.c" -o spawn || exit 1
if ! musl-gcc -static -no-pie -O2 "$here/nop.c" -o nop 2>/dev/null; then gcc -static -O2 "$here/nop.c" -o nop; fi
gcc -O2 "$here/nop.c" -o nop_dyn

awk -v n="$N" 'BEGIN { srand(1); v = sprintf("%096d", 0)
    for (i = 0; i < n; i++) a[i] = i
    for (i = n - 1; i > 0; i--) { j = int(rand() * (i + 1)); t = a[i]; a[i] = a[j]; a[j] = t }
    for (i = 0; i < n; i++) printf "%016d\t%s%04x\n", a[i], v, a[i] % 65536 }' >in.tsv
head -n $((N / 10)) in.tsv | cut -f1 >keys
ls -l in.tsv | awk '{ printf "input: %d MB\n", $5 / 1e6 }'

have() { command -v "$1" >/dev/null; }
row() { # NAME COMMAND...
    local s e
    s=$(date +%s%N)
    "${@:2}" >/dev/null 2>err || { echo "$1: failed: $(head -n 1 err)"; return; }
    e=$(date +%s%N)
    printf '%-34s %8d ms\n' "$1" $(((e - s) / 1000000))
}
kevo_load() { rm -rf k.kv; kevo-put -i k.kv <in.tsv; }
sqlite_load() { rm -f s.db; sort in.tsv | sqlite3 s.db -cmd '.mode tabs' 'create table kv(k text primary key, v text) without rowid' '.import /dev/stdin kv'; }
lmdb_load() { rm -rf l; mkdir l; mdb_load -f in.dump l; }
tkrzw_load() { rm -f t.tkt; tkrzw_dbm_util import --tsv t.tkt in.tsv; }
cat_sync() { cat in.tsv >copy; sync copy; }
sqlite_gets() { awk '{ print "select v from kv where k='\''" $1 "'\'';" }' keys | sqlite3 s.db; }

have mdb_load && { kevo_load; kevo-export -f lmdb k.kv >in.dump; }
for ((r = 1; r <= ROUNDS; r++)); do
    echo "== load, export, get: round $r"
    row 'kevo-put -i (durable)' kevo_load
    have sqlite3 && row 'sort | sqlite3 .import' sqlite_load
    have mdb_load && row 'mdb_load' lmdb_load
    have tkrzw_dbm_util && row 'tkrzw_dbm_util import' tkrzw_load
    row 'cat and sync of the same bytes' cat_sync
    row 'kevo-export' kevo-export k.kv
    have sqlite3 && row 'sqlite3 select *' sqlite3 -separator '	' s.db 'select * from kv'
    row "kevo-get -i, $((N / 10)) keys" sh -c 'kevo-get -i k.kv <keys'
    have sqlite3 && row "sqlite3, $((N / 10)) selects" sqlite_gets
done

echo '== one process, one record'
key=$(head -n 1 keys)
set -- ./nop -- ./nop_dyn -- kevo-get k.kv "$key" -- kevo-put --sync=none k.kv "$key" x
have sqlite3 && set -- "$@" -- sqlite3 s.db "select v from kv where k='$key'"
if have cdb; then
    printf '+1,1:a->b\n\n' | cdb -c c.cdb -
    set -- "$@" -- cdb -q c.cdb a
fi
./spawn 500 "$@"

echo '== three programs in one transaction, and without'
three='kevo-get "$0" "$1"; kevo-put --sync=none "$0" "$1" x; kevo-get "$0" "$1"'
export KEVO_SYNC=none
./spawn 300 ./nop -- sh -c "$three" k.kv "$key" -- kevo-txn k.kv sh -c "$three" k.kv "$key"
unset KEVO_SYNC
awk 'NR <= 100000 { print "put\t" $0 }' in.tsv >ops
puts_in_txn() { kevo-txn x.kv sh -c 'kevo-put -i @ <first'; }
head -n 100000 in.tsv >first
for ((r = 1; r <= ROUNDS; r++)); do
    rm -rf x.kv; kevo-init -q x.kv
    row 'kevo-put -i, 100000 records' sh -c 'kevo-put -i x.kv <first'
    row 'kevo-put -i -1' sh -c 'kevo-put -i -1 x.kv <first'
    row 'kevo-put -i inside kevo-txn' puts_in_txn
    row 'kevo-txn -i' sh -c 'kevo-txn -i x.kv <ops'
done

echo '== 8 processes of 50 durable one-shot puts each'
put_kevo() { kevo-put p.kv "$1" v; }
put_sqlite() { sqlite3 -cmd '.timeout 60000' p.db "insert or replace into kv values('$1','v')"; }
many() { # COMMAND
    local p i s e
    s=$(date +%s%N)
    for p in 1 2 3 4 5 6 7 8; do
        for ((i = 0; i < 50; i++)); do "$1" "$p.$i"; done &
    done >/dev/null
    wait
    e=$(date +%s%N)
    printf '%-34s %8d puts/s\n' "$1" $((400000000000 / (e - s)))
}
kevo-init -q p.kv
have sqlite3 && sqlite3 p.db 'pragma journal_mode=wal; create table kv(k text primary key, v text) without rowid' >/dev/null
for ((r = 1; r <= ROUNDS; r++)); do
    many put_kevo
    have sqlite3 && many put_sqlite
done
exit 0
