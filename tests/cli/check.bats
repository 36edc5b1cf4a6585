#!/usr/bin/env bats
# shellcheck disable=SC2154
# kevo-check: what it says, with which status, and that it leaves no trace.
# What it finds, and what a repair keeps, is tests/unit/check_test.c's.

load common
setup() { common_setup; }
teardown() { common_teardown; }

records() {
	seq "$1" "$2" | awk -v what="$3" \
		'{ printf "key%05d\t%s value %d %050d\n", $1, what, $1, $1 }'
}

# make DB: two levels of tables, and several segments of log.
make() {
	kevo-init -q --set memtable_bytes=64K --set compaction=manual "$1"
	records 1 700 first | kevo-import -q "$1"
	kevo-compact --full "$1"
	records 300 600 second | kevo-put -i -b 50 "$1"
	kevo-delete "$1" key00010 key00011
	kevo-compact --full "$1"
	records 400 900 third | kevo-put -i -b 50 "$1"
	kevo-compact --flush "$1"
	records 800 1500 fourth | kevo-put -i -b 50 "$1"
	kevo-put "$1" last 1
	kevo-put "$1" last 2
}

# flip FILE BYTE [COUNT]: other bytes from there on.
flip() {
	head -c "${3:-1}" /dev/zero | tr '\0' '\252' |
		dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

first() {
	find "$1" -type f | LC_ALL=C sort | head -n 1
}

@test "check: a sound database is 0, with numbers; -q says nothing" {
	make a.kv
	ok kevo-check a.kv
	matches "$output" 'a.kv: sound: [1-9]* files, [1-9]* bytes, [1-9]* records, newest commit *'
	is '' kevo-check -q a.kv
	ok kevo-check --fast a.kv
	matches "$output" 'a.kv: sound: [1-9]* files, newest commit *'
	is '' kevo-check -q --repair a.kv
	KEVO_DB=a.kv is '' kevo-check -q @
	ok kevo check a.kv
}

# newest DIRECTORY
newest() {
	find "$1" -type f | LC_ALL=C sort | tail -n 1
}

@test "check: a version of zeros, or another one, says nothing of the newest" {
	for how in zeros older swapped; do
		rm -rf a.kv
		make a.kv
		kevo-scan a.kv >before
		last=$(newest a.kv/version) first=$(first a.kv/version)
		cp "$last" last
		case $how in
		zeros) head -c "$(wc -c <last)" /dev/zero >"$last" ;;
		older) cp "$first" "$last" ;;
		swapped) cp "$first" "$last" && cp last "$first" ;;
		esac
		run -1 kevo-check --repair a.kv
		[[ $output != *'its bytes and the tables tell'* ]]
		kevo-scan a.kv | cmp - before
		kevo-compact --full a.kv
		kevo-scan a.kv | cmp - before
		kevo-check -q a.kv
	done
}

@test "check: the newest version is gone, and what it had replaced" {
	for how in used copied; do
		for last in --full --flush; do
			rm -rf a.kv b.kv
			make a.kv
			kevo-compact --full a.kv
			records 100 400 fifth | kevo-put -i a.kv
			kevo-compact "$last" a.kv
			kevo-put a.kv more 1
			[ $how = used ] || rm -r a.kv/shm
			kevo-scan a.kv >before
			[ $how = used ] || rm -r a.kv/shm
			rm "$(newest a.kv/version)"
			run -1 kevo-check --repair a.kv
			matches "$output" 'damage: a.kv/version/*: missing, and *'
			kevo-scan a.kv | cmp - before
			kevo-compact --full a.kv
			kevo-scan a.kv | cmp - before
			kevo-check -q a.kv
		done
	done
}

@test "check: a compaction of a damaged database removes nothing" {
	make a.kv
	kevo-compact --full a.kv
	records 100 400 fifth | kevo-put -i a.kv
	kevo-compact --full a.kv
	kevo-scan a.kv >before
	rm -r a.kv/shm
	rm "$(newest a.kv/version)"
	ls a.kv/table >tables
	kevo-compact a.kv
	ls a.kv/table | cmp - tables
	run -1 kevo-check --repair a.kv
	kevo-scan a.kv | cmp - before
}

@test "check: the newest segment is gone, or zeros, and control knows of it" {
	for how in gone zeros; do
		rm -rf a.kv
		make a.kv
		last=$(newest a.kv/wal)
		case $how in
		gone) rm "$last" ;;
		zeros) truncate -s 0 "$last" && truncate -s 64K "$last" ;;
		esac
		run -1 kevo-check -q a.kv
		matches "$output" 'damage: *; lost: the commits from * on*'
		run -1 kevo-check --repair a.kv
		kevo-check -q a.kv
		kevo-scan a.kv >after
		kevo-put a.kv more 1
		kevo-compact --full a.kv
		kevo-delete a.kv more
		kevo-scan a.kv | cmp - after
		[ "$(wc -l <after)" -gt 800 ]
	done
}

