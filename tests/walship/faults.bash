# shellcheck shell=bash disable=SC2154
# A command, struck at each of its system calls that reach a directory.

# struck WHAT DIR INPUT COMMAND...: run it with WHAT at its K-th call in DIR; 1
# if there was no such call, and fired is empty.
struck() {
	local what=$1 dir=$2 in=$3 status=0
	shift 3
	rm -f count
	LD_PRELOAD=$KEVO_BUILD/tests/libfault.so KEVO_FAULT_DIR=$PWD/$dir \
		KEVO_FAULT=$what KEVO_FAULT_COUNT=$PWD/count "$@" \
		<"$in" 2>err & # so that the shell says nothing of a kill
	wait $! || status=$?
	echo "$what: status $status: $(tail -n 1 err)" >told
	fired=$(sed -n 's/^fired //p' count)
	[ "$fired" != - ] || fired=
	[ -n "$fired" ] || return
	case $what in
	*kill*) [ "$status" -eq 137 ] ;;
	*) [ "$status" -ne 137 ] && [ "$status" -ne 139 ] &&
		[ "$status" -ne 134 ] ;;
	esac || { cat told count; kill -TERM $$; }
}

# every WHAT FUNCTION: for each K until there is no such call.  Without
# KEVO_LONG up to every_most (3) are passed over at a time, fewer at first.
every() {
	local what=$1 k=1 n=0 most=${every_most:-3}
	shift
	[ -z "${KEVO_LONG-}" ] || most=1
	while "$@" "any:$k:$what"; do
		n=$((n + 1))
		k=$((k + 1 + RANDOM % (k < most ? k : most)))
	done
	echo "$what: $n calls, up to $k ($fired)"
	[ -z "$fired" ] && [ "$n" -gt 3 ]
}
