#!/usr/bin/env bats
# shellcheck disable=SC2154
# kevo-import: a filter from files, or standard input, into a database.

load common
shopt -s extglob
setup() { common_setup; }
teardown() { common_teardown; }

# imports NOTE COMMAND...: it works, says only NOTE on standard error.
imports() {
	local note=$1
	shift
	run -0 --separate-stderr "$@" || return
	equal output "$output" ''
	matches "$stderr" "$note"
}

@test "import: files, or standard input if there are none; it says how many" {
	printf 'a\t1\nb\t2\n' >one
	printf 'c\t3\na\t4\n' >two
	imports 'kevo-import: 2 records imported' kevo-import a.kv <one
	imports 'kevo-import: 4 records imported' kevo-import b.kv one two
	imports 'kevo-import: 2 records imported' kevo-import c.kv - <two
	imports '' kevo-import -q c.kv one
	imports 'kevo-import: 0 records imported' kevo-import d.kv </dev/null
	is $'a\t1\nb\t2' kevo-scan a.kv
	is $'a\t4\nb\t2\nc\t3' kevo-scan b.kv
	is $'a\t1\nb\t2\nc\t3' kevo-scan c.kv
	is 0 kevo-scan -c d.kv
}

@test "import: -P puts a prefix before every key" {
	printf 'a\t1\n' | kevo-import -q -P old/ a.kv
	printf 'a\t2\n' | kevo-import -q -E --prefix='x\t' a.kv
	is $'old/a\t1\nx\\ta\t2' kevo-scan a.kv
	(head -c 65530 /dev/zero | tr '\0' k; printf '\tv\n') >long
	run -65 --separate-stderr kevo-import -P 1234567 a.kv long
	matches "$stderr" 'kevo-import: long:1: *'
	imports '' kevo-import -q -P 123456 a.kv long
}

@test "import: --on-duplicate replaces, keeps or fails" {
	printf 'a\told\n' | kevo-import -q a.kv
	printf 'a\tnew\nb\tnew\n' >in
	imports 'kevo-import: 1 record?(s) imported*' \
		kevo-import --on-duplicate=keep a.kv in
	is $'a\told\nb\tnew' kevo-scan a.kv
	fails 65 'in:1: *a*' kevo-import --on-duplicate=fail -q a.kv in
	printf 'c\tnew\nb\tdup\n' >in
	fails 65 'in:2: *b*' kevo-import --on-duplicate fail -1 -q a.kv in
	is $'a\told\nb\tnew' kevo-scan a.kv
	kevo-import -q a.kv in
	is dup kevo-get a.kv b
	kevo-import -q --on-duplicate=replace a.kv <<<$'b\trep'
	is rep kevo-get a.kv b
	# Twice in the input is a duplicate as well.
	fails 65 '(stdin):2: *' piped 'z\t1\nz\t2\n' \
		kevo-import -q --on-duplicate=fail a.kv
	imports '' piped 'y\t1\ny\t2\n' kevo-import -q --on-duplicate=keep a.kv
	is 1 kevo-get a.kv y
	fails 64 '*--on-duplicate*maybe*' kevo-import --on-duplicate=maybe a.kv in
}

@test "import: bad input is 65 with file, line and reason; -1 undoes all" {
	printf 'a\t1\nb\t2\n' >good
	printf 'c\t3\nd\t4\\q\n' >bad
	run -65 --separate-stderr kevo-import a.kv good bad
	matches "${stderr_lines[0]}" 'kevo-import: bad:2: *'
	matches "${stderr_lines[-1]}" \
		'kevo-import: 3 records were imported before'
	is 3 kevo-scan -c a.kv
	fails 65 'bad:2: *' kevo-import -1 b.kv good bad
	is 0 kevo-scan -c b.kv
	imports '*4 records imported' kevo-import -1 b.kv good good
	is 2 kevo-scan -c b.kv
}

@test "import: files that cannot be read are noticed before all else" {
	printf 'a\t1\nb\t2\n' >good
	fails 66 'missing: *' kevo-import c.kv good missing
	mkdir dir
	fails 74 'dir: *' kevo-import c.kv good dir
	: >closed
	chmod 0 closed
	fails 77 'closed: *' nodac kevo-import c.kv good closed
	fails 74 '(stdin): *' kevo-import c.kv <dir
	run -74 --separate-stderr bash -c 'kevo-import c.kv <&-'
	matches "$stderr" 'kevo-import: (stdin): *'
	[ ! -e c.kv ]
	# A pipe is opened once, and only to be read.
	imports '*3 records imported' bash -c \
		'kevo-import c.kv good <(printf "c\t3\n")'
	is $'a\t1\nb\t2\nc\t3' kevo-scan c.kv
}

