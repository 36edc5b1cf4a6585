#!/usr/bin/env bats
# shellcheck disable=SC2154,SC2144
# kevo-walship send DB --to ARCHIVE.

load walship
setup() { common_setup; }
teardown() { common_teardown; }

@test "send: segments come as they are in the log, and sending again changes nothing" {
	database a.kv
	commits a.kv 1 20
	ship a.kv ar
	commits a.kv 21 40
	ship a.kv ar
	equal segments "$(find ar/wal -name '*.seg' | wc -l)" 2
	same_log a.kv ar
	same_place a.kv ar
	ok kevo-walship verify -q ar
	(cd ar && xxhsum -q -c state/SUMS)
	files ar >before
	ship a.kv ar
	ok kevo-walship send a.kv --to ar
	files ar | cmp - before
	run -0 --separate-stderr kevo-walship send -v a.kv --to ar
	equal said "$stderr" 'kevo-walship: shipped 0, present 0'
}

@test "send: what is not complete lies in state/tail, and grows there" {
	database a.kv
	commits a.kv 1 10
	ok kevo-walship send a.kv --to ar
	tail=ar/state/tail/00000001-0000000000000001.open
	ok kevo-walship verify "$tail"
	size=$(stat -c %s "$tail")
	inode=$(stat -c %i "$tail")
	cmp -n "$size" "$tail" a.kv/wal/0000000000000001.seg
	same_place a.kv ar
	commits a.kv 11 20
	ok kevo-walship send a.kv --to ar
	[ "$(stat -c %s "$tail")" -gt "$size" ]
	equal inode "$(stat -c %i "$tail")" "$inode"
	cmp -n "$(stat -c %s "$tail")" "$tail" a.kv/wal/0000000000000001.seg
	ship a.kv ar
	[ ! -e "$tail" ]
	same_log a.kv ar
	same_place a.kv ar
}

@test "send: a torn tail is gone on with, a foreign one is kept" {
	database a.kv
	commits a.kv 1 10
	ok kevo-walship send a.kv --to ar
	tail=ar/state/tail/00000001-0000000000000001.open
	cp "$tail" whole
	head -c 700 whole >"$tail"
	ok kevo-walship send a.kv --to ar
	cmp "$tail" whole
	truncate -s +4000 "$tail"
	ok kevo-walship send a.kv --to ar
	commits a.kv 11 12
	ok kevo-walship send a.kv --to ar
	cmp -n "$(stat -c %s whole)" "$tail" whole
	ok kevo-walship verify -q "$tail"
	# The same beginning, and then something else.
	cp -a a.kv b.kv
	commits b.kv 13 14
	commits a.kv 23 24
	ok kevo-walship send a.kv --to ar
	fails 82 'fork: *' kevo-walship send b.kv --to ar
	same_place a.kv ar
}

@test "send: nothing is lost between two passes, however the log is compacted" {
	kevo-init -q a.kv
	commits a.kv 1 10
	ok kevo-walship send a.kv --to ar
	kevo-compact --full a.kv
	commits a.kv 11 20
	kevo-compact --full a.kv
	kevo-compact --full a.kv
	ok kevo-walship send a.kv --to ar
	same_place a.kv ar
	ok kevo-walship verify -q ar
	# It is acknowledged: nothing is kept for it.
	kevo-compact --full a.kv
	ok kevo-walship send a.kv --to ar
	equal kept "$(find a.kv/slots -name '*.seg' | wc -l)" 0
}

@test "send: without a slot a log that is gone is a gap, named" {
	kevo-init -q a.kv
	commits a.kv 1 10
	ok kevo-walship send a.kv --to ar --slot none
	[ ! -e a.kv/slots ] || [ -z "$(ls a.kv/slots)" ]
	commits a.kv 11 20
	kevo-compact --full a.kv
	files ar >before
	fails 81 'gap: ar: need commit 12, the log of a.kv begins at 23; *' \
		kevo-walship send a.kv --to ar --slot none
	files ar | cmp - before
}

@test "send: --zstd, and both spellings of a name are one" {
	need zstd
	database a.kv
	commits a.kv 1 20
	ok kevo-walship send a.kv --to ar --seal-after 0 --zstd
	zst=$(find ar/wal -name '*.seg.zst')
	zstd -q -t "$zst"
	zstd -q -dc "$zst" >plain
	cmp plain a.kv/wal/0000000000000001.seg
	ok kevo-walship verify --deep ar
	(cd ar && xxhsum -q -c state/SUMS)
	same_place a.kv ar
	# Sent once more, plain, from nothing that remembers.
	rm -r a.kv/slots
	mkdir again
	cp -r ar/KEVO-ARCHIVE ar/epochs again/
	mkdir -p again/wal/00000001 again/state/tail
	mv "$zst" again/wal/00000001/
	ok kevo-walship send a.kv --to again
	equal segments "$(find again/wal -type f)" \
		"again/wal/00000001/$(basename "$zst")"
}

