#!/usr/bin/env bats
# shellcheck disable=SC2154
# kevo-config, and what settings do to the tools.

load common
shopt -s extglob
setup() {
	common_setup
	kevo-init -q a.kv
}
teardown() { common_teardown; }

@test "config: list is what happens without a command; names, values, ranges" {
	ok kevo-config a.kv
	plain=$output
	matches "${lines[0]}" 'setting *value *default *from *range'
	grep -qE '^memtable_bytes +64M +64M +default +64K to 1G$' <<<"$plain"
	is "$plain" kevo-config a.kv list
	is "$plain" kevo-config -f human a.kv
	is "$plain" env KEVO_DB="$PWD/a.kv" kevo-config @
	kevo-config a.kv set memtables=3
	ok kevo-config -f tsv a.kv
	grep -qx $'memtables\t3\t2\tkevo.conf:3\t1 to 64' <<<"$output"
	grep -qx $'sync\tfull\tfull\tdefault\tfull, batch or none' <<<"$output"
	equal settings "$(wc -l <<<"$output")" 22
}

@test "config: json has numbers for numbers" {
	need jq
	kevo-config a.kv set stall_ms=1500ms sync=none
	kevo-config -f json a.kv >all.json
	equal length "$(jq length all.json)" 22
	equal size "$(jq -c '.[] | select(.name == "memtable_bytes") |
		[.value, .text, .default, .source, .kind]' all.json)" \
		'[67108864,"64M","64M","default","size"]'
	equal duration "$(jq -c '.[] | select(.name == "stall_ms") |
		[.value, .text, .source, .line]' all.json)" \
		'[1500,"1500ms","kevo.conf",3]'
	equal choice "$(jq -c '.[] | select(.name == "sync") | .value' all.json)" \
		'"none"'
	# Nothing else is said elsewhere.
	diff <(jq -r '.[] | [.name, .text, .default, (if .line then
		"\(.source):\(.line)" else .source end), .range] | @tsv' \
		all.json) <(kevo-config -f tsv a.kv)
}

@test "config: get prints one value, set and unset change several" {
	is 64M kevo-config a.kv get memtable_bytes
	is '' kevo-config a.kv set memtable_bytes=262144 sync_ms=90s
	is 256K kevo-config a.kv get memtable_bytes
	is 90s kevo-config a.kv get sync_ms
	is '' kevo-config a.kv set memtable_bytes=default
	is 64M kevo-config a.kv get memtable_bytes
	is '' kevo-config a.kv unset sync_ms levels
	is 1s kevo-config a.kv get sync_ms
	run grep -v '^#' a.kv/kevo.conf
	equal 'left in it' "$output" ''
}

@test "config: wrong operands are 64, and change nothing" {
	fails 64 'snyc: no such setting; did you mean sync?' \
		kevo-config a.kv get snyc
	fails 64 'memtable: *memtable*' kevo-config a.kv set levels=3 memtable=1
	fails 64 'xyzzy: no such setting' kevo-config a.kv unset levels xyzzy
	fails 64 'levels: NAME=VALUE expected' kevo-config a.kv set levels
	fails 64 '*levels: 9 *2 to 8' kevo-config a.kv set sync=none levels=9
	# A group of a table counts its records in a byte.
	fails 64 '*restart_interval: 256 *1 to 255' \
		kevo-config a.kv set restart_interval=256
	fails 64 '*sync: maybe *full, batch or none' kevo-config a.kv set sync=maybe
	fails 64 '*stall_segments: 8 is below memtables, which is 9' \
		kevo-config a.kv set memtables=9
	fails 64 'lits: no such command; did you mean list?*usage*' \
		kevo-config a.kv lits
	fails 64 '*NAME=VALUE is missing*' kevo-config a.kv set
	fails 64 '*NAME is missing*' kevo-config a.kv get
	fails 64 'b: one operand too many*' kevo-config a.kv explain sync b
	fails 64 '*options go before DB*' kevo-config a.kv list -f tsv
	fails 64 '-f csv: *human tsv json' kevo-config -f csv a.kv
	fails 64 '-f goes with list' kevo-config -f tsv a.kv get sync
	fails 64 'fast: no such profile; there are balanced write-heavy read-heavy small-memory' \
		kevo-config a.kv profile fast
	[ ! -e a.kv/kevo.conf ]
	is full kevo-config a.kv get sync
}

@test "config: needs a database, and creates none" {
	for cmd in list 'get sync' 'set sync=none' 'unset sync' check \
		'profile read-heavy' explain; do
		# shellcheck disable=SC2086 # words
		fails 66 'no.kv: no such database' kevo-config no.kv $cmd
	done
	[ ! -e no.kv ]
	mkdir other
	echo mine >other/file
	fails 65 'other: *' kevo-config other set sync=none
}

