#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2154
# kevo-txn DB COMMAND: one transaction of many processes.

load common
shopt -s extglob
setup() { common_setup; }
teardown() { common_teardown; }

# outside COMMAND...: as somebody who does not belong to the transaction.
export outside='env -u KEVO_TXN -u KEVO_DB'

# nothing_left DB: no file of a transaction, and the lock is free.
nothing_left() {
	local left
	ok kevo-put -w 0 "$1" lock free || return
	ok kevo-txn "$1" true || return
	left=$(find "$1/txn" -type f 2>/dev/null)
	equal 'left over' "$left" ''
}

@test "kevo-txn: a command's changes are one commit, and seen inside only" {
	kevo-put a.kv old 1
	run -0 --separate-stderr kevo-txn a.kv -- sh -ec '
		kevo-put @ new 2
		kevo-delete @ old
		kevo-get @ new; echo
		kevo-get --default=gone @ old; echo
		kevo-scan @
		cd /
		kevo-incr @ n 5
		$outside kevo-scan "$KEVO_DB"'
	equal out "$output" $'2\ngone\nnew\t2\n5\nold\t1'
	equal err "$stderr" ''
	is $'n\t2\t5\nnew\t2\t2' kevo-scan -m a.kv
	nothing_left a.kv
}

@test "kevo-txn: KEVO_DB is absolute, and any name of the database will do" {
	mkdir sub
	kevo-init -q sub/a.kv
	ln -s sub/a.kv link.kv
	run -0 kevo-txn sub/a.kv -- sh -ec '
		kevo-put sub/a.kv a 1
		kevo-put link.kv b 2
		cd sub
		kevo-put a.kv c 3
		kevo-put ../sub/a.kv d 4
		echo "$KEVO_DB"
		$outside kevo-scan -c a.kv'
	equal out "$output" "$PWD/sub/a.kv"$'\n0'
	is 4 kevo-scan -c sub/a.kv
	KEVO_DB=sub/a.kv ok kevo-txn @ kevo-put @ e 5
	is 5 kevo-get sub/a.kv e
}

@test "kevo-txn: any other status undoes all and is passed on" {
	local status
	kevo-put a.kv k old
	for status in 1 3 64 75 125 255; do
		run "-$status" --separate-stderr kevo-txn a.kv -- \
			sh -c "kevo-put @ k new; exit $status"
		equal out "$output$stderr" ''
		is old kevo-get a.kv k
	done
	run -0 kevo-txn a.kv sh -c 'exit 0'
	run -1 --separate-stderr kevo-txn -v a.kv -- false
	equal note "$stderr" \
		'kevo-txn: rolled back: the command ended with status 1'
	nothing_left a.kv
}

@test "kevo-txn: a command that a signal ends undoes all, 128+N" {
	kevo-put a.kv k old
	run -137 kevo-txn a.kv -- sh -c 'kevo-put @ k new; kill -KILL $$'
	run -143 kevo-txn a.kv -- sh -c 'kevo-put @ k new; kill -TERM $$'
	run -138 kevo-txn a.kv -- sh -c 'kevo-put @ k new; kill -USR1 $$'
	is old kevo-get a.kv k
	nothing_left a.kv
}

@test "kevo-txn: not found is 127, cannot be run is 126" {
	kevo-put a.kv k old
	fails 127 'nothing-of-the-kind: command not found' \
		kevo-txn a.kv -- nothing-of-the-kind x
	fails 127 './none: No such file*' kevo-txn a.kv ./none
	: >plain
	fails 126 './plain: *ermission*' kevo-txn a.kv ./plain
	mkdir sub
	fails 126 './sub: *ermission*' kevo-txn a.kv ./sub
	run -127 --separate-stderr kevo-txn a.kv -q true
	matches "$stderr" '*-q: command not found*options go before DB*'
	fails 127 ': command not found' kevo-txn a.kv ''
	nothing_left a.kv
}

