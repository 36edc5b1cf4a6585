# shellcheck shell=sh disable=SC2034
# What the sweeps in shell share: a tool is killed, or fails, at one system
# call after the other.  A sweep reads this, says begin, and defines
#
#   afresh NAME      makes anew what the command works on
#   look NAME WHAT   prints what is wrong after a command that ended with
#                    $status, disturbed by WHAT; nothing if all is well

build=${KEVO_BUILD:-build}
case $build in
/*) ;;
*) build=$PWD/$build ;;
esac
PATH=$build/bin:$PATH
tests=0 failed=0

# begin NAME STEP QUICK: stand in an empty directory; every STEP-th call will
# be struck, or QUICK-th if it must be quick, on average; or with KEVO_LONG
# all of them.
begin() {
	if [ -n "${KEVO_SAN-}" ]; then
		echo '1..0 # SKIP a sanitizer wants to be preloaded first'
		exit 0
	fi
	step=$2
	[ -z "${KEVO_QUICK-}" ] || step=$3
	[ -z "${KEVO_LONG-}" ] || step=1
	random=${KEVO_SEED:-$(($(date +%s) * 1009 + $$))}
	echo "# KEVO_SEED=$random"
	# In memory, where there is room: it is copied for each call.
	tmp=${TMPDIR:-/tmp}
	[ ! -w /dev/shm ] || tmp=/dev/shm
	work=$(mktemp -d "$tmp/kevo-$1.XXXXXX") || exit 1
	trap 'rm -rf "$work"' EXIT
	trap 'exit 1' HUP INT TERM
	cd "$work" || exit 1
}

# end: what the script returns.
end() {
	echo "1..$tests"
	[ "$failed" -eq 0 ]
}

# result STATUS TITLE: one line of TAP, ok if the status is 0.
result() {
	tests=$((tests + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $tests - $2"
	else
		failed=$((failed + 1))
		echo "not ok $tests - $2"
	fi
}

# strike K WHAT DIR PROGRAM ARGUMENT...: WHAT happens at its K-th call that
# reaches DIR.  Sets status and fired, the call, which is - if there was none.
strike() {
	fault=any:$1:$2 dir=$3 program=$4
	shift 4
	rm -f count
	KEVO_FAULT_DIR=$work/$dir KEVO_FAULT=$fault \
		KEVO_FAULT_COUNT=$work/count \
		LD_PRELOAD=$build/tests/libfault.so \
		"$build/dyn/bin/$program" "$@" >out 2>err
	status=$?
	fired=$(sed -n 's/^fired //p' count)
}

# sweep NAME WHAT DIR PROGRAM ARGUMENT...: one result.
sweep() {
	name=$1 what=$2 k=1 struck=0 bad=0
	shift
	while [ "$bad" -lt 3 ]; do
		afresh "$name"
		strike "$k" "$@"
		[ "$fired" != - ] || break
		struck=$((struck + 1))
		wrong=$(look "$name" "$what")
		[ -n "$fired" ] || wrong="no fault was counted: $(cat err)"
		if [ -n "$wrong" ]; then
			echo "# $name $what k=$k ($fired): $wrong"
			bad=$((bad + 1))
		fi
		random=$(((random * 1103515245 + 12345) & 2147483647))
		# Closer at the beginning, lest a short one be hardly struck.
		most=$((2 * step - 1))
		[ "$most" -le "$k" ] || most=$((k + 1))
		k=$((k + 1 + (random >> 8) % most))
	done
	[ "$bad" -eq 0 ] && [ "$struck" -gt 2 ]
	result $? "$name, $what: $struck calls"
}
