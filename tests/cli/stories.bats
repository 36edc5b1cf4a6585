#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2154
# The stories of kevo-stories(7), as they are printed there.

load common
shopt -s extglob
setup() {
	common_setup
	# Hosts and services of the stories are programs of this directory.
	mkdir stub
	PATH=$PWD/stub:$PATH
}
teardown() { common_teardown; }

# printed N: the text of a story.
printed() {
	awk -v n="$1." '/^\.Ss/ { on = $2 == n; next }
		/^\.Ed/ { block = 0 }
		on && block { gsub(/\\e/, "\\"); sub(/^\\&/, ""); print }
		/^\.Bd -literal/ { block = 1 }' "$root/man/kevo-stories.7"
}

# story N [SHELL]: run it as a script.
story() {
	printed "$1" >story.sh
	[ -s story.sh ] || { echo "there is no story $1"; return 1; }
	"${2:-sh}" -u story.sh
}

# stub NAME: a program, from standard input.
stub() {
	{
		echo '#!/bin/sh'
		cat
	} >"stub/$1"
	chmod +x "stub/$1"
}

@test "stories: all of them are printed, and shellcheck finds nothing" {
	local n shell
	need shellcheck
	for n in {1..25}; do
		printed "$n" >story.sh
		[ -s story.sh ]
		shell='sh'
		case $n in
		13 | 20 | 21 | 25) shell=bash ;;
		esac
		# Quotes keep what the shell inside is to expand.
		shellcheck -s "$shell" -e SC2016 story.sh
	done
	equal stories "$(grep -c '^\.Ss [0-9]*\. ' "$root/man/kevo-stories.7")" 25
}

@test "story 1: crawler dedupe, a persistent uniq" {
	printf 'http://a/\nhttp://b/?q=\\x\nhttp://a/\n' >found.txt
	story 1
	equal frontier "$(cat frontier.txt)" $'http://a/\nhttp://b/?q=\\x'
	printf 'http://c/\nhttp://a/\n' >found.txt
	story 1
	equal frontier "$(cat frontier.txt)" 'http://c/'
	story 1
	equal frontier "$(cat frontier.txt)" ''
}

@test "story 2: job queue, atomic pop" {
	stub convert <<<'echo "$*" >>converted; [ "$1" != bad.png ]'
	story 2
	equal converted "$(cat converted)" 'a.png a.jpg'
	[ ! -e failed.txt ]
	kevo-put jobs.kv todo:1 'convert bad.png b.jpg'
	story 2
	equal failed "$(cat failed.txt)" 'convert bad.png b.jpg'
	is 0 kevo-scan -c jobs.kv
}

@test "story 3: job queue, at least once" {
	seq 3 | sed 's/.*/todo:&\techo & >>done/' | kevo-put -i jobs.kv
	run -0 story 3
	equal work "$(cat 'done')" $'1\n2\n3'
	is 0 kevo-scan -c jobs.kv
	# A worker that dies leaves its job where the next one can find it.
	kevo-put jobs.kv todo:4 'kill -9 $PPID'
	run -137 --separate-stderr story 3
	is 'kill -9 $PPID' kevo-get jobs.kv doing:4
	is 1 kevo-scan -c jobs.kv
	# Two at once share the jobs.
	seq 5 24 | sed 's/.*/todo:&\techo & >>shared/' | kevo-put -i jobs.kv
	printed 3 >story.sh
	background sh -u story.sh
	first=$child
	background sh -u story.sh
	wait "$first"
	ends 0
	cmp <(sort -n shared) <(seq 5 24)
}

@test "story 4: cache in a shell script" {
	stub date <<<'echo run; echo called >>calls'
	run -0 story 4
	matches "$output" '*run'
	run -0 story 4
	matches "$output" '*run'
	equal calls "$(cat calls)" called
}

@test "story 5: config store with a guarded transaction" {
	kevo-put conf.kv svc/web/port 80
	run -0 story 5
	equal output "$output" 1
	is $'svc/web/port\t8080\nsvc/web/rev\t1' kevo-scan conf.kv
	run -1 story 5
	is $'svc/web/port\t8080\nsvc/web/rev\t1' kevo-scan conf.kv
}