@test "config: comments, order and what else is in the file stay" {
	printf '%s\n' '# nightly loads' '' ' memtables=3   # a few' \
		'# sync = none' 'sync = batch' '# end' >a.kv/kevo.conf
	ok kevo-config a.kv set memtables=4 levels=5
	ok kevo-config a.kv unset sync
	equal kevo.conf "$(cat a.kv/kevo.conf)" "# nightly loads

 memtables=4   # a few
# sync = none
# end
levels = 5"
	equal 'left over' "$(find a.kv -name '*tmp*')" ''
}

@test "config: a wrong file is 78 for writers, with line and range" {
	kevo-put a.kv k v
	printf '# one\nsync = maybe\n' >a.kv/kevo.conf
	want='a.kv/kevo.conf:2: sync: maybe is not full, batch or none'
	fails 78 "$want" kevo-put a.kv k w
	fails 78 "$want" kevo-incr a.kv n
	fails 78 "$want" piped 'k\tw\n' kevo-put -i a.kv
	is v kevo-get a.kv k
	is $'k\tv' kevo-scan a.kv
	for cmd in list check 'get levels' explain; do
		# shellcheck disable=SC2086 # words
		fails 78 "$want" kevo-config a.kv $cmd
	done
	fails 78 "$want" kevo-config a.kv set levels=3
	ok kevo-config a.kv set sync=full levels=3
	ok kevo-config a.kv check
	ok kevo-put a.kv k w
	echo 'colour = red' >>a.kv/kevo.conf
	fails 78 'a.kv/kevo.conf:4: colour: no such setting' kevo-put a.kv k x
	rm -r a.kv/shm
	fails 78 '*kevo.conf:4: *' kevo-put a.kv k x
	[ ! -e a.kv/shm ]
	is w kevo-get a.kv k
}

@test "config: a change holds at once for a process that is there" {
	rm -r a.kv
	kevo-init -q --set memtable_bytes=64K a.kv
	converse kevo-put -i -f text --ack a.kv
	ask $'k0\tv'
	hear
	equal acknowledged "$line" 1
	kevo-config a.kv set memtable_bytes=1M
	# The segment of the moment stays, the next ones are larger.
	for i in 1 2 3 4 5 6 7 8; do
		ask "k$i"$'\t'"$(printf '%16000s' x)"
		hear
	done
	hang_up
	ends 0
	equal sizes "$(find a.kv/wal -name '*2.seg' -printf '%s')" 1048576
}

@test "config: an edit holds from a writer's next open" {
	kevo-put a.kv k v
	echo 'memtable_bytes = 128K' >a.kv/kevo.conf
	awk 'BEGIN { for (i = 0; i < 2000; i++) printf "%d\t%100s\n", i, "x" }' |
		kevo-put -i a.kv
	kevo-put a.kv k "$(printf '%60000s' x)"
	kevo-put a.kv k "$(printf '%70000s' x)"
	# The first one was made before.
	rm a.kv/kevo.conf
	kevo-put a.kv k v
	is 64M kevo-config a.kv get memtable_bytes
	kevo-config a.kv set sync=none
	rm -r a.kv/shm
	kevo-put a.kv k v
	is none kevo-config a.kv get sync
}

@test "config: set takes the write lock, and names who has it" {
	hold a.kv somebody
	fails 75 '*busy: locked by *' kevo-config -w 0 a.kv set sync=none
	is full kevo-config a.kv get sync
	release
	ok kevo-config a.kv set sync=none
}

@test "config: who may only read may list, and not set" {
	[ "$(id -u)" -eq 0 ] || skip 'needs two users'
	chmod -R go=u-w a.kv
	chown -R 65534:65534 a.kv
	ok nodac kevo-config a.kv
	fails 77 'a.kv*ermission*' nodac kevo-config a.kv set sync=none
	ok nodac kevo-config a.kv check
	# What root writes stays its owner's.
	kevo-config a.kv set sync=none
	equal owner "$(stat -c %u:%g a.kv/kevo.conf)" 65534:65534
}

@test "config: explain tells of each setting what it is and trades" {
	ok kevo-config a.kv explain sync
	matches "$output" 'sync = full*What: *Range: full, batch or none.*Default: full.*power cut*'
	ok kevo-config a.kv explain
	awk 'length > 80 { print; bad = 1 } END { exit bad }' <<<"$output"
	for name in $(kevo-config -f tsv a.kv | cut -f1); do
		grep -q "^$name = " <<<"$output"
	done
	fails 64 'syn: *sync*' kevo-config a.kv explain syn
}

