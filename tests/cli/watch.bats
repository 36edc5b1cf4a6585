#!/usr/bin/env bats
# shellcheck disable=SC2154
# kevo-watch: every committed change, once and in order.

load common
shopt -s extglob
setup() { common_setup; }
teardown() { common_teardown; }

all() { kevo-watch --since=0 --idle=0 "$@"; }

# watching FILE OPTIONS...: one in the background that has begun.
watching() {
	local to=$1
	shift
	rm -f "$to.note"
	: >"$to"
	background kevo-watch -v "$@" >"$to" 2>"$to.note"
	wait_for grep -q 'after version' "$to.note"
}

# count FILE N: it has so many lines.
count() { [ "$(wc -l <"$1")" -ge "$2" ]; }

# ---- what is written -------------------------------------------------------

@test "watch: puts and deletions, each with its version" {
	kevo-put -E a.kv k '1\t2'
	kevo-delete a.kv k
	printf 'put\tb\t1\nput\ta\t2\ndelete\tnone\n' | kevo-txn -i a.kv
	is $'1\tput\tk\t1\\t2\n2\tdelete\tk\n3\tput\tb\t1\n3\tput\ta\t2\n3\tdelete\tnone' \
		all a.kv
	is $'put\tk\t1\\t2\ndelete\tk' all -f ops a.kv k
	is '' all a.kv x
	ok all -v a.kv x || matches "$stderr" 'kevo-watch: a.kv: after version 0'
}

@test "watch: jsonl has the time of expiry, and base64 where it must" {
	kevo-put -t 1h a.kv k v
	kevo-put -E a.kv '\xff' '\xfe'
	kevo-delete a.kv k
	ok all -f jsonl a.kv
	matches "${lines[0]}" \
		'{"version":1,"op":"put","key":"k","value":"v","expires":+([0-9.])}'
	equal second "${lines[1]}" \
		'{"version":2,"op":"put","key_base64":"/w==","value_base64":"/g=="}'
	equal third "${lines[2]}" '{"version":3,"op":"delete","key":"k"}'
}

@test "watch: -0 has four fields for each change" {
	kevo-put a.kv k $'a\nb'
	kevo-delete a.kv k
	all -0 a.kv | tr '\0' '|' >out
	equal out "$(cat out)" $'1|put|k|a\nb|2|delete|k||'
	kevo-put -E a.kv n 'a\x00b'
	run -65 --separate-stderr all -0 a.kv n
	matches "$stderr" 'kevo-watch: *n*NUL*'
}

@test "watch: a record that has expired by now is shown as a deletion" {
	kevo-put -t 0.01 a.kv k v
	wait_for kevo-put --if-absent a.kv other 1
	sleep 0.02
	ok all a.kv k
	equal out "$output" $'1\tdelete\tk'
}

@test "watch: the operand is a prefix, of any bytes" {
	printf 'put\ta\\xff1\tx\nput\ta\\xff\ty\nput\tb\tz\n' | kevo-txn -i a.kv
	is $'1\tput\ta\\xff1\tx\n1\tput\ta\\xff\ty' all -E a.kv 'a\xff'
	is $'1\tput\tb\tz' all a.kv b
	ok all a.kv ''
	equal lines "${#lines[@]}" 3
}

@test "watch: wrong options are refused" {
	kevo-put a.kv k v
	fails 64 '-f tsv: *' kevo-watch -f tsv a.kv
	run -64 kevo-watch --initial --since=0 a.kv
	run -64 kevo-watch a.kv k too-many
	run -64 kevo-watch --since=x a.kv
	run -64 kevo-watch
	fails 66 'b.kv: *' kevo-watch b.kv
	[ ! -e b.kv ]
	fails 69 '*no version 9 yet*newest is 1' kevo-watch --since=9 a.kv
}

@test "watch: it writes nothing into the database but where it sleeps" {
	kevo-put a.kv k v
	listing a.kv | grep -v shm >before
	all a.kv >/dev/null
	listing a.kv | grep -v shm | diff before -
}

