#!/usr/bin/env bats
# shellcheck disable=SC2154
# kevo-init, and where databases may be created.

load common
shopt -s extglob
setup() { common_setup; }
teardown() { common_teardown; }

@test "init: creates a database, and leaves one that exists as it is" {
	run -0 --separate-stderr kevo-init a.kv
	equal output "$output" ''
	[ -s a.kv/FORMAT ]
	is v kevo-get --default=v a.kv k
	kevo-put a.kv k v
	cp a.kv/FORMAT before
	run -0 --separate-stderr kevo-init a.kv
	equal output "$output" ''
	cmp before a.kv/FORMAT
	is v kevo-get a.kv k
	is '' kevo-init -q b.kv
	is '' kevo-init -q b.kv
}

@test "init: takes an empty directory, and @ is KEVO_DB" {
	mkdir a.kv
	is '' kevo-init -q a.kv
	[ -s a.kv/FORMAT ]
	KEVO_DB=$PWD/b.kv ok kevo-init -q @
	[ -s b.kv/FORMAT ]
	fails 64 '*KEVO_DB*' kevo-init @
	ok kevo-init -q ./@
	[ -s @/FORMAT ]
	fails 64 '*empty*' kevo-init ''
}

@test "init: a missing parent is 73, something else in its place is 65" {
	fails 73 'no/such/a.kv: *' kevo-init no/such/a.kv
	[ ! -e no ]
	mkdir other
	echo mine >other/file
	listing other >before
	fails 65 'other: *' kevo-init other
	listing other | diff before -
	echo mine >file
	fails 65 'file: *' kevo-init file
	equal file "$(cat file)" mine
	ln -s nowhere dangling
	run --separate-stderr timeout 10 kevo-init dangling
	matches "$status" '@(6[4-9]|7[0-8])'
	[ ! -e nowhere ]
}

@test "init: what may not be written is refused by name" {
	mkdir closed
	chmod 555 closed
	run --separate-stderr nodac kevo-init closed/a.kv
	matches "$status" '7[37]'
	matches "$stderr" 'kevo-init: closed/a.kv: *ermission*'
	[ ! -e closed/a.kv ]
	mkdir empty
	chmod 555 empty
	run --separate-stderr nodac kevo-init empty
	matches "$status" '7[37]'
	matches "$stderr" 'kevo-init: empty*: *ermission*'
	equal 'left behind' "$(ls -A empty)" ''
}

@test "init: --set writes settings to kevo.conf, with sizes in K M G" {
	ok kevo-init -q --set memtable_bytes=256K --set=sync=none \
		--set compaction=manual a.kv
	grep -qx 'memtable_bytes = 256K' a.kv/kevo.conf
	grep -qx 'sync = none' a.kv/kevo.conf
	# More than a few segments.
	seq 30000 | awk -v OFS='\t' '{ print $1, "value of " $1 }' |
		kevo-put -i a.kv
	[ "$(find a.kv/wal -type f | wc -l)" -gt 2 ]
	is 30000 kevo-scan -c a.kv
	is 'value of 77' kevo-get a.kv 77
}

@test "init: a wrong setting names itself and creates nothing" {
	for set in colour=red colour memtable_bytes=big memtable_bytes=1 \
		memtable_bytes=-5 memtable_bytes= sync=maybe =x '' \
		memtables=20; do
		run --separate-stderr kevo-init --set "$set" a.kv
		equal "status of --set '$set'" "$status" 64
		matches "$stderr" "kevo-init: *${set%%=*}*"
		[ ! -e a.kv ]
	done
}

@test "init: --set on a database that exists does not claim to have worked" {
	kevo-init -q --set sync=none a.kv
	# The same again is what a script does at its second run.
	is '' kevo-init -q --set sync=none a.kv
	run --separate-stderr kevo-init --set sync=full a.kv
	[ "$status" -ge 64 ]
	matches "$stderr" 'kevo-init: a.kv: *sync is none*kevo-config*'
	is none kevo-config a.kv get sync
	is '' kevo-init -q --set sync=none --set levels=7 a.kv
}