@test "story 6: log index, prefix scan" {
	cat >access.log <<-'EOF2'
		2026-11-22T10:00:01 web2 GET /a\b
		2026-11-22T10:00:02 web1 GET /	tab
		2026-11-22T10:00:02 web2 GET /c
		2026-11-22T11:00:00 web2 GET /d
	EOF2
	run -0 story 6
	equal lines "$output" "$(sed -n '1p;3p' access.log)"
}

@test "story 7: ETL checkpoint, exactly once" {
	printf 'one\\1\ntwo\tfields\n' >source.txt
	run -0 story 7
	is 2 kevo-get etl.kv ckpt:source.txt
	printf 'three\n' >>source.txt
	run -0 story 7
	run -0 story 7
	is 3 kevo-get etl.kv ckpt:source.txt
	is $'one\\1\ntwo\tfields\nthree' kevo-scan --values -f text etl.kv out:
}

@test "story 8: feature store, JSON values" {
	need jq
	cat >users.jsonl <<-'EOF2'
		{"id":"ada","age":36,"tags":["a","b"],"x":1}
		{"id":"böb","age":7,"tags":[]}
	EOF2
	printf 'feat:ada\nfeat:böb\n' >wanted-ids.txt
	run -0 story 8
	equal features "$output" $'feat:ada\t36\nfeat:böb\t7'
	is '{"age":36,"n_tags":2}' kevo-get feat.kv feat:ada
}

@test "story 9: sensor log on an edge device, shipped by cron and rsync" {
	stub read-sensor <<<'echo 21.5'
	# cron takes its fields, and the backslashes before %.
	printed 9 | sed -n '1{s/^# [^ ]* \* \* \* \* *//;s/\\%/%/g;p;}' >cron.sh
	matches "$(cat cron.sh)" 'kevo-put sensors.kv "t:$(date -u +%s)"*'
	stub rsync <<'X'
[ "$*" = '-a archive/ collector:archive/device7/' ] || exit 64
# Here both hosts stand in one directory.
rm -rf new
mkdir new
tar -C archive -cf - --exclude=./device7 . | tar -C new -xf -
rm -rf archive/device7
mv new archive/device7
X
	sh -u cron.sh
	printed 9 | sed 1d >story.sh
	run -0 sh -u story.sh
	is 21.5 kevo-scan --values device7.kv
	# What is not complete yet comes when it is.
	stub date <<<'echo 2000000000'
	sh -u cron.sh
	kevo-walship send -q sensors.kv --to archive --seal-after 0
	run -0 sh -u story.sh
	is 21.5 kevo-get device7.kv t:2000000000
	fails 77 '*' kevo-put device7.kv t:mine 1
}

@test "story 10: dead-simple replica over ssh" {
	mkdir primary
	kevo-put primary/data.kv a 1
	stub ssh <<'X'
[ "$1" != -T ] || shift
cd "$1" && shift && exec sh -c "$*"
X
	printed 10 | sed -n 1p >base.sh
	printed 10 | sed -n 2p >follow.sh
	run -0 sh -u base.sh
	is $'a\t1' kevo-scan replica.kv
	kevo-walship slot primary/data.kv create r1
	background sh -u follow.sh
	kevo-put primary/data.kv b 2
	arrived() { [ "$(kevo-get replica.kv "$1")" = "$2" ]; }
	wait_for arrived b 2
	kevo-put primary/data.kv b 3
	wait_for arrived b 3
	fails 77 '*' kevo-put replica.kv c 1
	pkill -TERM -P "$child" -x kevo-walship || kill -TERM "$child"
	wait "$child" || true
}

@test "story 11: backup to a tar on object storage, then prove it" {
	need zstd
	printf 'a\t1\nb\t2\n' | kevo-put -i data.kv
	stub rclone <<'X'
mkdir -p remote/backups
case $1 in
rcat) cat >"remote/${2#remote:}" ;;
cat) cat "remote/${2#remote:}" ;;
esac
X
	run -0 story 11
	matches "$output" '*backup is sound'
	[ ! -e drill.kv ]
	# One that was cut is not.
	stub rclone <<'X'
mkdir -p remote/backups
case $1 in
rcat) cat >"remote/${2#remote:}" ;;
cat) head -c 300 "remote/${2#remote:}" ;;
esac
X
	run story 11
	[ "$status" -ge 64 ]
	run ! grep -q 'backup is sound' <<<"$output"
}