# ---- waiting ---------------------------------------------------------------

@test "watch: changes come as they are made" {
	kevo-put a.kv before 1
	watching out a.kv
	kevo-put a.kv k v
	wait_for count out 1
	kevo-delete a.kv k
	wait_for count out 2
	kill "$child"
	ends 143
	equal out "$(cat out)" $'2\tput\tk\tv\n3\tdelete\tk'
}

@test "watch: -l ends it, with the whole of a commit" {
	kevo-put a.kv before 1
	watching out -l 2 a.kv
	kevo-put a.kv k v
	wait_for count out 1
	printf 'put\tx\t1\nput\ty\t2\n' | kevo-txn -i a.kv
	ends 0
	equal out "$(cat out)" $'2\tput\tk\tv\n3\tput\tx\t1\n3\tput\ty\t2'
}

@test "watch: --idle ends it when nothing comes" {
	kevo-put a.kv k v
	is '' kevo-watch --idle=0.05 a.kv
	is $'1\tput\tk\tv' all --idle=0.05 a.kv
}

@test "watch: who sleeps needs no processor" {
	kevo-put a.kv k v
	watching out a.kv
	switches() {
		awk '/^voluntary_ctxt/ { print $2 }' "/proc/$child/status"
	}
	local before
	before=$(switches)
	sleep 3
	[ $(($(switches) - before)) -le 8 ]
	kill "$child"
	ends 143
}

@test "watch: who sleeps costs a writer one call, and one who is killed too" {
	need strace
	[ -z "${KEVO_SAN-}" ] || skip 'a sanitizer has calls of its own'
	kevo-put a.kv k v
	futexes() { strace -f -e trace=futex -o trace "$@"; grep -c futex trace; }
	equal alone "$(futexes kevo-put a.kv k v || true)" 0
	watching out a.kv
	wait_for asleep "$child"
	equal one "$(futexes kevo-put a.kv k v)" 1
	wait_for count out 1
	wait_for asleep "$child"
	kill -KILL "$child"
	ends 137
	equal mark "$(futexes kevo-put a.kv k v)" 1
	equal alone "$(futexes kevo-put a.kv k v || true)" 0
}

asleep() { grep -q '^[^:]*futex' "/proc/$1/wchan"; }

@test "watch: it ends when its reader does" {
	kevo-put a.kv k v
	mkfifo pipe
	exec 7<>pipe
	background kevo-watch -v a.kv >pipe 2>note
	wait_for grep -q 'after version' note
	exec 7<&-
	ends 141
	run -74 sh -c 'kevo-watch --since=0 --idle=0 a.kv >/dev/full'
}

@test "watch: who may not write shared memory follows as well" {
	kevo-put a.kv k v
	chmod -R go-w a.kv
	chmod a-w a.kv/shm/control
	: >out
	background nodac kevo-watch -v a.kv >out 2>note
	wait_for grep -q 'after version' note
	chmod u+w a.kv/shm/control
	kevo-put a.kv k 2
	wait_for count out 1
	kevo-put a.kv k 3
	wait_for count out 2
	kill "$child"
	ends 143
}

@test "watch: it goes on when shared memory is built anew" {
	kevo-put a.kv k v
	watching out a.kv
	kevo-put a.kv k 2
	wait_for count out 1
	rm -r a.kv/shm
	kevo-put a.kv k 3
	wait_for count out 2
	kevo-put a.kv k 4
	wait_for count out 3
	kill "$child"
	ends 143
	equal out "$(cat out)" $'2\tput\tk\t2\n3\tput\tk\t3\n4\tput\tk\t4'
}

# ---- what is kept ----------------------------------------------------------

# fill DB FROM TO: a commit of each number, with a value of some size.
fill() {
	seq "$2" "$3" | awk '{ print "k" $1 % 100 "\t" $1 sprintf(" %1000d", 0) }' |
		kevo-put -i -b 1 --sync=none "$1"
}

