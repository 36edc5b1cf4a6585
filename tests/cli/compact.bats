#!/usr/bin/env bats
# shellcheck disable=SC2154
# Housekeeping: what it does, what it says, and that nobody notices.

load common
shopt -s extglob
setup() { common_setup; }
teardown() { common_teardown; }

# A database whose log and tables are small; nobody else does the work.
small() {
	kevo-init -q --set memtable_bytes=64K --set compaction=manual \
		--set table_bytes=16K --set level0_tables=2 \
		--set level_bytes=64K --set level_ratio=2 "$1"
}

# records FROM TO [VALUE]: lines of records.
records() {
	awk -v a="$1" -v b="$2" -v v="${3:-v}" 'BEGIN {
		for (i = a; i < b; i++)
			printf "key:%06d\t%s-%060d\n", i * 7919 % 100003, v, i
	}'
}

segments() {
	find "$1/wal" -name '*.seg' | wc -l
}

@test "compact: silent; the log goes into tables and its files go" {
	small a.kv
	records 0 5000 | kevo-put -i a.kv
	kevo-scan a.kv >before
	[ "$(segments a.kv)" -gt 4 ]
	ok kevo-compact a.kv
	equal output "$output" ''
	[ "$(segments a.kv)" -eq 1 ]
	[ "$(find a.kv/shm -name '*.idx' | wc -l)" -eq 1 ]
	kevo-scan a.kv | cmp - before
	is "$(records 7 8 | cut -f2)" kevo-get a.kv "$(records 7 8 | cut -f1)"
	# Nothing is left to do.
	listing a.kv >files
	ok kevo-compact a.kv
	listing a.kv | diff files -
}