@test "init: --profile gives several settings, and --set others" {
	ok kevo-init -q --profile=write-heavy --set memtables=5 a.kv
	is 5 kevo-config a.kv get memtables
	is 128M kevo-config a.kv get memtable_bytes
	ok kevo-init -q --profile write-heavy --profile balanced b.kv
	is 64M kevo-config b.kv get memtable_bytes
	fails 64 'write-heavi: *write-heavy*' kevo-init --profile=write-heavi c.kv
	[ ! -e c.kv ]
	is '' kevo-init -q --profile=balanced b.kv
	fails 73 'b.kv: *' kevo-init --profile=read-heavy b.kv
}

@test "init: a kevo.conf that was put there is used, if it is right" {
	mkdir a.kv
	echo 'memtable_bytes = 12' >a.kv/kevo.conf
	fails 78 'a.kv/kevo.conf:1: memtable_bytes: 12 *64K to 1G' kevo-init a.kv
	equal 'left behind' "$(cd a.kv && echo *)" 'LOCK kevo.conf'
	echo 'memtable_bytes = 128K # small' >a.kv/kevo.conf
	ok kevo-init -q --set sync=batch a.kv
	is 128K kevo-config a.kv get memtable_bytes
	is batch kevo-config a.kv get sync
	grep -q '# small' a.kv/kevo.conf
}

@test "init: new files follow the umask of the creation" {
	(umask 007 && kevo-init -q a.kv && kevo-put a.kv k v)
	run -0 find a.kv -perm /007
	equal 'open to others' "$output" ''
	for f in LOCK FORMAT wal shm shm/control; do
		[ -n "$(find "a.kv/$f" -maxdepth 0 -perm -060)" ] ||
			[ "$f" = FORMAT ] || { echo "$f"; return 1; }
	done
	(umask 077 && kevo-put a.kv k2 v)
	run -0 find a.kv -type f ! -perm -040
	equal 'closed to the group' "$output" ''
}

@test "init: another user may write where the permissions say so" {
	[ "$(id -u)" -eq 0 ] || skip 'needs two users'
	(umask 0 && kevo-init -q a.kv)
	chown -R 65534:65534 a.kv
	ok nodac kevo-put a.kv k v
	is v nodac kevo-get a.kv k
	(umask 022 && kevo-init -q b.kv && kevo-put b.kv k v)
	chown -R 65534:65534 b.kv
	fails 77 'b.kv*ermission*' nodac kevo-put b.kv k w
	is v nodac kevo-get b.kv k
	(umask 077 && kevo-init -q c.kv)
	chown -R 65534:65534 c.kv
	fails 77 'c.kv*ermission*' nodac kevo-get c.kv k
}

@test "create: every writer creates, but not with -C" {
	local n=0 w
	for w in 'kevo-put DB k 1' 'kevo-incr DB k' 'kevo-import -q DB' \
		'kevo-put -i DB' 'kevo-put -i DB k'; do
		n=$((n + 1))
		# shellcheck disable=SC2086 # words
		run -66 --separate-stderr ${w/DB/-C no$n.kv} </dev/null
		matches "$stderr" "${w%% *}: no$n.kv: no such database*"
		[ ! -e "no$n.kv" ]
		# shellcheck disable=SC2086 # words
		run -0 ${w/DB/yes$n.kv} </dev/null
		[ -s "yes$n.kv/FORMAT" ]
		# shellcheck disable=SC2086 # words
		run -0 ${w/DB/-C yes$n.kv} </dev/null
	done
}

@test "create: many at once make one database, and nobody is turned away" {
	local i
	for i in 1 2 3 4 5 6 7 8; do
		background kevo-put a.kv "k$i" "$i"
		pids[i]=$child
	done
	for i in 1 2 3 4 5 6 7 8; do
		wait "${pids[i]}"
	done
	is 8 kevo-scan -c a.kv
	equal 'left over' "$(find a.kv -name '*tmp*')" ''
}
