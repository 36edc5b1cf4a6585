#!/bin/bash
# defaults.sh - what other values of the settings give, as ratios to the defaults of kevo.conf(5).
#
#   defaults.sh [KEYS [ROUNDS [SECONDS]]]      records (1000000), rounds (5), seconds a test (1)
#
# kevo-bench --tune does the measuring: in each round every value and, twice, the default do all
# tests on a new database, in turn.  Three tables: tables as they are by default; the same where
# they are compressed, which changes what a block costs; and how segments and tables are stacked,
# with segments so small that many come together and reads that find them as they were written.
# A ratio is the median of the rounds; above 1 is better than the default, of space too; in
# parentheses it is not beyond the noise.  It needs jq.  With a million records: about half an hour.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
KEYS=${1:-1000000} ROUNDS=${2:-5} SECS=${3:-1}
bin=${KEVO_BIN:-$here/../../build/bin}
PATH=$(cd "$bin" && pwd):$PATH
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

# shellcheck disable=SC2016
show='def cell: (1 + .median) * 100 | round / 100 | tostring;
    (.candidates[0].gain | keys_unsorted) as $tests |
    ["", $tests[]], ["noise", (.noise[$tests[]] * 100 | round / 100 | tostring)],
    (.candidates[] | [.setting, (.gain[$tests[]] | if .verdict == "same" then "(" + cell + ")" else cell end)]) |
    @tsv'
table() { # TITLE TESTS VALUES OPTIONS...
    printf '\n%s\n' "$1"
    kevo-bench -q -f json --sync=none --keys="$KEYS" --rounds="$ROUNDS" --duration="$SECS" \
        --tests="$2" --tune="$3" "${@:4}" >results.json
    jq -r "$show" results.json | awk -F'\t' '{ printf "%-24s", $1
        for (i = 2; i <= NF; i++) printf " %12s", $i
        print "" }'
}
values() { # NAME VALUE...: NAME=VALUE,...
    local list
    list=$(printf ",$1=%s" "${@:2}")
    printf '%s' "${list#,}"
}
blocks=$(values block_bytes 1K 2K 8K 16K 64K)
restarts=$(values restart_interval 4 8 32 64)

printf 'By contrib/bench/defaults.sh %s %s %s, kevo %s; %s processors, %s.\n' "$KEYS" "$ROUNDS" "$SECS" \
    "$(kevo-bench -V | sed 's/.* //')" "$(nproc)" "$(df --output=fstype . | tail -n 1)"
table 'As they are by default:' write,random-read,read-missing,scan,range-scan,mixed \
    "$blocks,$restarts,hash_index=off,$(values compression lz4 zstd),$(values memtable_bytes 16M 256M)"
table 'With compression=lz4:' write,random-read,read-missing,scan,range-scan,mixed \
    "$blocks,$restarts,$(values cache_bytes 1M 256M)" --set compression=lz4
# A sixteenth of the records in a segment, and level 1 in the proportion that it has by default.
small=$((KEYS * 8 < 65536 ? 65536 : KEYS * 8))
table "Unsettled, with memtable_bytes=$small and level_bytes=$((4 * small)):" \
    write,random-read,read-missing,range-scan,mixed \
    "$(values level0_tables 1 2 8 16),$(values level_ratio 4 20),$(values memtables 1 4)" \
    --unsettled --set memtable_bytes=$small --set level_bytes=$((4 * small))
