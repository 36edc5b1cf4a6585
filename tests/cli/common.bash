# shellcheck shell=bash disable=SC2154
# Helpers of the tests of the tools.  A test file begins with
#
#   load common
#   setup() { common_setup; }
#   teardown() { common_teardown; }
#
# and each test then stands in an empty directory of its own.

bats_require_minimum_version 1.5.0

common_setup() {
	# Without tests/run.sh the tools are looked for in the usual place.
	: "${KEVO_BUILD:=$BATS_TEST_DIRNAME/../../build}"
	case :$PATH: in
	*:"$KEVO_BUILD/bin":*) ;;
	*) PATH=$KEVO_BUILD/bin:$PATH ;;
	esac
	export KEVO_BUILD PATH LC_ALL=C.UTF-8 TERM=dumb
	unset KEVO_DB KEVO_WAIT KEVO_SYNC KEVO_TXN
	# shellcheck disable=SC2034 # for tests
	root=$BATS_TEST_DIRNAME/../..
	seed=${KEVO_SEED:-$((RANDOM * 32768 + RANDOM))}
	children=()
	cd "$BATS_TEST_TMPDIR" || return
}

# in_memory: stand in another empty directory, in memory if that can be had:
# for what makes many files, or copies many.
in_memory() {
	memory=$(mktemp -d /dev/shm/kevo-bats.XXXXXX 2>/dev/null) || return 0
	cd "$memory" || return
}

# What a failed test left running, and what it made unwritable.
common_teardown() {
	local pid
	for pid in "${children[@]}"; do
		kill -CONT "$pid" 2>/dev/null
		kill -KILL "$pid" 2>/dev/null
	done
	for pid in "${children[@]}"; do
		wait "$pid" 2>/dev/null
	done
	chmod -R u+rwX "$BATS_TEST_TMPDIR" 2>/dev/null
	if [ -n "${memory-}" ]; then
		chmod -R u+rwX "$memory"
		rm -rf "$memory"
	fi
	return 0
}

# ---- checks ----------------------------------------------------------------

# equal WHAT IT-IS IT-SHOULD-BE
equal() {
	[ "$2" = "$3" ] && return
	printf '%s: %q\nshould be: %q\n' "$1" "$2" "$3"
	return 1
}

# matches TEXT GLOB: the glob matches all of the text.
matches() {
	# shellcheck disable=SC2053 # a glob is wanted
	[[ $1 == $2 ]] && return
	printf '%q\nis not like: %s\n' "$1" "$2"
	return 1
}

# ok COMMAND...: exit status 0, and nothing on standard error.
ok() {
	run -0 --separate-stderr "$@" || return
	equal 'standard error' "$stderr" ''
}

# is TEXT COMMAND...: succeeds, and its output is TEXT.
is() {
	local want=$1
	shift
	ok "$@" || return
	equal "$*" "$output" "$want"
}

# no COMMAND...: the answer is a silent 1.
no() {
	run -1 --separate-stderr "$@" || return
	equal output "$output" '' && equal 'standard error' "$stderr" ''
}

# fails STATUS GLOB COMMAND...: one message, from the tool and like GLOB
# after the tool's name, nothing on standard output.  Hints, and how many
# records were stored before, may follow it.
fails() {
	local status_wanted=$1 glob=$2 said tool
	shift 2
	run "-$status_wanted" --separate-stderr "$@" || return
	equal output "$output" '' || return
	tool=$1
	if [ "$tool" = piped ]; then tool=$3; fi
	if [ "$tool" = nodac ] || [ "$tool" = env ]; then tool=$2; fi
	matches "$stderr" "$tool: $glob" || return
	said=$(grep "^$tool: " <<<"$stderr" | grep -cvE \
		': hint: |: ([0-9]+ records? (was|were)|nothing was) [a-z]+') ||
		true
	[ "$said" -eq 1 ] ||
		{ printf 'more than one message: %s\n' "$stderr"; return 1; }
}

# piped TEXT COMMAND...: run it with printf's idea of TEXT as its input.
piped() {
	local text=$1
	shift
	# shellcheck disable=SC2059 # a format is wanted
	printf "$text" | "$@"
}

# ---- bytes -----------------------------------------------------------------

# Standard input as hex digits.
hex() {
	od -An -v -tx1 | tr -d ' \n'
}

# Hex digits of standard input as bytes.
unhex() {
	sed 's/../\\x&/g' | tr -d '\n' | while IFS= read -r line ||
		[ -n "$line" ]; do
		# shellcheck disable=SC2059 # escapes are wanted
		printf "$line"
	done
}

# random_records N [KEY-BYTES [VALUE-BYTES]]: records as hex lines, of any
# bytes and then those that formats stumble over; sorted, keys unique.
random_records() {
	awk -v n="$1" -v mk="${2:-40}" -v mv="${3:-100}" -v seed="$seed" '
	function any(len, s) {
		while (len-- > 0)
			s = s sprintf("%02x", int(rand() * 256))
		return s
	}
	function nasty(len, s) {
		while (len-- > 0)
			s = s bad[1 + int(rand() * nbad)]
		return s
	}
	function field(len) {
		return rand() < 0.5 ? any(len) : nasty(len)
	}
	BEGIN {
		srand(seed)
		nbad = split("00 09 0a 0d 0d0a 20 22 2c 2d 3a 3e 5c 5c30 7f" \
		    " 2b 31 c3a4 c2 a0 c280 e282ac f09f9880 eda080 c080 ff" \
		    " f4908080 e280ae 08 0c 0b 1b 6e 78", bad, " ")
		for (i = 0; i < n; i++) {
			k = field(1 + int(rand() * mk))
			if (k in seen)
				continue
			seen[k] = 1
			print k "\t" field(int(rand() * (mv + 1)))
		}
	}' | LC_ALL=C sort
}

