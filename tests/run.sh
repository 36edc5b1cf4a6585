#!/bin/sh
# run.sh: run test programs, several at once, and add up what they say.
#
#   tests/run.sh [-j JOBS] PROGRAM...
#
# A program prints TAP; a name in .bats is run by bats.  One that ends badly
# without naming a failed test, or runs other tests than it planned, counts
# as one more failure.  The last line is `N passed, N failed, N skipped`,
# over all of them; the exit status is 1 if one failed or none ran.  What a
# program said is kept under $KEVO_BUILD/log.
#
# Programs find the tools in PATH, the build in $KEVO_BUILD, and a directory
# of their own in $TMPDIR, removed afterwards.  KEVO_TEST_TIMEOUT seconds
# (600; 0: for ever) are allowed to each, and 120 to one test of bats.
set -u

# Count one program's TAP: print "passed failed skipped" and, for each thing
# to be seen, a line of it.  A failed test's remarks tell why: those that
# follow it, as of bats, or stand before it.
# shellcheck disable=SC2016 # awk's own dollars
count='
{ last[NR % 15] = $0 }
/^ok/ {
	ran++
	why = 0
	before = ""
	if (tolower($0) ~ /# *skip/) {
		skipped++
		notes = notes "      " substr($0, 1, 200) "\n"
	} else
		passed++
	next
}
/^not ok/ {
	ran++
	if (tolower($0) ~ /# *todo/) {
		skipped++
		next
	}
	failed++
	why = 1
	notes = notes before "  " $0 "\n"
	before = ""
	next
}
/^1\.\.[0-9]+/ {
	planned = 1
	plan = substr($1, 4) + 0
	if (plan == 0) {
		skipped++
		notes = notes "      " $0 "\n"
	}
	next
}
why { notes = notes "  " $0 "\n" }
!why && /^#/ { before = before "  " $0 "\n" }
END {
	if (status == 124 || status == 137)
		wrong = "did not end in " limit " seconds"
	else if (status != 0 && !failed)
		wrong = "exit status " status " without a failed test"
	else if (!planned)
		wrong = "no plan"
	else if (ran != plan)
		wrong = "planned " plan " tests and ran " ran + 0
	if (wrong != "") {
		failed++
		notes = notes "  " wrong "; its last lines:\n"
		for (i = NR - 14; i <= NR; i++)
			if ((i % 15) in last)
				notes = notes "  | " last[i % 15] "\n"
	}
	printf "%d %d %d\n%s", passed, failed, skipped, notes
}'

# Run one program, show its result in one piece, and note the numbers.
run_one() {
	name=${1#"$KEVO_BUILD"/}
	name=${name#"${PWD}"/}
	log=$KEVO_BUILD/log/$(printf %s "$name" | tr / -).tap
	limit=${KEVO_TEST_TIMEOUT:-600}
	TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/kevo-test.XXXXXX") || exit 1
	export TMPDIR
	start=$(date +%s)
	case $1 in
	*.bats)
		# A tool leaves it to the kernel to free what it held.
		ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0
		set -- "${BATS:-bats}" --formatter tap "$1"
		;;
	*/*) ;;
	*) set -- "./$1" ;;
	esac
	timeout -k 10 "$limit" "$@" </dev/null >"$log" 2>&1
	status=$?
	chmod -R u+rwX "$TMPDIR" 2>/dev/null
	rm -rf "$TMPDIR"
	result=$(awk -v status=$status -v limit="$limit" "$count" "$log")
	numbers=${result%%"
"*}
	# shellcheck disable=SC2086 # three words
	set -- $numbers
	word=ok
	[ "$2" -eq 0 ] || word=FAIL
	printf '%s\n' "$numbers" >>"$KEVO_BUILD/log/numbers"
	printf '%s\n' "$(printf '%-4s  %s: %d passed, %d failed, %d skipped, %d s' \
	    $word "$name" "$1" "$2" "$3" $(($(date +%s) - start)))${result#"$numbers"}"
}

if [ "${1-}" = --one ]; then
	run_one "$2"
	exit 0
fi

jobs=1
while getopts j: opt; do
	case $opt in
	j) jobs=$OPTARG ;;
	*) echo 'usage: tests/run.sh [-j jobs] program...' >&2; exit 64 ;;
	esac
done
shift $((OPTIND - 1))

KEVO_BUILD=$(mkdir -p "${KEVO_BUILD:-build}" && cd "${KEVO_BUILD:-build}" && pwd)
PATH=$KEVO_BUILD/bin:$PATH
LC_ALL=C.UTF-8
export KEVO_BUILD PATH LC_ALL
if [ "${KEVO_TEST_TIMEOUT:-600}" != 0 ]; then
	BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-120}
	export BATS_TEST_TIMEOUT
fi
# Nothing of the caller's is to be seen by the tools.  A make that a test
# runs sees the variables given to ours, lest it build anew, but not the rest.
unset KEVO_DB KEVO_TXN KEVO_WAIT KEVO_SYNC KEVO_CONFIG MFLAGS MAKELEVEL
case ${MAKEFLAGS-} in
*'-- '*) export MAKEFLAGS=" -- ${MAKEFLAGS#*-- }" ;;
*) unset MAKEFLAGS ;;
esac
# Where a sanitizer finds something, the exit status is one that no tool has.
ASAN_OPTIONS=${ASAN_OPTIONS:-exitcode=99}
UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
TSAN_OPTIONS=${TSAN_OPTIONS:-exitcode=99}
export ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS

rm -rf "$KEVO_BUILD/log"
mkdir -p "$KEVO_BUILD/log"
: >"$KEVO_BUILD/log/numbers"

[ $# -eq 0 ] || printf '%s\0' "$@" | xargs -0 -n 1 -P "$jobs" "$0" --one

awk -v programs=$# '
{ p += $1; f += $2; s += $3 }
END {
	if (NR != programs) {
		printf "%d programs were not run\n", programs - NR
		f += programs - NR
	}
	if (p + f == 0)
		print "no test ran"
	printf "%d passed, %d failed, %d skipped\n", p, f, s
	exit f > 0 || p == 0
}' "$KEVO_BUILD/log/numbers"
