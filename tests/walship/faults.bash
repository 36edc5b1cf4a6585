# shellcheck shell=bash disable=SC2154
# A command, struck at each of its system calls that reach a directory.

# struck WHAT DIR INPUT COMMAND...: run it with WHAT at its K-th call in DIR; 1
# if there was no such call.  KEVO_LONG does all of them.
struck() {
	local what=$1 dir=$2 in=$3 status=0
	shift 3
	rm -f count
	LD_PRELOAD=$KEVO_BUILD/tests/libfault.so KEVO_FAULT_DIR=$PWD/$dir \
		KEVO_FAULT=$what KEVO_FAULT_COUNT=$PWD/count "$@" \
		<"$in" 2>err & # so that the shell says nothing of a kill
	wait $! || status=$?
	echo "$what: status $status: $(tail -n 1 err)" >told
	grep -q '^fired -' count && return 1
	case $what in
	*kill*) [ "$status" -eq 137 ] ;;
	*) [ "$status" -ne 137 ] && [ "$status" -ne 139 ] &&
		[ "$status" -ne 134 ] ;;
	esac || { cat told count; kill -TERM $$; }
}

# every WHAT FUNCTION: for each K; without KEVO_LONG up to every_most (3) are
# passed over at a time.
every() {
	local what=$1 k=0 step=1
	shift
	while k=$((k + step)); do
		"$@" "any:$k:$what" || break
		[ -n "${KEVO_LONG-}" ] || step=$((1 + RANDOM % ${every_most:-3}))
	done
	echo "$what: up to call $k"
	[ "$k" -gt 8 ]
}
