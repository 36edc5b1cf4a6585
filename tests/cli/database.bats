#!/usr/bin/env bats
# shellcheck disable=SC2154
# What every tool does about the directory it is given: read-only media,
# strangers, newer and damaged databases, copies, lost shared memory.

load common
shopt -s extglob
setup() { common_setup; }
teardown() { common_teardown; }

# each_reader DB CHECK...: CHECK with each reading tool's command line.
each_reader() {
	local db=$1
	shift
	"$@" kevo-get "$db" k || return
	"$@" kevo-get -m "$db" k || return
	"$@" kevo-scan "$db" || return
	"$@" kevo-scan -r -c "$db" || return
	"$@" kevo-export "$db" || return
}

each_writer() {
	local db=$1
	shift
	"$@" kevo-put "$db" k new || return
	"$@" kevo-put --if-absent "$db" k new || return
	"$@" kevo-put -i "$db" k || return
	"$@" kevo-put -i "$db" || return
	"$@" kevo-incr "$db" n || return
	"$@" kevo-delete "$db" k || return
	"$@" kevo-delete --all "$db" || return
	"$@" kevo-import -q "$db" || return
}

# with_records COMMAND...: with something on standard input.
with_records() {
	printf 'k\tin\n' | "$@"
}

@test "readers: leave no trace at all in a database" {
	kevo-init -q --set memtable_bytes=64K --set compaction=manual \
		a.kv
	seq 4000 | sed 's/$/\tvalue/' | kevo-put -i a.kv
	kevo-put a.kv k v
	listing a.kv >before
	each_reader a.kv ok
	echo k | kevo-get -i a.kv >/dev/null
	no kevo-get a.kv nothing
	is v kevo-get a.kv k
	listing a.kv | diff before -
}

@test "readers: work where nothing may be written, writers get 77" {
	kevo-put a.kv k v
	chmod -R a-w a.kv
	listing a.kv >before
	each_reader a.kv ok nodac
	is v nodac kevo-get a.kv k
	refused() {
		run -77 --separate-stderr with_records nodac "$@" || return
		matches "$stderr" "$1: a.kv*" || return
		equal output "$output" ''
	}
	each_writer a.kv refused
	ok nodac kevo-init -q a.kv
	listing a.kv | diff before -
}

@test "readers: work on a read-only copy without shared memory" {
	kevo-init -q --set memtable_bytes=64K --set compaction=manual \
		a.kv
	seq 4000 | sed 's/$/\tvalue/' | kevo-put -i a.kv
	kevo-put a.kv k v
	kevo-scan a.kv >want
	cp -a a.kv b.kv
	rm -r b.kv/shm
	chmod -R a-w b.kv
	listing b.kv >before
	each_reader b.kv ok nodac
	nodac kevo-scan b.kv | cmp want -
	listing b.kv | diff before -
}

@test "readers: a read-only mount is no different" {
	[ "$(id -u)" -eq 0 ] || skip 'needs to mount'
	kevo-put a.kv k v
	mkdir ro
	unshare -m true 2>/dev/null || skip 'no mount namespaces here'
	cat >inside.sh <<-'EOF'
		set -e
		mount --bind a.kv ro || exit 99
		mount -o remount,bind,ro ro || exit 99
		[ "$(kevo-get ro k)" = v ]
		[ "$(kevo-scan -c ro)" = 1 ]
		status=0
		kevo-put ro k w 2>err || status=$?
		[ "$status" -eq 77 ] || { echo "status $status"; cat err; exit 1; }
		grep -q '^kevo-put: ro.*ead-only file system' err
	EOF
	run unshare -m sh inside.sh
	[ "$status" -ne 99 ] || skip 'may not mount here'
	[ "$status" -eq 0 ] || { echo "$output"; return 1; }
	is v kevo-get a.kv k
}