@test "send: another database, a rolled back one and a copy are told apart" {
	database a.kv
	commits a.kv 1 10
	cp -a a.kv old.kv
	commits a.kv 11 20
	ship a.kv ar
	files ar >before
	database b.kv
	commits b.kv 1 10
	fails 83 'wrong-db: ar: *' kevo-walship send b.kv --to ar
	fails 82 'fork: old.kv: it ends at commit 11, ar has 22 already: it was rolled back*' \
		kevo-walship send old.kv --to ar
	commits old.kv 111 130
	fails 82 'fork: old.kv: at commit 22 *' kevo-walship send old.kv --to ar
	files ar | cmp - before
}

@test "send: a segment of the archive that was damaged is not built upon" {
	database a.kv
	commits a.kv 1 10
	mkdir -p ar/wal/00000001
	ok kevo-walship send a.kv --to ar2
	cp -r ar2/. ar/
	name=00000001-0000000000000001-000000000000000b.seg
	echo something else >ar/wal/00000001/$name
	fails 80 'corrupt: ar/wal/*' kevo-walship send a.kv --to ar \
		--seal-after 0
	equal contents "$(cat ar/wal/00000001/$name)" 'something else'
}

@test "send: the lock is held by one, whose name it tells" {
	database a.kv
	commits a.kv 1 3
	ok kevo-walship send a.kv --to ar
	background kevo-walship send a.kv --to ar --follow
	wait_for grep -q "pid $child " ar/state/lock
	fails 75 "busy: ar: kevo-walship send, pid $child on * has the lock" \
		kevo-walship send a.kv --to ar
	kill -TERM "$child"
	ends 143
	ok kevo-walship send a.kv --to ar
}

@test "send: --follow ships as it goes, and sleeps when there is nothing" {
	database a.kv
	commits a.kv 1 3
	background kevo-walship send a.kv --to ar --follow --seal-after 1s
	wait_for test -e ar/state/source
	for i in 1 2 3; do
		kevo-put a.kv "f$i" "$i"
		wait_for test "$(kevo-walship pos a.kv)" = \
			"$(kevo-walship pos ar)" || wait_for same_place a.kv ar
	done
	wait_for sh -c 'ls ar/wal/00000001/*.seg'
	wait_for same_log a.kv ar
	wait_for same_place a.kv ar
	kill -TERM "$child"
	ends 143
	ok kevo-walship verify -q ar
}

@test "send: --hook is told of each segment, and its failure is told" {
	database a.kv
	commits a.kv 1 3
	ok kevo-walship send a.kv --to ar --seal-after 0 \
		--hook 'echo "$KEVO_EVENT $KEVO_ARCHIVE $KEVO_FILE" >>hooked'
	equal hooked "$(cat hooked)" \
		'segment ar wal/00000001/00000001-0000000000000001-0000000000000004.seg'
	commits a.kv 4 6
	run -0 --separate-stderr kevo-walship send a.kv --to ar --seal-after 0 \
		--hook 'exit 3'
	matches "$stderr" 'kevo-walship: remote: hook "exit 3": exit 3*'
}

@test "send: only what is on disk is shipped" {
	database a.kv
	kevo-put a.kv durable 1
	kevo-put --sync=none a.kv later 2
	ok kevo-walship send a.kv --to ar
	matches "$(kevo-walship pos ar)" '1.*:1:*'
	kevo-put a.kv durable 3
	ok kevo-walship send a.kv --to ar
	matches "$(kevo-walship pos ar)" '1.*:3:*'
}

@test "send: a directory of something else is refused" {
	database a.kv
	kevo-put a.kv k v
	mkdir home
	echo mine >home/file
	fails 65 'home: neither an archive nor empty' \
		kevo-walship send a.kv --to home
	mkdir empty
	ok kevo-walship send a.kv --to empty
	flip empty/KEVO-ARCHIVE 20
	fails 72 'empty/KEVO-ARCHIVE: damaged' kevo-walship send a.kv --to empty
}

@test "send: an archive ends at a gap, stays good, and a new one is begun" {
	kevo-init -q --set compaction=manual g.kv
	kevo-put --sync=full g.kv a 1
	ok kevo-walship base g.kv --to ar
	ok kevo-walship send g.kv --to ar
	at=$(kevo-walship pos ar)
	for s in g.kv/slots/*; do kevo-walship slot -q g.kv drop "${s##*/}"; done
	for i in 2 3 4; do
		kevo-put --sync=full g.kv a "$i"
		kevo-compact --full -q g.kv
	done
	fails 81 'gap: ar: need commit 2, the log of g.kv begins at *, ar ends there; next: kevo-walship base g.kv --to NEW' \
		kevo-walship send g.kv --to ar
	is "$at" kevo-walship pos ar
	ok kevo-walship status ar
	ok kevo-walship restore ar --into old.kv
	is 1 kevo-get old.kv a
	ok kevo-walship base g.kv --to new
	ok kevo-walship send g.kv --to new
	ok kevo-walship restore new --into r.kv
	is 4 kevo-get r.kv a
}
