#!/usr/bin/env bats
# shellcheck disable=SC2154
# kevo-backup: what is in an archive, that any tar unpacks it, and that nobody
# who writes or compacts meanwhile spoils it.  restore.bats has the way back.

load backup
setup() {
	common_setup
	need_archives
}
teardown() { common_teardown; }

@test "backup: any tar unpacks a sound database, which can be written to" {
	need bsdtar
	make data.kv
	ok kevo-backup -o data.tar data.kv
	for program in tar bsdtar; do
		mkdir "$program.d"
		"$program" -C "$program.d" -xf data.tar
		ok kevo-check "$program.d/data"
		matches "$output" "$program.d/data: sound: *"
		equal lines "${#lines[@]}" 1
		same_data data.kv "$program.d/data"
		ok kevo-put "$program.d/data" new 1
		is 1 kevo-get "$program.d/data" new
		ok kevo-compact --full "$program.d/data"
		ok kevo-check -q "$program.d/data"
	done
}

@test "backup: a database without any record, and one that has only tables" {
	kevo-init -q a.kv
	ok kevo-backup -o a.tar a.kv
	tar -xf a.tar
	is '' kevo-scan a
	ok kevo-check -q a
	kevo-put a k v
	is v kevo-get a k
	kevo-compact --full a
	ok kevo-backup -o b.tar a
	mkdir b
	tar -C b -xf b.tar
	is v kevo-get b/a k
	ok kevo-check -q b/a
}

@test "backup: stock xxhsum checks every byte" {
	need xxhsum
	make data.kv
	kevo-backup data.kv | tar -xf -
	cd data
	ok xxhsum -c SUMS
	equal files "${#lines[@]}" "$(find . -type f ! -name SUMS \
		! -name END | wc -l)"
	printf x | dd of="$(find table -type f | head -n 1)" bs=1 seek=99 \
		conv=notrunc status=none
	run -1 xxhsum -c SUMS
}

@test "backup: members have the order that a stream needs" {
	make data.kv
	kevo-backup data.kv | tar -tf - | grep -v '/$' | sed 's,[0-9a-f]\{16\},N,' |
		uniq >got
	printf 'data/%s\n' KEVO-BASE LOCK PINS kevo.conf version/N \
		table/N.sst wal/N.seg FORMAT SUMS END >want
	diff want got
}

