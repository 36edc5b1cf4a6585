#!/usr/bin/env bats
# shellcheck disable=SC2094,SC2154
# One table per tool describes its options: --help, the page and the
# completions say the same, and what every tool does is the same everywhere.

load common
shopt -s extglob
setup() {
	common_setup
	tools=()
	for src in "$root"/bin/kevo-*.c; do
		tools+=("$(basename "$src" .c)")
	done
}
teardown() { common_teardown; }

@test "options: -h is short, has examples, and names every option" {
	local tool long
	for tool in "${tools[@]}" kevo; do
		ok "$tool" --help
		[ "${#lines[@]}" -le 40 ] || { echo "$tool"; return 1; }
		matches "$output" "*Examples:*"
		matches "$output" "usage: $tool *"
		help=$output
		awk 'length > 80 { print; bad = 1 } END { exit bad }' <<<"$help"
		ok "$tool" -h
		equal "$tool -h" "$output" "$help"
		ok "$tool" --dump-options
		while IFS=$'\t' read -r word name long _; do
			[ "$word $name" = "tool $tool" ] || [ "$word" != tool ] || break
			[ "$word" = option ] || continue
			[[ $help == *"$long"* ]] || { echo "$tool $long"; return 1; }
		done <<<"${output//$'\t\t'/$'\t-\t'}"
	done
}

# The names of sub-commands, "kevo-walship verify".
subcommands() {
	local tool
	for tool in "${tools[@]}"; do
		"$tool" --dump-options | sed -n 's/^tool	\([^	]* [^	]*\)	.*/\1/p'
	done
}

@test "options: sub-commands are tools by themselves" {
	local sub name
	[ "$(subcommands | wc -l)" -ge 1 ]
	while read -r sub; do
		name=${sub%% *}
		# shellcheck disable=SC2086 # words
		ok $sub --help
		[ "${#lines[@]}" -le 40 ]
		matches "$output" "usage: $sub *"
		matches "$output" "*Examples:*"
		awk 'length > 80 { print; bad = 1 } END { exit bad }' <<<"$output"
		# shellcheck disable=SC2086 # words
		is "$name $("$name" -V | cut -d' ' -f2)" $sub --version
		# shellcheck disable=SC2086 # words
		fails 64 "*-Z*usage: $sub *" $sub -Z
		# shellcheck disable=SC2086 # words
		fails 64 "*usage: $sub *" $sub
		ok "$name" --help
		matches "$output" "*
  ${sub#* } *"
	done < <(subcommands)
	fails 64 '*verfy*verify*' kevo-walship verfy
	fails 64 '*nonsense*usage*' kevo-walship nonsense
}

@test "options: -V and --version, one version for all" {
	local tool version
	version=$(sed -n 's/^#define KEVO_VERSION "\(.*\)"/\1/p' \
		"$root/lib/kevo.h")
	for tool in "${tools[@]}" kevo; do
		is "$tool $version" "$tool" -V
		is "$tool $version" "$tool" --version
		run -74 bash -c "$tool -V >/dev/full"
		run -74 bash -c "$tool -h >/dev/full"
	done
}

@test "options: unknown ones and missing arguments are 64, with the synopsis" {
	local tool
	for tool in "${tools[@]}" kevo; do
		fails 64 '*-Z*usage: *' "$tool" -Z
		fails 64 '*--verion*--version*usage: *' "$tool" --verion
		fails 64 '*--version*no argument*' "$tool" --version=1
		# Without an operand kevo is the shell, without a database.
		case $tool in
		kevo | kevo-shell) ok "$tool" </dev/null ;;
		# And kevo-bench makes databases of its own.
		kevo-bench) ;;
		*) fails 64 '*usage: *' "$tool" ;;
		esac
	done
	fails 64 '*-w*' kevo-put -w
	fails 64 '*--wait*' kevo-put --wait
	fails 64 '*--if-*--if-*' kevo-put --if- a.kv k v
}

@test "options: join, take = or the next word, shorten, and end at --" {
	kevo-put a.kv a 1
	kevo-put a.kv b 2
	is b kevo-scan -kl1 -r a.kv
	is b kevo-scan -krl 1 a.kv
	is a kevo-scan --lim=1 --keys a.kv
	is a kevo-scan --limit 1 --keys-only a.kv
	is 2 kevo-scan -c -- a.kv
	kevo-put -- -x.kv k v
	is v kevo-get -- -x.kv k
	is v kevo-get ./-x.kv k
}

