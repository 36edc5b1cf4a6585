#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154
# contrib: what operators copy runs as it stands.

load stream
setup() {
	common_setup
	records 100 | kevo-put -i -b 7 p.kv
}
teardown() { common_teardown; }

# stub_ssh: an ssh that runs the command here; rsync -e finds it, too.
stub_ssh() {
	mkdir bin
	cat >bin/ssh <<-'SH'
		#!/bin/sh
		while case $1 in -*) ;; *) break ;; esac; do shift; done
		shift
		exec sh -c "$*"
	SH
	chmod +x bin/ssh
	PATH=$PWD/bin:$PATH
}

@test "contrib: rsync brings what a slot keeps, and the slot forgets it" {
	need rsync
	stub_ssh
	kevo-config p.kv set memtable_bytes=64K
	kevo-walship slot p.kv create away
	# An archive knows whose it is by its first stream.
	kevo-walship recv --to "$PWD/arc" < <(kevo-walship send p.kv --to -)
	for turn in 1 2; do
		records 3000 "t$turn" | kevo-put -i -b 50 p.kv
		kevo-compact --full p.kv
		ok "$root/contrib/ship/rsync.sh" p.kv away "host:$PWD/arc"
		run ls p.kv/slots/away
		equal 'what the slot keeps' "$output" slot
		kevo-walship verify -q arc
	done
	[ "$(find arc/wal -name "*.seg" | wc -l)" -gt 2 ]
	run find arc/state/incoming arc/state/reject -type f
	equal 'left behind' "$output" ''
}

@test "contrib: rsync begins the archive and the slot, and seals" {
	need rsync
	stub_ssh
	ship=("$root/contrib/ship/rsync.sh" p.kv away "host:$PWD/arc")
	kevo-compact --full p.kv
	# There is nothing behind the base yet.
	ok "${ship[@]}" 0
	ok "${ship[@]}" 0
	equal 'what it says' "$output" ''
	ok kevo-walship restore arc --into a.kv
	same p.kv a.kv
	# What is young is not complete.
	kevo-put p.kv young 1
	ok "${ship[@]}" 1h
	equal segments "$(find arc/wal -name '*.seg' | wc -l)" 0
	ok "${ship[@]}" 0
	equal segments "$(find arc/wal -name '*.seg' | wc -l)" 1
	ok kevo-walship restore arc --into b.kv
	same p.kv b.kv
	run ls -d p.kv.base.* arc/state/incoming/*
	[ "$status" -ne 0 ]
	# The status of the other side, and what did arrive.
	kevo-put p.kv more 1
	echo nonsense >arc/state/incoming/x.seg
	run -80 "${ship[@]}" 0
	ok kevo-walship verify -q arc
	equal slot "$(kevo-walship slot p.kv list | cut -f3)" \
		"$(kevo-walship pos arc)"
	run -64 "$root/contrib/ship/rsync.sh" p.kv away
}

@test "contrib: rsync of who was promoted goes on where the archive ends" {
	need rsync
	stub_ssh
	ship=("$root/contrib/ship/rsync.sh")
	kevo-walship base p.kv --to - | kevo-walship restore - --into r.kv
	ok "${ship[@]}" p.kv away "host:$PWD/arc" 0
	kevo-put p.kv more 1
	ok "${ship[@]}" p.kv away "host:$PWD/arc" 0
	ok kevo-walship apply arc --into r.kv
	ok kevo-walship promote r.kv
	kevo-put r.kv new 1
	ok "${ship[@]}" r.kv away "host:$PWD/arc" 0
	same_place arc r.kv
	# Where the log does not go back so far, that is what it says.
	kevo-walship slot r.kv drop away
	kevo-put r.kv newer 1
	kevo-compact --full r.kv
	run -81 "${ship[@]}" r.kv away "host:$PWD/arc" 0
	matches "$output" '*gap: r.kv: its log begins behind commit *'
}

@test "contrib: rclone brings an archive away, and its way back restores" {
	need rclone
	kevo-walship send p.kv --to arc --seal-after 0
	export RCLONE_CONFIG=$PWD/rclone.conf
	printf '[store]\ntype = alias\nremote = %s/store\n' "$PWD" \
		>rclone.conf
	ok "$root/contrib/ship/rclone.sh" arc store:bucket/db1
	kevo-put p.kv a b
	kevo-walship send p.kv --to arc --seal-after 0
	ok "$root/contrib/ship/rclone.sh" arc store:bucket/db1
	[ ! -e store/bucket/db1/state ]
	rclone copy -q store:bucket/db1 back
	kevo-walship verify -q back
	ok kevo-walship apply back --into r.kv
	same p.kv r.kv
	# A file that is not what it was is refused.
	seg=$(find arc/wal -name '*.seg' | head -n 1)
	chmod u+w "$seg"
	flip "$seg" 500
	run ! "$root/contrib/ship/rclone.sh" arc store:bucket/db1
}

@test "contrib: the lines for cron run, and say nothing" {
	local line
	# All but comments and assignments has five fields, a user, a command.
	awk '!/^#[^*0-9]|^#$|^[A-Z]+=|^$/ && NF < 7 { exit 1 }' \
		"$root/contrib/cron/kevo-walship"
	sed -n 's/^#[*0-9].*www-data //p' "$root/contrib/cron/kevo-walship" |
		sed 's|/srv/data.kv|p.kv|g;s|/backup/archive|arc|g;s/\\%/%/g' \
		>lines
	[ -s lines ]
	while IFS= read -r line; do
		ok sh -c "$line"
		ok sh -c "$line"
	done <lines
	kevo-walship verify -q arc
}

@test "contrib: every night a base; a week's stay, and restore" {
	local line day
	line=$(sed -n 's/^#15 2 .*www-data //p' \
		"$root/contrib/cron/kevo-walship" |
		sed 's|/srv/data.kv|p.kv|g;s|/backup/archive|arc|g;s/\\%/%/g')
	for day in 1 2 3 4 5 6 7 8 9; do
		kevo-put p.kv "day$day" "$day"
		kevo-walship send -q p.kv --to arc --seal-after 0
		ok sh -c "$line"
		equal said "$output" ''
	done
	equal bases "$(find arc/base -type f | wc -l)" 7
	# The log goes on from the oldest of them.
	first=$(find arc/wal -name '*.seg' | sort | head -n 1)
	[[ $first != *-0000000000000001-* ]]
	for day in 3 6 9; do
		ok kevo-walship restore -q arc --into "to$day.kv" \
			--until-seq $((15 + day))
		is "$day" kevo-get "to$day.kv" "day$day"
	done
	same p.kv to9.kv
	# Where there is no base of the night, no older one goes.
	mv p.kv away.kv
	run ! sh -c "${line/bases 7/bases 1}"
	matches "$output" 'kevo-walship: p.kv: *'
	equal bases "$(find arc/base -type f | wc -l)" 7
}

@test "contrib: the unit of a replica is right" {
	units_are_right kevo-replica srv-data.kv
	# What it runs is understood.
	sed -n '/^ExecStart=/p' units/kevo-replica@.service |
		sed "s/^ExecStart=//;s|%f|$PWD/none|;s|\${KEVO_VIA}|true|" >lines
	[ -s lines ]
	while IFS= read -r line; do
		run -66 sh -c "$line"
	done <lines
}
