#!/usr/bin/env bats
# shellcheck disable=SC2154
# kevo-walship base, restore and drill.  The archives themselves are
# tests/cli/backup.bats' and restore.bats'.

load walship
setup() {
	common_setup
	need_archives
}
teardown() { common_teardown; }

# make DB: commits 1 to 60, the first 40 of them in tables.
make() {
	kevo-init -q --set memtable_bytes=64K --set compaction=manual "$1"
	put "$1" 1 40
	kevo-compact --full "$1"
	put "$1" 41 60
}

# put DB FIRST LAST: commit N sets n to N, and a key of its own.
put() {
	local i
	for i in $(seq "$2" "$3"); do
		printf 'put\tn\t%s\nput\tkey%05d\t%0500d\n' "$i" "$i" "$i" |
			kevo-txn -i "$1"
	done
}

@test "base: through a pipe, a replica that goes on" {
	make data.kv
	kevo-walship base data.kv --to - | kevo-walship restore - --into r.kv
	same_data data.kv r.kv
	ok kevo-check -q r.kv
	fails 77 'r.kv: a replica*' kevo-put r.kv k v
	put data.kv 61 70
	kevo-walship send data.kv --to - | kevo-walship recv --apply r.kv
	same_data data.kv r.kv
	is "$(kevo-walship pos data.kv)" kevo-walship pos r.kv
}

@test "base: only what is on disk" {
	make data.kv
	kevo-put --sync=none data.kv late 1
	kevo-walship base data.kv --to - | tar -xf -
	is 60 kevo-get data n
	no kevo-get data late
}

@test "base: a slot is there before the base is" {
	make data.kv
	ok kevo-walship base data.kv --to archive --slot r1
	matches "$(kevo-walship slot data.kv list)" 'r1*'
	ok kevo-walship base data.kv --to archive --slot r1
}

@test "base: a name is given once; the same again is success" {
	make data.kv
	ok kevo-walship base data.kv --to archive
	ok kevo-walship base data.kv --to archive
	is 1 sh -c 'ls archive/base | wc -l'
	file=$(find archive/base -type f)
	matches "$file" 'archive/base/00000001-000000000000003c.tar'
	need xxhsum
	(cd archive && xxhsum -c state/SUMS >../out 2>&1)
	printf x >>"$file"
	fails 84 'conflict: *exists with other contents*' kevo-walship base \
		data.kv --to archive
	is '' find archive/base -name '.*'
	kevo-init -q other.kv
	fails 83 'wrong-db: *' kevo-walship base other.kv --to archive
}

@test "base: options that are wrong" {
	make data.kv
	fails 64 '--to is missing*' kevo-walship base data.kv
	fails 64 'DB is missing*' kevo-walship base --to archive
	fails 66 'gone: cannot open: *' kevo-walship base data.kv --to a \
		--since gone
	fails 66 'gone.kv: no such database' kevo-walship base gone.kv --to -
	fails 64 '--into is missing*' kevo-walship restore archive
	fails 64 '*do not go together*' kevo-walship restore archive --into x \
		--until-seq 1 --until-time 2026-01-01T00:00:00Z
}

@test "restore: base, increment and log, as of any commit and time" {
	make data.kv
	ok kevo-walship base data.kv --to archive
	base=$(find archive/base -type f)
	put data.kv 61 70
	ok kevo-walship send data.kv --to archive
	ok kevo-walship base data.kv --to archive --since "$base"
	is 2 sh -c 'ls archive/base | wc -l'
	put data.kv 71 75
	time=$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)
	put data.kv 76 80
	ok kevo-walship send data.kv --to archive
	ok kevo-walship restore archive --into all.kv
	same_data data.kv all.kv
	for n in 40 47 60 65 70 73 80; do
		ok kevo-walship restore archive --into "at$n.kv" \
			--until-seq "$n"
		is "$n" kevo-get "at$n.kv" n
		matches "$(kevo-walship pos "at$n.kv")" "1.*:$n:*"
		ok kevo-check -q "at$n.kv"
	done
	ok kevo-walship restore archive --into then.kv --until-time "$time"
	is 75 kevo-get then.kv n
	run -0 --separate-stderr kevo-walship restore archive --into late.kv \
		--until-time "$(date -u -d tomorrow +%FT%TZ)"
	matches "$stderr" 'kevo-walship: archive ends with commit 80; *'
	fails 81 'gap: *need commit 81*' kevo-walship restore archive \
		--into new.kv --until-seq 81
	fails 81 'gap: commit 39: not in these backups*' kevo-walship \
		restore archive --into new.kv --until-seq 39
	[ ! -e new.kv ] && [ ! -e .new.kv.restore ]
}

