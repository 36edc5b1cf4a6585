#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2154
# kevo-txn -i: checks and changes from standard input, all or nothing.

load common
shopt -s extglob
setup() { common_setup; }
teardown() { common_teardown; }

# lines WORD...: three fields a line, as printf cuts them.
lines3() {
	printf '%s\t%s\t%s\n' "$@"
}

# refused WHERE GLOB TEXT [OPTION...]: 65 naming the line, nothing created.
refused() {
	local where=$1 glob=$2 text=$3
	shift 3
	fails 65 "$where: $glob" piped "$text" kevo-txn -i "$@" new.kv || return
	[ ! -e new.kv ] || { echo 'a database was created'; return 1; }
}

@test "txn: changes are made together, as one version" {
	ok piped 'put\ta\t1\nput\tb\t\ndelete\tc\nput\ta\t2\n' kevo-txn -i a.kv
	is $'a\t1\t2\nb\t1\t' kevo-scan -m a.kv
	ok piped 'delete\ta\nput\tc\tx\\ty\\\\z\n' kevo-txn -i a.kv
	is $'b\t\nc\tx\\ty\\\\z' kevo-scan a.kv
}

@test "txn: a check that fails undoes everything and names its line" {
	kevo-put a.kv k old
	fails 1 '\(stdin\):2: *k*value*' piped \
		'put\tk\tnew\ncheck-value\tk\tother\nput\tz\t1\n' kevo-txn -i a.kv
	is $'k\told' kevo-scan a.kv
	fails 1 '\(stdin\):1: *k*there*' piped 'check-absent\tk\n' kevo-txn -i a.kv
	fails 1 '\(stdin\):1: *q*absent*' piped 'check-present\tq\n' kevo-txn -i a.kv
	fails 1 '\(stdin\):1: *k*version*' piped 'check-version\tk\t7\n' \
		kevo-txn -i a.kv
	fails 1 '*' piped 'check-version\tk\t0\n' kevo-txn -i a.kv
	no piped 'check-absent\tk\n' kevo-txn -qi a.kv
}

@test "txn: checks that hold, also behind the changes" {
	kevo-put a.kv k 'a\b'
	ok piped 'put\tk\tnew\ncheck-value\tk\ta\\\\b\ncheck-version\tk\t1\ncheck-version\tq\t0\ncheck-absent\tq\ncheck-present\tk\nput\tq\t1\n' \
		kevo-txn -i a.kv
	is $'k\tnew\nq\t1' kevo-scan a.kv
	kevo-put a.kv empty ''
	ok piped 'check-value\tempty\t\n' kevo-txn -i a.kv
}

@test "txn: an expired key is absent" {
	kevo-put -t 0.05 a.kv k v
	gone() { ! kevo-get a.kv k; }
	wait_for gone
	fails 1 '*absent*' piped 'check-present\tk\n' kevo-txn -i a.kv
	ok piped 'check-absent\tk\ncheck-version\tk\t0\nput\tk\tw\n' kevo-txn -i a.kv
	is w kevo-get a.kv k
}

@test "txn: a malformed line is 65, and nothing was done" {
	refused '\(stdin\):2' '*no TAB*' 'put\ta\t1\nput\tb\n'
	refused '\(stdin\):1' '*remove*check-value*' 'remove\ta\n'
	refused '\(stdin\):3' '*empty key*' 'put\ta\t1\ndelete\ta\nput\t\t1\n'
	refused '\(stdin\):1' '*escape \\q*' 'put\ta\t\\q\n'
	refused '\(stdin\):1' '*blank line*' '\nput\ta\t1\n'
	refused '\(stdin\):1' '*version*' 'check-version\ta\tx\n'
	refused '\(stdin\):1' '*version*' 'check-version\ta\t\n'
	refused '\(stdin\):1' '*version*' 'check-version\ta\t18446744073709551616\n'
	refused '\(stdin\):1' '*no TAB*version*' 'check-version\ta\n'
	refused '\(stdin\):1' '*TAB after*check-absent*' 'check-absent\ta\tb\n'
	refused '\(stdin\):1' '*TAB after*' 'delete\ta\tb\n'
	refused '\(stdin\):1' '*no TAB*' 'put'
	refused '\(stdin\):1' '*CR*' 'put\ta\t1\r\n'
	refused '\(stdin\):2' '*Put*' 'put\ta\t1\nPut\ta\t1\n'
	kevo-put new2.kv k v
	fails 65 '\(stdin\):2: *' piped 'put\tk\tw\nbad\n' kevo-txn -i new2.kv
	is v kevo-get new2.kv k
}

@test "txn: text is literal, and the value is the rest of the line" {
	ok piped 'put\ta\\b\tx\ty\tz\\q\r\n' kevo-txn -i -f text a.kv
	equal value "$(kevo-get a.kv 'a\b' | hex)" \
		"$(printf 'x\ty\tz\\q\r' | hex)"
	ok piped 'check-value\ta\\b\tx\ty\tz\\q\r\ndelete\ta\\b\nput\t\\\t\\\n' \
		kevo-txn -i -f text a.kv
	is '\\' kevo-scan --values a.kv
	fails 64 '*text ops*' piped '' kevo-txn -i -f tsv a.kv
}