@test "story 12: restore without kevo installed" {
	need bsdtar zstd
	printf 'a\t1\nb\t2\n' | kevo-put -i data.kv
	kevo-backup -q -z zstd -o data-2026-11-22.tar.zst data.kv
	run -0 story 12
	matches "$output" '*FORMAT*'
	is $'a\t1\nb\t2' kevo-scan data
	ok kevo-put data c 3
}

@test "story 13: point in time, undo a bad deploy" {
	local now
	kevo-put data.kv svc/port 80
	kevo-backup -q -z zstd -o full.tar.zst data.kv
	kevo-put data.kv svc/port 8080
	now=$(date -u +%FT%TZ)
	# Commits are of a later second than the one that is asked for.
	later() { [ "$(date -u +%FT%TZ)" != "$now" ]; }
	wait_for later
	now=$(date -u +%FT%TZ)
	wait_for later
	kevo-put data.kv svc/port bad
	kevo-backup -q -z zstd --base=full.tar.zst -o incr-1.tar.zst data.kv
	printed 13 | sed "s/2026-11-22T13:59:00Z/$now/" >story.sh
	grep -q "$now" story.sh
	run -1 --separate-stderr bash -u story.sh
	equal differences "$output" $'1c1\n< svc/port\t8080\n---\n> svc/port\tbad'
}

@test "story 14: optimistic update with versions" {
	kevo-init -q conf.kv
	run -0 story 14
	equal output "$output" ''
	run -0 story 14
	equal output "$output" ''
	# Between the two lines somebody else is quicker.
	stub cut <<<'/usr/bin/cut "$@"; kevo-put conf.kv limits rps=40'
	run -0 story 14
	equal output "$output" 'somebody else changed it'
	is rps=40 kevo-get conf.kv limits
}

@test "story 15: a lease that frees itself" {
	printf '#!/bin/sh\nkevo-get locks.kv deploy > owner\n' >deploy.sh
	chmod +x deploy.sh
	run -0 story 15
	matches "$(cat owner)" '*:+([0-9])'
	no kevo-get locks.kv deploy
	kevo-put --if-absent -t 30m locks.kv deploy other:1
	run -75 --separate-stderr story 15
	equal message "$stderr" 'deploy is running: other:1'
	is other:1 kevo-get locks.kv deploy
	kevo-put -t 0.05 locks.kv deploy other:1
	wait_for bash -c '! kevo-get locks.kv deploy'
	run -0 story 15
}

@test "story 16: rate limit per address and hour" {
	export REMOTE_ADDR=192.0.2.7
	run -0 story 16
	equal output "$output" ''
	kevo-put rate.kv "$REMOTE_ADDR:$(date -u +%H)" 100
	run -0 story 16
	[[ $output == 'Status: 429'* ]]
	is 101 kevo-get rate.kv "$REMOTE_ADDR:$(date -u +%H)"
}

@test "story 17: move money, all or nothing" {
	run -1 story 17
	is 0 kevo-scan -c bank.kv
	kevo-put bank.kv acct/a 100
	ok story 17
	is $'acct/a\t70\nacct/b\t30' kevo-scan bank.kv
	run -1 story 17
	is $'acct/a\t70\nacct/b\t30' kevo-scan bank.kv
}

@test "story 18: CSV in, with Miller" {
	need mlr
	printf 'user,email\nada,ada@example.org\nbob,b@example.org\n' >users.csv
	run -0 story 18
	is $'user:ada\tada@example.org\nuser:bob\tb@example.org' kevo-scan people.kv
}

@test "story 19: export to LMDB, Berkeley DB, cdb, SQLite and Redis" {
	need mdb_load db5.3_load cdb sqlite3
	printf 'k1\tv1\nk2\t\\0\n' | kevo-put -i data.kv
	stub db_load <<<'exec db5.3_load "$@"'
	# oracles.bats has a server for it.
	stub redis-cli <<<'cat >pipe.resp'
	story 19
	equal LMDB "$(mdb_dump out.lmdb | sed -n 's/^ //p' | tr '\n' ' ')" \
		'6b31 7631 6b32 00 '
	equal 'Berkeley DB' "$(db5.3_dump out.bdb | sed -n 's/^ //p' |
		tr '\n' ' ')" '6b31 7631 6b32 00 '
	equal cdb "$(cdb -q out.cdb k1)" v1
	equal SQLite "$(sqlite3 out.sqlite \
		"SELECT hex(v) FROM kv WHERE k = CAST('k2' AS BLOB)")" 00
	is $'k1\tv1\nk2\t\\x00' bash -c \
		'kevo-import -q -f resp r.kv pipe.resp; kevo-scan r.kv'
}

