#!/usr/bin/env bats
# shellcheck disable=SC2154
# --dry-run: what is said is what happens then, and nothing happens before.

load walship
setup() {
	common_setup
	database a.kv
	commits a.kv 1 20
}
teardown() { common_teardown; }

# What there is, but what a process that runs tells others, and bats itself.
everything() {
	find . -type f ! -path '*/shm/*' ! -name 'separate-stderr-*' \
		-exec cksum {} + | sort
}

# dry STATUS PATTERN COMMAND...: it says so on standard output, and changes no
# file.
dry() {
	local code=$1 pattern=$2 before
	shift 2
	before=$(everything)
	run "-$code" --separate-stderr "$@"
	matches "$output" "$pattern" &&
		everything | diff - <(printf '%s\n' "$before")
}

@test "dry-run: send to an archive" {
	dry 0 'ar: would be made, and get: 21 commits, * bytes, 0 segments *' \
		kevo-walship send -n a.kv --to ar
	[ ! -e ar ]
	[ ! -e a.kv/slots ] || [ -z "$(ls a.kv/slots)" ]
	ship a.kv ar
	commits a.kv 21 25
	dry 0 'ar: would get: 6 commits, * bytes, 0 segments complete' \
		kevo-walship send -n a.kv --to ar --seal-after 0
	ok kevo-walship send a.kv --to ar
	dry 0 'ar: would get: 0 commits, 0 bytes, 0 segments complete' \
		kevo-walship send -n a.kv --to ar
	kevo-compact --full a.kv
	commits a.kv 26 26
	dry 0 'ar: would get: 2 commits, * bytes, 1 segments complete' \
		kevo-walship send -n a.kv --to ar
	run -0 --separate-stderr kevo-walship send -v a.kv --to ar
	equal said "$stderr" 'kevo-walship: shipped 1, present 0'
	database b.kv
	commits b.kv 1 2
	dry 83 '' kevo-walship send -n b.kv --to ar
	cp -a a.kv c.kv
	commits a.kv 27 28
	commits c.kv 30 33
	ship a.kv ar
	dry 82 '' kevo-walship send -n c.kv --to ar
	fails 64 '-n needs an archive*' kevo-walship send -n a.kv --to -
	fails 64 '--follow and -n *' kevo-walship send -n a.kv --to ar --follow
}

@test "dry-run: files that were copied, each with what becomes of it" {
	ship a.kv ar
	commits a.kv 21 40
	ship a.kv ar
	ok kevo-walship send a.kv --to ar
	mkdir in
	cp ar/wal/*/*.seg in/
	dry 0 'b: would be made' kevo-walship recv -n --spool in --to b
	first=$(cd in && echo *-0000000000000001-*)
	second=$(cd in && echo *-0000000000000016-*)
	mkdir one
	mv "in/$first" one/
	ok kevo-walship recv --spool one --to b
	# One that goes on, one after it, one of another database, a torn one.
	commits a.kv 41 50
	ship a.kv ar
	third=$(cd ar/wal/00000001 && echo *-000000000000002b-*)
	cp "ar/wal/00000001/$third" in/
	database c.kv
	commits c.kv 1 5
	ship c.kv other
	cp other/wal/*/*.seg in/zz.seg
	head -c 900 "in/$third" >in/zy.seg
	dry 83 "$second: would be taken
$third: would be taken
zz.seg: would be moved to state/reject: wrong-db: *" \
		kevo-walship recv -n --spool in --to b
	matches "$stderr" 'kevo-walship: short: in/zy.seg: *; it stays; *'
	run -83 kevo-walship recv --spool in --to b
	equal left "$(ls in)" zy.seg
	same_place ar b
	dry 64 '' kevo-walship recv -n --to b </dev/null
	matches "$stderr" '*-n needs --spool: a stream passes once*'
}

@test "dry-run: apply" {
	ship a.kv ar
	dry 0 'r.kv: would be made, and get 21 commits, up to 21' \
		kevo-walship apply -n ar --into r.kv
	[ ! -e r.kv ]
	dry 0 'r.kv: would be made, and get 5 commits, up to 5' \
		kevo-walship apply -n ar --into r.kv --until-seq 5
	ok kevo-walship apply ar --into r.kv --until-seq 5
	commits a.kv 21 25
	ok kevo-walship send a.kv --to ar
	dry 0 'r.kv: would get 22 commits, up to 27' \
		kevo-walship apply -n ar --into r.kv
	matches "$(kevo-walship pos r.kv)" '1.*:5:*'
	ok kevo-walship apply ar --into r.kv
	dry 0 'r.kv: would get 0 commits, up to 27' \
		kevo-walship apply -n ar --into r.kv
	dry 77 '' kevo-walship apply -n ar --into a.kv
	fails 64 '--follow and -n *' kevo-walship apply -n ar --into r.kv \
		--follow
	# An epoch that the replica has yet to learn.
	ok kevo-walship promote r.kv --archive ar
	commits r.kv 31 32
	ok kevo-walship send r.kv --to ar
	ok kevo-walship apply ar --into new.kv --until-seq 27
	dry 0 'new.kv: would get 4 commits, up to 31' \
		kevo-walship apply -n ar --into new.kv
	ok kevo-walship apply ar --into new.kv
	same_place new.kv r.kv
}