@test "readers: see what is written over a lower layer of overlayfs" {
	[ "$(id -u)" -eq 0 ] || skip 'needs to mount'
	unshare -m true 2>/dev/null || skip 'no mount namespaces here'
	cat >inside.sh <<-'EOF'
		mkdir disk && mount -t tmpfs none disk && cd disk || exit 99
		mkdir low work1 one up work2 two
		mount -t overlay -o lowerdir=low,upperdir=up,workdir=work1 \
			none one || exit 99
		set -e
		kevo-put one/a.kv k old
		umount one
		# What was made there is a lower layer now, in the same boot.
		mkdir up2
		mount -t overlay -o lowerdir=up,upperdir=up2,workdir=work2 \
			none two || exit 99
		mkfifo ask
		kevo-get -i -f tsv two/a.kv <ask >told &
		exec 9>ask
		# So many that the reader maps what it reads.
		for i in 1 2 3 4 5 6 7 8 9 10; do echo k >&9; done
		until [ "$(wc -l <told)" -eq 10 ]; do sleep 0.01; done
		kevo-put two/a.kv k new
		n=10
		while [ "$n" -lt 300 ] && ! grep -q new told; do
			n=$((n + 1))
			echo k >&9
			until [ "$(wc -l <told)" -eq "$n" ]; do sleep 0.01; done
		done
		exec 9>&-
		wait
		tail -n 1 told
		[ "$(kevo-get two/a.kv k)" = new ]
	EOF
	run unshare -m sh inside.sh
	[ "$status" -ne 99 ] || skip 'may not mount here'
	equal "$status: answer" "$output" $'k\tnew'
}

@test "readers: never create; writers create only in a place that is free" {
	absent() {
		fails 66 'no.kv: no such database*' "$@" || return
		[ ! -e no.kv ]
	}
	each_reader no.kv absent
	mkdir empty
	none() {
		fails 66 'empty: no *database*' "$@" || return
		equal empty "$(ls -A empty)" ''
	}
	each_reader empty none
	homeless() {
		run -73 --separate-stderr with_records "$@" || return
		matches "$stderr" "$1: no/such/a.kv: *"
	}
	fails 73 'no/such/a.kv: *' kevo-put no/such/a.kv k v
	fails 73 'no/such/a.kv: *' kevo-incr no/such/a.kv k
	fails 73 'no/such/a.kv: *' piped 'a\t1\n' kevo-import no/such/a.kv
	[ ! -e no ]
	mkdir taken
	ok kevo-put taken k v
	is v kevo-get taken k
}

@test "a creation that its file system refuses leaves nothing behind" {
	need strace
	mkdir there
	for db in n.kv there; do
		# A network file system, by its type.
		run -73 strace -o trace -e trace=fstatfs \
			-e inject=fstatfs:poke_exit=@arg2=6969000000000000 \
			kevo-put "$db" k v
		if ! grep -q INJECTED trace && ! grep -q 0x6969 trace; then
			skip 'this strace cannot poke'
		fi
		matches "$output" "*$db: on a file system*network one"
	done
	[ ! -e n.kv ]
	equal there "$(ls -A there)" ''
}

@test "a directory that is something else is 65, and stays as it is" {
	mkdir other
	echo mine >other/file
	listing other >before
	foreign() {
		run -65 --separate-stderr with_records "$@" || return
		equal output "$output" '' || return
		matches "$stderr" "$1: other: *"
	}
	each_reader other foreign
	each_writer other foreign
	foreign kevo-init other
	listing other | diff before -
	echo mine >file
	fails 65 'file: *' kevo-get file k
	fails 65 'file: *' kevo-put file k v
	equal file "$(cat file)" mine
}

@test "a newer format is 65 and named as such, unchanged" {
	kevo-put a.kv k v
	chmod u+w a.kv/FORMAT
	# FORMAT is looked at where there is no shared memory of this boot.
	rm -r a.kv/shm
	sed -i '1s/.*/kevo 3/' a.kv/FORMAT
	listing a.kv >before
	newer() {
		run -65 --separate-stderr with_records "$@" || return
		matches "$stderr" "$1: a.kv*newer*"
	}
	each_reader a.kv newer
	each_writer a.kv newer
	newer kevo-init a.kv
	listing a.kv | diff before -
}

