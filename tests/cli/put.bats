#!/usr/bin/env bats
# shellcheck disable=SC1003,SC2016,SC2030,SC2031,SC2094,SC2154
# kevo-put: one record, or the records of an input.

load common
shopt -s extglob
setup() { common_setup; }
teardown() { common_teardown; }

@test "put: operands after DB are data, whatever they look like" {
	is '' kevo-put a.kv temp -5
	is '' kevo-put a.kv --note x
	is '' kevo-put a.kv -h --help
	is '' kevo-put a.kv -- --
	is '' kevo-put a.kv @ -
	is '' kevo-put -- a.kv 'a b' $'tab\tnl\n'
	is -5 kevo-get a.kv temp
	is x kevo-get a.kv --note
	is --help kevo-get a.kv -h
	is -- kevo-get a.kv --
	is - kevo-get a.kv @
	kevo-get a.kv 'a b' | cmp - <(printf 'tab\tnl\n')
	is 6 kevo-scan -c a.kv
}

@test "put: too few or too many operands are 64, with a hint about options" {
	fails 64 'DB is missing*' kevo-put
	fails 64 'DB is missing*' kevo-put -i </dev/null
	fails 64 'KEY is missing*hint: -i*' kevo-put a.kv
	fails 64 'VALUE is missing*hint: -i takes it from *' kevo-put a.kv k
	fails 64 '*w*too many*' kevo-put a.kv k v w
	fails 64 '*options go before DB*' kevo-put a.kv k v -q
	fails 64 '*options go before DB*' kevo-put a.kv --if-absent k v
	fails 64 '*options go before DB*' kevo-put -i a.kv k -q </dev/null
	fails 64 '*--if-absnt*--if-absent*' kevo-put --if-absnt a.kv k v
	fails 64 '*-Z*' kevo-put -Z a.kv k v
	[ ! -e a.kv ]
}

@test "put: empty keys are refused, as operand and in input" {
	fails 64 '*key*' kevo-put a.kv '' v
	fails 64 '*key*' piped v kevo-put -i a.kv ''
	[ ! -e a.kv ]
	kevo-init -q a.kv
	fails 65 '(stdin):2: *key*' piped 'a\t1\n\tv\n' kevo-put -i a.kv
	fails 65 '(stdin):1: *' piped '\n' kevo-put -i a.kv
	is $'a\t1' kevo-scan a.kv
}

@test "put: the value may be empty, long, and any bytes by -i" {
	ok kevo-put a.kv empty ''
	is '' kevo-get a.kv empty
	head -c 300000 /dev/urandom >big
	is '' kevo-put -i a.kv big <big
	kevo-get a.kv big | cmp - big
	printf 'no end\0of line' >odd
	ok kevo-put -i a.kv odd <odd
	kevo-get a.kv odd | cmp - odd
	ok kevo-put -i a.kv none </dev/null
	is '' kevo-get a.kv none
	is 4 kevo-scan -c a.kv
}

@test "put: a key has up to 65536 bytes, else 65 before anything is written" {
	head -c 65536 /dev/zero | tr '\0' k >key
	(cat key; printf '\tlongest\n') | kevo-put -i a.kv
	is 65536 bash -c 'kevo-scan -k a.kv | tr -d "\n" | wc -c'
	(cat key; printf 'k\tv\n') >longer
	run -65 --separate-stderr kevo-put -i a.kv <longer
	matches "$stderr" 'kevo-put: (stdin):1: *65536*'
	is 1 kevo-scan -c a.kv
	run --separate-stderr kevo-put b.kv "$(head -c 65537 /dev/zero | tr '\0' k)" v
	equal status "$status" 65
	matches "$stderr" 'kevo-put: *65536*'
	run -1 kevo-scan -e b.kv || [ ! -e b.kv ]
}

@test "put: -E reads operands in escape notation" {
	ok kevo-put -E a.kv 'k\x00\xFF\t' 'v\n\\\0\b\f\v\r'
	equal key "$(kevo-scan -k -f hex a.kv)" 6b00ff09
	equal value "$(kevo-get -E -f raw a.kv 'k\x00\xff\x09' | hex)" \
		760a5c00080c0b0d
	fails 64 '*escape*' kevo-put -E a.kv 'k\q' v
	fails 64 '*' kevo-put -E a.kv 'k\x4' v
	fails 64 '*' kevo-put -E a.kv k 'v\'
	ok kevo-put a.kv 'k\q' 'v\'
	is 'v\' kevo-get a.kv 'k\q'
	is 2 kevo-scan -c a.kv
}