@test "dry-run: base, backup and drill" {
	dry 0 'ar: would get base/*.tar: * files, * bytes, up to commit 21' \
		kevo-walship base -n a.kv --to ar --slot s
	[ ! -e ar ]
	bytes=$(sed 's/.* files, //;s/ bytes.*//' <<<"$output")
	ok kevo-walship base a.kv --to ar
	equal size "$bytes" "$(stat -c %s ar/base/*.tar)"
	dry 0 '-: would get -: * files, *' kevo-walship base -n a.kv --to -
	dry 0 'would be written: * bytes, of * files, up to commit 21' \
		kevo-backup -n -o a.tar a.kv
	[ ! -e a.tar ]
	bytes=${output%% bytes*}
	ok kevo-backup -o a.tar a.kv
	equal size "${bytes##* }" "$(stat -c %s a.tar)"
	for to in nosuch/x . a.kv/FORMAT/x; do
		dry 73 '' kevo-backup -n -o "$to" a.kv
		said=$stderr
		run -73 --separate-stderr kevo-backup -o "$to" a.kv
		equal message "$stderr" "$said"
	done
	mkdir room
	dry 0 'ar: would be restored up to commit 21, and checked' \
		kevo-walship drill -n ar --into room --check 'touch ran'
	[ ! -e ar/state/drills ]
	[ ! -e ran ]
}

@test "dry-run: prune does not even take the lock" {
	ok kevo-walship base a.kv --to ar
	ship a.kv ar
	commits a.kv 21 25
	ok kevo-walship base a.kv --to ar
	dry 0 'would remove base/*' kevo-walship prune -n ar --keep-bases 1
}

@test "dry-run: slots and losses" {
	at=$(kevo-walship pos a.kv)
	dry 0 "slot s: would be created, at $at" kevo-walship slot -n a.kv \
		create s --max-bytes 1G
	ok kevo-walship slot a.kv create s
	dry 73 '' kevo-walship slot -n a.kv create s
	dry 81 '' kevo-walship slot -n a.kv create t --at \
		"${at%%:*}:999:0000000000000000"
	commits a.kv 21 25
	at=$(kevo-walship pos a.kv)
	dry 0 "slot s: would be at $at" kevo-walship slot -n a.kv ack s \
		<<<"ack s $at synced $(date -u +%FT%TZ)"
	dry 82 '' kevo-walship slot -n a.kv ack s \
		<<<"ack s ${at%:*}:0000000000000000 synced $(date -u +%FT%TZ)"
	dry 66 '' kevo-walship slot -n a.kv ack t \
		<<<"ack t $at synced $(date -u +%FT%TZ)"
	dry 0 'slot s: would be dropped, and with it * bytes of log' \
		kevo-walship slot -n a.kv drop s
	dry 66 '' kevo-walship slot -n a.kv drop t
	ship a.kv ar
	dry 0 'ar: commits 61..65 would be noted as lost: a disk' \
		kevo-walship known-loss -n ar 61-65 'a disk'
	[ ! -e ar/state/known-loss ]
}

# like_real STATUS PATTERN WHAT...: restore -n says what the real one does, and
# ends like it, with the same words if it fails.
like_real() {
	local code=$1 pattern=$2 at class
	shift 2
	rm -rf r.kv room
	mkdir room
	dry "$code" "$pattern" kevo-walship restore -n ar --into r.kv "$@"
	at=${output##*(}
	class=$(grep -o '^kevo-walship: [a-z-]*: ' <<<"$stderr") || true
	run "-$code" --separate-stderr kevo-walship restore -q ar --into r.kv "$@"
	if [ "$code" = 0 ]; then
		equal place "${at%)}" "$(kevo-walship pos r.kv)"
	else
		matches "$class" 'kevo-walship: *: '
		matches "$stderr" "*$class*"
	fi
	dry "$code" '*' kevo-walship drill -n ar --into room "$@"
	equal room "$(ls -A room)" ''
}

@test "dry-run: restore verifies, and names the commit" {
	kevo-compact --full a.kv
	commits a.kv 21 25
	early=$(date -u +%FT%T.%NZ)
	commits a.kv 26 30
	ok kevo-walship base a.kv --to ar
	commits a.kv 31 35
	later=$(date -u +%FT%T.%NZ)
	commits a.kv 36 40
	ship a.kv ar
	like_real 0 'r.kv: would be restored up to commit 45 of 2*Z (1.*:45:*)'
	like_real 0 'r.kv: would be restored up to commit 39 *' --until-time "$later"
	like_real 0 'r.kv: would be restored up to commit 36 *' --until-seq 36
	# Inside of the base, and before what it has the log of.
	like_real 0 'r.kv: would be restored up to commit 27 *' \
		--until-time "$early"
	like_real 0 'r.kv: would be restored up to commit 23 *' --until-seq 23
	like_real 81 '' --until-seq 3
	like_real 81 '' --until-time 2001-01-01T00:00:00Z
	like_real 81 '' --until-seq 99
	matches "$(kevo-walship restore -n ar --into r.kv --until-seq 99 2>&1)" \
		'*gap: r.kv: need commit 99, ar ends with 45; *'
	for f in ar/wal/*/*.seg; do flip "$f" "$(($(stat -c %s "$f") - 100))"
	done
	like_real 80 ''
	like_real 0 'r.kv: would be restored up to commit 23 *' --until-seq 23
}
