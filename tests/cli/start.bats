#!/usr/bin/env bats
# Start-up is the product: what a one-shot tool asks of the kernel is counted,
# so that nothing creeps in.

load common
shopt -s extglob
setup() {
	common_setup
	need strace
	[ -z "${KEVO_SAN-}" ] || skip 'a sanitizer has calls of its own'
	# A libc that is not the default one may ask for a little more.
	slack=0
	grep -q '^TOOL_CC = musl' "$KEVO_BUILD/toolchain.mk" || slack=8
	kevo-put a.kv k v
	floor=$(calls kevo-get -V)
}
teardown() { common_teardown; }

# calls COMMAND...: how many system calls it makes.
calls() {
	strace -f -o trace "$@" >/dev/null || true
	grep -Evc '(\+\+\+|---) |exit' trace
}

# at_most N COMMAND...: so many more than a tool that only says its version.
at_most() {
	local limit=$(($1 + floor + slack)) n
	shift
	n=$(calls "$@")
	[ "$n" -le "$limit" ] && return
	echo "$n calls, at most $limit were expected: $*"
	cat trace
	return 1
}

@test "start: one-shot get, put, delete, incr, scan and watch have their ceilings" {
	at_most 25 kevo-get a.kv k
	at_most 22 kevo-get a.kv absent
	at_most 36 kevo-put a.kv k v
	at_most 35 kevo-put --sync=none a.kv k v
	at_most 36 kevo-put --if-absent a.kv k v
	at_most 36 kevo-delete a.kv k
	at_most 40 kevo-incr a.kv n
	at_most 33 kevo-scan -l 1 a.kv
	at_most 31 kevo-scan -c a.kv
	at_most 34 kevo-watch --idle=0 a.kv
}

@test "start: the number of records makes no difference" {
	local n
	seq 50000 | sed 's/$/\tsome value/' | kevo-put -i --sync=none big.kv
	for tool in 'put DB k v' 'put --sync=none DB k v' 'delete DB k' \
		'incr DB n'; do
		kevo-put big.kv k v
		kevo-put a.kv k v
		# shellcheck disable=SC2086 # words
		n=$(calls kevo-${tool/DB/a.kv})
		# shellcheck disable=SC2086 # words
		[ "$(calls kevo-${tool/DB/big.kv})" -le $((n + 2)) ]
	done
	# A get may read each node on the way to its key: a few, not many.
	n=$(calls kevo-get a.kv k)
	[ "$(calls kevo-get big.kv 49999)" -le $((n + 6)) ]
}

@test "start: no file is opened twice" {
	local tool
	for tool in 'get a.kv k' 'put a.kv k v' 'incr a.kv n' 'delete a.kv k' \
		'scan a.kv'; do
		# shellcheck disable=SC2086 # words
		strace -f -o trace -e trace=openat kevo-$tool >/dev/null
		run -0 sh -c "grep -o '\"[^\"]*\"' trace | sort | uniq -d"
		equal "opened twice by $tool" "$output" ''
	done
}

@test "start: a durable put syncs once, the others never" {
	calls kevo-put a.kv k v >/dev/null
	equal full "$(grep -Ec 'sync\(' trace)" 1
	calls kevo-put --sync=none a.kv k v >/dev/null
	equal none "$(grep -Ec 'sync\(' trace || true)" 0
	calls kevo-get a.kv k >/dev/null
	equal get "$(grep -Ec 'sync\(|fcntl\(|flock\(' trace || true)" 0
}

@test "start: nothing outside of the database is looked at" {
	for tool in 'get a.kv k' 'put a.kv k v' 'scan a.kv' 'incr a.kv n' \
		'delete a.kv k' 'export a.kv'; do
		# shellcheck disable=SC2086 # words
		strace -f -o trace -e trace=file kevo-$tool >/dev/null
		run grep -Ev 'execve|\+\+\+|a\.kv|openat\([0-9]+, |[a-z]+\([0-9]+, "|boot_id|/proc/self/|ld\.so|libc\.so|/etc/ld' trace
		equal "files of $tool" "$output" ''
		# shellcheck disable=SC2086 # words
		strace -f -o trace -e trace=network,process kevo-$tool >/dev/null
		run grep -E 'socket|connect|fork|clone' trace
		equal "processes of $tool" "$output" ''
	done
}

@test "start: the tools on the data's path need libc at most" {
	local tool needed
	for tool in put get delete scan incr init; do
		needed=$(readelf -d "$(command -v "kevo-$tool")" | grep NEEDED |
			grep -vE '\[(libc|libc\.musl-[^]]*|ld-[^]]*)\.so' || true)
		equal "needed by kevo-$tool" "$needed" ''
	done
}
