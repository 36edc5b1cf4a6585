#!/usr/bin/env bats
# tests/run.sh counts what it is told, and is not fooled by silence.

bats_require_minimum_version 1.5.0

setup() {
	run_sh=$BATS_TEST_DIRNAME/../run.sh
	export KEVO_BUILD=$BATS_TEST_TMPDIR/build
	cd "$BATS_TEST_TMPDIR" || return
}

program() {
	printf '#!/bin/sh\n%s\n' "$2" >"$1"
	chmod +x "$1"
}

last() {
	tail -n 1 <<<"$output"
}

@test "run: adds up over programs" {
	program a 'echo 1..2; echo ok 1; echo ok 2'
	program b 'echo 1..2; echo ok 1; echo "ok 2 # SKIP no disk"'
	run -0 "$run_sh" -j 2 a b
	[ "$(last)" = '3 passed, 0 failed, 1 skipped' ]
	[[ $output == *'no disk'* ]]
}

@test "run: a failed test fails the run and is shown with its reason" {
	program a 'echo 1..2; echo "not ok 1 - sums"; echo "# 1 is not 2"; echo ok 2'
	run -1 "$run_sh" a
	[ "$(last)" = '1 passed, 1 failed, 0 skipped' ]
	[[ $output == *'1 is not 2'* ]]
}

@test "run: a program that dies, or ran less than planned, failed" {
	program dies 'echo 1..1; echo ok 1; exit 3'
	program less 'echo 1..3; echo ok 1'
	program mute ':'
	run -1 "$run_sh" dies less mute
	[ "$(last)" = '2 passed, 3 failed, 0 skipped' ]
}

@test "run: a program that hangs is ended" {
	program hangs 'echo 1..1; sleep 60; echo ok 1'
	KEVO_TEST_TIMEOUT=1 run -1 "$run_sh" hangs
	[ "$(last)" = '0 passed, 1 failed, 0 skipped' ]
	[[ $output == *'did not end'* ]]
}

@test "run: no tests at all is a failure" {
	run -1 "$run_sh"
	program none 'echo 1..0 "# SKIP nothing here"'
	run -1 "$run_sh" none
	[ "$(last)" = '0 passed, 0 failed, 1 skipped' ]
}
