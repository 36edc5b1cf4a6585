#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2154
# The stories of the manual, as they are printed there.

load common
shopt -s extglob
setup() { common_setup; }
teardown() { common_teardown; }

# story TEXT [SHELL]: run the text as a script.
story() {
	printf '%s\n' "$1" >story.sh
	"${2:-sh}" -u story.sh
}

@test "story 1: crawler dedupe, a persistent uniq" {
	printf 'http://a/\nhttp://b/?q=\\x\nhttp://a/\n' >found.txt
	story 'kevo-put -k -i -f text --if-absent -p crawl.kv < found.txt > frontier.txt'
	equal frontier "$(cat frontier.txt)" $'http://a/\nhttp://b/?q=\\x'
	printf 'http://c/\nhttp://a/\n' >found.txt
	story 'kevo-put -k -i -f text --if-absent -p crawl.kv < found.txt > frontier.txt'
	equal frontier "$(cat frontier.txt)" 'http://c/'
	story 'kevo-put -k -i -f text --if-absent -p crawl.kv < found.txt > frontier.txt'
	equal frontier "$(cat frontier.txt)" ''
}

@test "story 2: job queue, atomic pop" {
	story 'kevo-put jobs.kv "todo:$(date +%s%N)" "echo one >> done.txt"
	kevo-put jobs.kv "todo:$(date +%s%N)" "exit 3"
	kevo-put jobs.kv "todo:$(date +%s%N)" "echo two >> done.txt"'
	story 'while job=$(kevo-delete -p -f raw -P todo: -l 1 jobs.kv); do
	    sh -c "$job" || printf "%s\n" "$job" >> failed.txt
	done'
	equal 'done' "$(cat done.txt)" $'one\ntwo'
	equal failed "$(cat failed.txt)" 'exit 3'
	is 0 kevo-scan -c jobs.kv
}

@test "story 4: cache in a shell script" {
	printf '#!/bin/sh\necho "run $*"\necho "$*" >> calls\n' >slow
	chmod +x slow
	for _ in 1 2; do
		run -0 story 'kevo-init cache.kv
		cached() {  # cached TTL COMMAND...
		    ttl=$1; shift
		    kevo-get cache.kv "$*" && return
		    "$@" | kevo-put -i -t "$ttl" cache.kv "$*" && kevo-get cache.kv "$*"
		}
		cached 5m ./slow a b'
		matches "$output" '*run a b'
	done
	equal calls "$(cat calls)" 'a b'
}

@test "story 6: log index, prefix scan" {
	cat >access.log <<-'EOF'
		2026-11-22T10:00:01 web2 GET /a\b
		2026-11-22T10:00:02 web1 GET /	tab
		2026-11-22T10:00:02 web2 GET /c
		2026-11-22T11:00:00 web2 GET /d
	EOF
	run -0 story "awk -v OFS='\\t' '{print \"log/\" \$2 \"/\" \$1 \"/\" NR, \$0}' access.log | kevo-put -i -f text logs.kv
	kevo-scan -f text logs.kv log/web2/2026-11-22T10 | cut -f2-"
	equal lines "$output" "$(sed -n '1p;3p' access.log)"
}

@test "story 8: feature store, JSON values" {
	need jq
	cat >users.jsonl <<-'EOF'
		{"id":"ada","age":36,"tags":["a","b"],"x":1}
		{"id":"böb","age":7,"tags":[]}
	EOF
	printf 'feat:ada\nfeat:böb\n' >wanted-ids.txt
	run -0 story 'jq -c "{key: (\"feat:\" + .id), value: {age, n_tags: (.tags | length)}}" users.jsonl |
	    kevo-put -i -j -f jsonl feat.kv
	kevo-get -i -j -f jsonl feat.kv < wanted-ids.txt | jq -r "[.key, .value.age] | @tsv"'
	equal features "$output" $'feat:ada\t36\nfeat:böb\t7'
	is '{"age":36,"n_tags":2}' kevo-get feat.kv feat:ada
}

@test "story 14: optimistic update with versions" {
	text='v=$(kevo-get -m conf.kv limits | cut -f2)
	kevo-put --if-version="${v:-0}" conf.kv limits "rps=50" || echo "somebody else changed it"'
	kevo-init -q conf.kv
	run -0 story "$text"
	equal output "$output" ''
	run -0 story "$text"
	equal output "$output" ''
	run -0 story "${text/kevo-put/kevo-put conf.kv limits rps=40; kevo-put}"
	equal output "$output" 'somebody else changed it'
	is rps=40 kevo-get conf.kv limits
}

@test "story 15: a lease that frees itself" {
	printf '#!/bin/sh\nkevo-get locks.kv deploy > owner\n' >deploy.sh
	chmod +x deploy.sh
	text='me="$(hostname):$$"
	kevo-put --if-absent -t 30m locks.kv deploy "$me"
	case $? in
	0) ./deploy.sh; kevo-delete --if-value="$me" locks.kv deploy ;;
	1) echo "deploy is running: $(kevo-get locks.kv deploy)" >&2; exit 75 ;;
	*) exit 70 ;;
	esac'
	run -0 story "$text"
	matches "$(cat owner)" '*:+([0-9])'
	no kevo-get locks.kv deploy
	kevo-put --if-absent -t 30m locks.kv deploy other:1
	run -75 --separate-stderr story "$text"
	equal message "$stderr" 'deploy is running: other:1'
	is other:1 kevo-get locks.kv deploy
	kevo-put -t 1 locks.kv deploy other:1
	wait_for bash -c '! kevo-get locks.kv deploy'
	run -0 story "$text"
}