@test "backup: the same database is the same bytes, whenever and by whomever" {
	make data.kv
	for how in none gzip zstd; do
		kevo-backup -z $how -o a data.kv
		touch data.kv/table/*
		kevo-get data.kv last || true
		(umask 077; TZ=America/Lima kevo-backup -z $how data.kv) >b
		cmp a b
	done
	SOURCE_DATE_EPOCH=86400 kevo-backup data.kv >a
	tar --utc -tvf a | grep -q 1970-01-02
	run ! grep -qv 1970-01-02 <(tar --utc -tvf a)
	SOURCE_DATE_EPOCH=x fails 64 'SOURCE_DATE_EPOCH: x: *' \
		kevo-backup -o c data.kv
}

@test "backup: -z makes what zstd and gzip read" {
	need zstd gzip
	make data.kv
	kevo-backup data.kv >plain
	kevo-backup -z zstd data.kv | zstd -dc | cmp - plain
	kevo-backup -z gzip data.kv | gzip -dc | cmp - plain
}

@test "backup: the directory is called as the database, without .kv" {
	kevo-init -q a.kv
	mkdir -p x
	kevo-init -q 'x/b c.kv'
	kevo-init -q x/-d
	is a/ sh -c 'kevo-backup a.kv | tar -tf - | head -n 1'
	is a/ sh -c 'kevo-backup a.kv/ | tar -tf - | head -n 1'
	is b_c/ sh -c "kevo-backup 'x/b c.kv' | tar -tf - | head -n 1"
	is data/ sh -c 'kevo-backup x/-d | tar -tf - | head -n 1'
	is a/ sh -c 'cd a.kv && KEVO_DB=. kevo-backup @ | tar -tf - |
		head -n 1'
}

@test "backup: options and operands that are wrong" {
	kevo-init -q a.kv
	fails 64 '-z: lz4: *' kevo-backup -z lz4 a.kv
	fails 64 '-o: *' kevo-backup -o '' a.kv
	fails 64 '*--base and --since*' kevo-backup --base=x --since=3 a.kv
	fails 64 '*' kevo-backup
	fails 66 'nothing.kv: no such database' kevo-backup nothing.kv
	mkdir other && touch other/file
	fails 65 'other: not a kevo database' kevo-backup other
	fails 66 'gone.tar: cannot open: *' kevo-backup --base=gone.tar a.kv
	fails 73 '*: cannot create: *' kevo-backup -o nodir/a.tar a.kv
	fails 65 'a.kv: *' kevo-backup --since=9 a.kv
}

@test "backup: an archive does not go to a terminal" {
	need_terminal
	kevo-init -q a.kv
	run terminal 'kevo-backup a.kv; echo "status $?"'
	matches "$output" '*an archive does not go to a terminal*status 64*'
}

@test "backup: damage is not backed up: 72, and no file" {
	make data.kv
	cp -a data.kv a.kv
	printf x | dd of="$(find a.kv/table -type f | head -n 1)" bs=1 \
		seek=3000 conv=notrunc status=none
	fails 72 'a.kv/table/*: damaged*' kevo-backup -o a.tar a.kv
	is '' find . -maxdepth 1 -name '*.tar*'
	cp -a data.kv b.kv
	rm "$(find b.kv/table -type f | head -n 1)"
	run -72 --separate-stderr kevo-backup -o a.tar b.kv
	matches "$stderr" 'kevo-backup: b.kv/table/*.sst: missing*'
	[ ! -e a.tar ]
}

@test "backup: what is visible is in it, on disk or not" {
	kevo-init -q a.kv
	kevo-put --sync=none a.kv k v
	kevo-backup a.kv | tar -xf -
	is v kevo-get a k
}

@test "backup: a reader's rights suffice, also on a medium that is read-only" {
	make data.kv
	chmod -R a-w data.kv
	listing data.kv >before
	ok nodac kevo-backup -o a.tar data.kv
	listing data.kv | diff before -
	tar -xf a.tar
	chmod -R u+w data
	ok kevo-check -q data
}

@test "backup: beside writers and compactions each one is a state there was" {
	kevo-init -q --set memtable_bytes=64K data.kv
	# Each commit has its number under two keys.
	feed() {
		local i=0
		while [ ! -e stop ]; do
			i=$((i + 1))
			printf 'put\ta\t%s\nput\tz\t%s\nput\tpad/%s\t%01000d\n' \
				"$i" "$i" "$((i % 300))" "$i" |
				kevo-txn -i data.kv
		done
	}
	compactor() {
		while [ ! -e stop ]; do
			kevo-compact --full data.kv || [ $? -eq 75 ]
		done
	}
	background feed
	background compactor
	wait_for kevo-get data.kv a
	before=0
	for n in 1 2 3 4 5 6; do
		ok kevo-backup -o $n.tar data.kv
		mkdir $n
		tar -C $n -xf $n.tar
		ok kevo-check -q $n/data
		a=$(kevo-get $n/data a)
		is "$a" kevo-get $n/data z
		[ "$a" -gt "$before" ]
		before=$a
		wait_for sh -c "[ \$(kevo-get data.kv a) -gt $((a + 40)) ]"
	done
	touch stop
	wait "${children[@]}"
	is "$(kevo-get data.kv a)" kevo-get data.kv z
}

@test "backup: an increment has what its parent lacks" {
	make data.kv
	kevo-backup -o 0.tar data.kv
	kevo-put data.kv new 1
	ok kevo-backup --base=0.tar -o 1.tar data.kv
	is 0 sh -c 'tar -tf 1.tar | grep -c /table/0 || true'
	is 1 sh -c 'tar -tf 1.tar | grep -c /wal/0'
	# Compaction leaves the log short, and the tables others.
	kevo-put data.kv new 2
	kevo-compact --full data.kv
	ok kevo-backup --base=1.tar -o 2.tar data.kv
	[ "$(tar -tf 2.tar | grep -c /table/0)" -ge 1 ]
	ok kevo-restore -q out.kv 0.tar 1.tar 2.tar
	same_data data.kv out.kv
	# Nothing has happened: an increment of nothing.
	ok kevo-backup --base=2.tar -o 3.tar data.kv
	ok kevo-restore -q again.kv 0.tar 1.tar 2.tar 3.tar
	same_data data.kv again.kv
}

@test "backup: --since takes the log behind a version, if it is kept" {
	kevo-init -q --set wal_keep=100M --set memtable_bytes=64K \
		--set compaction=manual a.kv
	records 1 400 first | kevo-put -i -b 20 a.kv
	kevo-backup -o 0.tar a.kv
	kevo-put a.kv k 1
	version=$(kevo-put --print-version a.kv k 2)
	records 1 400 second | kevo-put -i -b 20 a.kv
	kevo-compact --full a.kv
	ok kevo-backup --since=20 -o 1.tar a.kv
	ok kevo-restore -q b.kv 0.tar 1.tar
	same_data a.kv b.kv
	ok kevo-restore -q --until="$version" c.kv 0.tar 1.tar
	is 2 kevo-get c.kv k
	is "$version" sh -c "kevo-scan -m c.kv k | sed -n 's/^k\t\\([0-9]*\\)\t.*/\\1/p'"
	fails 65 'a.kv: its last commit is *' kevo-backup --since=99999 a.kv
}

@test "backup: an increment to another database, history or torn file" {
	make data.kv
	kevo-backup -o 0.tar data.kv
	kevo-init -q other.kv
	fails 65 'other.kv: *another database' kevo-backup --base=0.tar \
		-o x.tar other.kv
	head -c 5000 0.tar >torn.tar
	fails 75 'torn.tar: *' kevo-backup --base=torn.tar -o x.tar data.kv
	# Two copies that go different ways.
	tar -xf 0.tar
	kevo-put data k here
	kevo-put data.kv k there
	kevo-backup -o 1.tar data.kv
	fails 65 'data: at commit *two histories*' kevo-backup \
		--base=1.tar -o x.tar data
	[ ! -e x.tar ]
}

@test "backup: -v tells how far it reaches; --progress=numeric ends with 100" {
	kevo-init -q a.kv
	kevo-put a.kv k v
	run -0 --separate-stderr kevo-backup -v -o a.tar a.kv
	matches "$stderr" 'kevo-backup: * files, * bytes, up to commit 1 of 20*Z (1.*:1:*)'
	run -0 --separate-stderr kevo-backup --progress=numeric -o a.tar a.kv
	equal progress "$stderr" 100
}
