# shellcheck shell=bash disable=SC2154
# Helpers of the tests of streams: a primary p.kv, and replicas of it.

load walship

# records N [WORD]: N records for kevo-put.
records() {
	seq "$1" | awk -v OFS='\t' -v w="${2-k}" '{ print w $1, w " value " $1 }'
}

# position DB: where its log ends, as text.
position() {
	kevo-walship send -v "$1" --to - 2>&1 >/dev/null |
		sed -n 's/.*up to //p'
}

# same DB DB...: the same position and the same records.
same() {
	local other want
	want=$(position "$1")
	kevo-export "$1" >want.tsv
	[ -n "$want" ] && [ -s want.tsv ] || return
	for other in "${@:2}"; do
		equal "position of $other" "$(position "$other")" "$want" &&
			kevo-export "$other" | cmp - want.tsv || return
	done
}

# reaches DB SEQ: its log has got so far.
reaches() {
	[[ $(position "$1") == *:"$2":* ]]
}

# version DB: the number of its newest commit.
version() {
	position "$1" | cut -d: -f2
}

# send_to_stdout [OPTION...]: what a replica of p.kv runs, in a shell.
via() {
	printf 'exec kevo-walship send p.kv --to - --acks - --follow %s' "$*"
}

# child_of PID: the process that it started.
child_of() {
	cat "/proc/$1/task/$1/children" | tr -d ' '
}

# ends_after_term: the child ends by SIGTERM.
ends_after_term() {
	kill -TERM "$child"
	ends 143
}

# link DB NAME: one line of what its receiver says.
link() {
	sed -n "s/^$2 //p" "$1/shm/link"
}