@test "options: the same letter means the same everywhere" {
	local tool
	for tool in "${tools[@]}"; do
		"$tool" --dump-options | awk -F'\t' '$1 == "option" && $2 != "" {
			print $2 "\t" $3 "\t" $4 }'
	done | sort -u | cut -f1 | uniq -d >twice
	equal 'letters with two meanings' "$(cat twice)" ''
	# And it is what the contract says.
	while read -r letter long; do
		run grep -h -o -e "	$letter	--[a-z0-9-]*" <(
			for tool in "${tools[@]}"; do "$tool" --dump-options; done)
		for line in "${lines[@]}"; do
			equal "$letter" "$line" "	$letter	$long"
		done
	done <<-'EOF'
		-h --help
		-V --version
		-q --quiet
		-v --verbose
		-f --format
		-0 --null
		-i --stdin
		-E --escaped
		-j --json-values
		-k --keys-only
		-m --meta
		-l --limit
		-P --prefix
		-p --print
		-n --dry-run
		-w --wait
		-C --no-create
		-1 --single-transaction
	EOF
}

@test "options: each tool has those of its synopsis in the contract" {
	local tool options word
	while read -r tool options; do
		"kevo-$tool" --dump-options | cut -f2,3 >table
		for word in $options; do
			grep -qw -e "$word" table ||
				{ echo "kevo-$tool has no $word"; return 1; }
		done
	done <<-'EOF'
		init -q --set --profile
		config -f -w
		put -E -q -v -C -w -t --sync --if-absent --if-present --if-value --if-version --print-version -i -f -0 -j -k -p -1 -b --ack
		get -E -q -v -f --default -0 -j -m -i --input-format
		delete -E -q -v -w -p -f -0 --if-absent --if-present --if-value --if-version -i -P --from --to -l --all --sync
		scan -E -q -v -k -m -r -e -j -f -0 -l -c --values --from --to --after --suffix --glob
		incr -E -q -C -w -t --sync
		export -f -o -P --from --to -z --progress
		txn -R -w --conflict-exit-code -i -n -f -q -C --sync
		watch -0 -f -l --since --cursor-file --initial --idle
		backup -o -z --since --base --progress
		restore -n --test --force --until
		compact -n --full --max-time --max-bytes -w
		check -q --fast --repair -f
		bench --tests --keys --value-size --duration --processes --sequential -f
		stats -f -o --watch --record --plot
		import -f -P --on-duplicate -1 --sorted -n --crlf -q -w -C --sync --progress
	EOF
}

@test "options: so has each sub-command of kevo-walship, and no others" {
	local verb options
	while read -r verb options; do
		kevo-walship --dump-options | awk -F'\t' -v v="kevo-walship $verb" \
			'$1 == "tool" { on = $2 == v }
			on && $1 == "option" { print $3 }' | sort >table
		printf '%s\n' --help --version $options | sort >want
		diff want table || { echo "kevo-walship $verb"; return 1; }
	done <<-'EOF'
		apply --into --follow --delay --until-seq --until-time --quiet --verbose --dry-run
		base --to --since --bwlimit --slot --progress --quiet --verbose --dry-run
		drill --into --until-seq --until-time --max-time --check --quiet --verbose --dry-run
		fence --primary --wait --dry-run
		known-loss --quiet --dry-run
		pos
		promote --archive --wait-apply --fence-cmd --force --reason --host --wait --dry-run --quiet
		prune --keep-bases --keep-days --dry-run --quiet --verbose
		recv --via --to --apply --spool --follow --slot --zstd --quiet --verbose --dry-run
		rejoin --from --primary --wait --dry-run --quiet
		restore --into --until-seq --until-time --detached --dry-run --quiet --verbose
		send --to --slot --from --follow --acks --seal-after --zstd --bwlimit --hook --quiet --verbose --dry-run
		slot --max-bytes --max-age --on-limit --announce --at --quiet --verbose --dry-run
		status --json --prom --nagios --max-lag --max-lag-bytes --max-lag-commits --max-drill --quiet
		tail --follow --from --json
		verify --deep --against --sample --sums --quiet
	EOF
}

@test "options: every one is in the manual page, and the page has no others" {
	local tool page option
	for tool in "${tools[@]}" kevo; do
		page=$root/man/$tool.1
		[ -s "$page" ] || { echo "no page $tool.1"; return 1; }
		"$tool" --dump-options | awk -F'\t' '$1 == "option" {
			print $3; if ($2 != "") print $2 }' | sort >table
		grep -o 'Fl [^ ]*' "$page" | sed 's/^Fl \(-*\)/-\1/' |
			sort -u >page
		while read -r option; do
			grep -qxF -e "$option" page ||
				{ echo "$tool.1 lacks $option"; return 1; }
		done <table
		awk '/^\.It Fl/ { for (i = 3; i <= NF; i++)
			if ($(i - 1) == "Fl") print "-" $i }' "$page" |
			sort -u | while read -r option; do
			grep -qxF -e "$option" table ||
				{ echo "$tool.1 has $option"; exit 1; }
		done
	done
}