@test "kevo-txn: a command is found and run as the shell would" {
	# A directory of its name is none, and there may be no PATH.
	mkdir -p dir/true
	PATH=$PWD/dir:$PATH ok kevo-txn a.kv true
	run -126 --separate-stderr env PATH="$PWD/dir" \
		"$(command -v kevo-txn)" a.kv true
	equal err "$stderr" 'kevo-txn: true: Permission denied'
	echo 'exit 9' >true
	chmod +x true
	ok env -u PATH "$(command -v kevo-txn)" a.kv true
	# A script without an interpreter is one of sh, with its arguments.
	echo 'kevo-put @ "$1" "$2"; echo "$0"' >script
	chmod +x script
	run -0 --separate-stderr kevo-txn a.kv ./script 'a key' '*'
	equal out "$output" ./script
	is '*' kevo-get a.kv 'a key'
	fails 127 './none.sh: No such file*' kevo-txn a.kv ./none.sh
	nothing_left a.kv
}

@test "kevo-txn: options and operands" {
	fails 64 '*DB*missing*' kevo-txn
	fails 64 '*COMMAND*missing*-i*' kevo-txn a.kv
	fails 64 '*-n*-i*' kevo-txn -n a.kv true
	fails 64 '*-f*-i*' kevo-txn -f text a.kv true
	fails 64 '*-R*-i*' kevo-txn -R -i a.kv
	for code in 0 256 x ''; do
		fails 64 '*conflict-exit-code*' \
			kevo-txn --conflict-exit-code=$code a.kv true
	done
	[ ! -e a.kv ]
	fails 66 '*no such database' kevo-txn -C a.kv true
	fails 66 '*no such database' kevo-txn -R a.kv true
	ok kevo-txn a.kv true
	is 0 kevo-scan -c a.kv
	is '-- x' kevo-txn a.kv -- echo -- x
}

@test "kevo-txn: pipelines and parallel children" {
	seq 40 | sed 's/.*/in:&\t&/' | kevo-put -i a.kv
	run -0 --separate-stderr kevo-txn a.kv -- bash -ec '
		set -o pipefail
		kevo-scan @ in: | sed "s/^in/out/" | kevo-put -i @
		kevo-scan -k @ in: | kevo-delete -i @
		seq 30 | xargs -P 4 -I {} kevo-incr @ n >numbers
		seq 20 | xargs -P 4 -I {} kevo-put @ "par:{}" {}
		kevo-scan -c @'
	equal err "$stderr" ''
	equal count "$output" 61
	cmp <(sort -n numbers) <(seq 30)
	is 61 kevo-scan -c a.kv
	is 30 kevo-get a.kv n
	is 40 kevo-scan -c a.kv out:
	is 1 bash -c 'kevo-scan -m a.kv out: | cut -f2 | sort -u | wc -l'
}

@test "kevo-txn: one inside another is undone alone, or belongs to it" {
	kevo-put a.kv k 0
	run -0 --separate-stderr kevo-txn a.kv -- sh -ec '
		kevo-put @ outer 1
		! kevo-txn @ -- sh -ec "kevo-put @ k lost; kevo-delete @ outer; exit 4"
		kevo-get @ k
		kevo-txn a.kv -- sh -ec "kevo-put @ k kept; kevo-get @ outer
			kevo-txn @ kevo-put @ deep 3
			kevo-txn @ kevo-put @ deeper 4 && false" || true
		kevo-txn "$KEVO_DB" sh -ec "kevo-put @ inner 2; kevo-incr @ outer"
		kevo-scan @'
	equal err "$stderr" ''
	equal out "$output" $'012\ninner\t2\nk\t0\nouter\t2'
	is $'inner\t2\nk\t0\nouter\t2' kevo-scan a.kv
	# A failure outside takes with it what had succeeded inside.
	run -9 kevo-txn a.kv -- sh -ec 'kevo-txn @ kevo-put @ inner 3; exit 9'
	is 2 kevo-get a.kv inner
	nothing_left a.kv
}

@test "kevo-txn: other databases act on their own" {
	kevo-init -q a.kv
	run -5 kevo-txn a.kv -- sh -c '
		kevo-put @ k a
		kevo-put b.kv k b
		kevo-txn b.kv kevo-put @ l c
		exit 5'
	is 0 kevo-scan -c a.kv
	is $'k\tb\nl\tc' kevo-scan b.kv
	# One of another database inside: both are joined by their names.
	run -0 kevo-txn a.kv -- sh -ec '
		kevo-txn b.kv -- sh -ec "
			kevo-put b.kv m 1; kevo-put a.kv m 2
			$outside kevo-scan -c a.kv"
		kevo-get b.kv m
		kevo-get a.kv m'
	equal out "$output" $'0\n12'
}

