#!/bin/sh
# run.sh: explore the models of the protocol with spin.
#
#   tests/model/run.sh [--quick] [MODEL...]
#
# Each model is explored completely, and so is each broken variant until spin
# finds what is wrong with it: a check that cannot fail proves nothing.
# Prints TAP.  --quick leaves out the large state spaces.
set -u

# level, expected result, model, flags
checks() {
	cat <<'LIST'
quick	holds	lock
quick	breaks	lock	GETLK
quick	breaks	lock	HAUNTED
quick	breaks	lock	OWN_SLOT
quick	holds	insert
quick	breaks	insert	SEQ_ONLY
quick	breaks	insert	ALWAYS
quick	breaks	insert	LINK_FIRST
quick	breaks	insert	END_LATE
quick	holds	event
full	holds	event	KILLS=2
quick	breaks	event	LOOK_FIRST
quick	breaks	event	TELL_FIRST
quick	breaks	event	UNMARK_FIRST
quick	breaks	event	UNMARK_ALWAYS
quick	breaks	event	ENTER_QUIET
quick	breaks	event	TELL_DOER
quick	holds	commit	WRITERS=2
full	holds	commit	KILLS=1
full	holds	commit	FULL_ONLY
quick	breaks	commit	CLEAR_EARLY
quick	breaks	commit	CLEAR_BEFORE_TAIL
quick	breaks	commit	INSERT_EARLY
quick	breaks	commit	WRITERS=2	REPAIR_IF_DEAD
quick	breaks	commit	ZERO_ALWAYS
quick	breaks	commit	WRITERS=2	FULL_TO_LATE
quick	breaks	commit	WRITERS=2	SYNCED_FIRST
quick	breaks	commit	WRITERS=2	NONE_DIRECT
quick	breaks	commit	WRITERS=2	SETTLE_DISK
quick	breaks	commit	VISIBLE_STORE
quick	breaks	commit	VISIBLE_FIRST
quick	breaks	commit	SYNC_OWN_END
quick	holds	sync	N=2	KILLS=2	ERRORS=2
full	holds	sync
full	holds	sync	NO_ALONE	WORD_PLAIN	KILLS=2
quick	breaks	sync	NO_MARK
full	breaks	sync	WORD_PLAIN
full	breaks	sync	WORD_MAX
full	breaks	sync	CLEAR_LATE
quick	breaks	sync	OPEN_LATE
quick	breaks	sync	VERIFY_FIRST
quick	breaks	sync	ACK_FIRST
quick	breaks	sync	REBUILD_PLAIN
quick	holds	rotate	WRITERS=2	KILLS=2
full	holds	rotate
quick	breaks	rotate	LEADER_ACTIVE_FIRST
quick	breaks	rotate	READER_ACTIVE_FIRST
quick	breaks	rotate	NO_SYNC
quick	breaks	rotate	HEADER_FIRST
quick	breaks	rotate	NO_DIRSYNC
quick	breaks	rotate	SEAL_UNMARKED
quick	breaks	rotate	MARK_SHORT
quick	breaks	rotate	ACTIVE_LATE
quick	breaks	rotate	REPAIR_SHORT
quick	holds	rebuild	WRITERS=2
full	holds	rebuild	WRITERS=2	BOOTS
full	holds	rebuild
full	breaks	rebuild	WRITERS=2	BOOTS	RETIRE_LATE
quick	breaks	rebuild	WRITERS=2	REPAIR_FIRST
quick	breaks	rebuild	WRITERS=2	SLOT_FIRST
quick	breaks	rebuild	WRITERS=2	NO_RELINK
quick	breaks	rebuild	WRITERS=2	NO_REFUSE
quick	breaks	rebuild	WRITERS=2	NO_WORDS
quick	breaks	rebuild	WRITERS=2	WORDS_KEPT
quick	breaks	rebuild	WRITERS=2	NO_AGAIN
quick	breaks	rebuild	WRITERS=2	READER_NO_LINK
quick	breaks	rebuild	WRITERS=2	COPY_BUILT
quick	breaks	rebuild	WRITERS=2	BOOTS	BOOT_WORDS
full	breaks	rebuild	WRITERS=2	BOOTS	NO_C1
quick	holds	version	TABLES=2	KILLS=0
quick	holds	version	BUILD	SEGS=2	TABLES=2	KILLS=0
quick	holds	version	SCAN	READERS=0	VERSIONS=3	KILLS=0
full	holds	version
full	holds	version	WORKERS=3	TABLES=2	KILLS=0
full	holds	version	VERSIONS=4	TABLES=5	KILLS=0
full	holds	version	BUILD	SEGS=2	TABLES=2
full	holds	version	BUILD	WORKERS=1
quick	breaks	version	TABLES=2	KILLS=0	VISIBLE_FIRST
quick	breaks	version	TABLES=2	KILLS=0	NO_PIN
quick	breaks	version	TABLES=2	KILLS=0	PIN_ONCE
quick	breaks	version	BUILD	SEGS=2	TABLES=2	KILLS=0	PIN_UNLINKED
quick	breaks	version	BUILD	SEGS=2	TABLES=2	KILLS=0	GET_UNLINKED
quick	breaks	version	TABLES=2	KILLS=0	FLUSH_UNSEEN
quick	breaks	version	TABLES=2	KILLS=0	UNLOCK_EARLY
quick	breaks	version	TABLES=2	KILLS=0	TABLES_UNSYNCED
quick	breaks	version	VERSIONS=4	TABLES=5	KILLS=0	READERS=0	LINK_ONLY
full	breaks	version	VERSIONS=4	TABLES=5	KILLS=0	OLDEST_FIRST
quick	breaks	version	SCAN	READERS=0	VERSIONS=3	KILLS=0	SCAN_BLIND
quick	breaks	version	TABLES=2	KILLS=0	CLAIM_FIRST
quick	breaks	version	WORKERS=1	CLEAN_SILENT
quick	breaks	version	WORKERS=1	CLEAN_UNSYNCED
quick	breaks	version	TABLES=2	KILLS=0	PINS_FIRST
quick	breaks	version	WORKERS=1	PINS_EARLY
quick	breaks	version	BUILD	SEGS=2	TABLES=2	KILLS=0	CLEAN_BESIDE
quick	breaks	version	BUILD	SEGS=2	TABLES=2	KILLS=0	CLEAN_RETIRED
quick	holds	compact	VERSIONS=2	KILLS=0
full	holds	compact	VERSIONS=2
full	holds	compact	KILLS=0
quick	breaks	compact	KILLS=0	NO_CLAIM
quick	breaks	compact	KILLS=0	CLAIM_STALE
quick	breaks	compact	VERSIONS=2	KILLS=0	ONLY=1	SKIP_OLDER
full	breaks	compact	KILLS=0	ONLY=4	NO_REFUSAL
quick	breaks	compact	KILLS=0	DROP_EARLY
quick	holds	orphan
full	holds	orphan	NUMBERS=3	KILLS=0
quick	breaks	orphan	NOT_EXCL
quick	breaks	orphan	UNLOCKED
quick	breaks	orphan	UNNAMED
quick	breaks	orphan	UNLINK_LOST
quick	breaks	orphan	CLEAN_UNNAMED
quick	breaks	orphan	CLAIM_FIRST
LIST
}