@test "options: the page's SYNOPSIS is the usage" {
	need mandoc
	local tool
	for tool in "${tools[@]}" kevo; do
		"$tool" --dump-options | awk -F'\t' '$1 == "tool" { t = $2 }
			$1 == "usage" { print t " " $2 }' |
			tr -s ' \n' ' ' >usage
		mandoc -T utf8 -O width=500 "$root/man/$tool.1" | sed 's/.\x08//g' |
			awk '/^[A-Z]/ { on = $1 == "SYNOPSIS"; next } on' |
			tr -s ' \n' ' ' | sed 's/^ //' >synopsis
		equal "$tool" "$(sed 's/ $//' synopsis)" "$(sed 's/ $//' usage)"
	done
}

@test "options: the pages are well-formed" {
	need mandoc
	run -0 mandoc -T lint -W warning "$root"/man/*.[1-8]
	equal mandoc "$output" ''
	for page in "$root"/man/*.1; do
		for section in NAME SYNOPSIS DESCRIPTION 'EXIT STATUS' EXAMPLES \
			'SEE ALSO'; do
			grep -qx ".Sh $section" "$page" ||
				{ echo "$page lacks $section"; return 1; }
		done
	done
}

@test "completions: are made from the tables, and each shell can read them" {
	local tool
	sh "$root/contrib/completion/generate.sh" "$KEVO_BUILD/bin" out
	bash -n out/kevo.bash
	if command -v zsh >/dev/null; then zsh -n out/_kevo; fi
	if command -v fish >/dev/null; then fish -n out/kevo.fish; fi
	for tool in "${tools[@]}"; do
		grep -q -e "$tool" out/kevo.bash
		grep -q -e "${tool#kevo-}" out/_kevo
		grep -q -e "${tool#kevo-}" out/kevo.fish
	done
	for word in --if-absent --print-version --on-duplicate; do
		grep -q -e "$word" out/kevo.bash
		grep -q -e "${word#--}" out/_kevo
		grep -q -e "${word#--}" out/kevo.fish
	done
}

@test "completions: bash offers options, formats and databases" {
	sh "$root/contrib/completion/generate.sh" "$KEVO_BUILD/bin" out
	cat >ask.sh <<-'EOF'
		. out/kevo.bash
		compopt() { :; }
		COMP_WORDS=("$@")
		COMP_CWORD=$(($# - 1))
		_kevo
		printf '%s\n' "${COMPREPLY[@]}"
	EOF
	run -0 bash ask.sh kevo-put --if-p
	equal option "$output" --if-present
	run -0 bash ask.sh kevo put --if-p
	equal option "$output" --if-present
	run -0 bash ask.sh kevo-scan -f json
	equal formats "$(sort <<<"$output")" $'jsonl\njsonl64'
	# Those that the option takes, and all of them.
	while read -r tool option; do
		run -64 "$tool" "$option" nonsense
		want=$(sed -n 's/.*the formats here are //p' <<<"$output" |
			tr ' ' '\n' | sort)
		run -0 bash ask.sh "$tool" "$option" ''
		[ "$tool$option" != kevo-get--input-format ] ||
			output=$output$'\ncsv'
		equal "$tool $option" "$(sort <<<"$output")" "$want"
	done <<-'END'
		kevo-put -f
		kevo-import --format
		kevo-get -f
		kevo-get --input-format
		kevo-delete -f
		kevo-scan -f
		kevo-export -f
	END
	run -0 bash ask.sh kevo-init --set mem
	equal setting "$output" memtable_bytes=
	run -0 bash ask.sh kevo-init --set = s
	equal setting "$(sort <<<"$output")" $'sync=batch\nsync=full\nsync=none'
	run -0 bash ask.sh kevo-init --profile = w
	equal profile "$output" write-heavy
	run -0 bash ask.sh kevo-config -f ''
	equal format "$(sort <<<"$output")" $'human\njson\ntsv'
	run -0 bash ask.sh kevo-put --sync = b
	equal mode "$output" batch
	run -0 bash ask.sh kevo-put --progress = n
	equal when "$(sort <<<"$output")" $'never\nnumeric'
	run -0 bash ask.sh kevo commands ''
	equal 'after commands' "$output" ''
	run -0 bash ask.sh kevo help delet
	equal topic "$output" delete
	run -0 bash ask.sh kevo sca
	equal tool "$output" scan
	run -0 bash ask.sh kevo-walship verif
	equal sub-command "$output" verify
	run -0 bash ask.sh kevo walship verify --qui
	equal 'its option' "$output" --quiet
	mkdir data.kv
	run -0 bash ask.sh kevo-get dat
	equal database "$output" data.kv
	# After DB everything is data.
	run -0 bash ask.sh kevo-put data.kv --if-p
	equal data "$output" ''
}