@test "watch: it follows through rotations, tables and removed segments" {
	kevo-init --set memtable_bytes=64K --set compaction=manual a.kv
	watching out a.kv
	fill a.kv 1 100
	wait_for count out 100
	for i in 1 2 3 4 5; do
		fill a.kv $((i * 200 - 99)) $((i * 200 + 100))
		kevo-compact --full a.kv
	done
	wait_for count out 1100
	kill "$child"
	ends 143
	cut -f1 out | diff - <(seq 1100)
	cut -f4 out | cut -d' ' -f1 | diff - <(seq 1100)
}

@test "watch: history that is gone is 69, with the oldest version" {
	kevo-init --set memtable_bytes=64K --set compaction=manual a.kv
	fill a.kv 1 300
	kevo-compact --full a.kv
	fill a.kv 301 310
	fails 69 '*no longer in the log; the oldest version to go on after is 300' \
		kevo-watch --since=0 --idle=0 a.kv
	ok kevo-watch --since=300 --idle=0 a.kv
	equal lines "${#lines[@]}" 10
	kevo-config a.kv set wal_keep=1G
	fill a.kv 311 600
	kevo-compact --full a.kv
	ok kevo-watch --since=305 --idle=0 a.kv
	equal lines "${#lines[@]}" 295
}

@test "watch: a cursor whose place is gone says how to begin anew" {
	kevo-init --set memtable_bytes=64K --set compaction=manual a.kv
	kevo-watch --cursor-file=c --idle=0 a.kv
	fill a.kv 1 30
	kevo-compact --full a.kv
	cp c old
	run -69 --separate-stderr kevo-watch --cursor-file=c --idle=0 a.kv
	matches "$stderr" '*no longer in the log*hint: without c it*--initial*'
	cmp c old
	rm c
	ok kevo-watch --initial --cursor-file=c --idle=0 a.kv
	equal lines "${#lines[@]}" 30
}

# ---- cursors ---------------------------------------------------------------

@test "watch: a cursor file goes on where it was" {
	kevo-put a.kv k 1
	is '' kevo-watch --cursor-file=c --idle=0 a.kv
	matches "$(cat c)" '1.+([0-9a-f]):1:+([0-9a-f])'
	kevo-put a.kv k 2
	kevo-put a.kv other 3
	is $'2\tput\tk\t2' kevo-watch --cursor-file=c --idle=0 a.kv k
	is '' kevo-watch --cursor-file=c --idle=0 a.kv
	kevo-put a.kv k 4
	# The file counts, where it exists.
	is $'4\tput\tk\t4' kevo-watch --cursor-file=c --since=0 --idle=0 a.kv
	kevo-put a.kv k 5
	is $'5\tput\tk\t5' kevo-watch --cursor-file=c --initial --idle=0 a.kv
	rm c
	ok kevo-watch --cursor-file=c --since=0 --idle=0 a.kv
	equal lines "${#lines[@]}" 5
	[ ! -e c.tmp ]
}

@test "watch: a signal ends it with the cursor behind what it wrote" {
	kevo-put a.kv k 0
	for i in 1 2 3; do
		watching "out$i" --cursor-file=c a.kv
		kevo-put a.kv k "$i"
		kevo-put a.kv k "$i$i"
		wait_for count "out$i" 2
		kill "$child"
		ends 143
	done
	cat out? | cut -f4 >got
	equal got "$(tr '\n' ' ' <got)" '1 11 2 22 3 33 '
}