@test "import: progress that was asked for ends with a line" {
	printf 'a\t1\nb\t2\n' >in
	run -0 --separate-stderr kevo-import -q --progress=numeric a.kv in
	equal last "$stderr" 100
	run -0 --separate-stderr kevo-import -q --progress=numeric a.kv < <(cat in)
	equal last "$stderr" 2
	run -0 --separate-stderr kevo-import -q --progress a.kv in
	matches "$stderr" 'kevo-import: imported 2 records, *'
	run -0 --separate-stderr kevo-import -q --progress -n a.kv in
	matches "$stderr" 'kevo-import: checked 2 records*'
	run -0 --separate-stderr kevo-import -q --progress=always a.kv /dev/null
	matches "$stderr" 'kevo-import: imported 0 records*'
	is '' kevo-import -q --progress=auto a.kv in
	is '' kevo-import -q --progress=never a.kv in
	run -0 --separate-stderr kevo-put -i --progress=numeric a.kv <in
	equal last "$stderr" 100
	run -0 --separate-stderr kevo-export -o out --progress=always a.kv
	matches "$stderr" 'kevo-export: exported 2 records, *'
}

@test "import: -n checks and writes nothing" {
	printf 'a\t1\nb\t2\n' >good
	printf 'c\t3\nd\n' >bad
	run -0 --separate-stderr kevo-import -n a.kv good
	matches "$stderr" 'kevo-import: 2 records*'
	[ ! -e a.kv ]
	fails 65 'bad:2: *' kevo-import --dry-run a.kv good bad
	[ ! -e a.kv ]
	kevo-put a.kv a 1
	listing a.kv >before
	run -0 kevo-import -n a.kv good
	fails 65 'good:1: *' kevo-import -n --on-duplicate=fail a.kv good
	listing a.kv | diff before -
	fails 66 'no.kv: no such database*' kevo-import -n -C no.kv good
}

@test "import: --sorted fails at the first key out of order" {
	printf 'a\t1\nb\t2\nb\t3\nc\t4\n' >in
	imports '*4 records imported' kevo-import --sorted a.kv in
	printf 'd\t1\nf\t2\ne\t3\ng\t4\n' >in
	fails 65 'in:3: *e*' kevo-import -q --sorted a.kv in
	no kevo-get a.kv g
	no kevo-get a.kv e
	fails 65 'in:3: *' kevo-import -q -1 --sorted b.kv in
	is 0 kevo-scan -c b.kv
}

@test "import: formats, --crlf, and -t" {
	printf 'a\t1\r\n' >crlf
	fails 65 'crlf:1: *--crlf*' kevo-import -q a.kv crlf
	imports '' kevo-import -q --crlf a.kv crlf
	is 1 kevo-get a.kv a
	imports '' piped 'b\0002\0' kevo-import -q -0 a.kv
	imports '' piped '{"key":"c","value":[1, 2]}\n' \
		kevo-import -q -j -f jsonl a.kv
	is '[1, 2]' kevo-get a.kv c
	imports '' piped 'd\n' kevo-import -q -k -t 1h a.kv
	ok kevo-get -m -f jsonl a.kv d
	matches "$output" '*"expires":*'
	fails 64 '*sql*' kevo-import -f sql a.kv </dev/null
	fails 64 '*raw*' kevo-import -f raw a.kv </dev/null
}

@test "import: the 65 of a record too large comes before it is written" {
	(head -c 65537 /dev/zero | tr '\0' k; printf '\tv\n') >long
	(printf 'a\t1\n'; cat long) >in
	fails 65 'in:2: *65536*' kevo-import -q a.kv in
	is 1 kevo-scan -c a.kv
}

@test "import: wrong use is 64, no database with -C 66, busy 75" {
	fails 64 '*' kevo-import
	fails 64 '*--sortd*--sorted*' kevo-import --sortd a.kv
	fails 66 'a.kv: no such database*' kevo-import -C a.kv </dev/null
	[ ! -e a.kv ]
	kevo-init -q a.kv
	hold a.kv kevo-put
	fails 75 "a.kv: busy: locked by kevo-put, pid $holder, *" \
		piped 'a\t1\n' kevo-import -w 0 -q a.kv
	release
	is 0 kevo-scan -c a.kv
	KEVO_DB=a.kv imports '' piped 'a\t1\n' kevo-import -q @
	is 1 kevo-get a.kv a
}

@test "import: memory does not grow with the input" {
	[ -z "${KEVO_SAN-}" ] || skip 'a sanitizer takes memory of its own'
	head -c 1000 /dev/zero | tr '\0' v >value
	# The limit on data, the heap included, is the check.
	awk '{ for (i = 0; i < 20000; i++) print i "\t" $0 }' value |
		(ulimit -d 16384; exec kevo-import -q --sync=none a.kv)
	is 20000 kevo-scan -c a.kv
}