@test "kevo-txn: -R is one snapshot for all, and takes no lock" {
	kevo-put a.kv k old
	run -0 --separate-stderr kevo-txn -R a.kv -- sh -c '
		$outside kevo-put -w 0 a.kv k new
		$outside kevo-put -w 0 a.kv l new
		kevo-get @ k; echo
		kevo-scan -c @
		kevo-put @ k mine; echo $?
		kevo-delete @ k; echo $?
		kevo-incr @ n; echo $?
		kevo-txn @ kevo-put @ k mine; echo $?
		printf "put\tk\tmine\n" | kevo-txn -i @; echo $?
		kevo-txn -R @ kevo-get @ k'
	equal out "$output" $'old\n1\n77\n77\n77\n77\n77\nold'
	[ "$(grep -c 'read-only' <<<"$stderr")" -ge 4 ]
	is $'k\tnew\nl\tnew' kevo-scan a.kv
	run -3 kevo-txn -R a.kv sh -c 'exit 3'
}

@test "kevo-txn: -R works where nothing can be written, the other is 77" {
	kevo-put a.kv k v
	chmod -R a-w a.kv
	run -0 nodac kevo-txn -R a.kv kevo-get @ k
	equal value "$output" v
	run -77 --separate-stderr nodac kevo-txn a.kv kevo-get @ k
	matches "$stderr" 'kevo-txn: *ermission*'
}

@test "kevo-txn: a transaction that has ended is 69, and changes nothing" {
	local text
	kevo-put a.kv k v
	text=$(kevo-txn a.kv sh -c 'echo "$KEVO_TXN"')
	[ -n "$text" ]
	KEVO_TXN=$text fails 69 '*transaction*ended*' kevo-put a.kv k w
	KEVO_TXN=$text fails 69 '*transaction*ended*' kevo-get a.kv k
	KEVO_TXN=$text fails 69 '*transaction*ended*' kevo-txn a.kv true
	is v kevo-get a.kv k
	# Of another database, it does not matter.
	KEVO_TXN=$text ok kevo-put b.kv k w
	# What is none is not taken for one, and makes no harm.
	for text in x /etc/passwd ../../x "$text$text" "${text%?}" \
		"$(printf '%5000s' '' | tr ' ' x)" $'\377' 1:2:3:4:5:6:7:8; do
		KEVO_TXN=$text run -69 kevo-put a.kv k w
	done
	is v kevo-get a.kv k
	KEVO_TXN='' ok kevo-put a.kv k w
}

@test "kevo-txn: children that outlive it are told so" {
	mkfifo go
	run -0 kevo-txn a.kv -- sh -ec '
		kevo-put @ k 1
		{ read -r _ <go; kevo-put @ k 2 || echo $? >late; } \
			>/dev/null 2>said 3>&- &'
	is 1 kevo-get a.kv k
	echo >go
	wait_for [ -s late ]
	equal status "$(cat late)" 69
	matches "$(cat said)" 'kevo-put: *transaction*ended*'
	is 1 kevo-get a.kv k
	# And one that had the database open already.
	run -0 kevo-txn a.kv -- bash -ec '
		{ cat <(printf "a\t1\n") go | kevo-put -i @ || echo $? >late2; } \
			>/dev/null 2>&1 3>&- &
		until kevo-get @ a >/dev/null; do :; done'
	is 1 kevo-get a.kv a
	printf 'b\t2\n' >go
	wait_for [ -s late2 ]
	equal status "$(cat late2)" 69
	no kevo-get a.kv b
}

@test "kevo-txn: SIGKILL of it undoes all, and children learn of it" {
	kevo-put a.kv k old
	mkfifo go
	background kevo-txn a.kv -- sh -c '
		kevo-put @ k new; kevo-get @ k >seen
		read -r _ <go
		kevo-get @ k; echo $? >after
		kevo-put @ k newer; echo $? >>after' 2>/dev/null
	wait_for grep -q new seen
	is old kevo-get a.kv k
	kill -9 "$child"
	ends 137
	ok kevo-put -w 0 a.kv other 1
	echo >go
	wait_for eval '[ "$(wc -l <after)" = 2 ]'
	equal statuses "$(cat after)" $'69\n69'
	is old kevo-get a.kv k
	nothing_left a.kv
}