@test "restore: each segment of the archive that is missing is noticed" {
	make data.kv
	kevo-walship base data.kv --to archive
	for i in 61 62 63 64; do
		put data.kv $i $i
		kevo-walship send data.kv --to archive --seal-after 0
	done
	put data.kv 65 65
	kevo-walship send data.kv --to archive
	ok kevo-walship restore archive --into all.kv
	is 65 kevo-get all.kv n
	n=0
	for file in archive/wal/*/*.seg; do
		last=$((16#$(basename "$file" .seg | cut -d- -f3)))
		first=$((16#$(basename "$file" .seg | cut -d- -f2)))
		[ "$last" -gt 60 ] || continue
		[ "$first" -gt 60 ] || first=61
		mv "$file" away
		fails 81 "gap: *need commit $first,*" kevo-walship restore \
			archive --into new.kv
		[ ! -e new.kv ]
		mv away "$file"
		n=$((n + 1))
	done
	[ "$n" -ge 3 ]
	ok kevo-walship restore archive --into again.kv
	same_data data.kv again.kv
}

@test "base: --bwlimit is kept to" {
	make data.kv
	size=$(kevo-walship base data.kv --to - | wc -c)
	start=$(date +%s%N)
	kevo-walship base data.kv --to - --bwlimit "$size" >whole.tar
	took=$((($(date +%s%N) - start) / 1000000))
	[ "$took" -ge 900 ]
	tar -tf whole.tar | grep -q END
}

@test "restore: --detached is a primary that nobody takes for the original" {
	make data.kv
	kevo-walship base data.kv --to archive
	kevo-walship send data.kv --to archive
	ok kevo-walship restore archive --into a.kv --detached
	ok kevo-walship restore archive --into b.kv --detached
	is 60 kevo-get a.kv n
	ok kevo-put a.kv k a
	ok kevo-put b.kv k b
	matches "$(kevo-walship pos a.kv)" '2.*'
	[ "$(kevo-walship pos a.kv | cut -d: -f1)" != \
		"$(kevo-walship pos b.kv | cut -d: -f1)" ]
	ok kevo-check -q a.kv
}

@test "restore: --detached, as of each commit before and after a promotion" {
	database p.kv
	for commit in 1 2 3 4; do
		kevo-put p.kv n "$commit"
		ok kevo-walship send p.kv --to ar --seal-after 0
		[ "$commit" -ne 1 ] || ok kevo-walship base p.kv --to ar
	done
	ok kevo-walship restore ar --into r.kv
	ok kevo-walship promote r.kv --archive ar
	# 5 is the mark of the promotion.
	kevo-put r.kv n 6
	ok kevo-walship send r.kv --to ar --seal-after 0
	for commit in 1 2 3 4 5 6; do
		ok kevo-walship restore ar --into x.kv --until-seq "$commit" \
			--detached
		is $((commit == 5 ? 4 : commit)) kevo-get x.kv n
		ok kevo-put x.kv mine 1
		ok kevo-check -q x.kv
		rm -r x.kv
	done
}

@test "restore: --dry-run writes nothing" {
	make data.kv
	kevo-walship base data.kv --to archive
	ok kevo-walship restore archive --into new.kv -n
	matches "$output" 'new.kv: would be restored *'
	[ ! -e new.kv ] && [ ! -e .new.kv.restore ]
}

@test "restore: an archive without a base, a torn one, and what is there" {
	make data.kv
	kevo-walship send data.kv --to archive
	fails 81 'gap: archive: there is no base in it; next: *base DB --to *' \
		kevo-walship restore archive --into new.kv
	kevo-put log.kv a b
	kevo-walship send log.kv --to log
	fails 81 'gap: log: *; next: kevo-walship apply log --into new.kv' \
		kevo-walship restore log --into new.kv
	kevo-walship base data.kv --to archive
	base=$(find archive/base -type f)
	head -c 9000 "$base" >torn
	mv torn "$base"
	fails 75 'short: *' kevo-walship restore archive --into new.kv
	fails 73 './data.kv: not empty' kevo-walship restore archive \
		--into data.kv
	kevo-walship base data.kv --to - | head -c 9000 >torn
	fails 75 'short: *' kevo-walship restore - --into new.kv <torn
	[ ! -e new.kv ] && [ ! -e .new.kv.restore ]
}

@test "drill: restores, checks, times, and tells of it" {
	make data.kv
	kevo-walship base data.kv --to archive
	kevo-walship send data.kv --to archive
	mkdir room
	ok kevo-walship drill archive --into room --max-time 1m \
		--check '[ "$(kevo-get @ n)" = 60 ]'
	matches "$(cat archive/state/drills)" '20*Z good, commit 60, *'
	for verb in apply restore drill; do
		fails 64 '--until-seq: commits begin with 1*' kevo-walship \
			$verb archive --into room --until-seq 0
		fails 64 '*do not go together*' kevo-walship $verb archive \
			--into room --until-seq 1 --until-time 1700000000
	done
	fails 87 'failed: "exit 3": exit 3 *' kevo-walship drill archive \
		--into room --check 'exit 3'
	fails 87 'failed: *the limit is 0' kevo-walship drill archive \
		--into room --max-time 0
	matches "$(tail -n 1 archive/state/drills)" '*failed with 87*'
	rm archive/base/*
	fails 81 'gap: *' kevo-walship drill archive --into room
	matches "$(tail -n 1 archive/state/drills)" '*failed with 81*'
	is '' ls -A room
	run -0 kevo-walship status archive
	matches "$output" '*drill * ago*'
}

@test "drill: the units of systemd are right" {
	units_are_right kevo-walship-drill srv-archive
	# What the unit runs, as printed.
	make data.kv
	kevo-walship base data.kv --to archive
	command=$(sed -n 's|^ExecStart=/usr/bin/||p' \
		"$root/contrib/systemd/kevo-walship-drill@.service")
	ok sh -c "${command//%f/archive}"
}

# dead: the number of a process that has ended.
dead() {
	local pid
	sleep 0 &
	pid=$!
	wait "$pid"
	echo "$pid"
}

@test "drill and backup: what a killed one left is removed, and nothing else" {
	database l.kv
	commits l.kv 1 20
	ok kevo-walship base l.kv --to lar
	mkdir room
	gone=$(dead)
	mkdir -p "room/.drill-$gone.kv.restore/wal" "room/drill-$gone.kv/wal"
	echo x | tee "room/.drill-$gone.kv.restore/wal/x" >"room/drill-$gone.kv/x"
	# Of a process that lives, of another form, and held by somebody.
	mkdir "room/drill-$$.kv" "room/drill-0$gone.kv" "room/drill-$gone.kv2"
	held=$(dead)
	mkdir "room/drill-$held.kv"
	exec 9<"room/drill-$held.kv"
	flock -n 9
	ok kevo-walship drill lar --into room --check 'test -d "$KEVO_DB"'
	equal room "$(ls -A room | sort)" "$(printf '%s\n' "drill-$$.kv" \
		"drill-0$gone.kv" "drill-$gone.kv2" "drill-$held.kv" | sort)"
	exec 9<&-
	touch "b.tar.$gone.tmp" "b.tar.$$.tmp" "c.tar.$gone.tmp"
	ok kevo-backup -o b.tar l.kv
	equal files "$(echo b.tar* c.tar*)" \
		"b.tar b.tar.$$.tmp c.tar.$gone.tmp"
}