@test "check: the newest segment was cut short, and nothing else knows" {
	for at in a-record between behind; do
		rm -rf a.kv
		kevo-init -q --set memtable_bytes=1M a.kv
		for key in one two three; do
			kevo-put a.kv "$key" "of $key"
		done
		last=$(newest a.kv/wal)
		len=$(grep -abo 'of two' "$last" | cut -d: -f1)
		kept=1
		case $at in
		between) # Before it: frame, payload, operation, key.
			len=$((len - 40 - 8 - 8 - 3)) ;;
		behind) len=500000 kept=3 ;;
		esac
		rm -r a.kv/shm
		truncate -s "$len" "$last"
		run -72 kevo-scan a.kv
		matches "$output" \
			"*wal/*.seg: damaged at byte $len:*1048576 bytes*"
		run -72 kevo-put a.kv more 1
		run -1 kevo-check -q a.kv
		matches "$output" "*cut short: it has $len of 1048576 bytes*"
		run -1 kevo-check --repair a.kv
		kevo-check -q a.kv
		is "$kept" kevo-scan -c a.kv
		kevo-put a.kv more 1
	done
}

@test "check: damage is 1, a line each, with file, place and loss" {
	make a.kv
	seg=$(first a.kv/wal)
	flip "$seg" 30000
	run -1 --separate-stderr kevo-check -q a.kv
	equal 'standard error' "$stderr" ''
	equal lines "${#lines[@]}" 1
	matches "$output" "damage: $seg at byte * (* bytes): not the records that were written; lost: commit *"
	run -1 --separate-stderr kevo-check a.kv
	matches "${lines[-1]}" 'a.kv: damaged in 1 place'

	rm "$seg"
	run -1 --separate-stderr kevo-check -q a.kv
	matches "$output" "damage: $seg: missing; lost: the commits * to *"
}

@test "check: a long path does not hide what was found" {
	local name dir
	name=$(printf 'x%.0s' {1..200})
	dir=$name/$name/$name/$name/$name/$name
	mkdir -p "$dir"
	make "$dir/a.kv"
	flip "$(first "$dir/a.kv/wal")" 30000
	run -1 --separate-stderr kevo-check -q "$dir/a.kv"
	matches "$output" "damage: $dir/a.kv/wal/*: not the records that were written; lost: commit *"
}

@test "check: a damaged table names the keys that are lost" {
	make a.kv
	table=$(first a.kv/table)
	flip "$table" 2000
	run -1 --separate-stderr kevo-check -q a.kv
	matches "$output" "damage: $table at byte * (* bytes): *; lost: [1-9]* records with keys between key* and key*"
	# The head of a block, and not what is in it.
	run -0 kevo-check -q --fast a.kv
	flip "$table" "$(($(stat -c %s "$table") - 100))"
	run -1 --separate-stderr kevo-check -q --fast a.kv
	matches "$output" "damage: $table*"
}

@test "check: a repair tells what it did, and then all is well" {
	make a.kv
	kevo-scan a.kv >want
	flip a.kv/FORMAT 30
	flip "$(first a.kv/version)" 100
	run -1 --separate-stderr kevo-check --repair a.kv
	equal 'standard error' "$stderr" ''
	matches "${lines[-1]}" 'a.kv: repaired: 0 records written anew, 2 files moved to a.kv/damaged-*'
	ls a.kv/damaged-*/FORMAT
	is '' kevo-check -q a.kv
	ok kevo-check a.kv
	matches "${lines[0]}" 'note: a.kv/damaged-*'
	kevo-scan a.kv | cmp - want
	kevo-put a.kv more 1

	seg=$(first a.kv/wal)
	cp "$seg" was
	flip "$seg" 30000
	cp "$seg" damaged
	run -1 --separate-stderr kevo-check -q --repair a.kv
	matches "${lines[-1]}" 'a.kv: repaired: [1-9]* records written anew, *'
	cmp damaged a.kv/damaged-*/"${seg#a.kv/}"
	ok kevo-check -q a.kv
	# Nothing is left of what stood in that commit, and all else is.
	kevo-scan a.kv | LC_ALL=C comm -13 - want | wc -l >missing
	[ "$(cat missing)" -le 50 ]
	is 1 kevo-get a.kv more
}