@test "kevo-txn: SIGKILL of a child undoes what it was about, no more" {
	seq 2000 | sed 's/$/\tx/' >many
	run -0 kevo-txn a.kv -- bash -c '
		kevo-put @ before 1
		for i in {1..12}; do
			kevo-put -i -1 @ <many & victim=$!
			sleep 0.00$((i % 4))
			kill -9 $victim
			wait $victim 2>/dev/null
			n=$(kevo-scan -c --from=1 --to=: @)
			[ "$n" = 0 ] || [ "$n" = 2000 ] || exit 99
			kevo-delete -q --from=1 --to=: @ || exit 98
		done
		kevo-put @ behind 2
	' 3>&- 2>/dev/null
	is $'before\t1\nbehind\t2' kevo-scan a.kv
	nothing_left a.kv
}

@test "kevo-txn: killed at random moments, all of it or nothing" {
	local i n last=0 ok=0
	kevo-put a.kv n 0
	for i in {1..30}; do
		kevo-txn a.kv -- sh -ec '
			kevo-incr @ n >/dev/null
			kevo-put @ copy "$(kevo-get @ n)"
			kevo-get @ n | kevo-put -i @ third' 3>&- 2>/dev/null &
		child=$!
		children+=("$child")
		sleep "0.0$((RANDOM % 40 / 10))$((RANDOM % 10))"
		kill -9 "$child" 2>/dev/null || true
		wait "$child" 2>/dev/null && ok=$((ok + 1))
		# What it had written whole is seen with the next commit.
		ok kevo-put -w 0 a.kv lock free
		n=$(kevo-get a.kv n)
		[ "$n" -eq "$last" ] || [ "$n" -eq $((last + 1)) ]
		last=$n
		if [ "$n" -gt 0 ]; then
			is "$n" kevo-get a.kv copy
			is "$n" kevo-get a.kv third
		fi
	done
	[ "$last" -ge "$ok" ]
	nothing_left a.kv
}

@test "kevo-txn: readers outside see nothing and never wait, writers do" {
	kevo-put a.kv k old
	mkfifo go
	background kevo-txn a.kv -- sh -ec '
		kevo-put @ k new; kevo-put @ l 1; echo ready >there; read -r _ <go'
	wait_for [ -s there ]
	is old timeout 5 kevo-get a.kv k
	is $'k\told' timeout 5 kevo-scan a.kv
	is 1 timeout 5 kevo-scan -c a.kv
	fails 75 '*busy*kevo-txn*' kevo-put -w 0 a.kv x 1
	fails 75 '*busy*kevo-txn*' kevo-txn -w 0.05 a.kv true
	run -33 kevo-txn -w 0 --conflict-exit-code=33 a.kv true
	run -33 piped 'put\ta\tb\n' kevo-txn -i -w 0 --conflict-exit-code=33 a.kv
	echo >go
	ends 0
	is $'k\tnew\nl\t1' kevo-scan a.kv
}

@test "kevo-txn: two that wait for each other give up in time" {
	kevo-init -q a.kv
	kevo-init -q b.kv
	cross() {
		kevo-txn "$1" -- sh -c '
			echo here >"here.$0"
			until [ -s "here.$1" ]; do sleep 0.01; done
			kevo-put @ mine 1
			kevo-put -w 0.3 "$1" theirs 1' "$1" "$2"
	}
	background cross a.kv b.kv 2>said.a
	first=$child
	background cross b.kv a.kv 2>said.b
	run wait "$first"
	s1=0 s2=0
	wait "$first" || s1=$?
	wait "$child" || s2=$?
	# At least one has given up; what it held was then free for the other.
	[ "$s1" -eq 75 ] || [ "$s2" -eq 75 ]
	cat said.a said.b >said
	matches "$(cat said)" '*kevo-put: *.kv: busy: *kevo-txn, pid *'
	ok kevo-put -w 0 a.kv after 1
	ok kevo-put -w 0 b.kv after 1
}

@test "kevo-txn: signals are passed on" {
	local sig
	for sig in TERM HUP INT USR1; do
		rm -f got there
		background kevo-txn a.kv -- bash -c '
			trap "echo '$sig' >got; exit 7" '$sig'
			kevo-put @ k '$sig'; echo >there
			while :; do sleep 0.01; done'
		# A background job ignores INT, and what is ignored stays so.
		wait_for [ -s there ]
		if [ "$sig" = INT ]; then
			kill -TERM "$child"
			ends 143
			continue
		fi
		kill "-$sig" "$child"
		ends 7
		equal signal "$(cat got)" "$sig"
	done
	is 0 kevo-scan -c a.kv
	# Without a handler the command dies, and so does kevo-txn.
	rm -f there
	background kevo-txn a.kv -- sh -c 'kevo-put @ k 1; echo >there; exec sleep 60'
	wait_for [ -s there ]
	kill -TERM "$child"
	ends 143
	is 0 kevo-scan -c a.kv
}

