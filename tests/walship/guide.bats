#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154
# kevo-replication(7): what the guide shows is what happens.

load stream
setup() { common_setup; }
teardown() {
	[ ! -s pids ] || xargs kill <pids 2>/dev/null
	common_teardown
}

# transcript PAGE: its commands as cmd.1 and so on, what they say as say.1.
transcript() {
	awk '/^\.Bd -literal/ { on = 1; next } /^\.Ed/ { on = 0 }
		!on { next }
		{ gsub(/\\e/, "\\"); gsub(/\\&/, "") }
		/^\$ / { n++; print substr($0, 3) > ("cmd." n)
			printf "" > ("say." n); next }
		/^> / { print substr($0, 3) > ("cmd." n); next }
		{ print > ("say." n) }' "$1"
}

# The hosts primary and backup are directories beside, and ssh goes there; the
# first and ours mount a third one.
hosts() {
	mkdir bin primary backup here shared
	ln -s "$root/contrib" primary/contrib
	ln -s ../shared primary/archive
	ln -s ../shared here/archive
	cat >bin/ssh <<-SH
		#!/bin/sh
		while case \$1 in -*) ;; *) break ;; esac; do shift; done
		cd "$PWD/\$1" && shift && exec sh -c "\$*"
	SH
	chmod +x bin/ssh
	PATH=$PWD/bin:$PATH
	printf '%s\t%s\n' user:1 ada user:2 grace |
		kevo-put -i primary/data.kv
}

@test "guide: each line says what the guide shows" {
	need rsync
	transcript "$root/man/kevo-replication.7"
	hosts
	n=1
	while [ -e "cmd.$n" ]; do
		printf '{\n%s\n} >../out.%s 2>&1\n' "$(cat "cmd.$n")" "$n"
		grep -q '&$' "cmd.$n" && printf 'echo $! >>../pids\n'
		n=$((n + 1))
	done >script
	[ "$n" -gt 8 ]
	(cd here && timeout 60 sh ../script 3>&-)
	for i in $(seq $((n - 1))); do
		cat "cmd.$i"
		matches "$(cat "out.$i")" "$(sed 's/[.][.][.][.]/.*/g;s/[.][.][.]/*/g' "say.$i")"
	done
	xargs kill <pids || true
	rm pids
}
