#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154
# Links and roles are changed at random while somebody writes, and in the end
# everybody has the same.

load stream
setup() { common_setup; }
teardown() { common_teardown; }

# Who writes to whoever is the primary; a fence or a promotion is no trouble.
writer() {
	local n=0
	while [ ! -e stop ]; do
		n=$((n + 1))
		seq 5 | sed "s/^/w$n-/;s/\$/	$RANDOM/" |
			kevo-put -q -w 1 -i -b 2 "$(cat primary)" \
			2>/dev/null || sleep 0.05
	done
}

# start N FROM: database N follows FROM.
start() {
	background kevo-walship recv --apply "$1.kv" --follow --via \
		"exec kevo-walship send $2.kv --to - --acks - --follow" \
		2>>"err.$1"
	pid[$1]=$child from[$1]=$2
}

# stop_link N: kill its receiver, its sender, or both; or end it in order.
stop_link() {
	local other
	other=$(child_of "${pid[$1]}") || other=
	case $((RANDOM % 4)) in
	0) kill -KILL "${pid[$1]}" ;;
	1) [ -z "$other" ] || kill -KILL $other; kill -TERM "${pid[$1]}" ;;
	2) kill -KILL "${pid[$1]}" $other ;;
	*) kill -TERM "${pid[$1]}" ;;
	esac 2>/dev/null
	wait "${pid[$1]}" 2>/dev/null || true
	pid[$1]=
}

# lead N: everybody in the end follows N, which has all; the others first
# catch up with it, so that nothing is lost on the way.
lead() {
	local old=$now new=$1 n
	for n in 0 1 2; do
		[ -z "${pid[$n]}" ] || stop_link "$n"
	done
	kevo-walship fence "$old.kv" shuffled
	kevo-walship recv --apply "$new.kv" --via \
		"exec kevo-walship send $old.kv --to - --acks -" 2>>err.lead
	kevo-walship promote "$new.kv"
	echo "$new.kv" >primary
	now=$new
	# The old one has nothing of its own, and may follow.
	echo replica >"$old.kv/role"
	rm -rf "$old.kv/shm"
	for n in 0 1 2; do
		[ "$n" = "$new" ] || start "$n" "$new"
	done
}

@test "shuffle: links and roles change, and everybody ends with the same" {
	seconds=5
	[ -z "${KEVO_LONG-}" ] || seconds=$((${KEVO_LONG_SECONDS:-600} / 5))
	RANDOM=$seed
	echo "seed $seed"
	pid=('' '' '') from=('' '' '') now=0
	records 20 | kevo-put -i 0.kv
	replica 0.kv 1.kv
	replica 0.kv 2.kv
	echo 0.kv >primary
	background writer
	writing=$child
	start 1 0
	start 2 0
	end=$((SECONDS + seconds)) turns=0
	while [ "$SECONDS" -lt "$end" ]; do
		turns=$((turns + 1))
		n=$((RANDOM % 3))
		case $((RANDOM % 6)) in
		0) [ "$n" = "$now" ] || lead "$n" ;;
		*)
			[ -z "${pid[$n]}" ] || stop_link "$n"
			# From the primary, or from the other replica.
			other=$((3 - n - now))
			if [ "$n" != "$now" ]; then
				if [ $((RANDOM % 3)) -eq 0 ] &&
					[ "${from[$other]}" != "$n" ]; then
					start "$n" "$other"
				else
					start "$n" "$now"
				fi
			fi
			;;
		esac
		sleep 0.$((RANDOM % 4))
	done
	touch stop
	child=$writing
	ends 0
	for n in 0 1 2; do
		[ -z "${pid[$n]}" ] || stop_link "$n"
	done
	for n in 0 1 2; do
		[ "$n" = "$now" ] || kevo-walship recv --apply "$n.kv" --via \
			"exec kevo-walship send $now.kv --to - --acks -"
	done
	same 0.kv 1.kv 2.kv
	for n in 0 1 2; do
		kevo-check -q "$n.kv"
	done
	# Nobody needed a person.
	run grep -E ': (gap|fork|corrupt|fenced|orphans|lost|wrong-db): ' err.*
	equal trouble "$output" ''
	echo "$turns turns, $(position "$now.kv")"
	[ "$turns" -gt 3 ]
	[ "$(version "$now.kv")" -gt 10 ]
}
