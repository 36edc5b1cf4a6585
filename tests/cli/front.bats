#!/usr/bin/env bats
# shellcheck disable=SC2154
# kevo: runs kevo-TOOL, lists the tools, shows the manual.

load common
shopt -s extglob
setup() {
	common_setup
	mkdir bin
	PATH=$PATH:$PWD/bin
	printf '#!/bin/sh\necho hello "$@"\nexit 42\n' >bin/kevo-hello
	chmod +x bin/kevo-hello
}
teardown() { common_teardown; }

@test "kevo: TOOL runs kevo-TOOL with its operands, input and status" {
	ok kevo put a.kv -k -v
	is -v kevo get a.kv -k
	is $'-k\t-v' kevo scan a.kv
	ok piped 'x\ty\n' kevo put -i a.kv
	is y kevo get a.kv x
	no kevo get a.kv nothing
	run -66 --separate-stderr kevo get no.kv k
	matches "$stderr" 'kevo-get: no.kv: no such database*'
	run -42 --separate-stderr kevo hello a -b
	equal output "$output" 'hello a -b'
}

@test "kevo: finds the tools beside itself first" {
	ln -s "$(command -v kevo-get)" bin/kevo-get2
	printf '#!/bin/sh\necho wrong\n' >bin/kevo-get
	chmod +x bin/kevo-get
	kevo put a.kv k v
	PATH=$PWD/bin:$PATH is v kevo get a.kv k
	PATH=$PWD/bin:/usr/bin:/bin run -0 "$(command -v kevo)" get a.kv k
	equal output "$output" v
}

@test "kevo: commands lists the tools, in PATH too" {
	ok kevo commands
	for tool in config delete export get hello import incr init put scan; do
		grep -qx "$tool" <<<"$output"
	done
	equal sorted "$output" "$(sort -u <<<"$output")"
	run -74 --separate-stderr bash -c 'kevo commands >/dev/full'
}

@test "kevo: an unknown name is 64, with the nearest match" {
	run -64 --separate-stderr kevo gte a.kv k
	equal output "$output" ''
	matches "$stderr" 'kevo: *gte*get*'
	run -64 --separate-stderr kevo scna a.kv
	matches "$stderr" '*scan*'
	run -64 --separate-stderr kevo xyzzyplugh
	matches "$stderr" 'kevo: *xyzzyplugh*a new database is ./xyzzyplugh'
	run -64 --separate-stderr kevo xyzzyplugh a.kv
	matches "$stderr" '*kevo commands lists them'
	run -64 --separate-stderr kevo --comands
	[ ! -e a.kv ]
}

@test "kevo: a tool that cannot be run is 126" {
	printf '\177ELF nonsense' >bin/kevo-broken
	chmod +x bin/kevo-broken
	run --separate-stderr -126 kevo broken
	matches "$stderr" 'kevo: *broken*'
}

@test "kevo: help opens the page, or falls back on --help" {
	printf '#!/bin/sh\necho page "$@"\n' >bin/man
	chmod +x bin/man
	PATH=$PWD/bin:$PATH run -0 kevo help get
	matches "$output" 'page *kevo-get*'
	PATH=$PWD/bin:$PATH run -0 kevo help formats
	matches "$output" 'page *kevo-formats*'
	PATH=$PWD/bin:$PATH run -0 kevo help exit-status
	matches "$output" 'page *kevo-exit-status*'
	PATH=$PWD/bin:$PATH run -0 kevo help kevo.conf
	matches "$output" 'page *kevo.conf*'
	PATH=$PWD/bin:$PATH run -0 kevo help
	matches "$output" 'page *kevo*'
	run -64 --separate-stderr kevo help xyzzyplugh
	matches "$stderr" '*xyzzyplugh*'
}