here=$(cd "$(dirname "$0")" && pwd) || exit 1
quick=0
if [ "${1-}" = --quick ]; then
	quick=1
	shift
fi
for tool in spin gcc; do
	if ! command -v $tool >/dev/null; then
		echo "1..0 # SKIP $tool is missing"
		exit 0
	fi
done

tmp=$(mktemp -d "${TMPDIR:-/tmp}/kevo-model.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM
cd "$tmp" || exit 1

# The broken ones are found sooner than they are optimized.
build() {
	spin -a "$@" "$here/$model.pml" >log 2>&1 || return 1
	opt=-O2
	[ "$expect" = holds ] || opt=-O0
	gcc $opt -w -DSAFETY -DNOFAIR -DMEMLIM=3800 -o pan pan.c >>log 2>&1
}

# What pan found: holds, breaks, or nothing that can be relied on.
verdict() {
	if grep -q 'errors: [1-9]' log && grep -Eq \
	    'assertion violated|invalid end state' log; then
		echo breaks
	elif grep -q 'errors: 0$' log && ! grep -Eq \
	    'not completed|max search depth|out of memory|reached -DMEM' log
	then
		echo holds
	else
		echo unfinished
	fi
}

check() {
	level=$1 expect=$2 model=$3
	shift 3
	what="$model${*:+ $*} $expect"
	for flag; do
		shift
		set -- "$@" "-D$flag"
	done
	rm -f ./*
	got=unbuilt
	if build "$@"; then
		./pan -m100000 -w20 -n >log 2>&1
		got=$(verdict)
	fi
	count=$((count + 1))
	states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' log)
	if [ "$got" = "$expect" ]; then
		echo "ok $count - $what (${states:-?} states)"
		return
	fi
	failed=$((failed + 1))
	echo "not ok $count - $what; it says: $got"
	[ "$got" = breaks ] || sed 's/^/# /' log
	[ "$got" != breaks ] || spin -t -p "$@" -k ./*.trail \
	    "$here/$model.pml" 2>&1 | grep -v '\[(1)\]$' | sed 's/^/# /'
}

wanted() {
	checks | while read -r level expect model flags; do
		[ "$quick$level" != 1full ] || continue
		case " $* " in
		'  ' | *" $model "*) echo "$level $expect $model $flags" ;;
		esac
	done
}

wanted "$@" >"$tmp.list"
trap 'rm -rf "$tmp" "$tmp.list"' EXIT
echo "1..$(wc -l <"$tmp.list" | tr -d ' ')"
count=0 failed=0
while read -r line; do
	# shellcheck disable=SC2086 # words
	check $line
done <"$tmp.list"
[ $failed -eq 0 ] && [ $count -gt 0 ]