@test "check: -f json is one object, for a program" {
	need jq
	make a.kv
	ok kevo-check -f json a.kv
	jq -e '.sound and (.repaired | not) and .damages == 0 and
		.records > 0 and .findings == [] and .database == "a.kv"' \
		<<<"$output"
	flip "$(first a.kv/wal)" 30000
	flip "$(first a.kv/table)" 2000
	run -1 --separate-stderr kevo-check -f json a.kv
	equal 'standard error' "$stderr" ''
	jq -e '(.sound | not) and .damages == 2 and
		([.findings[] | select(.kind == "damage")] | length == 2)' \
		<<<"$output"
	jq -e '.findings[] | select(.file | startswith("wal/")) |
		.offset > 0 and .length > 0 and .first_commit > 0 and
		.first_commit == .last_commit and (.lost | length > 0)' \
		<<<"$output"
	jq -e '.findings[] | select(.file | startswith("table/")) |
		.records > 0 and .from < .to' <<<"$output"
	run -1 --separate-stderr kevo-check -f json --repair a.kv
	jq -e '.repaired and .sound and .moved >= 2 and
		(.aside | startswith("damaged-"))' <<<"$output"
}

@test "check: keys that are no text, in JSON" {
	need jq
	kevo-init -q --set memtable_bytes=64K --set compaction=manual a.kv
	seq 1 400 | awk '{ printf "\\xff\\x01%05d\t%0200d\n", $1, $1 }' |
		kevo-put -i a.kv
	kevo-compact --full a.kv
	flip "$(first a.kv/table)" 20000 100
	run -1 --separate-stderr kevo-check -f json a.kv
	jq -e '.findings[] | select(.records > 0) |
		(.from_base64 | @base64d | length > 5) and .to_base64' \
		<<<"$output"
	run -1 --separate-stderr kevo-check -q a.kv
	matches "$output" '*between \\xff\\x01* and \\xff\\x01*'
}

@test "check: it writes nothing, not even about a database to be recovered" {
	make a.kv
	cp -a a.kv b.kv
	rm -r b.kv/shm
	listing b.kv >before
	ok kevo-check -q b.kv
	listing b.kv | diff before -
	listing a.kv >before
	ok kevo-check -q a.kv
	listing a.kv | diff before -
	flip "$(first b.kv/wal)" 30000
	listing b.kv >before
	run -1 kevo-check -q b.kv
	listing b.kv | diff before -
}

@test "check: a directory that cannot be written" {
	make a.kv
	find a.kv -type f -exec chmod a-w {} +
	find a.kv -type d -exec chmod a-w {} +
	run -0 nodac kevo-check -q a.kv
	flip "$(first a.kv/wal)" 30000
	run -1 nodac kevo-check -q a.kv
	run -77 nodac kevo-check -q --repair a.kv
}

@test "check: files that cannot be read are 77" {
	make a.kv
	chmod 000 "$(first a.kv/table)"
	fails 77 "a.kv/table/*: cannot open: Permission denied" \
		nodac kevo-check a.kv
	chmod 644 "$(first a.kv/table)"
	chmod 000 "$(first a.kv/wal)"
	fails 77 "a.kv/wal/*: cannot open: Permission denied" \
		nodac kevo-check a.kv
	chmod 000 a.kv
	fails 77 "*a.kv*" nodac kevo-check a.kv
}

@test "check: a disk that cannot be read is damage" {
	[ -z "$KEVO_SAN" ] || skip 'a sanitizer wants to be preloaded first'
	make a.kv
	# Nothing but tables and log is read with so many calls.
	KEVO_FAULT_DIR=$PWD/a.kv/table KEVO_FAULT=pread:1:EIO:sticky \
		LD_PRELOAD=$KEVO_BUILD/tests/libfault.so \
		run -1 --separate-stderr "$KEVO_BUILD/dyn/bin/kevo-check" -q a.kv
	matches "$output" '*damage: a.kv/table/* at byte 0 (* bytes): cannot be read: Input/output error; lost: *'
	ok kevo-check -q a.kv
}

@test "check: no database, something else, wrong options" {
	fails 66 'none.kv: no such database' kevo-check none.kv
	mkdir empty.kv other
	fails 66 'empty.kv: no database in it' kevo-check empty.kv
	: >other/file
	fails 65 'other: not a kevo database' kevo-check other
	fails 65 'other/file: not a directory' kevo-check other/file
	fails 64 '*human or json*usage: *' kevo-check -f tsv empty.kv
	fails 64 '*do not go together*usage: *' kevo-check --fast --repair empty.kv
	fails 64 '*-w needs --repair*usage: *' kevo-check -w 1 empty.kv
	fails 64 '*usage: *' kevo-check empty.kv more
	[ ! -e none.kv ] && [ -z "$(ls empty.kv)" ]
}

