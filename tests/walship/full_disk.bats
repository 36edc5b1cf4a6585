#!/usr/bin/env bats
# shellcheck disable=SC2154,SC2317
# A full disk: what a slow replica keeps of it goes before a write fails.

load walship

setup() { common_setup; }
teardown() { common_teardown; }

@test "full disk: the slot furthest behind is cut, and writes go on" {
	full_disk() {
		kevo-init -q --set memtable_bytes=64K --set compaction=manual \
			--set table_bytes=64K a.kv
		kevo-walship slot a.kv create behind --max-bytes none
		kevo-walship slot a.kv create near --max-bytes none
		value=$(printf %04000d 1)
		# Twice what there is room for, all of it on one key.
		for i in {1..20}; do
			yes "key	$value" | head -n 100 | kevo-put -i -b 10 --sync=none a.kv || echo failed
			kevo-compact -q a.kv 2>/dev/null
			echo "ack near $(kevo-walship pos a.kv) applied" \
				2026-11-22T14:05:00Z |
				kevo-walship slot -q a.kv ack near
		done
		[ -e a.kv/slots/behind/lost ] || echo 'behind is not lost'
		[ ! -e a.kv/slots/near/lost ] || echo 'near is lost'
		kevo-scan -c a.kv
	}
	on_disk 4M full_disk
	equal output "$output" 1
	equal 'standard error' "$stderr" ''
}

@test "full disk: a slot that stops writes is not cut" {
	full_disk() {
		kevo-init -q --set memtable_bytes=64K --set compaction=manual \
			--set table_bytes=64K a.kv
		kevo-walship slot a.kv create r1 --max-bytes none \
			--on-limit stop-writes
		value=$(printf %04000d 1)
		for i in {1..20}; do
			yes "key	$value" | head -n 100 | kevo-put -i -b 10 --sync=none a.kv 2>/dev/null ||
				break
			kevo-compact -q a.kv 2>/dev/null
		done
		[ "$i" -lt 20 ] || echo 'no write failed'
		[ ! -e a.kv/slots/r1/lost ] || echo 'r1 is lost'
	}
	on_disk 4M full_disk
	equal output "$output" ''
}