@test "story 16: rate limit per address and hour" {
	text='n=$(kevo-incr -t 1h rate.kv "$REMOTE_ADDR:$(date -u +%H)")
	[ "$n" -le 100 ] || { printf "Status: 429\r\n\r\n"; exit; }
	echo served'
	export REMOTE_ADDR=192.0.2.7
	run -0 story "$text"
	equal output "$output" served
	kevo-put rate.kv "$REMOTE_ADDR:$(date -u +%H)" 100
	run -0 story "$text"
	[[ $output == 'Status: 429'* ]]
}

@test "story 18: CSV in, by way of JSON lines" {
	need jq
	printf 'user,email\nada,ada@example.org\nbob,b@example.org\n' >users.csv
	story 'tail -n +2 users.csv |
	jq -Rc "split(\",\") | {key: (\"user:\" + .[0]), value: .[1]}" |
	    kevo-import -q -f jsonl people.kv'
	is $'user:ada\tada@example.org\nuser:bob\tb@example.org' kevo-scan people.kv
	if command -v mlr >/dev/null; then
		story "mlr --icsv --ojsonl put -q 'emit1 {\"key\": \"user:\" . \$user, \"value\": \$email}' users.csv |
		    kevo-import -q -f jsonl miller.kv"
		kevo-scan people.kv | cmp - <(kevo-scan miller.kv)
	fi
}

@test "story 19: export to LMDB, Berkeley DB, cdb and SQLite" {
	need mdb_load db5.3_load cdb sqlite3
	printf 'k1\tv1\nk2\t\\0\n' | kevo-put -i data.kv
	story 'db_load() { db5.3_load "$@"; }
	mkdir out.lmdb && kevo-export -f lmdb data.kv | mdb_load out.lmdb
	kevo-export -f db   data.kv | db_load out.bdb
	kevo-export -f cdb  data.kv | cdb -c out.cdb -
	kevo-export -f sql  data.kv | sqlite3 out.sqlite'
	equal LMDB "$(mdb_dump out.lmdb | sed -n 's/^ //p' | tr '\n' ' ')" \
		'6b31 7631 6b32 00 '
	equal 'Berkeley DB' "$(db5.3_dump out.bdb | sed -n 's/^ //p' |
		tr '\n' ' ')" '6b31 7631 6b32 00 '
	equal cdb "$(cdb -q out.cdb k1)" v1
	equal SQLite "$(sqlite3 out.sqlite \
		"SELECT hex(v) FROM kv WHERE k = CAST('k2' AS BLOB)")" 00
}

@test "story 20: diff and sync two hosts" {
	printf 'conf/a\t1\nconf/b\t\\x00\nother\tx\n' | kevo-put -i data.kv
	printf 'conf/a\t0\nkeep\ty\n' | kevo-put -i far.kv
	printf '#!/bin/sh\nshift\nsed=$(printf "%%s" "$*" | sed "s/data.kv/far.kv/")\nexec sh -c "$sed"\n' >ssh
	chmod +x ssh
	PATH=$PWD:$PATH run -1 story 'diff <(kevo-scan data.kv conf/) <(ssh other kevo-scan data.kv conf/)' bash
	matches "$output" '*< conf/a?1*> conf/a?0*'
	PATH=$PWD:$PATH run -0 story 'kevo-export -P conf/ -f cdb data.kv | ssh other kevo-import -q -1 -f cdb data.kv'
	PATH=$PWD:$PATH run -0 story 'diff <(kevo-scan data.kv conf/) <(ssh other kevo-scan data.kv conf/)' bash
	is y kevo-get far.kv keep
}

@test "story 21: file integrity baseline" {
	mkdir files
	echo one >files/a
	echo two >'files/b c'
	sums="sums() { find files -type f -exec sha256sum {} + | awk -v OFS='\\t' '{print \$2, \$1}'; }"
	check="sums | LC_ALL=C sort | diff <(kevo-scan sums.kv) - | sed -n 's/^> //p'"
	mv 'files/b c' files/b
	story "$sums
	sums | kevo-put -i sums.kv"
	run -0 story "$sums
	$check" bash
	equal changed "$output" ''
	echo three >files/b
	run -0 story "$sums
	$check" bash
	equal changed "${output%%$'\t'*}" files/b
}

@test "story 22: delete by any filter" {
	printf 'sess:1\texpired\nsess:2\tlive\nsess:\\n\texpired\n' | kevo-put -i sess.kv
	story "kevo-scan sess.kv sess: | awk -F'\\t' '\$2 == \"expired\"' | kevo-delete -i sess.kv"
	is $'sess:2\tlive' kevo-scan sess.kv
}

@test "story 25: one process for many lookups" {
	kevo-put data.kv user:1 ada
	run -0 story "coproc G { kevo-get -i -f tsv data.kv; }
	printf 'user:1\\n' >&\"\${G[1]}\" && IFS=\$'\\t' read -r _ value <&\"\${G[0]}\" && echo \"\$value\"" bash
	equal output "$output" ada
}

@test "stories: the form that scripts are told to use tells answers from trouble" {
	text='ask() {
		kevo-get "$1" "$2"
		case $? in
		0) echo " yes" ;;
		1) echo no ;;
		75) echo later ;;
		*) echo trouble ;;
		esac
	}
	ask a.kv k 2>/dev/null
	ask a.kv x
	ask no.kv k 2>/dev/null'
	kevo-put a.kv k v
	run -0 story "$text"
	equal answers "$output" $'v yes\nno\ntrouble'
}