@test "check: nothing to tell the identity: 72, and what it needs" {
	make a.kv
	rm a.kv/FORMAT
	for seg in a.kv/wal/*; do flip "$seg" 20; done
	rm -r a.kv/shm
	fails 72 'a.kv/FORMAT: *no segment of the log has a sound header*' \
		kevo-check a.kv
	fails 72 'a.kv/FORMAT: *a copy of FORMAT*' kevo-check --repair a.kv
}

@test "check: a repair waits for who has it open, and names them" {
	make a.kv
	hold a.kv
	flip "$(first a.kv/wal)" 30000
	run -1 kevo-check -q a.kv
	run -75 --separate-stderr kevo-check -q -w 0 --repair a.kv
	matches "$stderr" "kevo-check: a.kv: busy: it is open in another process (probably pid $holder)*"
	background kevo-check -q -w inf --repair a.kv
	repairer=$child
	release
	child=$repairer
	ends 1
	ok kevo-check -q a.kv
}

@test "check: a repair that waits is ended by a signal, and does nothing" {
	make a.kv
	hold a.kv
	flip "$(first a.kv/wal)" 30000
	background kevo-check -q -w inf --repair a.kv
	wait_for sh -c "ls -l /proc/$child/fd | grep -q LOCK"
	kill -TERM "$child"
	ends 143
	release
	run -1 kevo-check -q a.kv
}

@test "check: readers beside a repair go on" {
	make a.kv
	kevo-get -i a.kv <<<key00500 >want
	converse kevo-get -i -f tsv a.kv
	ask key00500
	hear
	flip "$(first a.kv/version)" 100
	run -1 kevo-check -q --repair a.kv
	ask key00500
	hear
	equal value "$line" "$(cat want)"
	hang_up
	ends 0
}

@test "check: a wrong kevo.conf is a warning" {
	make a.kv
	echo 'colour = blue' >>a.kv/kevo.conf
	ok kevo-check a.kv
	matches "${lines[0]}" 'warning: a.kv/kevo.conf: line *: colour: no such setting'
	is '' kevo-check -q a.kv
}

@test "check: strays are notes, and no damage" {
	make a.kv
	: >a.kv/README
	: >a.kv/wal/notes.txt
	: >a.kv/version/tmp.0123456789abcdef
	cp "$(first a.kv/table)" a.kv/table/00000000000000ff.sst
	ok kevo-check a.kv
	matches "$output" '*note: a.kv/README: no file of a database*'
	matches "$output" '*note: a.kv/wal/notes.txt: no file of a database*'
	matches "$output" '*note: a.kv/table: 1 table that no version names*'
	matches "$output" '*note: a.kv/version: 1 file tmp.*'
}

@test "check: progress" {
	make a.kv
	run -0 --separate-stderr kevo-check -q --progress=numeric a.kv
	equal output "$output" ''
	matches "$stderr" '*100'
	run -0 --separate-stderr kevo-check -q --progress=always a.kv
	matches "$stderr" 'kevo-check: checked * KiB'
	run -64 kevo-check --progress=often a.kv
	need_terminal
	run -0 terminal 'kevo-check --progress=always a.kv'
	matches "$output" '*a.kv: sound*'
}

@test "check: a write error is 74" {
	make a.kv
	run -74 bash -c 'kevo-check a.kv >/dev/full'
	run -74 bash -c 'kevo-check -f json a.kv >/dev/full'
}

@test "check: the units of systemd are right" {
	units_are_right kevo-check srv-data.kv
}

@test "check: role, epochs, slots and orphans that are damaged, and strays" {
	kevo-put a.kv k v
	echo duck >a.kv/role
	mkdir -p a.kv/epochs a.kv/slots/r1 a.kv/slots/.x a.kv/orphans
	echo epoch >a.kv/epochs/00000002.epoch
	echo x >a.kv/epochs/other
	echo x >a.kv/slots/r1/slot
	printf 'kevo-lost 1\nfirst 3\nlast 9\ntime 2026-11-22T14:03:11.250000000Z\n' \
		>a.kv/slots/r1/lost
	head -c 300 /dev/urandom \
		>a.kv/slots/r1/00000001-0000000000000001-0000000000000009.seg
	cp a.kv/wal/*.seg \
		a.kv/orphans/00000001-0000000000000001-0000000000000001.seg
	echo x >a.kv/orphans/notes
	run -0 --separate-stderr kevo-check a.kv
	matches "$output$stderr" '*role*nobody can write*'
	matches "$output$stderr" '*epochs*00000002.epoch*'
	matches "$output$stderr" '*epochs/other*no file of a database*'
	matches "$output$stderr" '*slots/r1/slot*'
	matches "$output$stderr" '*slots/r1/lost*commits 3 to 9 were dropped*'
	matches "$output$stderr" '*slots/r1/00000001-*bad segment header*'
	matches "$output$stderr" '*orphans/00000001-*do not end in a seal*'
	matches "$output$stderr" '*orphans/notes*no file of a database*'
	rm -r a.kv/role a.kv/epochs a.kv/slots a.kv/orphans
	ok kevo-check -q a.kv
}