# The same of well-formed UTF-8 without NUL, for formats of text.
random_text() {
	awk -v n="$1" -v seed="$seed" '
	function text(len, s) {
		while (len-- > 0)
			s = s c[1 + int(rand() * nc)]
		return s
	}
	BEGIN {
		srand(seed)
		nc = split("61 62 7a 20 22 2c 09 0a 0d 0d0a 27 5c 3b 01 7f" \
		    " c3a4 e282ac f09f9880 2d 30", c, " ")
		for (i = 0; i < n; i++) {
			k = text(1 + int(rand() * 8))
			if (k in seen)
				continue
			seen[k] = 1
			print k "\t" text(int(rand() * 20))
		}
	}' | LC_ALL=C sort
}

# ---- files -----------------------------------------------------------------

# Everything that a writer could change about files, and what is in them.
# Segments are sparse and mostly empty: their beginning will do.
listing() {
	find "$1" -printf '%P %i %s %m %T@ %C@\n' | LC_ALL=C sort
	find "$1" -type f -exec sh -c 'for f; do
		printf "%s " "$f"; head -c 262144 "$f" | cksum; done' sh {} + |
		LC_ALL=C sort
}

# Run a command that is held to permissions, also as root.
nodac() {
	if [ "$(id -u)" -eq 0 ]; then
		setpriv --bounding-set=-dac_override,-dac_read_search,-fowner \
			--inh-caps=-all "$@"
	else
		"$@"
	fi
}

# same_data DB DB: the same records, not none, with the same versions.
same_data() {
	local want
	want=$(kevo-scan -m "$1") && [ -n "$want" ] &&
		kevo-scan -m "$2" | cmp - <(printf '%s\n' "$want")
}

# on_disk SIZE FUNCTION...: the first one runs in a file system of that size;
# the others are those that it calls.
on_disk() {
	local size=$1 main=$2
	shift
	unshare -m true 2>/dev/null || skip 'no mount namespaces here'
	# shellcheck disable=SC2163 # names are wanted
	export -f "$@"
	mkdir disk
	run --separate-stderr unshare -m bash -c 'mount -t tmpfs -o size="$0" \
		none disk || exit 99; cd disk && "$1"' "$size" "$main"
	[ "$status" -ne 99 ] || skip 'may not mount here'
	equal 'exit status' "$status" 0
}

# ---- processes -------------------------------------------------------------

# wait_for COMMAND...: until it succeeds, but not for ever.
wait_for() {
	local end=$((SECONDS + 20))
	until "$@" >/dev/null 2>&1; do
		if [ "$SECONDS" -ge "$end" ]; then
			echo "never came true: $*"
			return 1
		fi
		sleep 0.01
	done
}

# background COMMAND...: its process id is in $child.  It must not keep open
# what bats or hang_up and release wait for to end.
background() {
	"$@" 3>&- 7<&- 8>&- 9>&- &
	child=$!
	children+=("$child")
}

# ends STATUS: the child ends with it.
ends() {
	local status=0
	wait "$child" || status=$?
	equal 'exit status of the child' "$status" "$1"
}

# all_end: every child so far ends with 0.
all_end() {
	local pid
	for pid in "${children[@]}"; do
		child=$pid
		ends 0 || return
	done
	children=()
}

# ask TEXT: write a line to descriptor 8; hear: read one from 7 into $line.
ask() {
	printf '%s\n' "$1" >&8
}
hear() {
	line=
	IFS= read -r -t 20 -u 7 line || { echo 'nothing was said'; return 1; }
}

# converse COMMAND...: with its input on 8 and its output on 7.
converse() {
	rm -f to from
	mkfifo to from
	"$@" <to >from 3>&- 9>&- &
	child=$!
	children+=("$child")
	exec 8>to 7<from
}
hang_up() {
	exec 8>&-
}

# hold DB [NAME]: a process that has the write lock, until release.
hold() {
	rm -f hold.in hold.out
	mkfifo hold.in
	: >hold.out
	"$KEVO_BUILD/tests/cli/hold" "$@" <hold.in >hold.out 3>&- &
	holder=$!
	children+=("$holder")
	exec 9>hold.in
	wait_for grep -q held hold.out
}
release() {
	exec 9>&-
	child=$holder
	ends 0
}

# A program that a test can do without, or not run at all.
need() {
	local program
	for program; do
		command -v "$program" >/dev/null || skip "no $program here"
	done
}

# backup, restore and base do without libarchive, but for their purpose.
need_archives() {
	local status=0
	kevo-backup nothing >/dev/null 2>&1 || status=$?
	[ "$status" -ne 69 ] || skip 'built without libarchive'
}

# Pseudo-terminals: a chroot often has none.
need_terminal() {
	need script
	command script -qec true /dev/null >/dev/null 2>&1 </dev/null ||
		skip 'no pseudo-terminals here'
}

# terminal COMMAND-LINE: run it on a terminal; what it shows is the output.
terminal() {
	need script
	script -qec "$1" /dev/null </dev/null | tr -d '\r'
}

# units_are_right NAME INSTANCE: systemd has nothing to say about the units
# that contrib has for NAME.
units_are_right() {
	local unit name made=()
	need systemd-analyze
	mkdir units
	for unit in "$root/contrib/systemd/$1"@.*; do
		name=$(basename "$unit")
		sed "s|/usr/bin/kevo|$KEVO_BUILD/bin/kevo|" "$unit" \
			>"units/$name"
		cp "units/$name" "units/${name/@/@$2}"
		made+=("./units/${name/@/@$2}")
	done
	SYSTEMD_LOG_LEVEL=warning run -0 systemd-analyze verify --man=no \
		"${made[@]}"
	equal 'what it says' "$output" ''
}
