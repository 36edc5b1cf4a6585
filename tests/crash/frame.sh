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
tests=0 failed=0 input=/dev/null
earlier() { :; }

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

# ways: what may happen at a call.  Only in memory, where inode numbers are
# not used again, it is known what is on disk.
ways() {
	echo kill killafter EIO ENOSPC short
	[ "$(stat -f -c %T .)" != tmpfs ] || echo power
	# Each call in several ways.
	[ -z "${KEVO_LONG-}" ] || echo power power power
}

# calmly PROGRAM ARGUMENT...: nothing happens, but what it syncs is on disk.
calmly() {
	tool=$1
	shift
	KEVO_FAULT_DIR=$work/$dir KEVO_FAULT='' LD_PRELOAD=$preload \
		"$build/dyn/bin/$tool" "$@" && return
	echo "# $tool failed before $name"
	exit 1
}

# cut_power keep: all of $dir is on disk.  cut_power off: the power fails.
cut_power() {
	KEVO_SEED=$random "$build/tests/crash/cut" "$1" "$work/$dir" \
		"$work/shadow"
}

# strike NAME K WHAT DIR PROGRAM ARGUMENT...: WHAT happens at its K-th call that
# reaches DIR; the command reads the file $input.  Sets status and fired, the
# call, which is - if there was none.
strike() {
	name=$1 what=$3 fault=any:$2:$3 dir=$4 program=$5
	shift 5
	preload=$build/tests/libfault.so
	unset KEVO_FAULT_SHADOW
	if [ "$what" = power ]; then
		fault=${fault%power}kill
		cut_power keep || exit 1
		export KEVO_FAULT_SHADOW="$work/shadow"
	fi
	earlier "$name"
	rm -f count
	KEVO_FAULT_DIR=$work/$dir KEVO_FAULT=$fault \
		KEVO_FAULT_COUNT=$work/count LD_PRELOAD=$preload \
		"$build/dyn/bin/$program" "$@" <"$input" >out 2>err
	status=$?
	unset KEVO_FAULT_SHADOW
	fired=$(sed -n 's/^fired //p' count)
	[ "$what" != power ] || kept=$(cut_power off) || exit 1
}

# sweep NAME WHAT DIR PROGRAM ARGUMENT...: one result.
sweep() {
	name=$1 what=$2 k=1 struck=0 bad=0 late=0 kept=
	case " ${KEVO_OPS:-$name} " in *" $name "*) ;; *) return ;; esac
	shift
	while [ "$bad" -lt 3 ]; do
		afresh "$name"
		strike "$name" "$k" "$@"
		# The power may fail when all has been done, too.
		if [ "$fired" = - ]; then
			late=$((late + 1))
			if [ "$what" != power ] || [ "$late" -gt 3 ]; then
				break
			fi
		fi
		struck=$((struck + 1))
		wrong=$(look "$name" "$what")
		[ -n "$fired" ] || wrong="no fault was counted: $(cat err)"
		if [ -n "$wrong" ]; then
			echo "# $name $what k=$k ($fired) $kept: $wrong"
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

# ---- copies of databases ---------------------------------------------------

# commits FROM TO DB: each puts its number under three keys, so that half of
# one would be seen.
commits() {
	i=$1
	pad=$(printf %0900d 0)
	while [ "$i" -le "$2" ]; do
		printf 'put\tkey%d\t%d %s\n' 1 "$i" "$pad" 2 "$i" "$pad" \
			3 "$i" "$pad" | kevo-txn -i "$3"
		i=$((i + 1))
	done
}

# One of whole commits?
is_whole() {
	[ "$(kevo-scan -f tsv "$1" | cut -f 2 | sort -u | wc -l)" -eq 1 ]
}

# The number that the last of its commits has put.
number() {
	kevo-get "$1" key1 | cut -d ' ' -f 1
}

# The number of its last commit.
last_of() {
	kevo-walship pos "$1" | cut -d : -f 2
}

# The last commit that a receiver's lines say is on disk; nothing if none do.
acked() {
	sed -n 's/^ack [^:]*:\([0-9]*\):.* \(synced\|applied\) .*/\1/p' "$1" |
		tail -n 1
}

replica() {
	cp -a "$1" "$2"
	rm -rf "$2/shm"
	printf 'replica\nprimary db1\n' >"$2/role"
}
