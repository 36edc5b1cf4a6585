#!/usr/bin/env bats
# shellcheck disable=SC2154
# kevo-walship prune.

load walship
setup() {
	common_setup
	need_archives
	kevo-init -q a.kv
	for i in 1 2 3 4; do
		commits a.kv "$((10 * i))" "$((10 * i + 8))"
		ok kevo-walship send a.kv --to ar --seal-after 0
		ok kevo-walship base a.kv --to ar
	done
}
teardown() { common_teardown; }

# A base and the log of the archive still make the newest state.
restores() {
	rm -rf r.kv
	ok kevo-walship restore "$1" --into r.kv
	cmp <(kevo-scan a.kv) <(kevo-scan r.kv)
}

@test "prune: the newest bases and the log behind them stay" {
	files ar >before
	ok kevo-walship prune ar --keep-bases 2 -n
	equal lines "${#lines[@]}" 5
	files ar | cmp - before
	ok kevo-walship prune ar --keep-bases 2 --keep-days 30
	files ar | cmp - before
	ok kevo-walship prune ar --keep-bases 2
	equal bases "$(ls ar/base)" \
		$'00000001-000000000000001e.tar\n00000001-0000000000000028.tar'
	equal log "$(ls ar/wal/00000001)" \
		00000001-000000000000001f-0000000000000028.seg
	(cd ar && xxhsum -q -c state/SUMS)
	ok kevo-walship status ar
	ok kevo-walship verify -q ar
	restores ar
	files ar >before
	ok kevo-walship prune ar --keep-bases 2
	files ar | cmp - before
	# And the log goes on.
	commits a.kv 51 58
	ok kevo-walship send a.kv --to ar
	restores ar
}

@test "prune: an increment keeps what it builds on" {
	commits a.kv 51 58
	ok kevo-walship base a.kv --to ar \
		--since ar/base/00000001-0000000000000014.tar
	ok kevo-walship prune ar --keep-bases 1
	equal bases "$(ls ar/base)" "00000001-0000000000000014.tar
00000001-0000000000000028.tar
00000001-0000000000000031.inc.tar"
	ok kevo-walship verify -q ar
}

@test "prune: without a base nothing of the log goes; leavings do when old" {
	rm ar/base/*
	touch ar/wal/00000001/.tmp.here.1.1 ar/state/incoming/.x.seg.Ab \
		ar/state/reject/bad.seg ar/wal/00000001/.tmp.here.1.2 \
		ar/orphans/kept.seg
	touch -d '-3 days' ar/wal/00000001/.tmp.here.1.1 \
		ar/state/incoming/.x.seg.Ab ar/state/reject/bad.seg
	run -0 --separate-stderr kevo-walship prune ar --keep-bases 1
	matches "$stderr" '*no full base*'
	equal segments "$(find ar/wal -name '*.seg' | wc -l)" 4
	[ ! -e ar/wal/00000001/.tmp.here.1.1 ]
	[ ! -e ar/state/incoming/.x.seg.Ab ]
	[ -e ar/wal/00000001/.tmp.here.1.2 ]
	[ -e ar/state/reject/bad.seg ]
	touch -d '-8 days' ar/state/reject/bad.seg ar/orphans/kept.seg
	ok kevo-walship prune -q ar --keep-bases 1
	[ ! -e ar/state/reject/bad.seg ]
	[ -e ar/orphans/kept.seg ]
	fails 64 '*--keep-bases*' kevo-walship prune ar
}

# Commits 4 to 6 of p.kv are in the archive lost, and who is promoted at 3
# does not know them; there is a base with them, too.
lose() {
	database p.kv
	for commit in 1 2 3 4 5 6; do
		kevo-put p.kv "k$commit" v
		ok kevo-walship send p.kv --to lost --seal-after 0
		[ "$commit" -ne 1 ] || ok kevo-walship base p.kv --to lost
	done
	ok kevo-walship restore lost --into r.kv --until-seq 3
	ok kevo-walship base p.kv --to lost
	fails 81 'gap: r.kv: it has commits up to 3, and 4 to 6 exist;*' \
		kevo-walship promote r.kv --archive lost
	ok kevo-walship promote r.kv --archive lost --force 'p is gone'
}

@test "an archive that had more than the new primary is one of the new line" {
	lose
	ok kevo-walship restore lost --into x.kv
	matches "$(kevo-walship pos x.kv)" '1.*:3:*'
	run -0 kevo-walship status lost
	matches "$output" '*commits 1..3*files      3 orphans*'
	for how in '' -n; do
		fails 86 'fenced: p.kv: epoch 2 exists *; next: *rejoin' \
			kevo-walship base $how p.kv --to lost
	done
	kevo-put r.kv new v
	ok kevo-walship send r.kv --to lost --seal-after 0
	ok kevo-walship apply lost --into x.kv
	same_place x.kv r.kv
	ok kevo-walship drill lost --into .
	# Of the base that has lost, what is common to both can be had.
	rm lost/base/00000001-0000000000000001.tar
	ok kevo-walship restore lost --into y.kv --until-seq 3
	fails 81 'gap: lost: there is no base in it*' \
		kevo-walship restore lost --into z.kv
}

@test "prune: what lost a promotion counts for nothing, and is not lost" {
	lose
	kevo-put r.kv new v
	ok kevo-walship send r.kv --to lost --seal-after 0
	# The newest base of the living line is the oldest.
	ok kevo-walship prune lost --keep-bases 1
	ok kevo-walship restore lost --into x.kv
	same_place x.kv r.kv
	ok kevo-walship base r.kv --to lost
	run -0 kevo-walship prune lost --keep-bases 1 -n
	matches "$output" '*would save wal/*0006.seg in orphans/*'
	ok kevo-walship prune lost --keep-bases 1
	equal bases "$(ls lost/base)" 00000002-0000000000000005.tar
	equal orphans "$(ls lost/orphans | wc -l)" 3
	run -0 kevo-walship tail lost/orphans/*.seg
	matches "$output" '4*k4*5*k5*6*k6*'
	kevo-put r.kv newer v
	ok kevo-walship send r.kv --to lost
	ok kevo-walship restore lost --into y.kv
	same_place y.kv r.kv
	ok kevo-walship verify -q lost
}