@test "compact: --full leaves one record a key, and space comes back" {
	local all
	small a.kv
	for v in one two three; do
		records 0 2000 "$v" | kevo-put -i a.kv
		kevo-compact a.kv
	done
	kevo-delete --from key:05 a.kv
	kevo-scan a.kv >before
	ok kevo-compact --full a.kv
	equal output "$output" ''
	kevo-scan a.kv | cmp - before
	all=$(cat a.kv/table/* | wc -c)
	[ "$all" -lt "$(($(wc -c <before) * 3 / 2))" ]
	run -1 grep -q 'one-0' a.kv/table/*
	kevo-delete --all a.kv
	kevo-compact --full a.kv
	equal tables "$(ls a.kv/table)" ''
	is 0 kevo-scan -c a.kv
}

@test "compact: tables are right at both ends of what the settings allow" {
	local block restart codec hash
	records 0 3000 >in
	sort in >want
	for block in 1K 1M; do
		for restart in 1 255; do
			for codec in none lz4 zstd; do
				hash=on
				[ "$codec" = none ] || hash=off
				kevo-init -q --set compaction=manual --set sync=none \
					--set "block_bytes=$block" --set "hash_index=$hash" \
					--set "restart_interval=$restart" \
					--set "compression=$codec" a.kv
				kevo-put -i a.kv <in
				kevo-compact --full a.kv
				ok kevo-check -q a.kv
				kevo-scan a.kv | cmp - want
				cut -f1 in | kevo-get -i a.kv | cmp - in
				rm -r a.kv
			done
		done
	done
}

@test "compact: -n says what is due and does nothing" {
	small a.kv
	records 0 3000 | kevo-put -i a.kv
	listing a.kv >before
	run -0 --separate-stderr kevo-compact -n a.kv
	equal output "$output" ''
	matches "$stderr" 'kevo-compact: [1-9]* log segments would be *'
	run -0 --separate-stderr kevo-compact -n --full a.kv
	matches "$stderr" 'kevo-compact: [1-9]* log segments would be *'
	listing a.kv | diff before -
	kevo-compact a.kv
	run -0 --separate-stderr kevo-compact -n a.kv
	matches "$stderr" '*: 0 log segments would be *about 0 bytes be read'
}

@test "compact: -v says what was done, -q nothing" {
	small a.kv
	records 0 3000 | kevo-put -i a.kv
	run -0 --separate-stderr kevo-compact -v a.kv
	equal output "$output" ''
	matches "$stderr" 'kevo-compact: [1-9]* log segments brought into tables, *'
	ok kevo-compact -q -n a.kv
}

@test "compact: --flush, --max-bytes and --max-time do a part of it" {
	small a.kv
	for v in one two three four; do
		records 0 2000 "$v" | kevo-put -i a.kv
		ok kevo-compact --flush a.kv
		[ "$(segments a.kv)" -eq 1 ]
	done
	ok kevo-compact --full --max-bytes=1 a.kv
	ok kevo-compact --full --max-time=0 a.kv
	ok kevo-compact --max-time=10m --max-bytes=1G --rate=1G a.kv
	is 2000 kevo-scan -c a.kv
}

@test "compact: a range" {
	small a.kv
	records 0 3000 | kevo-put -i a.kv
	kevo-scan a.kv >before
	ok kevo-compact --full -P key:03 a.kv
	ok kevo-compact --full --from key:01 --to key:02 a.kv
	ok kevo-compact --full -E --from 'key\x3a01' a.kv
	kevo-scan a.kv | cmp - before
	fails 64 '*--full*' kevo-compact -P key:03 a.kv
	fails 64 '*no key*' kevo-compact --full --from b --to a a.kv
}

@test "compact: options that do not go together, and what is no database" {
	small a.kv
	fails 64 '*--full and --flush*' kevo-compact --full --flush a.kv
	fails 64 '*--watch*' kevo-compact --full --watch a.kv
	fails 64 '*--watch*' kevo-compact --watch=0 a.kv
	fails 64 '*--rate*' kevo-compact --rate=fast a.kv
	fails 66 '*no such database' kevo-compact none.kv
	[ ! -e none.kv ]
	mkdir other
	: >other/file
	fails 65 '*' kevo-compact other
	fails 64 '*DB*' kevo-compact
}

@test "compact: who may not write is told so" {
	small a.kv
	records 0 3000 | kevo-put -i a.kv
	chmod -R a-w a.kv
	fails 77 '*' nodac kevo-compact a.kv
}

@test "compact: --full waits for the write lock as long as -w says" {
	small a.kv
	kevo-put a.kv k v
	hold a.kv somebody
	fails 75 '*busy: locked by *' kevo-compact --full -w 0 a.kv
	ok kevo-compact a.kv
	release
	ok kevo-compact --full -w 0 a.kv
}

@test "compact: a reader's snapshot outlives its files" {
	small a.kv
	records 0 3000 | kevo-put -i a.kv
	kevo-compact a.kv
	kevo-scan a.kv >before
	mkfifo out
	background bash -c 'kevo-scan a.kv >out'
	exec 6<out
	read -r -u 6 first
	records 0 3000 new | kevo-put -i a.kv
	kevo-delete --to key:05 a.kv
	kevo-compact --full a.kv
	{ printf '%s\n' "$first"; cat <&6; } | cmp - before
	exec 6<&-
	ends 0
	# Then they go.
	files=$(find a.kv/table -type f | wc -l)
	ok kevo-compact a.kv
	[ "$(find a.kv/table -type f | wc -l)" -lt "$files" ]
	run -1 grep -q '	v-0' <(kevo-scan a.kv)
}

@test "compact: several at once, beside a writer" {
	local i
	small a.kv
	for i in 1 2 3; do
		background bash -c 'while [ ! -e stop ]; do
			kevo-compact -w 0 a.kv || [ $? -eq 75 ] || exit; done'
	done
	for i in one two three four; do
		records 0 3000 "$i" | kevo-put -i a.kv
	done
	touch stop
	for child in "${children[@]}"; do
		ends 0
	done
	ok kevo-compact --full a.kv
	records 0 3000 four | sort | cmp - <(kevo-scan a.kv)
}

@test "compact: --watch does what comes, and ends by a signal" {
	small a.kv
	kevo-put a.kv k v
	background kevo-compact --watch=0.05 a.kv
	records 0 5000 | kevo-put -i a.kv
	few() { [ "$(segments a.kv)" -le 1 ]; }
	wait_for few
	kill -TERM "$child"
	ends 143
	is 5001 kevo-scan -c a.kv
}

@test "compact: kill -9 leaves nothing that the next one does not remove" {
	local i
	small a.kv
	for i in $(seq 20); do
		records 0 1500 "$i" | kevo-put -i a.kv
		background kevo-compact --full a.kv
		sleep "0.00$((RANDOM % 10))"
		kill -KILL "$child" 2>/dev/null || true
		wait "$child" 2>/dev/null || true
	done
	ok kevo-compact --full a.kv
	records 0 1500 20 | sort | cmp - <(kevo-scan a.kv)
	# The tables that there are have all been read; no other file is left.
	[ "$(segments a.kv)" -eq 1 ]
	listing a.kv | grep -v shm/control >files
	ok kevo-compact --full a.kv
	listing a.kv | grep -v shm/control | diff files -
}

@test "compact: a disk without room: told how much, nothing lost" {
	small_disk() {
		small a.kv
		for i in one two three; do
			records 0 1500 "$i" | kevo-put -i a.kv
			[ "$i" = three ] || kevo-compact --flush a.kv
		done
		cat /dev/zero >ballast 2>/dev/null
		kevo-compact a.kv 2>&1
		echo "status $?"
		records 0 1500 three | sort | cmp - <(kevo-scan a.kv)
		rm ballast
		kevo-compact --full a.kv
		echo "status $?"
		records 0 1500 three | sort | cmp - <(kevo-scan a.kv)
		# Hardly more than there is: what fits is merged, piece by piece.
		head -c 1500K /dev/zero >ballast
		for i in 1 2 3 4 5 6 7 8; do
			records 0 1500 "$i" | kevo-put -i a.kv
			kevo-compact a.kv
		done
		records 0 1500 8 | sort | cmp - <(kevo-scan a.kv)
	}
	on_disk 3M small_disk small records
	equal 'standard error' "$stderr" ''
	matches "$output" 'kevo-*not enough room to *: +([0-9]) bytes are needed, 0 are free
status 74
status 0'
}

@test "compact: a full disk is left by compacting and deleting" {
	full_disk() {
		small a.kv
		for i in 0 1 2 3 4; do
			records "${i}0000" "${i}4000" | kevo-put -i -b 100 a.kv
			kevo-compact a.kv
		done
		[ -e a.kv/reserve ] || echo 'no reserve'
		seq 100000 | kevo-put -k -i a.kv 2>/dev/null
		echo "status $?"
		cat /dev/zero >ballast 2>/dev/null
		n=$(kevo-scan -c a.kv)
		kevo-delete -P key a.kv 2>/dev/null
		echo "status $?"
		kevo-compact a.kv 2>/dev/null
		[ "$(kevo-scan -c a.kv)" = "$n" ] || echo lost
		# The log is full of deletions again, until they are in tables.
		for i in 1 2 3 4 5; do
			kevo-delete -P key a.kv 2>/dev/null && break
			kevo-compact a.kv 2>/dev/null
		done
		kevo-scan -c -P key a.kv
		kevo-check -q a.kv
	}
	on_disk 4M full_disk small records
	equal 'standard error' "$stderr" ''
	equal output "$output" $'status 74\nstatus 74\n0'
}

@test "compact: --full on a full disk leaves what still works" {
	full_disk() {
		kevo-init -q --set compaction=manual a.kv
		head -c 40K /dev/zero >ballast
		records 0 40000 | kevo-put -i -b 20 a.kv 2>/dev/null
		echo "status $?"
		rm ballast
		kevo-put a.kv before 1
		n=$(kevo-scan -c a.kv)
		kevo-compact --full a.kv
		echo "status $?"
		kevo-put a.kv after 1 && kevo-delete a.kv before &&
			echo 'works'
		[ "$(kevo-scan -c a.kv)" = "$n" ] || echo lost
		kevo-check -q a.kv
	}
	on_disk 2M full_disk records
	equal output "$output" $'status 74\nstatus 74\nworks'
	matches "$stderr" 'kevo-compact: *room to begin a log segment*'
}

@test "compact: killed on a full disk, anywhere, it harms nothing" {
	full_disk() {
		small a.kv
		for i in 0 1 2 3 4; do
			records "${i}0000" "${i}4000" | kevo-put -i -b 100 a.kv
			kevo-compact a.kv
		done
		for i in 1 2 3 4 5 6; do
			seq "${i}00000" "${i}60000" |
				kevo-put -k -i a.kv 2>/dev/null
			cat /dev/zero >ballast 2>/dev/null
			n=$(kevo-scan -c a.kv)
			kevo-compact a.kv 2>/dev/null &
			sleep "0.00$((RANDOM % 10))"
			kill -KILL $! 2>/dev/null
			wait $! 2>/dev/null
			[ "$(kevo-scan -c a.kv)" = "$n" ] || echo "lost, $i"
			kevo-check -q a.kv
			rm ballast
			kevo-compact a.kv || echo "status $?"
			[ "$(kevo-scan -c a.kv)" = "$n" ] || echo "lost, $i"
			until kevo-delete --from=0 --to=: a.kv 2>/dev/null; do
				kevo-compact a.kv || break
			done
			kevo-compact --full a.kv || echo "status $?"
		done
		kevo-scan -c a.kv
	}
	on_disk 4M full_disk small records
	equal output "$output" 20000
}

@test "compact: --progress" {
	small a.kv
	records 0 3000 | kevo-put -i a.kv
	run -0 --separate-stderr kevo-compact --full --progress=always \
		--rate=100K a.kv
	matches "$stderr" '*kevo-compact: read * *B'
	run -0 --separate-stderr kevo-compact --full --progress=numeric a.kv
	matches "$stderr" '*100'
	run -64 kevo-compact --progress=often a.kv
}

@test "compact: the shell's .compact" {
	small a.kv
	records 0 3000 | kevo-put -i a.kv
	run -0 --separate-stderr kevo a.kv <<<$'.compact\n.compact full'
	matches "${lines[0]}" '[1-9]* log segments brought into tables, * bytes given back'
	matches "${lines[1]}" '1 log segments *'
	is 3000 kevo-scan -c a.kv
	run -64 kevo a.kv <<<'.compact often'
	run -64 kevo a.kv <<<$'BEGIN\n.compact'
	run -66 kevo ./none.kv <<<'.compact'
	[ ! -e none.kv ]
}

@test "compact: the units of systemd and the line for cron are right" {
	units_are_right kevo-compact srv-data.kv
	# All but comments and assignments has five fields, a user, a command.
	awk '!/^#[^0-9]|^#$|^[A-Z]+=|^$/ && NF < 7 { exit 1 }' \
		"$root/contrib/cron/kevo-compact"
	command=$(sed -n 's/^#15.*www-data //p' "$root/contrib/cron/kevo-compact")
	small a.kv
	run -0 sh -c "${command//\/srv\/data.kv/a.kv}"
	equal output "$output" ''
}

@test "compact: what root does in somebody's database is theirs" {
	[ "$(id -u)" -eq 0 ] || skip 'for root'
	small a.kv
	chown -R 4242:4343 a.kv
	records 0 3000 | kevo-put -i a.kv
	kevo-compact a.kv
	rm -r a.kv/shm
	kevo-compact --full a.kv
	run -0 find a.kv ! -user 4242
	equal 'not theirs' "$output" ''
}

@test "compact: a writer starts it, and nothing waits for it" {
	local said
	kevo-init -q --set memtable_bytes=64K a.kv
	# Who reads a writer's output gets its end with the writer's own.
	said=$(records 0 3000 | kevo-put -i a.kv 2>&1)
	equal said "$said" ''
	few() { [ "$(segments a.kv)" -le 2 ] && [ -n "$(ls a.kv/table)" ]; }
	wait_for few
	kevo-scan a.kv >got
	records 0 3000 | sort | cmp - got
	# With manual nobody does.
	small b.kv
	records 0 3000 | kevo-put -i b.kv
	[ "$(segments b.kv)" -gt 2 ]
	equal tables "$(ls b.kv/table)" ''
	done_with() { run kevo-compact -w 0 a.kv && [ "$status" -eq 0 ]; }
	wait_for done_with
}

@test "compact: a disk that writers have filled is left by --full, deleting" {
	filled() {
		kevo-init -q --set memtable_bytes=1M --set table_bytes=1M \
			--set level_bytes=4M --set sync=batch a.kv
		for ((i = 0; i < 100000; i += 1000)); do
			seq "$i" "$((i + 999))" | awk '{
				printf "%05d\t%0400d\n", $1 * 7919 % 100003, $1
			}' | kevo-put -i a.kv 2>/dev/null || break
		done
		[ "$i" -lt 100000 ] || echo 'it was not full'
		# What runs by itself has left the reserve, while others wrote.
		kevo-compact a.kv 2>/dev/null
		cat /dev/zero >ballast 2>/dev/null
		[ -e a.kv/reserve ] || echo 'no reserve'
		sum=$(kevo-scan a.kv | cksum)
		n=$(kevo-scan -c a.kv)
		gone=$(kevo-scan -c -P 00 a.kv)
		[ "$gone" -gt 0 ] || echo 'nothing to delete'
		# One that a writer has started may be at the log yet.
		for ((i = 0; i < 20; i++)); do
			kevo-compact --full a.kv 2>/dev/null
			[ -e a.kv/reserve ] || break
			sleep 0.05
		done
		[ "$(kevo-scan a.kv | cksum)" = "$sum" ] || echo lost
		kevo-delete -P 00 a.kv
		echo "status $?"
		kevo-compact --flush a.kv
		echo "status $?"
		[ "$(kevo-scan -c a.kv)" -eq "$((n - gone))" ] || echo wrong
		kevo-scan -c -P 00 a.kv
		kevo-check -q a.kv
	}
	on_disk 20M filled
	equal 'standard error' "$stderr" ''
	equal output "$output" $'status 0\nstatus 0\n0'
}

@test "compact: on a full disk --full seals the log where the reserve was" {
	sealing() {
		fill() {
			seq "$1" "$2" |
				awk '{ printf "%05d\t%0400d\n", $1, $1 }'
		}
		kevo-init -q --set memtable_bytes=1M --set table_bytes=1M \
			--set compaction=manual a.kv
		for ((i = 0; i < 28000; i += 4000)); do
			fill "$i" "$((i + 3999))" | kevo-put -i a.kv
			kevo-compact --full a.kv
		done
		[ -e a.kv/reserve ] || echo 'no reserve'
		fill 28000 29500 | kevo-put -i a.kv
		cat /dev/zero >ballast 2>/dev/null
		fill 29501 32000 | kevo-put -i -b 1 a.kv 2>/dev/null
		echo "status $?"
		ls a.kv/wal
		n=$(kevo-scan -c a.kv)
		kevo-compact --full a.kv 2>/dev/null
		[ ! -e a.kv/reserve ] || echo 'the reserve is left'
		ls a.kv/wal
		fill 0 "$((n - 1))" | cmp - <(kevo-scan a.kv)
		kevo-delete -P 00 a.kv
		[ "$(kevo-scan -c a.kv)" -eq "$((n - 1000))" ] || echo wrong
		kevo-check -q a.kv
	}
	on_disk 24M sealing
	equal 'standard error' "$stderr" ''
	matches "$output" 'status 74
+([0-9a-f]).seg
+([0-9a-f]).seg'
}
