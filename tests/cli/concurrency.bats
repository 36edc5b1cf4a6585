#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2119,SC2120,SC2154,SC2317
# Many processes at once, and some of them killed.

load common
shopt -s extglob
setup() { common_setup; }
teardown() { common_teardown; }

@test "many: increments are all counted, puts are all there" {
	worker() {
		local k
		for k in {1..25}; do
			kevo-incr --sync=none a.kv n || return
			kevo-incr --sync=none a.kv "own-$1" 2 || return
			kevo-put --sync=none a.kv "put-$1-$k" "$k" || return
		done >"results-$1"
	}
	local w
	for w in 1 2 3 4 5 6 7 8; do
		background worker $w
	done
	all_end
	is 200 kevo-get a.kv n
	is 50 kevo-get a.kv own-3
	is 200 kevo-scan -c a.kv put-
	# Nobody got the same number twice.
	sed -n 'p;n' results-* | sort -n | cmp - <(seq 200)
}

@test "many: durable puts of several processes, each acknowledged and there" {
	worker() {
		local k
		for k in {1..10}; do
			kevo-put a.kv "$1-$k" "$k" || return
		done
	}
	local w
	for w in 1 2 3 4; do
		background worker $w
	done
	all_end
	is 40 kevo-scan -c a.kv
}

@test "many: an atomic pop gives each job to one worker" {
	local w
	seq 300 | awk -v OFS='\t' '{ printf "todo:%04d\tjob %d\n", $1, $1 }' |
		kevo-put -i a.kv
	worker() {
		local status=0 job
		while job=$(kevo-delete --sync=none -p -f raw -P todo: -l 1 a.kv)
		do
			printf '%s\n' "$job"
		done >"jobs-$1"
		kevo-delete -p -f raw -P todo: -l 1 a.kv || status=$?
		[ "$status" -eq 1 ]
	}
	for w in 1 2 3 4; do
		background worker $w
	done
	all_end
	cat jobs-* | sort -k 2n | cmp - <(seq 300 | sed 's/^/job /')
	is 0 kevo-scan -c a.kv
}

@test "many: --if-absent -p shares keys out, each to one process" {
	local w
	seq 500 >keys
	for w in 1 2 3 4; do
		shuf --random-source=<(yes $w) keys >"keys-$w"
		bash -c 'kevo-put -k -i --if-absent -p -b 7 --sync=none a.kv \
			<"keys-$1" >"mine-$1"' - $w 3>&- &
		child=$!
		children+=("$child")
	done
	all_end
	sort -n mine-* | cmp - keys
}

@test "many: compare and set with --if-version loses no step" {
	local w
	kevo-put a.kv n 0
	worker() {
		local done=0 version value
		while [ $done -lt 15 ]; do
			IFS=$'\t' read -r _ version value < <(kevo-get -m a.kv n)
			kevo-put --sync=none --if-version="$version" a.kv n \
				$((value + 1))
			case $? in
			0) done=$((done + 1)) ;;
			1) ;;
			*) return 1 ;;
			esac
		done
	}
	for w in 1 2 3 4; do
		(set +e; worker) 3>&- &
		children+=($!)
	done
	all_end
	is 60 kevo-get a.kv n
}

@test "many: readers see whole commits while a loader writes" {
	local round w n=0
	kevo-init -q --set memtable_bytes=64K --set sync=none a.kv
	for round in $(seq 400); do
		for w in 0 1 2 3 4 5 6 7 8 9; do
			printf 'k%d\t%d\n' "$w" "$round"
		done
	done >in
	kevo-put -b 10 -i a.kv <in
	reader() {
		local count=0
		while [ ! -e stop ]; do
			kevo-scan --values a.kv | sort -u | wc -l
			kevo-scan -r --values a.kv | sort -u | wc -l
			kevo-scan -m a.kv | cut -f2 | sort -u | wc -l
		done >"seen-$1"
	}
	background reader 1
	background reader 2
	for w in 1 2 3 4 5; do
		kevo-put -b 10 -i a.kv <in
	done
	: >stop
	all_end
	equal 'values seen at once' "$(sort -u seen-1 seen-2)" 1
	[ "$(cat seen-1 seen-2 | wc -l)" -gt 5 ]
	# All this while segments were brought into tables.
	[ -n "$(find a.kv/version -type f)" ]
}

