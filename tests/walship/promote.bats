#!/usr/bin/env bats
# shellcheck disable=SC2154 # run sets them
# kevo-walship promote, fence and rejoin; and that who writes to a copy that
# is no primary is told who is.

load walship

setup() {
	common_setup
	for i in {1..20}; do kevo-put --sync=none p.kv "key$i" "value$i"; done
	make_archive p.kv archive
	replica p.kv a.kv
	replica p.kv b.kv
}

teardown() { common_teardown; }

# refuses COMMAND...: 77, naming the primary; and nothing is written.
refuses() {
	local before
	before=$(sha256sum a.kv/wal/* | sha256sum)
	fails 77 '*a.kv: a replica: write to the primary, db1*' "$@" &&
		equal log "$(sha256sum a.kv/wal/* | sha256sum)" "$before"
}

@test "replica: every tool that writes exits 77 and names the primary" {
	ok kevo-get a.kv key7
	refuses kevo-put a.kv k v
	refuses piped 'k\tv\n' kevo-put -i a.kv
	refuses kevo-delete a.kv key1
	refuses kevo-incr a.kv n
	refuses piped 'k\tv\n' kevo-import a.kv
	refuses piped 'put\tk\tv\n' kevo-txn -i a.kv
	run -77 --separate-stderr kevo -c 'PUT k v' a.kv
	matches "$stderr" '*a replica: write to the primary, db1*'
	# What is no commit may be done.
	ok kevo-compact --full -q a.kv
	ok kevo-config a.kv set memtables=3
	is value20 kevo-get a.kv key20
}

@test "replica: kevo-stats and kevo-check know what it is" {
	run -0 kevo-stats -f tsv a.kv
	matches "$output" '*database.role	replica*'
	run -0 kevo-stats -f tsv p.kv
	matches "$output" '*database.role	primary*'
	ok kevo-check a.kv
}

@test "promote: the replica is the primary, and the next one has lost" {
	is 'a.kv: would begin epoch 2 behind commit 20' \
		kevo-walship promote -n a.kv --archive archive
	refuses kevo-put a.kv k v
	is 'a.kv: is the primary of epoch 2 behind commit 20' \
		kevo-walship promote a.kv --archive archive --host db2
	ok kevo-put a.kv k v
	cmp archive/epochs/00000002.epoch a.kv/epochs/00000002.epoch
	grep -qx 'host db2' archive/epochs/00000002.epoch
	fails 86 'fenced: b.kv: epoch 2 exists already (db2, *' \
		kevo-walship promote b.kv --archive archive
	fails 1 'a.kv: it is a primary already' kevo-walship promote a.kv
	ok kevo-check -q a.kv
	run -0 kevo-stats -f tsv a.kv
	matches "$output" '*database.role	primary*'
}

@test "replica: one that was restored names who began the newest epoch" {
	ok kevo-walship promote -q a.kv --archive archive --host db2
	kevo-put a.kv k v
	ok kevo-walship base -q a.kv --to archive
	ok kevo-walship restore -q archive --into c.kv
	fails 77 'c.kv: a replica: write to the primary, db2' \
		kevo-put c.kv k w
}

@test "promote: a command fences first, and if it fails nothing happens" {
	fails 75 'remote: "exit 3": exit 3; nothing was changed' \
		kevo-walship promote a.kv --fence-cmd 'exit 3'
	[ ! -e a.kv/epochs ]
	refuses kevo-put a.kv k v
	ok kevo-walship promote -q a.kv --fence-cmd 'echo >fenced'
	[ -e fenced ]
	ok kevo-put a.kv k v
}

@test "promote: an archive of another database is refused" {
	kevo-put other.kv a b
	make_archive other.kv other
	fails 83 'wrong-db: other is of another database than *' \
		kevo-walship promote a.kv --archive other
	fails 66 '*nothing: *' kevo-walship promote a.kv --archive nothing
	refuses kevo-put a.kv k v
}

@test "fence: nobody writes any more" {
	is 'p.kv: would be fenced' kevo-walship fence -n p.kv why
	ok kevo-put p.kv still 1
	ok kevo-walship fence p.kv 'db2 took over' --primary db2
	fails 77 '*p.kv: fenced: another copy went on without it (db2 took over); write to the primary, db2' \
		kevo-put p.kv k v
	is value3 kevo-get p.kv key3
	fails 86 'fenced: *' kevo-walship promote p.kv
}

@test "fence: a writer that has the database open is stopped, too" {
	mkfifo in
	kevo-put -i --sync=none p.kv <in 2>said &
	children+=($!)
	exec 9>in
	echo "a	1" >&9
	until [ "$(kevo-get p.kv a)" = 1 ]; do sleep 0.01; done
	ok kevo-walship fence p.kv now
	echo "b	2" >&9
	exec 9>&-
	wait "${children[0]}" && false
	grep -q 'fenced: another copy went on without it (now)' said
	no kevo-get p.kv b
}

@test "rejoin: orphans are counted, saved and cut off" {
	kevo-put p.kv only1 x
	kevo-put p.kv only2 y
	kevo-walship promote -q a.kv --archive archive --host db2
	kevo-put a.kv k v
	run -88 --separate-stderr kevo-walship rejoin p.kv --from archive -n
	equal output "$output" 'p.kv: would be a replica behind commit 20'
	matches "$stderr" '*orphans: p.kv: 2 commits 21..22 of epoch 1 *'
	ok kevo-put p.kv only3 z
	run -88 --separate-stderr kevo-walship rejoin p.kv --from archive
	equal output "$output" 'p.kv: is a replica behind commit 20'
	matches "$stderr" '*orphans: p.kv: 3 commits 21..23 of epoch 1 are in orphans/*'
	no kevo-get p.kv only1
	is value20 kevo-get p.kv key20
	fails 77 '*a replica: write to the primary, db2' kevo-put p.kv k v
	is p.kv/orphans/00000001-0000000000000015-0000000000000017.seg': sealed: epoch 1, commits 21..23' \
		kevo-walship verify p.kv/orphans/*.seg
	ok kevo-check p.kv
	is 'p.kv: is a replica behind commit 20' \
		kevo-walship rejoin p.kv --from archive
	fails 1 '*: the others have no epoch that it does not have*' \
		kevo-walship rejoin a.kv --from archive
}

@test "rejoin: what is in tables has to be restored" {
	kevo-put p.kv only1 x
	kevo-put p.kv only2 y
	kevo-compact --full -q p.kv
	kevo-put p.kv only3 z
	kevo-walship promote -q a.kv --archive archive
	for how in -n ''; do
		run -86 --separate-stderr kevo-walship rejoin p.kv \
			--from archive ${how:+"$how"}
		equal output "$output" ''
		matches "$stderr" '*orphans: p.kv: 1 commit 23..23 of epoch 1 *'
		matches "$stderr" '*orphans: p.kv: 2 commits 21..22 cannot be saved: what is left of them is in the tables of this copy; *'
		matches "$stderr" '*fenced: *its tables hold commits up to 22*next: kevo-walship restore archive*'
		equal 'it is fenced' "$([ ! -e p.kv/role ] || head -n 1 p.kv/role)" \
			"$([ -n "$how" ] || echo fenced)"
	done
	run -77 kevo-put p.kv k v
}

@test "rejoin: what is in tables is saved where there is a record of it" {
	for i in 21 22; do kevo-put p.kv "only$i" x; done
	kevo-compact --full -q p.kv
	kevo-walship slot -q p.kv create r1
	for i in 23 24; do kevo-put p.kv "only$i" x; done
	kevo-compact --full -q p.kv
	kevo-config p.kv set wal_keep=1G
	kevo-put p.kv only25 x
	kevo-compact --full -q p.kv
	kevo-put p.kv only26 x
	kevo-walship promote -q a.kv --archive archive
	cp -a p.kv again.kv
	for how in -n '' again; do
		db=p.kv
		[ "$how" != again ] || db=again.kv how=
		run -86 --separate-stderr kevo-walship rejoin $db \
			--from archive ${how:+"$how"}
		matches "$stderr" '*orphans: *.kv: 4 commits 23..26 of epoch 1 *'
		matches "$stderr" '*orphans: *.kv: 2 commits 21..22 cannot be saved: *'
		[ -z "$how" ] || [ ! -e p.kv/orphans ]
	done
	ok kevo-walship verify -q p.kv/orphans/*.seg
	is "$(printf '%s\n' 23..24 25..25 26..26)" \
		eval 'kevo-walship verify p.kv/orphans/*.seg | sed "s/.* //"'
	matches "$(kevo-walship tail p.kv/orphans/*19-*.seg)" '*only25*'
	# What is in orphans/ is saved, although no log has it any more.
	rm -r p.kv/slots/r1
	before=$(ls -il p.kv/orphans)
	run -86 --separate-stderr kevo-walship rejoin p.kv --from archive
	matches "$stderr" '*orphans: *.kv: 4 commits 23..26 of epoch 1 *'
	equal orphans "$(ls -il p.kv/orphans)" "$before"
	ok kevo-check -q p.kv
	# Others of that name are not taken for them.
	cp again.kv/orphans/*19-*19.seg again.kv/orphans/*17-*18.seg
	run ! --separate-stderr kevo-walship rejoin again.kv --from archive
	matches "$stderr" '*it has other commits than those that are to be saved*'
}

@test "rejoin: a damaged log is not cut" {
	for i in 21 22 23; do kevo-put p.kv "only$i" xyzzy; done
	kevo-walship promote -q a.kv --archive archive
	cp -a p.kv/wal before
	off=$(grep -abo only22 p.kv/wal/*.seg | cut -d : -f 1)
	printf X | dd of="$(ls p.kv/wal/*.seg)" bs=1 seek="$off" conv=notrunc \
		status=none
	run ! kevo-walship rejoin p.kv --from archive
	matches "$output" '*its log is damaged: commits 22..23 cannot be saved*'
	ok eval 'grep -q only23 p.kv/wal/*.seg'
}

@test "rejoin: a database that somebody writes to is busy" {
	kevo-walship promote -q a.kv --archive archive
	hold p.kv
	run -75 --separate-stderr kevo-walship rejoin -w 0 p.kv --from archive
	matches "$stderr" '*busy*'
}

@test "promote, fence, rejoin: wrong usage" {
	fails 64 '*DB is missing*' kevo-walship promote
	fails 64 '*REASON is missing*' kevo-walship fence p.kv
	fails 64 '*--from is missing*' kevo-walship rejoin p.kv
	fails 66 '*nothing.kv*' kevo-walship rejoin nothing.kv --from archive
	fails 66 '*nothing.kv*' kevo-walship promote nothing.kv
}

@test "promote: what was restored to before a later epoch is told the way" {
	database q.kv
	commits q.kv 1 19
	ship q.kv ar
	ok kevo-walship apply ar --into c.kv
	kevo-walship promote -q c.kv --archive ar
	kevo-put c.kv k v
	ship c.kv ar
	ok kevo-walship apply ar --into old.kv --until-seq 10
	for how in -n --quiet; do
		fails 81 'gap: old.kv: epoch 2 begins behind commit 20, and this ends with 10; nothing was changed; next: kevo-walship apply, *' \
			kevo-walship promote "$how" old.kv --force 'as it was'
	done
	ok kevo-walship apply ar --into old.kv
	is 'old.kv: is the primary of epoch 3 behind commit 22' \
		kevo-walship promote old.kv --force 'as it is'
}
