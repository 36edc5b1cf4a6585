#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154
# Streams across promotions: a new epoch travels to replicas and archives, and
# commits that lost are found.

load stream
setup() {
	common_setup
	records 100 | kevo-put -i -b 7 p.kv
	replica p.kv r.kv
	replica p.kv s.kv
}
teardown() { common_teardown; }

# pull FROM TO: TO gets what FROM has.
pull() {
	kevo-walship recv --via "exec kevo-walship send $1 --to - --acks -" \
		--apply "$2"
}

@test "roles: a promotion travels to a replica of the new primary" {
	kevo-put p.kv a b
	ok pull p.kv r.kv
	ok kevo-walship promote r.kv
	kevo-put r.kv after promotion
	ok pull r.kv s.kv
	same r.kv s.kv
	matches "$(position s.kv)" '2.*'
	is promotion kevo-get s.kv after
	cmp r.kv/epochs/00000002.epoch s.kv/epochs/00000002.epoch
	fails 77 '*' kevo-put s.kv a b
}

@test "roles: a promotion arrives at who follows a replica, as it follows" {
	background kevo-walship recv --apply s.kv --follow --via \
		'exec kevo-walship send r.kv --to - --acks - --follow'
	kevo-put p.kv a b
	ok pull p.kv r.kv
	wait_for kevo-get s.kv a
	ok kevo-walship promote r.kv
	kevo-put r.kv after promotion
	wait_for kevo-get s.kv after
	ends_after_term
	same r.kv s.kv
}

@test "roles: what the old primary wrote alone is refused, and named" {
	ok kevo-walship promote r.kv
	kevo-put r.kv new line
	kevo-put p.kv old line
	kevo-put p.kv old 2
	# A replica that took them cannot follow the new line,
	ok pull p.kv s.kv
	run -86 --separate-stderr pull r.kv s.kv
	matches "$stderr" 'kevo-walship: fenced: *'
	# nor can one of the new line follow the old.
	replica r.kv t.kv
	run -88 --separate-stderr pull p.kv t.kv
	matches "$stderr" 'kevo-walship: orphans: *commits 16..17 of epoch 1*'
	same r.kv t.kv
}

@test "roles: an archive holds the line of history that won" {
	kevo-walship recv --to arc < <(kevo-walship send p.kv --to -)
	ok kevo-walship promote r.kv
	kevo-put r.kv new line
	kevo-walship recv --to arc < <(kevo-walship send r.kv --to -)
	[ -e arc/epochs/00000002.epoch ]
	kevo-put r.kv more lines
	kevo-walship recv --to arc < <(kevo-walship send r.kv --to -)
	tail=$(echo arc/state/tail/00000002-*.open)
	cmp -n "$(stat -c %s "$tail")" "$tail" \
		"$(segments r.kv | tail -n 1)"
	# The first epoch's segment was never sealed by its primary.
	kevo-walship verify -q arc/wal/00000001/*.seg
}

@test "roles: two promotions to the same number are told apart" {
	ok kevo-walship promote r.kv
	ok kevo-walship promote s.kv
	kevo-put r.kv a b
	kevo-put s.kv a c
	replica r.kv t.kv
	run -82 --separate-stderr pull s.kv t.kv
	matches "$stderr" 'kevo-walship: fork: *'
	same r.kv t.kv
}
