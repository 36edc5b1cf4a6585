#!/bin/sh
# deps.sh: the Debian packages that kevo is built and tested with.
#
#   contrib/deps.sh [-n] build|check|model|lint|bench...
#
# Each package is known by something that it brings (a command, or a header
# found by the compiler), so that whatever provides this will do.  What is
# missing is installed by apt if we are root, and named otherwise: exit 1 if
# one of the things missing is needed, 0 if the tests merely skip without it.
# -n names the packages missing, one a line, and installs nothing.
set -eu

# set  needed or wanted  package  what it brings
packages='
build	needed	gcc	command:cc
build	needed	libc6-dev	header:stdio.h
build	needed	liblz4-dev	header:lz4.h
build	needed	libxxhash-dev	header:xxhash.h
build	needed	libzstd-dev	header:zstd.h
build	needed	make	command:make
build	needed	pkg-config	command:pkg-config
build	wanted	libarchive-dev	header:archive.h
build	wanted	libedit-dev	header:histedit.h
build	wanted	musl-tools	command:musl-gcc
check	needed	bats	command:bats
check	needed	procps	command:ps
check	needed	strace	command:strace
check	wanted	btrfs-progs	command:mkfs.btrfs
check	wanted	db5.3-util	command:db5.3_load
check	wanted	fish	command:fish
check	wanted	jq	command:jq
check	wanted	libarchive-tools	command:bsdtar
check	wanted	lmdb-utils	command:mdb_load
check	wanted	mandoc	command:mandoc
check	wanted	openssh-client	command:ssh
check	wanted	openssh-server	command:sshd
check	wanted	prometheus	command:promtool
check	wanted	python3	command:python3
check	wanted	rclone	command:rclone
check	wanted	redis-server	command:redis-server
check	wanted	redis-tools	command:redis-cli
check	wanted	rsync	command:rsync
check	wanted	sqlite3	command:sqlite3
check	wanted	xxhash	command:xxhsum
check	wanted	zstd	command:zstd
check	wanted	tinycdb	command:cdb
check	wanted	zsh	command:zsh
model	needed	spin	command:spin
lint	needed	clang	command:clang
lint	needed	cppcheck	command:cppcheck
lint	needed	mandoc	command:mandoc
lint	needed	shellcheck	command:shellcheck
bench	needed	python3	command:python3
bench	needed	g++	command:g++
bench	wanted	libdb-dev	header:db.h
bench	wanted	libleveldb-dev	header:leveldb/c.h
bench	wanted	liblmdb-dev	header:lmdb.h
bench	wanted	librocksdb-dev	header:rocksdb/c.h
bench	wanted	libsqlite3-dev	header:sqlite3.h
bench	wanted	libtkrzw-dev	header:tkrzw_langc.h
bench	wanted	libwiredtiger-dev	header:wiredtiger.h
'

has() {
	case $1 in
	command:*) command -v "${1#command:}" >/dev/null 2>&1 ;;
	header:*) echo "#include <${1#header:}>" |
	    ${CC:-cc} -E -x c - >/dev/null 2>&1 ;;
	esac
}

# Print the packages of these sets that are missing and of this necessity.
missing() {
	printf '%s' "$packages" | while IFS='	' read -r set need name brings
	do
		case " $sets " in
		*" $set "*) ;;
		*) continue ;;
		esac
		if [ "$need" = "$1" ] && ! has "$brings"; then
			printf '%s\n' "$name"
		fi
	done | sort -u
}

words() {
	tr '\n' ' ' | sed 's/ $//'
}

apt() {
	DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" </dev/null
}

usage() {
	echo 'usage: contrib/deps.sh [-n] build|check|model|lint|bench...' >&2
	exit 64
}

named_only=
if [ "${1-}" = -n ]; then
	named_only=1
	shift
fi
[ $# -gt 0 ] || usage
sets=
for set; do
	case $set in
	build | check | model | lint | bench) sets="$sets $set" ;;
	*) usage ;;
	esac
done
case $sets in
*check* | *lint*) sets="$sets build" ;;
*model* | *bench*) sets="$sets build" ;;
esac

needed=$(missing needed | words)
wanted=$(missing wanted | words)
# shellcheck disable=SC2086 # lists of words
all=$(printf '%s\n' $needed $wanted | sort -u | words)
if [ -n "$named_only" ]; then
	printf '%s' "$all${all:+ }" | tr ' ' '\n'
	exit 0
fi
[ -n "$all" ] || exit 0

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "installing: $all"
	log=$(mktemp)
	# A test wants a program, not a service started with its package.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		trap 'rm -f $policy' EXIT
		trap 'exit 130' INT TERM HUP
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod +x $policy
	fi
	# shellcheck disable=SC2086 # a list of words
	if apt update >"$log" 2>&1 &&
	    apt install --no-install-recommends $all >>"$log" 2>&1; then
		rm -f "$log"
	else
		tail -n 20 "$log" >&2
		rm -f "$log"
	fi
	needed=$(missing needed | words)
	wanted=$(missing wanted | words)
fi

if [ -n "$wanted" ]; then
	echo "missing, and skipped where it would be used: $wanted" >&2
fi
if [ -n "$needed" ]; then
	echo "missing Debian packages: $needed" >&2
	echo "as root: apt-get install $needed${wanted:+ $wanted}" >&2
	exit 1
fi