@test "put: does not read standard input unless -i" {
	printf '%s\n' a b c >list
	while read -r key; do
		kevo-put a.kv "$key" x
	done <list
	is $'a\nb\nc' kevo-scan -k a.kv
	fails 64 '*' kevo-put a.kv k <list
}

@test "put: @ is KEVO_DB, and a directory named @ is ./@" {
	fails 64 '*KEVO_DB*' kevo-put @ k v
	KEVO_DB='' fails 64 '*KEVO_DB*' kevo-put @ k v
	[ ! -e @ ]
	KEVO_DB=a.kv ok kevo-put @ k v
	is v kevo-get a.kv k
	ok kevo-put ./@ k w
	is w kevo-get ./@ k
	# Elsewhere the variable means nothing.
	KEVO_DB=a.kv fails 64 '*' kevo-put k v
}

@test "put: conditions decide, and a false one is 1 and writes nothing" {
	no kevo-put --if-present a.kv k v
	ok kevo-put --if-absent a.kv k one
	no kevo-put --if-absent a.kv k two
	is one kevo-get a.kv k
	ok kevo-put --if-present a.kv k two
	no kevo-put --if-value=one a.kv k three
	ok kevo-put --if-value two a.kv k three
	is three kevo-get a.kv k
	no kevo-put --if-value= a.kv k x
	ok kevo-put a.kv k ''
	ok kevo-put --if-value= a.kv k four
	ok kevo-put -E --if-value 'fo\x75r' a.kv k five
	no kevo-put --if-value 'fi\x76e' a.kv k six
	no kevo-put --if-value x a.kv other v
	run -1 --separate-stderr kevo-put -v --if-absent a.kv k v
	matches "$stderr" 'kevo-put: *k*'
	is $'k\tfive' kevo-scan a.kv
	fails 64 '*' kevo-put --if-absent --if-present a.kv k v
	fails 64 '*--if-version*' kevo-put --if-version=x a.kv k v
	fails 64 '*' kevo-put --if-version=-1 a.kv k v
	fails 64 '*' kevo-put --if-value
}

@test "put: versions grow, are printed, and are a condition" {
	ok kevo-put --print-version a.kv k v
	v1=$output
	matches "$v1" '+([0-9])'
	is "k	$v1	v" kevo-get -m a.kv k
	ok kevo-put --print-version a.kv k w
	v2=$output
	[ "$v2" -gt "$v1" ]
	no kevo-put --if-version="$v1" --print-version a.kv k x
	no kevo-put --if-version=0 a.kv k x
	ok kevo-put --if-version="$v2" a.kv k x
	is x kevo-get a.kv k
	ok kevo-put --if-version=0 a.kv new v
	no kevo-put --if-version=0 a.kv new v
	kevo-delete a.kv new
	ok kevo-put --if-version=0 a.kv new v
	fails 64 '*--print-version*' kevo-put --print-version -i a.kv </dev/null
}