@test "a damaged FORMAT is 72, whatever is damaged in it" {
	local byte size
	kevo-put a.kv k v
	cp a.kv/FORMAT good
	chmod u+w a.kv/FORMAT
	rm -r a.kv/shm
	size=$(wc -c <good)
	damaged() {
		run --separate-stderr with_records "$@"
		matches "$status" '@(65|72)' || return
		equal output "$output" '' || return
		matches "$stderr" "$1: a.kv*"
	}
	# The first line says that it is ours; a change there may be anything.
	for byte in $(seq 7 11 $((size - 1))); do
		cp good a.kv/FORMAT
		printf '~' | dd of=a.kv/FORMAT bs=1 seek="$byte" conv=notrunc \
			status=none
		run --separate-stderr kevo-get a.kv k
		equal "status, byte $byte" "$status" 72
		damaged kevo-put a.kv k v
	done
	for size in 0 1 7 50 $((size - 2)); do
		head -c "$size" good >a.kv/FORMAT
		damaged kevo-get a.kv k
		damaged kevo-put a.kv k v
	done
	cp good a.kv/FORMAT
	is v kevo-get a.kv k
}

@test "a lost FORMAT is 72, and nothing is made in its place" {
	kevo-init -q --set memtable_bytes=64K --set compaction=manual a.kv
	seq 4000 | sed 's/$/\tvalue/' | kevo-put -i a.kv
	lost() {
		mv a.kv/FORMAT good
		rm -rf a.kv/shm
		listing a.kv >before
		fails 72 "a.kv/FORMAT: missing, but there is $1*" \
			kevo-put a.kv k v &&
		fails 72 "a.kv/FORMAT: missing, but there is $1*" \
			kevo-get a.kv 1 &&
		fails 72 "a.kv/FORMAT: missing, but there is $1*" \
			kevo-init a.kv &&
		listing a.kv | diff before - &&
		mv good a.kv/FORMAT
	}
	lost 'a log'
	kevo-compact --full a.kv
	lost 'a log'
	mv a.kv/wal wal
	lost 'a version'
	mv a.kv/version version
	lost 'a table'
	mv wal version a.kv
	is 4000 kevo-scan -c a.kv
	mv a.kv/FORMAT good
	run -1 --separate-stderr kevo-check -q --repair a.kv
	equal lines "${#lines[@]}" 2
	matches "${lines[1]}" 'a.kv: repaired: 0 records written anew'
	diff <(grep -v '^created\|^xxh3' good) \
		<(grep -v '^created\|^xxh3' a.kv/FORMAT)
	is 4000 kevo-scan -c a.kv
}

@test "a damaged log is 72, with the file and the place" {
	local name
	kevo-init -q --set memtable_bytes=64K --set compaction=manual \
		a.kv
	seq 4000 | sed 's/$/\tvalue/' | kevo-put -i a.kv
	cp -a a.kv b.kv
	rm -r b.kv/shm
	name=$(cd b.kv/wal && printf '%s\n' * | head -n 1)
	printf '~~~~' | dd of="b.kv/wal/$name" bs=1 seek=20000 conv=notrunc \
		status=none
	run -72 --separate-stderr kevo-get b.kv 1
	matches "$stderr" "kevo-get: b.kv/wal/$name*"
	run -72 --separate-stderr kevo-put b.kv k v
	matches "$stderr" "kevo-put: b.kv/wal/$name*"
	# A hole in the row is damage as well.
	cp -a a.kv c.kv
	rm -r c.kv/shm "c.kv/wal/$name"
	run -72 --separate-stderr kevo-scan c.kv
	matches "$stderr" "kevo-scan: c.kv*"
	is 4000 kevo-scan -c a.kv
}

@test "a copy is a database of its own, also made while others write" {
	kevo-init -q --set memtable_bytes=64K --set compaction=manual \
		a.kv
	seq 4000 | sed 's/$/\told/' | kevo-put -i a.kv
	cp -a a.kv b.kv
	kevo-put b.kv 1 new
	kevo-put a.kv 2 changed
	is old kevo-get a.kv 1
	is new kevo-get b.kv 1
	is old kevo-get b.kv 2
	cp -r b.kv c.kv
	is new kevo-get c.kv 1
	ok kevo-put c.kv 3 x
	is 4000 kevo-scan -c c.kv
	mv c.kv d.kv
	is x kevo-get d.kv 3
	ok kevo-put d.kv 3 y
	is y kevo-get d.kv 3
}

