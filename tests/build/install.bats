#!/usr/bin/env bats
# What make install puts where, and what a program sees of the library.

bats_require_minimum_version 1.5.0

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	dest=$BATS_TEST_TMPDIR/dest
	mk=(make -s --no-print-directory "DESTDIR=$dest" prefix=/opt/kevo)
	cc=${CC:-cc}
	[ -z "$KEVO_SAN" ] || skip 'a sanitizer is built in'
}

files() {
	(cd "$1" && find . -type f -o -type l) | LC_ALL=C sort
}

program() {
	cat >"$BATS_TEST_TMPDIR/prog.c" <<-'EOF'
	#include <kevo.h>
	#include <stdio.h>
	#include <string.h>

	int
	main(int argc, char *argv[])
	{
		struct kevo *db;
		void *val;
		size_t len;

		if (argc < 2 || kevo_open(argv[1], KEVO_CREATE, NULL, &db) != 0 ||
		    kevo_put(db, "k", 1, "hello", 5, NULL, NULL) != 0 ||
		    kevo_get(db, NULL, "k", 1, &val, &len) != 0)
			return 1;
		printf("%s\n", (char *)val);
		kevo_free(val);
		return kevo_close(db);
	}
	EOF
}

@test "library: exports exactly what kevo.h declares" {
	nm -D --defined-only "$KEVO_BUILD/libkevo-core.so" |
		awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' |
		LC_ALL=C sort >"$BATS_TEST_TMPDIR/so"
	diff "$KEVO_BUILD/exports" "$BATS_TEST_TMPDIR/so"
}

@test "library: the archive's global names all begin with kevo_" {
	nm -g --defined-only "$KEVO_BUILD/libkevo-core.a" |
		awk 'NF == 3 { print $3 }' | LC_ALL=C sort \
		>"$BATS_TEST_TMPDIR/a"
	diff "$KEVO_BUILD/exports" "$BATS_TEST_TMPDIR/a"
}

@test "library: the shared one has a soname and needs libc alone" {
	run -0 readelf -d "$KEVO_BUILD/libkevo-core.so"
	[[ $output == *'soname: [libkevo-core.so.0]'* ]]
	needed=$(grep NEEDED <<<"$output" |
		grep -vcE '\[(libc|ld-linux[-a-z0-9_]*)\.so' || true)
	[ "$needed" -eq 0 ]
}

@test "install: a program builds by pkg-config and runs, either way linked" {
	"${mk[@]}" install
	program
	export PKG_CONFIG_SYSROOT_DIR=$dest
	export PKG_CONFIG_PATH=$dest/opt/kevo/lib/pkgconfig
	[ "$(pkg-config --modversion kevo-core)" = \
		"$(kevo-get -V | awk '{ print $2 }')" ]
	# shellcheck disable=SC2046 # flags
	"$cc" -o "$BATS_TEST_TMPDIR/shared" "$BATS_TEST_TMPDIR/prog.c" \
		$(pkg-config --cflags --libs kevo-core)
	"$cc" -I"$dest/opt/kevo/include" -o "$BATS_TEST_TMPDIR/static" \
		"$BATS_TEST_TMPDIR/prog.c" "$dest/opt/kevo/lib/libkevo-core.a"
	export LD_LIBRARY_PATH=$dest/opt/kevo/lib
	[ "$("$BATS_TEST_TMPDIR/shared" "$BATS_TEST_TMPDIR/a.kv")" = hello ]
	[ "$("$BATS_TEST_TMPDIR/static" "$BATS_TEST_TMPDIR/a.kv")" = hello ]
}

@test "install: kevo.h serves C++, and strict C without extensions" {
	echo '#include <kevo.h>' >"$BATS_TEST_TMPDIR/h.c"
	"$cc" -std=c99 -pedantic-errors -Wall -Wextra -Werror -Ilib \
		-fsyntax-only "$BATS_TEST_TMPDIR/h.c"
	command -v c++ || skip 'no C++ compiler'
	c++ -pedantic-errors -Wall -Wextra -Werror -Ilib -x c++ \
		-fsyntax-only "$BATS_TEST_TMPDIR/h.c"
}

@test "install: every tool, with its page and completions" {
	"${mk[@]}" install
	share=$dest/opt/kevo/share
	for src in bin/kevo.c bin/kevo-*.c; do
		tool=$(basename "$src" .c)
		[ -x "$dest/opt/kevo/bin/$tool" ]
		[ -s "$share/man/man1/$tool.1" ]
		[ -s "$share/bash-completion/completions/$tool" ]
		[ -s "$share/fish/vendor_completions.d/$tool.fish" ]
	done
	[ -s "$share/zsh/site-functions/_kevo" ]
}

@test "install: options move each directory" {
	"${mk[@]}" install bindir=/b libdir=/l includedir=/i mandir=/m datadir=/d
	[ -x "$dest/b/kevo-get" ]
	[ -e "$dest/l/libkevo-core.so.0" ]
	[ -e "$dest/i/kevo.h" ]
	grep -qx 'libdir=/l' "$dest/l/pkgconfig/kevo-core.pc"
	[ ! -e "$dest/opt" ]
}

@test "uninstall: removes exactly what install put there" {
	mkdir -p "$dest/opt/kevo/bin" "$dest/opt/kevo/lib"
	echo mine >"$dest/opt/kevo/bin/kevo-mine"
	echo mine >"$dest/opt/kevo/lib/libkevo-core.so.9"
	files "$dest" >"$BATS_TEST_TMPDIR/before"
	"${mk[@]}" install
	[ "$(files "$dest" | wc -l)" -gt 20 ]
	"${mk[@]}" uninstall
	files "$dest" >"$BATS_TEST_TMPDIR/after"
	diff "$BATS_TEST_TMPDIR/before" "$BATS_TEST_TMPDIR/after"
}

@test "build: nothing is done again when nothing changed" {
	run -0 make --no-print-directory
	[[ $output == *'Nothing to be done'* ]]
}
