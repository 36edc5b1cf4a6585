#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2154
# kevo-txn, in each of its forms, on a copy that is not to be written: it is
# refused before the command is started; -R works.

load walship

setup() {
	common_setup
	for i in {1..20}; do kevo-put --sync=none p.kv "key$i" "value$i"; done
	replica p.kv a.kv
}

teardown() { common_teardown; }

# refused DB GLOB: every form that could write, and nothing was done.
refused() {
	local db=$1 glob=$2 before
	before=$(files "$db/wal")
	fails 77 "$glob" kevo-txn "$db" -- touch started || return
	fails 77 "$glob" kevo-txn "$db" -- kevo-get @ key1 || return
	fails 77 "$glob" kevo-txn "$db" sh -c 'touch started; exit 3' || return
	fails 77 "$glob" kevo-txn -w 0 --conflict-exit-code=33 "$db" \
		-- touch started || return
	fails 77 "$glob" piped 'put\tk\tv\n' kevo-txn -i "$db" || return
	fails 77 "$glob" piped 'check-absent\tkey1\nput\tk\tv\n' \
		kevo-txn -i "$db" || return
	# One of another database around it does not help.
	kevo-txn other.kv -- sh -c '
		kevo-txn "$0" -- touch started
		echo $?' "$db" >status 2>said || return
	equal status "$(cat status)" 77
	matches "$(cat said)" "kevo-txn: $glob" || return
	[ ! -e started ] || { echo 'the command was started'; return 1; }
	[ -z "$(find "$db/txn" -type f 2>/dev/null)" ] || return
	equal log "$(files "$db/wal")" "$before"
}

# readable DB: what only reads is done.
readable() {
	run -0 --separate-stderr kevo-txn -R "$1" -- sh -c '
		kevo-get @ key7; echo
		kevo-scan -c @
		kevo-txn -R @ kevo-get @ key8; echo
		kevo-put @ k v; echo $?
		kevo-txn @ kevo-put @ k v; echo $?' || return
	equal out "$output" $'value7\n20\nvalue8\n77\n77' || return
	equal refusals "$(grep -c 'read-only' <<<"$stderr")" 2 || return
	run -5 kevo-txn -R "$1" -- sh -c 'exit 5' || return
	run -0 --separate-stderr piped 'check-present\tkey1\nput\tk\tv\n' \
		kevo-txn -i -n "$1" || return
	matches "$stderr" 'kevo-txn: 1 checks hold; 1 changes would be made' ||
		return
	fails 1 '\(stdin\):1: *key1*' piped 'check-absent\tkey1\n' \
		kevo-txn -i -n "$1"
}

@test "kevo-txn: a replica is only read, and the primary is named" {
	refused a.kv '*a.kv: a replica: write to the primary, db1'
	readable a.kv
	ok kevo-walship promote -q a.kv
	ok kevo-txn a.kv -- kevo-put @ k v
	is v kevo-get a.kv k
}

@test "kevo-txn: a fenced database is only read, and says why" {
	ok kevo-walship fence p.kv 'db2 took over' --primary db2
	refused p.kv '*p.kv: fenced: another copy went on without it (db2 took over); write to the primary, db2'
	readable p.kv
}

@test "kevo-txn: what may not be written is only read" {
	chmod -R a-w a.kv
	# The role does not matter: nobody may even ask for the lock.
	fails 77 '*ermission*' nodac kevo-txn a.kv -- touch started
	fails 77 '*ermission*' nodac kevo-txn -w 0 a.kv touch started
	run -77 --separate-stderr nodac sh -c \
		'printf "put\tk\tv\n" | kevo-txn -i a.kv'
	matches "$stderr" 'kevo-txn: *ermission*'
	[ ! -e started ]
	run -0 --separate-stderr nodac kevo-txn -R a.kv -- sh -c '
		kevo-get @ key7; kevo-put @ k v; echo $?'
	equal out "$output" value777
	run -0 nodac sh -c \
		'printf "check-present\tkey1\n" | kevo-txn -qin a.kv'
}

@test "kevo-txn: where none can be created its command is not started" {
	mkdir there
	chmod a-w there
	fails 73 '*ermission*' nodac kevo-txn there/new.kv -- touch started
	run -73 --separate-stderr nodac sh -c \
		'printf "put\tk\tv\n" | kevo-txn -i there/new.kv'
	matches "$stderr" 'kevo-txn: *ermission*'
	fails 66 '*no such database' nodac kevo-txn -R there/new.kv touch started
	[ ! -e started ]
}

@test "kevo-txn: one under way is finished before the database is fenced" {
	mkfifo go
	background kevo-txn p.kv -- sh -ec '
		kevo-put @ k 1; echo >there; read -r _ <go; kevo-put @ l 2'
	wait_for [ -s there ]
	first=$child
	background kevo-walship fence p.kv now
	second=$child
	# What waits for the lock meanwhile is refused when it has it.
	background kevo-txn p.kv -- touch started 2>said
	third=$child
	is 1 eval 'kevo-get p.kv k >/dev/null; echo $?'
	echo >go
	child=$first
	ends 0
	child=$second
	ends 0
	came=0
	wait "$third" || came=$?
	is 2 kevo-get p.kv l
	# It came before the fence, or behind it.
	case $came in
	0) [ -e started ] ;;
	*)	equal status "$came" 77
		[ ! -e started ]
		matches "$(cat said)" '*p.kv: fenced: *(now)*' ;;
	esac
	rm -f started
	refused p.kv '*p.kv: fenced: another copy went on without it (now); write to the primary'
}