@test "without shared memory a database is the same, read or written first" {
	kevo-init -q --set memtable_bytes=64K --set compaction=manual \
		a.kv
	seq 4000 | sed 's/$/\tvalue/' | kevo-put -i a.kv
	kevo-delete a.kv 17
	kevo-scan a.kv >want
	rm -r a.kv/shm
	kevo-scan a.kv | cmp want -
	rm -rf a.kv/shm
	kevo-put a.kv 17 value
	kevo-scan -c a.kv
	kevo-delete a.kv 17
	kevo-scan a.kv | cmp want -
	rm -rf a.kv/shm/*
	kevo-scan a.kv | cmp want -
	kevo-put a.kv k v
	is v kevo-get a.kv k
}

@test "a damaged control is made anew; a damaged index is named as the cause" {
	local f
	kevo-put a.kv k v
	head -c 4096 /dev/urandom >a.kv/shm/control
	is v kevo-get a.kv k
	ok kevo-put a.kv k w
	is w kevo-get a.kv k
	: >a.kv/shm/control
	is w kevo-get a.kv k
	ok kevo-put a.kv k x
	f=$(echo a.kv/shm/*.idx)
	head -c 65536 /dev/urandom >"$f"
	fails 72 "$f: damaged*remove a.kv/shm*" kevo-get a.kv k
	fails 72 "$f: damaged*remove a.kv/shm*" kevo-put a.kv k y
	rm -r a.kv/shm
	is x kevo-get a.kv k
	ok kevo-put a.kv k y
}

@test "shared memory deleted under a running writer: no second truth" {
	kevo-put a.kv k v
	hold a.kv
	rm -r a.kv/shm
	run -75 --separate-stderr kevo-put -w 0 a.kv k w
	matches "$stderr" "kevo-put: a.kv*$holder*"
	release
	ok kevo-put a.kv k w
	is w kevo-get a.kv k
}

@test "a database that is replaced under its name is read as it is now" {
	kevo-put a.kv k old
	kevo-put b.kv k new
	converse kevo-get -i a.kv
	ask k
	hear
	equal answer "$line" $'k\told'
	mv a.kv gone.kv
	mv b.kv a.kv
	ask k
	hear
	equal 'an open one stays itself' "$line" $'k\told'
	hang_up
	ends 0
	is new kevo-get a.kv k
}

@test "a full disk is 74, keeps what was there, and ends with room" {
	[ "$(id -u)" -eq 0 ] || skip 'needs to mount'
	unshare -m true 2>/dev/null || skip 'no mount namespaces here'
	mkdir small
	cat >inside.sh <<-'EOF'
		set -e
		mount -t tmpfs -o size=1M tmpfs small || exit 99
		kevo-init -q --set memtable_bytes=128K --set compaction=manual \
			small/a.kv
		kevo-put small/a.kv first value
		status=0
		seq 100000 | sed 's/$/\tvalue/' | kevo-put -i small/a.kv 2>err ||
			status=$?
		cat err
		[ "$status" -eq 74 ]
		grep -q '^kevo-put: small/a.kv.*No space left' err
		[ "$(kevo-get small/a.kv first)" = value ]
		kevo-scan small/a.kv >/dev/null
		n=$(kevo-scan -c small/a.kv)
		[ "$n" -gt 100 ]
		mount -o remount,size=4M small
		kevo-put small/a.kv last value
		[ "$(kevo-scan -c small/a.kv)" -eq $((n + 1)) ]
	EOF
	run unshare -m sh inside.sh
	[ "$status" -ne 99 ] || skip 'may not mount here'
	[ "$status" -eq 0 ] || { echo "$output"; return 1; }
}

@test "a full disk that copies on write is no different" {
	[ "$(id -u)" -eq 0 ] || skip 'needs to mount'
	need mkfs.btrfs
	unshare -m true 2>/dev/null || skip 'no mount namespaces here'
	truncate -s 120M image
	mkfs.btrfs -q -M image
	mkdir small
	cat >inside.sh <<-'EOF'
		mount -o loop image small || exit 99
		set -e
		kevo-init -q --set memtable_bytes=4M --set compaction=manual \
			small/a.kv
		status=0
		seq 10000000 | sed 's/$/\tvalue of some length/' |
			kevo-put -i small/a.kv 2>err || status=$?
		cat err
		[ "$status" -eq 74 ]
		grep -q '^kevo-put: small/a.kv.*: cannot reserve space: No sp' err
		kevo-check -q small/a.kv
		kevo-get small/a.kv 1 >/dev/null
	EOF
	run unshare -m sh inside.sh
	[ "$status" -ne 99 ] || skip 'may not mount here'
	[ "$status" -eq 0 ] || { echo "$output"; return 1; }
}

@test "standard descriptors that are closed never become a file of it" {
	local fd name
	# looks NAME PID: none of its first three is a file of the database.
	looks() {
		for fd in 0 1 2; do
			name=$(readlink "/proc/$2/fd/$fd") || continue
			[[ $name != *a.kv* ]] || { echo "$1: $fd is $name"; return 1; }
		done
	}
	opened() { ls -l "/proc/$child/fd" | grep -q a.kv; }
	kevo-init -q --set memtable_bytes=64K --set sync=none a.kv
	seq 20000 | kevo-put -ik a.kv
	mkfifo to out
	kevo-put -i -b 1 a.kv <to >&- 2>&- 3>&- &
	child=$!
	children+=("$child")
	exec 8>to
	echo $'k\tv' >&8
	wait_for kevo-get a.kv k
	looks kevo-put "$child"
	# Where would this go?
	echo bad >&8
	exec 8>&-
	ends 65
	kevo-scan a.kv >out <&- 2>&- 3>&- &
	child=$!
	children+=("$child")
	exec 7<out
	hear
	looks kevo-scan "$child"
	cat <&7 >/dev/null
	exec 7<&-
	ends 0
	kevo-compact --watch=0.05 a.kv <&- >&- 2>&- 3>&- &
	child=$!
	children+=("$child")
	wait_for opened
	looks kevo-compact "$child"
	kill -TERM "$child"
	ends 143
	# What is said is said to nobody, and what is said is in no file.
	kevo-put -v --if-absent a.kv k w <&- >&- 2>&- || [ $? -eq 1 ]
	kevo-compact --full -v a.kv <&- >&- 2>&-
	kevo-incr a.kv n <&- >&- 2>&- || [ $? -eq 74 ]
	ok kevo-check -q a.kv
	is 20002 kevo-scan -c a.kv
}

@test "files are made in the database, never in TMPDIR" {
	mkdir tmp
	export TMPDIR=$PWD/tmp
	seq 10000 14999 | kevo-import -q -k --sorted a.kv
	kevo-txn a.kv sh -c 'seq 9000 | kevo-put -ik @'
	kevo-compact --full a.kv
	kevo-export -o out.tsv a.kv
	ok kevo-check -q a.kv
	equal 'in TMPDIR' "$(ls -A tmp)" ''
	# Nothing is even tried there.
	TMPDIR=$PWD/nowhere
	kevo-txn a.kv sh -c 'seq 9001 9100 | kevo-put -ik @'
	kevo-compact --full a.kv
	ok kevo-check -q --repair a.kv
	is 14100 kevo-scan -c a.kv
}

@test "names with control characters are shown escaped in messages" {
	run -66 --separate-stderr kevo-get $'no\e[31m\n.kv' k
	equal lines "${#stderr_lines[@]}" 1
	matches "$stderr" 'kevo-get: no\\x1b\[31m\\x0a.kv: no such database*'
	kevo-put a.kv k v
	run -65 --separate-stderr piped 'k\t\\\001\n' kevo-put -i a.kv
	equal 'raw' "$(printf %s "$stderr" | tr -d '\n -~')" ''
	run -1 --separate-stderr kevo-get -v a.kv $'\e]0;x\a'
	equal 'raw' "$(printf %s "$stderr" | tr -d '\n -~')" ''
}