@test "put: -t makes a record expire; it is absent then" {
	ok kevo-put -t 1 a.kv k v
	ok kevo-put --ttl=30m a.kv later v
	kevo-put -t inf a.kv never v
	before=$(date +%s)
	run -0 kevo-get -m -f jsonl a.kv later never
	matches "${lines[0]}" '*"expires":+([0-9])*'
	expires=${lines[0]##*\"expires\":}
	expires=${expires%%[!0-9]*}
	[ "$expires" -ge $((before + 1790)) ]
	[ "$expires" -le $((before + 1860)) ]
	matches "${lines[1]}" '{"key":"never","value":"v","version":+([0-9])}'
	wait_for bash -c '! kevo-get a.kv k'
	no kevo-get a.kv k
	is $'later\nnever' kevo-scan -k a.kv
	no kevo-put --if-present a.kv k v
	ok kevo-put --if-absent a.kv k v
	# A new put without -t stays.
	ok kevo-put a.kv later v
	run -0 kevo-get -m -f jsonl a.kv later
	[[ $output != *expires* ]]
	for ttl in x -1 '' 5y 1.5.2 99999999999999999999; do
		fails 64 '*-t*' kevo-put -t "$ttl" a.kv k v
	done
	for ttl in 99999999999999999999 999999999999 99999999999d 300000d; do
		fails 64 "-t: $ttl: too long*" kevo-put -t "$ttl" a.kv k v
	done
	fails 64 '-w: 99999999999999999999: too long*' \
		kevo-put -w 99999999999999999999 a.kv k v
}

@test "put: -i takes records, the last of a key wins" {
	is '' piped 'a\t1\nb\t\nc\tx\ty\na\t2' kevo-put -i a.kv
	is $'a\t2\nb\t\nc\tx\\ty' kevo-scan a.kv
	is '' kevo-put -i b.kv </dev/null
	is 0 kevo-scan -c b.kv
}

@test "put: a bad line stops with 65, says where, why and how many are in" {
	run -65 --separate-stderr piped 'a\t1\nb\t2\nc\t\\q\nd\t4\n' \
		kevo-put -i a.kv
	equal output "$output" ''
	matches "${stderr_lines[0]}" 'kevo-put: (stdin):3: *\\q*value*'
	matches "$stderr" '*kevo-put: hint: *'
	matches "$stderr" '*use -f text*'
	equal 'how many' "${stderr_lines[-1]}" \
		'kevo-put: 2 records were stored before'
	is $'a\t1\nb\t2' kevo-scan a.kv
	fails 65 '(stdin):1: *' piped 'no tab\n' kevo-put -i b.kv
	fails 65 '(stdin):2: *--crlf*' piped 'a\t1\nb\t2\r\n' kevo-put -i b.kv
	is $'a\t1' kevo-scan b.kv
	ok piped 'b\t2\r\n' kevo-put -i --crlf b.kv
	is 2 kevo-get b.kv b
}

@test "put: input that is binary gets the hint that helps" {
	head -c 3000 "$KEVO_BUILD/bin/kevo-put" >binary
	printf '\211PNG\r\n\032\n' >png
	printf 'a\tv\\q\0\n' >late
	for in in binary png late; do
		fails 65 '(stdin):+([0-9]): *hint: is it binary? kevo-put -i DB KEY *' \
			kevo-put -i a.kv <$in
		[[ $stderr != *'use -'* ]]
	done
	fails 65 '(stdin):1: *binary?*' kevo-put -i -f text a.kv <png
	fails 65 '(stdin):1: *binary?*' kevo-import -f hex a.kv <binary
	ok kevo-put -i a.kv binary <binary
	kevo-get a.kv binary | cmp - binary
	# Text of any language is not.
	for in in 'gr\303\274n\n' '\342\202\254\t\\q\n' 'a\tb\r\n'; do
		run -65 --separate-stderr piped "$in" kevo-put -i a.kv
		[[ $stderr != *binary* ]]
	done
}

@test "put: -f, -0, -j and -k choose what the input looks like" {
	ok piped 'a\0one\0b\0two\nlines\0' kevo-put -i -0 a.kv
	is $'b\ttwo\\nlines' kevo-scan a.kv b
	ok piped 'a\\q\tv\\\n' kevo-put -i -f text a.kv
	is 'v\' kevo-get a.kv 'a\q'
	ok piped '{"key":"j","value":{"n": [1, 2.50]}}' \
		kevo-put -i -j -f jsonl a.kv
	is '{"n": [1, 2.50]}' kevo-get a.kv j
	ok piped 'k1\nk2\n' kevo-put -i -k a.kv
	is $'k1\t\nk2\t' kevo-scan a.kv k
	ok piped 'z1\0z2\0' kevo-put -i -k -0 a.kv
	is 2 kevo-scan -c a.kv z
	fails 64 '*nonsense*' kevo-put -i -f nonsense a.kv </dev/null
	fails 64 '*raw*' kevo-put -i -f raw a.kv </dev/null
	fails 64 '*sql*' kevo-put -i -f sql a.kv </dev/null
	fails 64 '*' kevo-put -i -j a.kv </dev/null
	fails 64 '*' kevo-put -k a.kv k v
}

@test "put: -i with a condition skips what it forbids; -p prints the rest" {
	kevo-put a.kv b old
	is $'a\t1\nc\t3' piped 'a\t1\nb\t2\nc\t3\na\t4\n' \
		kevo-put -i --if-absent -p a.kv
	is $'a\t1\nb\told\nc\t3' kevo-scan a.kv
	is $'d\ne' piped 'd\nd\na\ne\nd\n' kevo-put -i -k --if-absent -p a.kv
	is '{"key":"f","value":"6"}' piped '{"key":"f","value":"6"}\n' \
		kevo-put -i -p -f jsonl a.kv
	ok piped 'g\t7\n' kevo-put -i -p -m a.kv
	matches "$output" $'g\t+([0-9])\t7'
	is "$output" kevo-scan -m a.kv g
}

@test "put: -1 is all or nothing" {
	ok piped 'a\t1\nb\t2\n' kevo-put -1 -i a.kv
	fails 65 '(stdin):3: *' piped 'c\t3\nd\t4\nbad\n' kevo-put -1 -i a.kv
	is $'a\t1\nb\t2' kevo-scan a.kv
	run -1 --separate-stderr piped 'c\t3\nb\t9\nd\t4\n' \
		kevo-put -1 -i --if-absent a.kv
	is $'a\t1\nb\t2' kevo-scan a.kv
	run -1 --separate-stderr piped 'c\t3\nb\t9\n' \
		kevo-put -1 -i -p --if-absent a.kv
	equal output "$output" ''
	ok piped 'c\t3\nd\t4\n' kevo-put -1 -i --if-absent a.kv
	is 4 kevo-scan -c a.kv
	# One commit has one version, others do not.  A pipe that runs dry
	# would make commits of its own.
	seq 3000 | sed 's/$/\tv/' >in
	kevo-put --single-transaction -i b.kv <in
	is 1 bash -c 'kevo-scan -m b.kv | cut -f2 | sort -u | wc -l'
	kevo-put -i c.kv <in
	is 3 bash -c 'kevo-scan -m c.kv | cut -f2 | sort -u | wc -l'
	kevo-put -b 100 -i c.kv <in
	is 30 bash -c 'kevo-scan -m c.kv | cut -f2 | sort -u | wc -l'
	fails 64 '*-b*' kevo-put -b 0 -i c.kv </dev/null
	fails 64 '-b: x: not a whole number' kevo-put -b x -i c.kv </dev/null
	fails 64 '-b: 4194305: at most 4194304' \
		kevo-put -b 4194305 -i c.kv </dev/null
	fails 64 '*' kevo-put -b 5 c.kv k v
}

@test "put: a commit comes at every MiB too" {
	head -c 100000 /dev/zero | tr '\0' v >value
	for key in {1..32}; do
		printf '%s\t' "$key"
		cat value
		echo
	done >in
	kevo-put -i a.kv <in
	run -0 bash -c 'kevo-scan -m a.kv | cut -f2 | sort -u | wc -l'
	[ "$output" -ge 3 ]
	[ "$output" -le 5 ]
}

@test "put: --ack prints how many are in, after each commit" {
	seq 2500 | sed 's/$/\tv/' >in
	is $'1000\n2000\n2500' kevo-put -i --ack a.kv <in
	head -n 5 in >five
	is $'2\n4\n5' kevo-put -i -b2 --ack a.kv <five
	fails 64 '*--ack*' kevo-put --ack a.kv k v
}

@test "put: commits when the input would block" {
	converse kevo-put -i --ack a.kv
	ask $'a\t1'
	hear
	equal acknowledged "$line" 1
	is 1 kevo-get a.kv a
	ask $'b\t2\nc\t3'
	hear
	if [ "$line" = 2 ]; then hear; fi
	equal acknowledged "$line" 3
	is 3 kevo-scan -c a.kv
	# Half a line is no record yet.
	printf 'd\t' >&8
	ok kevo-put a.kv other v
	is 4 kevo-scan -c a.kv
	printf '4\n' >&8
	hear
	equal acknowledged "$line" 4
	hang_up
	ends 0
	is 4 kevo-get a.kv d
}

@test "put: without --ack the same; with -1 nothing shows before the end" {
	converse kevo-put -i a.kv
	ask $'a\t1'
	wait_for kevo-get a.kv a
	hang_up
	ends 0
	converse kevo-put -1 -i a.kv
	ask $'b\t2'
	# Others write meanwhile: the lock is not held while input is awaited.
	ok kevo-put -w 0 a.kv c 3
	no kevo-get a.kv b
	hang_up
	ends 0
	is 2 kevo-get a.kv b
	converse kevo-put -i -p --if-absent -k a.kv
	ask x
	hear
	equal printed "$line" x
	ask x
	ask y
	hear
	equal printed "$line" y
	hang_up
	ends 0
}

@test "put: a busy lock is 75 and names its holder; -w and KEVO_WAIT wait" {
	kevo-init -q a.kv
	hold a.kv kevo-compact
	fails 75 "a.kv: busy: locked by kevo-compact, pid $holder, for * s*" \
		kevo-put -w 0 a.kv k v
	KEVO_WAIT=0 fails 75 "a.kv: busy: *$holder*" kevo-put a.kv k v
	KEVO_WAIT=inf fails 75 '*busy*' kevo-put -w 0 a.kv k v
	fails 75 '*busy*' kevo-put --wait=1 a.kv k v
	fails 75 '*busy*' piped 'k\tv\n' kevo-put -w 0 -i a.kv
	no kevo-get a.kv k
	is 0 kevo-scan -c a.kv
	fails 64 '*-w*' kevo-put -w x a.kv k v
	fails 64 '*-w*' kevo-put -w -1 a.kv k v
	KEVO_WAIT=soon fails 64 '*KEVO_WAIT*soon*' kevo-put a.kv k v
	background kevo-put -w inf a.kv k v
	waiter=$child
	release
	child=$waiter
	ends 0
	is v kevo-get a.kv k
}

@test "put: a LOCK replaced under it is 74, since trying again is no use" {
	converse kevo-put -i -b 1 --ack a.kv 2>said
	ask $'a\t1'
	hear
	equal stored "$line" 1
	rm a.kv/LOCK
	(umask 077 && : >a.kv/LOCK)
	sleep 0.1
	ask $'b\t2'
	hang_up
	ends 74
	matches "$(cat said)" 'kevo-put: a.kv/LOCK was replaced *'
	matches "$(cat said)" '*1 record was stored before'
	ok kevo-put a.kv b 2
}

@test "put: --sync and KEVO_SYNC decide about the disk" {
	need strace
	kevo-init -q a.kv
	syncs() {
		strace -f -o trace -e trace=fdatasync,fsync,sync_file_range \
			"$@" || return
		grep -c 'sync(' trace || true
	}
	run -0 syncs kevo-put a.kv k v
	[ "$output" -ge 1 ]
	equal none "$(syncs kevo-put --sync=none a.kv k v)" 0
	equal KEVO_SYNC "$(KEVO_SYNC=none syncs kevo-put a.kv k v)" 0
	[ "$(KEVO_SYNC=none syncs kevo-put --sync full a.kv k v)" -ge 1 ]
	[ "$(syncs kevo-put --sync=batch a.kv k v)" -ge 1 ]
	fails 64 '*--sync*maybe*' kevo-put --sync=maybe a.kv k v
	KEVO_SYNC=maybe fails 64 '*KEVO_SYNC*maybe*' kevo-put a.kv k v
	kevo-init -q --set sync=none b.kv
	equal setting "$(syncs kevo-put b.kv k v)" 0
	[ "$(syncs kevo-put --sync=full b.kv k v)" -ge 1 ]
}

@test "put: a full standard output is 74, a closed one 141, and all is well" {
	run -74 --separate-stderr bash -c \
		'kevo-put --print-version a.kv k v >/dev/full'
	matches "$stderr" 'kevo-put: *No space left on device*'
	seq 5000 | sed 's/$/\tv/' >in
	run -74 --separate-stderr bash -c 'kevo-put -i -p a.kv <in >/dev/full'
	matches "$stderr" 'kevo-put: *No space left on device*'
	run -0 --separate-stderr bash -c \
		'kevo-put -i --ack -b 1 a.kv <in | head -n 1
		[ "${PIPESTATUS[0]}" -eq 141 ]'
	equal 'standard error' "$stderr" ''
	equal output "$output" 1
	# As under systemd, which ignores SIGPIPE.
	run -0 --separate-stderr bash -c \
		'trap "" PIPE; kevo-put -i --ack -b 1 a.kv <in | head -n 1
		[ "${PIPESTATUS[0]}" -eq 141 ]'
	equal 'standard error' "$stderr" ''
	ok kevo-put -w 0 a.kv k after
	is after kevo-get a.kv k
}

@test "put: a signal rolls back what is not committed, and kills" {
	local sig number
	kevo-init -q a.kv
	for sig in INT:130 TERM:143 HUP:129; do
		number=${sig#*:}
		sig=${sig%:*}
		rm -f to from
		mkfifo to from
		# A shell without job control ignores SIGINT for its jobs.
		env --default-signal=INT,TERM,HUP kevo-put -i -b 3 --ack a.kv \
			<to >from 3>&- 2>/dev/null &
		child=$!
		children+=("$child")
		exec 8>to 7<from
		printf '%s\tv\n' "$sig-1" "$sig-2" "$sig-3" >&8
		until [ "${line-}" = 3 ]; do hear; done
		line=
		printf '%s' "$sig-half" >&8
		kill "-$sig" "$child"
		ends "$number"
		exec 8>&- 7<&-
		is 3 kevo-scan -c a.kv "$sig"
		env --default-signal=INT,TERM,HUP kevo-put -1 -i a.kv <to \
			3>&- 2>/dev/null &
		child=$!
		children+=("$child")
		exec 8>to
		printf '%s\tv\n' "$sig-all-1" "$sig-all-2" >&8
		# Not before: the shell, and env at first, ignore SIGINT.
		wait_for grep -aq ^kevo-put "/proc/$child/cmdline"
		kill "-$sig" "$child"
		ends "$number"
		exec 8>&-
		is 0 kevo-scan -c a.kv "$sig-all"
		ok kevo-put -w 0 a.kv "after-$sig" v
	done
}

@test "put: progress is for terminals, and SIGUSR1 asks for a line" {
	mkfifo to
	kevo-put -i a.kv <to 3>&- 2>notes &
	child=$!
	children+=("$child")
	exec 8>to
	printf 'a\t1\n' >&8
	wait_for kevo-get a.kv a
	# A signal just before the read that blocks is seen at the next one.
	asked() {
		kill -USR1 "$child" && grep -q record notes
	}
	wait_for asked
	matches "$(cat notes)" 'kevo-put: *1 record*'
	printf 'b\t2\n' >&8
	exec 8>&-
	ends 0
	equal 'other notes' "$(grep -v record notes)" ''
	is 2 kevo-scan -c a.kv
}

@test "put: a terminal shows progress after a second, then ten times in one" {
	local input shown
	need_terminal
	input='for i in $(seq 150); do seq 1000; sleep 0.01; done'
	SECONDS=0
	TERM=xterm terminal "$input | kevo-put -ik --sync=none a.kv" >seen
	shown=$(grep -o $'\033\[K' seen | wc -l)
	[ "$shown" -ge 1 ]
	[ "$shown" -le $((SECONDS * 10 + 2)) ]
	matches "$(tr '\033' '\n' <seen | head -n 1)" 'kevo-put: stored * records*'
	TERM=xterm terminal 'seq 9000 | kevo-put -ik --sync=none a.kv' >seen
	equal 'in less than a second' "$(cat seen)" ''
	bash -c "$input" | kevo-put -ik --sync=none a.kv 2>seen
	equal 'not a terminal' "$(cat seen)" ''
}

@test "put: a key over the limit is 65 and creates nothing" {
	head -c 65537 /dev/zero | tr '\0' k >long
	fails 65 '*key of 65537 bytes: the limit is 65536*' \
		kevo-put new.kv "$(cat long)" v
	[ ! -e new.kv ]
}
