#!/usr/bin/env bats
# shellcheck disable=SC2154
# kevo-walship verify: segments from anywhere.

load walship
setup() { common_setup; }
teardown() { common_teardown; }

@test "verify: the open segment of a log is sound, and a sealed one" {
	kevo-put a.kv k v
	is 'a.kv/wal/0000000000000001.seg: open: epoch 1, commits 1..1' \
		kevo-walship verify a.kv/wal/*.seg
	is '' kevo-walship verify -q a.kv/wal/*.seg
	kevo-compact --full a.kv
	kevo-config a.kv set wal_keep=1M
	seg=$(segments a.kv | head -n 1)
	ok kevo-walship verify "$seg"
	is "-: ${output#"$seg: "}" kevo-walship verify - <"$seg"
}

@test "verify: cut, damaged, foreign and missing files each have their class" {
	seq 50 | kevo-put -i -k -b 1 a.kv
	seg=a.kv/wal/0000000000000001.seg
	size=$(stat -c %s "$seg")
	head -c 1000 "$seg" >cut.seg
	fails 75 'short: cut.seg: *next: send it again' \
		kevo-walship verify cut.seg
	head -c 100 "$seg" >head.seg
	fails 75 'short: head.seg: *header*' kevo-walship verify head.seg
	cp "$seg" bad.seg
	flip bad.seg 1000
	fails 80 'corrupt: bad.seg: record * at byte *' \
		kevo-walship verify bad.seg
	echo text >text.seg
	fails 80 'corrupt: text.seg: *no segment*' kevo-walship verify text.seg
	fails 66 'none.seg: *' kevo-walship verify none.seg
	[ "$size" -gt 1000 ]
	run -80 kevo-walship verify cut.seg bad.seg "$seg"
}

@test "verify: compressed segments, and damaged frames" {
	need zstd
	seq 50 | kevo-put -i -k -b 1 a.kv
	head -c 60000 a.kv/wal/0000000000000001.seg >a.seg
	zstd -q --check a.seg
	ok kevo-walship verify a.seg.zst
	matches "$output" 'a.seg.zst: open: epoch 1, commits 1..50'
	is "-: ${output#a.seg.zst: }" kevo-walship verify - < <(
		zstd -q --check -c <a.seg)
	head -c 500 a.seg.zst >cut.zst
	run -75 --separate-stderr kevo-walship verify cut.zst
	cp a.seg.zst bad.zst
	flip bad.zst "$(($(stat -c %s bad.zst) - 2))"
	fails 80 'corrupt: bad.zst: *' kevo-walship verify bad.zst
	cat a.seg.zst a.seg.zst >twice.zst
	fails 80 'corrupt: twice.zst: *follow*' kevo-walship verify twice.zst
}