@test "story 20: diff and sync two hosts" {
	printf 'conf/a\t1\nconf/b\t\\x00\nother\tx\n' | kevo-put -i data.kv
	mkdir other
	printf 'conf/a\t0\nkeep\ty\n' | kevo-put -i other/data.kv
	stub ssh <<<'cd "$1" && shift && exec sh -c "$*"'
	run -0 story 20 bash
	matches "$output" '*< conf/a?1*> conf/a?0*'
	is $'conf/a\t1\nconf/b\t\\x00\nkeep\ty' kevo-scan other/data.kv
	run -0 story 20 bash
	equal differences "$output" ''
}

@test "story 21: file integrity baseline" {
	mkdir files
	echo one >files/a
	echo two >files/b
	run -0 story 21 bash
	equal changed "$output" ''
	# What comes behind the baseline, when something has changed.
	echo three >files/b
	printed 21 | sed 2d >check.sh
	run -0 bash -u check.sh
	equal changed "${output%%$'\t'*}" files/b
}

@test "story 22: delete by any filter" {
	printf 'sess:1\texpired\nsess:2\tlive\nsess:\\n\texpired\n' |
		kevo-put -i sess.kv
	run -0 story 22
	is $'sess:2\tlive' kevo-scan sess.kv
}

@test "story 23: react to changes, surviving restarts" {
	mkdir nginx.d
	: >reloads
	stub nginx <<<'[ "$*" = "-s reload" ] && echo reload >>reloads'
	kevo-put conf.kv svc/nginx/a 'a on;'
	printed 23 >story.sh
	follow() {
		background setsid sh -u story.sh 2>>said
	}
	stop() {
		kill -TERM -- "-$child"
		wait "$child" || true
	}
	shows() {
		[ "$(cat nginx.d/kevo.conf)" = "$1" ] &&
			[ "$(wc -l <reloads)" -gt "$2" ]
	}
	follow
	# Without a cursor it begins with what comes when it has begun.
	begun() {
		kevo-put conf.kv svc/nginx/b 'b on;' && [ -s reload.cursor ]
	}
	wait_for begun
	kevo-put conf.kv svc/other x
	wait_for shows $'a on;\nb on;' 0
	wait_for grep -q 'put svc/nginx/b' said
	stop
	# What happens meanwhile is not lost.
	: >reloads
	kevo-delete conf.kv svc/nginx/a
	follow
	wait_for shows 'b on;' 0
	wait_for grep -q 'delete svc/nginx/a' said
	stop
	run ! grep -q other said
}

@test "story 24: monitoring and upkeep" {
	seq 100 | kevo-put -k -i data.kv
	stub check_kevo <<<"exec '$root/contrib/check_kevo' \"\$@\""
	stub systemctl <<<'echo "$*" >systemctl.args'
	mkdir textfiles
	TEXTFILE_DIR=$PWD/textfiles run -0 story 24
	matches "$output" '*OK*'
	grep -q '^kevo_' textfiles/kevo-data.prom
	equal units "$(cat systemctl.args)" \
		'enable --now kevo-compact@data.timer kevo-check@data.timer'
	grep -q '<svg' kevo.svg
	for unit in kevo-compact@ kevo-check@; do
		find "$root/contrib" -name "$unit.timer" | grep -q .
	done
}

@test "story 25: one process for many lookups" {
	kevo-put data.kv user:1 ada
	run -0 story 25 bash
	equal output "$output" ada
}

@test "stories: the form that scripts are told to use tells answers from trouble" {
	cat >ask.sh <<-'EOF2'
		ask() {
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
		ask no.kv k 2>/dev/null
	EOF2
	kevo-put a.kv k v
	run -0 sh ask.sh
	equal answers "$output" $'v yes\nno\ntrouble'
}
