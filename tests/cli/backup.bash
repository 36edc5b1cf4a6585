# shellcheck shell=bash
# Helpers of the tests of kevo-backup and kevo-restore.

load common

# records FROM TO WORD: lines of records.
records() {
	awk -v from="$1" -v to="$2" -v what="$3" 'BEGIN {
		for (i = from; i <= to; i++)
			printf "key%05d\t%s value %d %060d\n", i, what, i, i
	}'
}

# make DB: tables of two levels, and several segments of log.
make() {
	kevo-init -q --set memtable_bytes=64K --set compaction=manual "$1"
	records 1 900 first | kevo-import -q "$1"
	kevo-compact --full "$1"
	records 500 900 third | kevo-put -i -b 50 "$1"
	kevo-compact --flush "$1"
	records 600 1100 fourth | kevo-put -i -b 10 "$1"
	kevo-delete "$1" key00010 key00011
}

# make_small DB: one with everything in it: a table, and two segments of log.
make_small() {
	kevo-init -q --set memtable_bytes=64K --set compaction=manual "$1"
	kevo-put "$1" a 1
	kevo-put "$1" b 2
	kevo-compact --full "$1"
	records 1 100 x | kevo-put -i -b 10 "$1"
	records 1 400 y | kevo-put -i -b 10 "$1"
	kevo-put "$1" c 3
}
