#!/usr/bin/env bats
# shellcheck disable=SC2154
# Every example of the manual and of the README runs as it is printed.

load common
shopt -s extglob
setup() { common_setup; }
teardown() { common_teardown; }

# blocks PAGE: its examples, one file each, block.1 and so on.
blocks() {
	rm -f block.*
	awk '/^\.Sh/ { on = $0 == ".Sh EXAMPLES" }
		on && /^\.Bd -literal/ { n++; in_block = 1; next }
		/^\.Ed/ { in_block = 0 }
		in_block { gsub(/\\e/, "\\"); sub(/^\\&/, "")
			print > ("block." n) }' "$1"
}

# Programs of an example that are not on this machine, or need a server.
lacking() {
	local word
	for word in mlr mdb_load mdb_dump db5.3_load db5.3_dump cdb sqlite3 jq; do
		if grep -qw -- "$word" "$1" && ! command -v "$word" >/dev/null; then
			echo "$word"
		fi
	done
	grep -ow -- 'redis-cli' "$1" || true
}

# page NAME: run its examples one after the other in one directory.
page() {
	local block n=0
	rm -rf page
	mkdir page
	blocks "$root/man/$1"
	for block in $(printf '%s\n' block.* | sort -t. -k2n); do
		[ -s "$block" ] || { echo "$1 has no examples"; return 1; }
		if [ -n "$(lacking "$block")" ]; then
			continue
		fi
		if ! (cd page && timeout 20 sh -u "../$block" >../out 2>../err \
			</dev/null 3>&-); then
			echo "$1: an example fails:"
			cat "$block" err
			return 1
		fi
		if grep -E '^(sh|bash|usage|kevo-[a-z]*: hint|[^ ]*: not found)' err
		then
			echo "$1: an example complains:"
			cat "$block" err
			return 1
		fi
		n=$((n + 1))
	done
	[ "$n" -ge 1 ]
}

@test "examples: kevo-init" { page kevo-init.1; }
@test "examples: kevo-put" {
	page kevo-put.1
	equal uniq "$(cat page/frontier.txt)" $'/a\n/b'
	is 3 kevo-scan -c page/data.kv user:
}
@test "examples: kevo-get" { page kevo-get.1; }
@test "examples: kevo-delete" {
	page kevo-delete.1
	is 0 kevo-scan -c page/jobs.kv
	is $'sess:2\tlive' kevo-scan page/sess.kv
}
@test "examples: kevo-scan" {
	page kevo-scan.1
	matches "$(cat out)" '*they differ*'
}
@test "examples: kevo-watch" {
	page kevo-watch.1
	equal lines "$(wc -l <page/new.txt)" 2
}
@test "examples: kevo-incr" {
	page kevo-incr.1
	matches "$(cat out)" 'order 1'
	is 7 kevo-get page/data.kv stock
}
@test "examples: kevo-export" {
	page kevo-export.1
	cmp <(kevo-export page/data.kv) page/nightly.tsv
}
@test "examples: kevo-import" { page kevo-import.1; }
@test "examples: kevo-bench" {
	page kevo-bench.1
	equal 'what is left' "$(find page -name 'kevo-bench.*')" ''
	grep -q '</svg>' page/bench.svg
}
@test "examples: kevo" { page kevo.1; }
@test "examples: kevo-config" {
	page kevo-config.1
	is on kevo-config page/data.kv get count_reads
	is full kevo-config page/data.kv get sync
}
@test "examples: kevo-compact" { page kevo-compact.1; }
@test "examples: kevo-check" {
	page kevo-check.1
	grep -q .\"sound\":true. page/report.json
}
@test "examples: kevo-backup" {
	page kevo-backup.1
	is $'user:1\tada\nuser:2\tgrace' kevo-scan page/new.kv
	is $'user:1\tada' kevo-scan page/old.kv
}
@test "examples: kevo-restore" {
	page kevo-restore.1
	is 80 kevo-get page/data.kv svc/web/port
}
@test "examples: kevo-stats" {
	page kevo-stats.1
	[ -s page/kevo-data.prom ] && [ -s page/kevo.svg ] &&
		[ -s page/log.svg ]
}
@test "examples: kevo-txn" {
	page kevo-txn.1
	is $'acct/a\t70\nacct/b\t30' kevo-scan page/bank.kv
	is 2 kevo-get page/etl.kv ckpt:source.txt
	is rps=50 kevo-get page/conf.kv limits
}
@test "examples: kevo-walship" { page kevo-walship.1; }
@test "examples: kevo-shell" {
	page kevo-shell.1
	is 2 kevo-get page/data.kv users
	matches "$(cat out)" '*there is no user 9'
}

@test "examples: every page of a tool is among these" {
	local src tool
	for src in "$root"/bin/kevo*.c; do
		tool=$(basename "$src" .c)
		grep -q "page $tool.1" "$BATS_TEST_FILENAME"
	done
}

@test "examples: --help shows commands that run" {
	local tool
	for src in "$root"/bin/kevo-*.c; do
		tool=$(basename "$src" .c)
		"$tool" --help | sed -n '/^Examples:/,/^More:/s/^  //p' >examples
		[ -s examples ]
		sh -n examples
		while IFS= read -r word; do
			"${word%% *}" --dump-options |
				grep -q -e "	${word#* }	" || {
				echo "$tool --help: $word"
				return 1
			}
		done < <(grep -oE 'kevo-[a-z]+ [^|]*' examples | awk '{
			for (i = 2; i <= NF && $i ~ /^-/; i++)
				if ($i ~ /^--/) { sub(/=.*/, "", $i); print $1, $i }
				else if (length($i) == 2) print $1, $i }')
	done
}

@test "examples: README, from the load to the last line of Try it" {
	[ -s "$root/README.md" ]
	awk '/^## / { on = $0 == "## Try it" }
		on && /^    kevo-put -i -f text -b 1/ { code = 1 }
		on && code && /^    / { sub(/^    /, ""); print }' \
		"$root/README.md" >readme.sh
	grep -q 'kill -9' readme.sh
	grep -q 'kevo-export' readme.sh
	# A stand-in for apt's list, and no waiting by the clock.
	seq -f 'pkg%06.0f' 30000 |
		awk '{ print $0 "\ta package with a \\ and ä, number " NR }' \
		>packages.tsv
	printf 'bash\tthe shell\nsqlite3\tan engine\n0ad\ta game\n' >>packages.tsv
	sed -i 's/^sleep 1$/until [ -s acked ]; do :; done/' readme.sh
	run -0 --separate-stderr timeout 60 bash readme.sh
	matches "$output" '*the shell*'
	matches "$output" '*sqlite3?an engine*'
	matches "$output" $'*identical\n*'
	matches "$output" '*there is none'
	[ "$(tail -n 1 acked)" -lt 30003 ]
}

@test "examples: the README's first lines" {
	awk '/^## / { exit } /^    kevo/ { sub(/^    /, ""); print }' \
		"$root/README.md" >first.sh
	[ "$(wc -l <first.sh)" -ge 3 ]
	run -0 sh -e first.sh
	matches "$output" '*ada*'
}