@test "watch: another database's cursor, and one that is none, are refused" {
	kevo-put a.kv k 1
	kevo-put b.kv k 1
	kevo-watch --cursor-file=c --idle=0 a.kv
	fails 69 '*history has changed*' kevo-watch --cursor-file=c --idle=0 b.kv
	sed 's/:1:/:9:/' c >d
	fails 69 '*history has changed*' kevo-watch --cursor-file=d --idle=0 a.kv
	local text
	for text in '' 1 '1\n' 'x\n' '1.0:1:2\n' "$(cat c)"; do
		printf "$text" >d
		fails 65 'd: not a cursor*' kevo-watch --cursor-file=d --idle=0 a.kv
	done
	mkdir dir
	fails 73 'dir: *' kevo-watch --cursor-file=dir --idle=0 a.kv
	fails 73 '/dev/null: not a regular file' \
		kevo-watch --cursor-file=/dev/null --idle=0 a.kv
	[ -c /dev/null ]
	fails 73 'none/c.tmp: *' kevo-watch --cursor-file=none/c --idle=0 a.kv
}

@test "watch: a cursor that cannot be saved stays as it was" {
	kevo-put a.kv k 1
	kevo-watch --cursor-file=c --idle=0 a.kv
	cp c before
	kevo-put a.kv k 2
	# No byte can be written to a file; output goes to a pipe.
	run -74 bash -c 'set -o pipefail; (ulimit -f 0
		exec kevo-watch --cursor-file=c --idle=0 a.kv) | cat'
	matches "$output" '*c.tmp: cannot write*'
	matches "$output" $'*2\tput\tk\t2*'
	cmp c before
	mkdir closed
	cp c closed
	chmod a-w closed
	run -73 --separate-stderr nodac kevo-watch --cursor-file=closed/c \
		--idle=0 a.kv
	equal out "$output" $'2\tput\tk\t2'
	cmp closed/c before
	is $'2\tput\tk\t2' kevo-watch --cursor-file=c --idle=0 a.kv
}

# run_check FILE CURSOR-BEFORE: one run's output begins behind its cursor and
# has no gap; the last line may be cut.
run_check() {
	awk -F'\t' -v at="$2" '
		NF < 4 { next }
		$1 != at + 1 || $4 + 0 != $1 { print FILENAME ": " $1 " after " at; exit 1 }
		{ at = $1 }' "$1"
}

cursor() { sed 's/^[^:]*:\([0-9]*\):.*/\1/' c; }

@test "watch: killed again and again, nothing is lost" {
	kevo-init --set memtable_bytes=64K --set wal_keep=1G a.kv
	kevo-watch --cursor-file=c --idle=0 a.kv
	background fill a.kv 1 1500
	local writer=$child n=0 at last
	while kill -0 "$writer" 2>/dev/null || [ "$(cursor)" -lt 1500 ]; do
		n=$((n + 1))
		at=$(cursor)
		kevo-watch --cursor-file=c a.kv >"out.$n" 3>&- &
		children+=($!)
		wait_for test -s "out.$n"
		kill -KILL $!
		wait $! || true
		run_check "out.$n" "$at"
		last=$(awk -F'\t' 'NF == 4 { at = $1 } END { print at + 0 }' "out.$n")
		# Behind what is written, never before it.
		[ "$(cursor)" -le "$last" ]
		[ "$(cursor)" -ge "$at" ]
		if [ $((n % 5)) -eq 0 ]; then
			kevo-compact a.kv || [ $? -eq 75 ]
			at=$(cursor)
			kevo-watch --cursor-file=c --idle=0 -l 20 a.kv \
				>"out.$n.ended"
			run_check "out.$n.ended" "$at"
		fi
		[ "$n" -lt 500 ]
	done
	wait "$writer"
	cat out.* | awk -F'\t' 'NF == 4 { print $1 }' | sort -nu | diff - <(seq 1500)
}