@test "config: profiles set what belongs together, and no durability" {
	kevo-config a.kv set sync=none levels=5
	for p in balanced write-heavy read-heavy small-memory; do
		ok kevo-config a.kv profile "$p"
		ok kevo-config a.kv check
		is none kevo-config a.kv get sync
		is 5 kevo-config a.kv get levels
		ok kevo-put a.kv k v
	done
	is 2M kevo-config a.kv get memtable_bytes
	ok kevo-config a.kv profile balanced
	run -0 kevo-config -f tsv a.kv
	equal changed "$(awk -F'\t' '$2 != $3 { print $1 }' <<<"$output")" \
		$'sync\nlevels'
	ok kevo-config a.kv profile
	for p in balanced write-heavy read-heavy small-memory; do
		grep -qx "$p" <<<"$output"
	done
}

@test "config: killed at any moment, the file is the old or the new one" {
	local i
	kevo-config a.kv set levels=3 sync_ms=3s
	for i in 1 2 3 4 5 6 7 8; do
		(while kevo-config a.kv set "levels=$((i % 4 + 3))" \
			"sync_ms=$((i % 4 + 3))s"; do :; done) 3>&- &
		child=$!
		children+=("$child")
		wait_for test a.kv/kevo.conf -nt a.kv/FORMAT
		kill -KILL "$child"
		wait "$child" 2>/dev/null || true
		ok kevo-config a.kv check
		equal 'both or none' "$(kevo-config a.kv get levels)s" \
			"$(kevo-config a.kv get sync_ms)"
		ok kevo-put a.kv k v
	done
}

@test "config: kevo.conf(5) says of each setting what the table says" {
	kevo-config -f json a.kv | sed 's/^\[//; s/,$//; s/\]$//' |
		while IFS= read -r line; do
		[[ $line =~ \"name\":\"([a-z0-9_]*)\",\"kind\":\"([a-z]*)\" ]]
		name=${BASH_REMATCH[1]} kind=${BASH_REMATCH[2]}
		[[ $line =~ \"default\":\"([^\"]*)\",\"range\":\"([^\"]*)\" ]]
		default=${BASH_REMATCH[1]} range=", ${BASH_REMATCH[2]}"
		[ "$kind" != list ] || range=
		grep -qxF ".It Cm $name No ($kind$range, $default)" \
			"$root/man/kevo.conf.5" || { echo "$name"; exit 1; }
	done
	# And no others.
	equal settings "$(grep -c '^.It Cm [a-z0-9_]* No (' \
		"$root/man/kevo.conf.5")" 22
	# The profiles, too.
	kevo-config a.kv profile | awk '/^[a-z]/ { p = $1 }
		/^    [a-z0-9_]*=/ { sub(/=/, " "); print $1, p, $2 }' |
		sort >table
	awk '/^.It Ta Sy balanced/ {
			for (i = 4; i <= NF; i += 3) name[(i - 1) / 3] = $i }
		/^.It Cm [a-z0-9_]* Ta / && name[2] != "" {
			n = split($0, f, / Ta /)
			sub(/.It Cm /, "", f[1])
			for (i = 2; i <= n; i++)
				if (f[i] != "\"\"") print f[1], name[i - 1], f[i] }' \
		"$root/man/kevo.conf.5" | sort | diff table -
}

@test "config: kevo.conf(5) has an example that is right" {
	awk '/^\.Sh EXAMPLES/ { on = 1 } on && /^\.Bd/ { in_block = 1; next }
		/^\.Ed/ { in_block = 0 } on && in_block' "$root/man/kevo.conf.5" \
		>a.kv/kevo.conf
	[ -s a.kv/kevo.conf ]
	ok kevo-config a.kv check
	is 'none,none,zstd:3' kevo-config a.kv get compression
}

@test "config: sync=batch syncs as sync_bytes says" {
	need strace
	[ -z "${KEVO_SAN-}" ] || skip 'a sanitizer has calls of its own'
	kevo-config a.kv set sync=batch sync_bytes=1G sync_ms=1h
	awk 'BEGIN { for (i = 0; i < 4000; i++) printf "%d\t%1000s\n", i, "x" }' \
		>in.tsv
	strace -f -o trace -e trace=fdatasync,fsync kevo-put -i a.kv <in.tsv
	equal 'at the end' "$(grep -c 'sync(' trace)" 1
	# A chunk of a thousand records is more.
	kevo-config a.kv set sync_bytes=512K
	strace -f -o trace -e trace=fdatasync,fsync kevo-put -i a.kv <in.tsv
	n=$(grep -c 'sync(' trace)
	[ "$n" -ge 4 ] && [ "$n" -le 5 ]
}