@test "killed: a loader's acknowledged batches are there, and whole" {
	local round acked seen count total=60000 killed=0
	seq $total | awk -v OFS='\t' '{ printf "%06d\tvalue %d\n", $1, $1 }' >in
	for round in 1 2 3 4 5; do
		rm -rf a.kv
		: >acks
		kevo-init -q --set memtable_bytes=64K a.kv
		kevo-put -i -b 7 --ack a.kv <in >acks 3>&- &
		child=$!
		children+=("$child")
		while [ "$(wc -l <acks)" -lt $((round * 23)) ]; do :; done
		kill -KILL "$child"
		wait "$child" 2>/dev/null || [ $? -eq 137 ]
		acked=$(tail -n 1 acks)
		seen=$(kevo-scan -c a.kv)
		# No lock is left.  This writer finishes what was under way.
		ok kevo-put -w 0 a.kv zzz v
		count=$(kevo-scan -c a.kv 0)
		echo "acknowledged $acked, seen $seen, then $count"
		[ "$count" -lt $total ]
		[ "$seen" -ge "$acked" ]
		[ "$count" -ge "$seen" ]
		[ $((seen % 7)) -eq 0 ]
		# One batch at most was written and not yet acknowledged.
		[ $((count % 7)) -eq 0 ]
		[ $((count - acked)) -le 7 ]
		kevo-scan a.kv 0 | cmp - <(head -n "$count" in)
		# The same after a reboot.
		rm -r a.kv/shm
		is "$count" kevo-scan -c a.kv 0
		killed=$((killed + 1))
	done
	equal killed "$killed" 5
}

@test "killed: all of -1 or nothing of it" {
	local n round
	seq 200000 | sed 's/$/\tvalue/' >in
	for round in 1 2 3; do
		rm -rf a.kv
		kevo-init -q a.kv
		kevo-put -1 -i a.kv <in 3>&- &
		child=$!
		children+=("$child")
		# Somewhere in the middle of it, wherever that is.
		for ((n = 0; n < round * 20; n++)); do
			kevo-get a.kv 1 || true
		done >/dev/null
		kill -KILL "$child" 2>/dev/null || true
		wait "$child" 2>/dev/null || true
		run -0 kevo-scan -c a.kv
		matches "$output" '@(0|200000)'
		ok kevo-put -w 0 a.kv k v
	done
}

@test "killed: one-shot writers at any moment leave counters exact" {
	local n started=0 acked=0 final
	: >acks
	while [ $started -lt 40 ]; do
		kevo-incr a.kv n >>acks 3>&- &
		child=$!
		children+=("$child")
		started=$((started + 1))
		for ((n = 0; n < started % 8 * 40; n++)); do :; done
		kill -KILL "$child" 2>/dev/null || true
		wait "$child" 2>/dev/null || true
	done
	acked=$(wc -l <acks)
	final=$(kevo-get --default=0 a.kv n || echo 0)
	echo "acknowledged $acked, counted $final, started $started"
	[ "$final" -ge "$acked" ]
	[ "$final" -le "$started" ]
	# What the last one committed before it was killed may be seen only now.
	ok kevo-incr -w 0 a.kv n
	[ "$output" -gt "$final" ]
	[ "$output" -le $((started + 1)) ]
	is $((output + 1)) kevo-incr -w 0 a.kv n
}

@test "killed: a holder of the write lock holds it no longer" {
	kevo-put a.kv k v
	hold a.kv
	fails 75 "a.kv: busy: *$holder*" kevo-put -w 0 a.kv k w
	kevo-put -w inf a.kv k waited 3>&- 9>&- &
	child=$!
	children+=("$child")
	kill -KILL "$holder"
	ends 0
	is waited kevo-get a.kv k
	ok kevo-put -w 0 a.kv k w
}

@test "stopped: a reader that sleeps is in nobody's way, and reads on" {
	kevo-init -q --set memtable_bytes=64K --set sync=none a.kv
	seq 20000 | sed 's/$/\told/' | kevo-put -1 -i a.kv
	mkfifo out
	kevo-scan a.kv >out 3>&- &
	child=$!
	children+=("$child")
	exec 7<out
	hear
	kill -STOP "$child"
	seq 20000 | sed 's/$/\tnew/' | kevo-put -w 0 -b 100 -i a.kv
	kevo-delete -w 0 --all a.kv
	kill -CONT "$child"
	cat <&7 >rest
	exec 7<&-
	ends 0
	equal lines "$(wc -l <rest)" 19999
	equal new "$(grep -vc 'old$' rest)" 0
}