@test "watch: --initial and what follows lose and repeat nothing" {
	kevo-init --set memtable_bytes=64K --set compaction=manual a.kv
	fill a.kv 1 300
	background fill a.kv 301 900
	local writer=$child
	kevo-watch --initial --cursor-file=c --idle=0 a.kv >first
	wait "$writer"
	kevo-watch --cursor-file=c --idle=0 a.kv >second
	cat first second >both
	# Each key in the order of its versions, none twice.
	cut -f1,3 both | sort | uniq -d | diff - /dev/null
	awk -F'\t' '$1 <= seen[$3] { print; exit 1 } { seen[$3] = $1 }' both
	awk -F'\t' '{ v[$3] = $4 } END { for (k in v) print k "\t" v[k] }' both |
		LC_ALL=C sort | diff - <(kevo-scan a.kv)
	# All that was changed since is there.
	awk -F'\t' -v n="$(sed -n '$s/\t.*//p' second)" \
		'{ seen[$1] } END { for (i = n - 50; i <= n; i++) if (!(i in seen)) exit 1 }' both
}

@test "watch: a copy that follows is the same" {
	kevo-init copy.kv
	fill a.kv 1 50
	for i in 1 2 3; do
		kevo-delete a.kv "k$i"
		fill a.kv $((i * 10)) $((i * 10 + 50))
		kevo-watch --initial --cursor-file=c --idle=0 -f ops a.kv |
			kevo-import -q -f ops copy.kv
		diff <(kevo-scan a.kv) <(kevo-scan copy.kv)
	done
}

@test "watch: a transaction is never split" {
	kevo-init a.kv
	watching out a.kv
	pairs() {
		local i
		for i in {1..40}; do
			printf 'put\t%s1\t%s\nput\t%s2\t%s\nput\t%s3\t%s\n' \
				"$1" "$i" "$1" "$i" "$1" "$i" | kevo-txn -i a.kv
		done
	}
	background pairs a
	local one=$child
	background pairs b
	wait "$one" "$child"
	wait_for count out 240
	awk -F'\t' '
		{ key = substr($3, 1, 1) $4 }
		NR % 3 == 1 { version = $1; first = key }
		$1 != version || key != first { print "line " NR; exit 1 }' out
}

@test "watch: inside a transaction it is refused" {
	kevo-put a.kv k v
	run -77 --separate-stderr kevo-txn a.kv -- kevo-watch --idle=0 @
	matches "$stderr" '*cannot be followed within a transaction*'
	kevo-put b.kv k v
	ok kevo-txn a.kv -- kevo-watch --since=0 --idle=0 b.kv
	equal out "$output" $'1\tput\tk\tv'
}

@test "watch: a replica is followed, through a promotion and a rejoining" {
	seq 5 | kevo-put -i -k -b 1 a.kv
	kevo-walship base a.kv --to - | kevo-walship restore - --into b.kv
	mkdir archive
	watching out --cursor-file=c b.kv
	kevo-put a.kv shipped 1
	kevo-put a.kv shipped 2
	kevo-walship send a.kv --to archive --seal-after 0s
	kevo-walship apply archive --into b.kv
	wait_for count out 2
	# The last ones of the old primary arrive nowhere.
	kevo-put a.kv orphan 1
	kevo-put a.kv orphan 2
	kevo-watch --cursor-file=d --since=7 --idle=0 a.kv >/dev/null
	kevo-walship promote b.kv --archive archive
	kevo-put b.kv mine 1
	wait_for count out 3
	kill "$child"
	ends 143
	equal out "$(cut -f3,4 out)" $'shipped\t1\nshipped\t2\nmine\t1'
	matches "$(cat c)" '2.+([0-9a-f]):9:+([0-9a-f])'
	kevo-put b.kv mine 2
	is $'10\tput\tmine\t2' kevo-watch --cursor-file=c --idle=0 b.kv
	kevo-walship send b.kv --to archive --seal-after 0s
	run kevo-walship rejoin --from archive a.kv
	kevo-walship apply archive --into a.kv
	fails 69 '*history has changed*' kevo-watch --cursor-file=d --idle=0 a.kv
	ok kevo-watch --since=7 --idle=0 a.kv
	equal keys "$(cut -f3,4 <<<"$output")" $'mine\t1\nmine\t2'
}