@test "kevo-txn: conditions and expiry inside" {
	kevo-put a.kv k v
	kevo-put -t 0.05 a.kv brief v
	gone() { ! kevo-get a.kv brief; }
	wait_for gone
	run -0 --separate-stderr kevo-txn a.kv -- sh -c '
		kevo-put --if-absent @ k w; echo $?
		kevo-put --if-value=v @ k w; echo $?
		kevo-put --if-value=v @ k x; echo $?
		kevo-put --if-present @ brief x; echo $?
		kevo-put --if-version=0 @ brief x; echo $?
		kevo-put --if-version=0 @ brief y; echo $?
		kevo-put --if-absent -t 1h @ lease me; echo $?
		kevo-delete --if-value=me @ lease; echo $?
		printf "check-value\tk\tw\ncheck-absent\tlease\nput\tz\t1\n" |
			kevo-txn -i @; echo $?
		printf "check-value\tk\tv\nput\tz\t2\n" | kevo-txn -qi @; echo $?
		printf "put\tz\t3\n" | kevo-txn -qin @; echo $?'
	equal out "$output" $'1\n0\n1\n1\n0\n1\n0\n0\n0\n1\n0'
	is $'brief\tx\nk\tw\nz\t1' kevo-scan a.kv
}

@test "kevo-txn: its clock stands still, for whoever joins it" {
	local how secs
	for how in '' -R; do
		# The next time is for a machine too slow to begin within this one.
		for secs in 0.5 3 20; do
			kevo-put -t $secs a.kv brief v
			# shellcheck disable=SC2086
			run --separate-stderr kevo-txn $how a.kv -- sh -c '
				kevo-get @ brief >early || exit 9
				while env -u KEVO_TXN kevo-get a.kv brief >seen; do
					sleep 0.02
				done
				kevo-get @ brief; kevo-scan @
				kevo-txn '"$how"' @ -- kevo-get @ brief'
			[ "$status" -eq 9 ] || break
		done
		[ "$status" -eq 0 ]
		equal inside "$output" $'vbrief\tv\nv'
		run -1 kevo-get a.kv brief
	done
}

@test "kevo-txn: import, export, pop and the shell work inside" {
	run -0 --separate-stderr kevo-txn a.kv -- sh -ec '
		printf "j:1\ta\nj:2\tb\n" | kevo-import -q @
		kevo-import -q -f jsonl @ <<-X
			{"key":"x","value":"1"}
		X
		kevo-delete -p -f raw -l 1 -P j: @; echo
		kevo-export -f jsonl @
		kevo-shell @ <<-X
			PUT s 1
			BEGIN
			PUT t 2
			ROLLBACK
			BEGIN
			INCR s 2
			COMMIT
			SCAN s
		X
		$outside kevo-scan -c a.kv'
	matches "$output" $'a\n{"key":"j:2","value":"b"}\n{"key":"x","value":"1"}\n*\n3\n*s: 3\n1 entry found\n0'
	is $'j:2\tb\ns\t3\nx\t1' kevo-scan a.kv
}

@test "kevo-txn: a hundred thousand changes inside" {
	run -0 --separate-stderr kevo-txn a.kv -- sh -ec '
		seq 100000 | sed "s/.*/k&\t&/" | kevo-put -i @
		kevo-scan -c @
		kevo-get @ k77777; echo
		kevo-scan -r -l 1 @
		$outside kevo-scan -c "$KEVO_DB"
		kevo-delete -q -P k9 @
		kevo-scan -c @'
	equal out "$output" $'100000\n77777\nk99999\t99999\n0\n88889'
	is 88889 kevo-scan -c a.kv
	is 1 bash -c 'kevo-scan -m a.kv | cut -f2 | sort -u | wc -l'
	run -1 kevo-txn a.kv -- sh -ec 'kevo-delete -q --all @; false'
	is 88889 kevo-scan -c a.kv
	nothing_left a.kv
}