@test "txn: -n checks and writes nothing" {
	kevo-put a.kv k v
	listing a.kv >before
	run -0 --separate-stderr piped 'check-value\tk\tv\nput\tk\tw\n' \
		kevo-txn -n -i a.kv
	matches "$stderr" 'kevo-txn: 1 *1 *'
	run -0 --separate-stderr piped 'check-value\tk\tv\n' kevo-txn -qni a.kv
	equal quiet "$stderr" ''
	fails 1 '\(stdin\):1: *' piped 'check-absent\tk\n' kevo-txn -n -i a.kv
	fails 1 '\(stdin\):1: *' piped 'check-version\tk\t9\n' kevo-txn -n -i a.kv
	fails 1 '\(stdin\):2: *' piped 'check-version\tk\t1\ncheck-present\tz\n' \
		kevo-txn -n -i a.kv
	diff before <(listing a.kv)
	# A database that would be created is empty.
	ok piped 'check-absent\tk\ncheck-version\tk\t0\nput\tk\tw\n' \
		kevo-txn -qn -i none.kv
	fails 1 '*' piped 'check-present\tk\n' kevo-txn -n -i none.kv
	fails 66 '*' piped 'put\tk\tw\n' kevo-txn -nC -i none.kv
	fails 65 '*' piped 'put\tk\n' kevo-txn -n -i none.kv
	[ ! -e none.kv ]
}

@test "txn: no input is no change" {
	ok kevo-txn -i a.kv </dev/null
	is 0 kevo-scan -c a.kv
}

@test "txn: operands behind DB are refused with -i" {
	fails 64 '*usage: *' kevo-txn -i a.kv b
	fails 64 '*options go before DB*usage: *' kevo-txn -i a.kv -n
	[ ! -e a.kv ]
}

@test "txn: -C does not create, and what is no database is refused" {
	fails 66 '*no such database*' piped 'put\ta\t1\n' kevo-txn -iC a.kv
	mkdir other
	: >other/file
	fails 65 '*other*' piped 'put\ta\t1\n' kevo-txn -i other
	fails 73 '*' piped 'put\ta\t1\n' kevo-txn -i no/a.kv
}

@test "txn: waits for the lock, names the holder, and does nothing" {
	kevo-init a.kv
	hold a.kv somebody
	fails 75 '*busy*somebody*' piped 'put\ta\t1\n' kevo-txn -i -w 0 a.kv
	release
	is 0 kevo-scan -c a.kv
	# Slow input keeps nobody from writing.
	converse kevo-txn -i a.kv
	ask $'put\ta\t1'
	ok kevo-put -w 0 a.kv b 2
	hang_up
	ends 0
	is $'a\t1\nb\t2' kevo-scan a.kv
}

@test "txn: more than a commit holds is 65 and names the line" {
	[ -n "${KEVO_LONG-}" ] || skip 'takes a GiB of memory; KEVO_LONG=1 runs it'
	head -c 600000000 /dev/zero | tr '\0' x >value
	{
		for key in a b; do
			printf 'put\t%s\t' "$key"
			cat value
			echo
		done
	} >changes
	fails 65 '\(stdin\):2: *' kevo-txn -i a.kv <changes
	[ ! -e a.kv ]
}

@test "txn: 100,000 changes at once, all of them or none" {
	seq 100000 | awk -v OFS='\t' '{ print "put", "k" $0, $0 }' >changes
	ok kevo-txn -i a.kv <changes
	is 100000 kevo-scan -c a.kv
	is $'k100000\t1\t100000' kevo-get -m a.kv k100000
	{ sed 's/$/x/' changes; printf 'check-absent\tk1\n'; } >more.ops
	fails 1 '\(stdin\):100001: *k1 *' kevo-txn -i a.kv <more.ops
	is 100000 kevo-get a.kv k100000
}

@test "txn: transfers in parallel keep the sum" {
	local i
	lines3 put acct/a 100 put acct/b 100 | kevo-txn -i bank.kv
	cat >move <<-'EOF'
		from=$1 to=$2
		for i in 1 2 3 4 5 6 7 8 9 10; do
			until
				f=$(kevo-get bank.kv "acct/$from")
				t=$(kevo-get bank.kv "acct/$to")
				printf '%s\t%s\t%s\n' \
				    check-value "acct/$from" "$f" \
				    check-value "acct/$to" "$t" \
				    put "acct/$from" $((f - 1)) \
				    put "acct/$to" $((t + 1)) |
				    kevo-txn -qi bank.kv
			do
				[ $? -eq 1 ] || exit 1
			done
		done
	EOF
	for i in 1 2; do
		background sh move a b
		first=$child
		background sh move b a
		wait "$first" "$child"
	done
	equal sum "$(($(kevo-get bank.kv acct/a) + $(kevo-get bank.kv acct/b)))" 200
	equal a "$(kevo-get bank.kv acct/a)" 100
}

@test "txn: a write error and a full disk are not success" {
	kevo-init a.kv
	run -74 --separate-stderr bash -c 'kevo-txn --help >/dev/full'
	fails 74 '*' kevo-txn -i a.kv <.
}
