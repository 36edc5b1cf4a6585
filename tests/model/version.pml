/*
 * version: which files make up the database, while flushes, compactions and
 * cleaners that die at every step change it beside readers, a rebuild of the
 * shared memory, and loss of power.
 *
 * One key, written by every commit; commit n stands in segment n.  A version
 * is a set of tables and the first segment that counts; 0 has no tables and
 * no file.  A worker flushes, compacts or cleans; when it has done so or
 * died, it begins anew.  The claims of several compactors are in compact.pml.
 *
 * Explored: a reader at number n finds commit n (P2, P3); a snapshot finds
 * all its files, and a get that misses one sees why and looks again (P3);
 * what was installed is in the newest version; after a power cut, which
 * keeps any part of what is not synced, the highest version has all its
 * files, and all that was acknowledged is in them or in the log (P1).
 *
 * BUILD: with a rebuild.  SCAN: an installer reads version/ name by name.
 *
 * Broken variants:
 *   VISIBLE_FIRST	a reader loads `visible` before the version, and does
 *			not look at last_seq (A1)
 *   NO_PIN		a snapshot without a pin
 *   PIN_ONCE		the version is not loaded again after the pin
 *   PIN_UNLINKED	(BUILD) nor is it asked whether control has its name
 *   GET_UNLINKED	(BUILD) a get that misses a file does not ask that
 *   FLUSH_UNSEEN	a flush takes a segment that is not yet visible
 *   UNLOCK_EARLY	a new table is unlocked before the version is linked
 *   TABLES_UNSYNCED	table/ is not synced before it (A13)
 *   LINK_ONLY		an installer whose link succeeds does not look whether
 *			there is a newer version that does not have its edit
 *   SCAN_BLIND		(SCAN) it takes what it found, though control says that
 *			there are newer ones
 *   CLAIM_FIRST	a cleaner does not load the version again once it has
 *			locked a table (A5)
 *   OLDEST_FIRST	it keeps the log from where the oldest version that is
 *			needed begins, not from where any of them does
 *   CLEAN_SILENT	it does not announce what it found
 *   CLEAN_UNSYNCED	it removes files before version/ is synced
 *   PINS_FIRST		it looks for pins before it loads the version
 *   PINS_EARLY		or before it announces the version
 *   CLEAN_BESIDE	(BUILD) it does not keep others from rebuilding
 *   CLEAN_RETIRED	(BUILD) it does not ask whether its control is in use
 */
#ifndef SEGS
#define SEGS	3		/* the last one is active and empty */
#endif
#ifndef VERSIONS
#define VERSIONS 2
#endif
#ifndef TABLES
#define TABLES	3
#endif
#ifndef WORKERS
#define WORKERS	2
#endif
#ifndef READERS
#define READERS	1
#endif
#ifndef KILLS
#define KILLS	1
#endif
#define NONE	2		/* no control has a name */

/* The directory: names, and those that a power cut cannot take away. */
bool seg[SEGS + 1];
bool table[TABLES + 1], table_disk[TABLES + 1];
bool version[VERSIONS + 1], version_disk[VERSIONS + 1];

/* What the files say; written before they have their names. */
byte upto[TABLES + 1];		/* the newest commit in a table */
byte first[VERSIONS + 1];	/* the first segment */
byte tables[VERSIONS + 1];	/* a bit for each */
#define HAS(v, t) ((tables[v] >> (t)) & 1)

/* Shared memory, of two generations. */
byte announced[2];
bool retired;			/* the first one is */
byte name;			/* which one has the name */
/* `newest` is `active` in control: a keyword here. */
byte newest = SEGS, visible = 1;

/* Locks. */
bool flush, rebuild;		/* FLUSH, REBUILD */
bool locked[TABLES + 1];
byte pins[VERSIONS + 1];
byte users;			/* of the first generation, with a slot */

byte kills = KILLS;
hidden byte h, k;
hidden byte x, y;		/* in d_steps */

/* A step may be the last.  What a dead process held, the kernel gives back. */
#define STEP(x) atomic { x; if \
	:: true :: kills > 0 -> kills--; leave(); goto end fi }
#define RSTEP(x) atomic { x; if \
	:: true :: kills > 0 -> kills--; rebuild = false; base = 0; goto start fi }
#define RAISE(a, b) a = ((a) > (b) -> (a) : (b))

/* The highest number in version/. */
inline load_newest(n)
{
	n = VERSIONS;
	do
	:: n > 0 && !version[n] -> n--
	:: n == 0 || version[n] -> break
	od
}

inline sync_versions()
{
	k = 1;
	do
	:: k > VERSIONS -> break
	:: k <= VERSIONS -> version_disk[k] = version[k]; k++
	od
}

inline sync_tables()
{
	k = 1;
	do
	:: k > TABLES -> break
	:: k <= TABLES -> table_disk[k] = table[k]; k++
	od
}

/* A number that nothing mentions is as good as the next one. */
inline free_number()
{
	t = 1;
	do
	:: t > TABLES -> break
	:: t <= TABLES ->
		h = 1;
		do
		:: h <= VERSIONS && !HAS(h, t) -> h++
		:: h > VERSIONS || HAS(h, t) -> break
		od;
		if
		:: h > VERSIONS && !table[t] && !locked[t] -> break
		:: else -> t++
		fi
	od
}

/* Made of segments, or of all tables; written, synced, and table/ with it. */
inline create_table()
{
	table[t] = true;
	locked[t] = true;
	upto[t] = s;
	k = 1;
	do
	:: k > TABLES -> break
	:: k <= TABLES && ((in >> k) & 1) -> RAISE(upto[t], upto[k]); k++
	:: k <= TABLES && !((in >> k) & 1) -> k++
	od;
#ifndef TABLES_UNSYNCED
	sync_tables()
#endif
}

/* All tables, if nobody has locked one; see compact.pml. */
inline claim_tables()
{
	load_newest(h);
	k = 1;
	do
	:: h != base -> break
	:: h == base && k <= TABLES && HAS(base, k) && locked[k] -> break
	:: h == base && k <= TABLES && !(HAS(base, k) && locked[k]) -> k++
	:: h == base && k > TABLES -> break
	od;
	if
	:: h == base && k > TABLES -> in = tables[base]; lock_tables(true)
	:: else -> leave(); goto end
	fi
}

inline lock_tables(value)
{
	k = 1;
	do
	:: k > TABLES -> break
	:: k <= TABLES && ((in >> k) & 1) -> locked[k] = value; k++
	:: k <= TABLES && !((in >> k) & 1) -> k++
	od
}

/* The newest version and the pinned ones are needed. */
inline look_for_pins(n)
{
	need = 0;
	h = 0;
	do
	:: h > n -> break
	:: h <= n && (pins[h] > 0 || h == n) -> need = need | (1 << h); h++
	:: h <= n && pins[h] == 0 && h < n -> h++
	od
}
#define NEEDED(v) ((need >> (v)) & 1)

/* A table that none of those has, and nobody has locked; 0: there is none. */
inline find_unneeded()
{
	t = 1;
	do
	:: t > TABLES -> t = 0; break
	:: t <= TABLES ->
		h = 0;
		do
		:: h > VERSIONS || (NEEDED(h) && HAS(h, t)) -> break
		:: h <= VERSIONS && !(NEEDED(h) && HAS(h, t)) -> h++
		od;
		if
		:: h > VERSIONS && table[t] && !locked[t] -> break
		:: else -> t++
		fi
	od
}

/* Segments and versions that none of them needs.  One that was linked below
 * the newest may begin later than that. */
inline unlink_old(n)
{
	h = 0;
	k = SEGS;
	do
	:: h > n -> break
#ifdef OLDEST_FIRST
	:: h <= n && NEEDED(h) -> k = first[h]; break
#else
	:: h <= n && NEEDED(h) && first[h] < k -> k = first[h]; h++
	:: h <= n && NEEDED(h) && first[h] >= k -> h++
#endif
	:: h <= n && !NEEDED(h) -> h++
	od;
	do
	:: k > 1 -> k--; seg[k] = false
	:: k == 1 -> break
	od;
	k = 1;
	do
	:: k + 1 >= n -> break
	:: k + 1 < n && !NEEDED(k) -> version[k] = false; k++
	:: k + 1 < n && NEEDED(k) -> k++
	od
}

inline leave()
{
	lock_tables(false);
	if :: t != 0 -> locked[t] = false :: else fi;
	if :: flushing -> flush = false :: else fi;
	if :: alone -> rebuild = false :: else fi;
	if :: c == 0 -> users-- :: else fi;
	c = 0; base = 0; t = 0; in = 0; s = 0; need = 0;
	flushing = false; alone = false
}

proctype Worker()
{
	byte c, base, t, in, s, need;
	bool flushing, alone;

end:
	atomic {
		name != NONE;
		c = name;
		if :: c == 0 -> users++ :: else fi;
		load_newest(h);
		if
		:: !flush && first[h] < newest && h < VERSIONS ->
			flush = true; flushing = true
		:: tables[h] != 0 && h < VERSIONS
		:: goto clean
		fi
	};
	/* V1_LOAD */
#ifdef SCAN
scan:
	/* Names come and go meanwhile, but what goes is older than what was
	 * announced. */
	STEP(base = VERSIONS);
	do
	:: base > 0 && !version[base] -> base--
	:: base == 0 || version[base] -> break
	od;
#ifndef SCAN_BLIND
	STEP(if :: base < announced[c] -> goto scan :: else fi);
#endif
#else
	STEP(load_newest(base));
#endif
	STEP(RAISE(announced[c], base));
	/* V2_CREATE: locked; V3_TABLES */
	STEP(if
#ifdef FLUSH_UNSEEN
	     :: flushing && first[base] < newest ->
#else
	     :: flushing && first[base] < newest && first[base] <= visible ->
#endif
		s = first[base];
		assert(seg[s]);
		if
#ifdef FLUSH_UNSEEN
		:: s + 1 < newest -> s++; assert(seg[s])
#else
		:: s + 1 < newest && s + 1 <= visible -> s++; assert(seg[s])
#endif
		:: true
		fi
	     :: !flushing && tables[base] != 0 -> claim_tables()
	     :: else -> leave(); goto end
	     fi;
	     free_number();
	     if
	     :: t > TABLES -> t = 0; leave(); goto end
	     :: else
	     fi;
	     create_table());
#ifdef UNLOCK_EARLY
	STEP(locked[t] = false);
#endif
link:
	/* V4_LINK */
	STEP(if
	     :: base == VERSIONS -> leave(); goto end
	     :: else
	     fi;
	     assert((in & tables[base]) == in);
	     assert(!flushing || first[base] <= s);
	     if
	     :: version[base + 1]		/* somebody was faster */
	     :: else ->
		version[base + 1] = true;
		first[base + 1] = (flushing -> s + 1 : first[base]);
		tables[base + 1] = (tables[base] & ~in) | (1 << t);
#ifdef LINK_ONLY
		load_newest(h);
		assert(h == base + 1)
#endif
	     fi);
	/* V5_SYNC, V6_LOOK: successors may have been swept away, and the
	 * number have been free; but while the table is locked nobody takes
	 * it out of a version again */
	STEP(sync_versions());
	STEP(load_newest(base));
	STEP(RAISE(announced[c], base));
	if
	:: HAS(base, t)
	:: !HAS(base, t) -> goto link
	fi;
	/* V7_UNLOCK */
	atomic { leave(); goto end };

clean:
	/* D1_ALONE: whoever has it looks after this himself */
#ifndef CLEAN_BESIDE
	STEP(if
	     :: rebuild -> leave(); goto end
	     :: else -> rebuild = true; alone = true
	     fi);
#endif
#ifndef CLEAN_RETIRED
	STEP(if
	     :: name != c || (c == 0 && retired) -> leave(); goto end
	     :: else
	     fi);
#endif
#ifdef PINS_FIRST
	STEP(look_for_pins(VERSIONS));
#endif
	/* D2_LOAD */
	STEP(load_newest(base));
#ifdef PINS_EARLY
	STEP(look_for_pins(base));
#endif
#ifndef CLEAN_SILENT
	STEP(RAISE(announced[c], base));
#endif
	/* D3_PINS */
#if !defined(PINS_FIRST) && !defined(PINS_EARLY)
	STEP(look_for_pins(base));
#endif
#ifdef PINS_FIRST
	need = (need & ~(1 << VERSIONS)) | (1 << base);
#endif
	/* D4_LOCK, D5_AGAIN: a table */
	STEP(find_unneeded();
	     if
	     :: t != 0 -> locked[t] = true
	     :: else
	     fi);
#ifndef CLAIM_FIRST
	if
	:: t != 0 ->
		STEP(load_newest(h);
		     if
		     :: h != base -> leave(); goto end
		     :: else
		     fi)
	:: else
	fi;
#endif
	/* D6_SYNC, D7_UNLINK; or old segments and versions, without a lock */
#ifndef CLEAN_UNSYNCED
	STEP(sync_versions());
#endif
	atomic {
		if
		:: t != 0 -> table[t] = false; table_disk[t] = false
		:: else -> unlink_old(base)
		fi;
		leave();
		goto end
	}
}

/* Is a file missing? */
inline look()
{
	d_step {
		i = (v != 0 && !version[v]);
		x = first[v];
		do
		:: x > seq -> break
		:: x <= seq && !seg[x] -> i = 1; break
		:: x <= seq && seg[x] -> x++
		od;
		x = 1;
		do
		:: x > TABLES -> break
		:: x <= TABLES && HAS(v, x) && !table[x] -> i = 1; break
		:: x <= TABLES && !(HAS(v, x) && !table[x]) -> x++
		od
	}
}

inline forget()
{
	if :: pinned -> pins[v]-- :: else fi;
	c = 0; v = 0; seq = 0; i = 0; keeps = false; pinned = false
}

/* A get, or a snapshot that lives long.  Files do not change: what they
 * contain is looked at at once, whether they are there again and again. */
proctype Reader()
{
	byte c, v, seq, i;
	bool keeps, pinned;

end:
	atomic {
		name != NONE;
#ifdef BUILD
		c = name
	};
	atomic {
#endif
#ifdef VISIBLE_FIRST
		seq = visible
	};
	atomic {
#endif
	/* R1_VERSION */
		v = announced[c];
#ifndef NO_PIN
		if
		:: goto load
		:: keeps = true
		fi
	};
	/* R2_PIN, R3_AGAIN, R4_LINKED */
	atomic { pins[v]++; pinned = true };
#ifndef PIN_ONCE
	atomic {
		if
		:: announced[c] != v -> forget(); goto end
		:: else
		fi
	};
#endif
#ifndef PIN_UNLINKED
	atomic {
		if
		:: name != c -> forget(); goto end
		:: else
		fi
	};
#endif
#else
		if
		:: true
		:: keeps = true
		fi
	};
#endif
load:
	/* R5_VISIBLE, R6_ACTIVE (see rotate.pml), R7_SEARCH */
	atomic {
#ifndef VISIBLE_FIRST
		seq = visible;
		assert(seq >= first[v] - 1);
#endif
		if
		:: seq >= first[v] -> i = seq
		:: else ->
			i = 0;
			h = 1;
			do
			:: h > TABLES -> break
			:: h <= TABLES && HAS(v, h) -> RAISE(i, upto[h]); h++
			:: h <= TABLES && !HAS(v, h) -> h++
			od
		fi;
		if
		:: v == 0 || version[v] -> assert(i == seq)
		:: else
		fi;
		i = 0
	};
	/* R8_OPEN, R9_WHY: else the file is lost */
	do
	:: atomic {
		look();
		if
		:: i == 0
		:: else ->
			assert(!keeps);
#ifdef GET_UNLINKED
			assert(announced[c] > v);
#else
			assert(announced[c] > v || name != c);
#endif
			forget(); goto end
		fi
	   }
	:: atomic { forget(); goto end }
	od
}

/* See commit.pml and rotate.pml. */
proctype Writer()
{
end_writer:
	do
	:: visible + 1 < newest -> visible++
	od
}

#ifdef BUILD
/* Builds one new generation; see rebuild.pml. */
proctype Rebuilder()
{
	byte base;

	if
	:: true
	:: name = NONE			/* rm -r shm */
	fi;
start:
	/* B1_LOCK, B3_ALIVE */
	atomic {
		!rebuild && (name == 0 || users == 0);
		rebuild = true
	};
	/* B6_READ */
	RSTEP(load_newest(base));
	RSTEP(h = first[base];
	      do
	      :: h <= newest -> assert(seg[h]); h++
	      :: h > newest -> break
	      od);
	/* B8_RETIRE, B8_VERSION */
	RSTEP(retired = (name == 0));
	RSTEP(load_newest(base));
	/* B9_RENAME */
	atomic { announced[1] = base; name = 1; rebuild = false; base = 0 }
}
#endif

/* The power may fail at any moment: any version that is not synced may be
 * there, and nothing that was unlinked or not synced. */
proctype Power()
{
end_power:
	do
	:: d_step {
		x = VERSIONS;
		do
		:: x == 0 || version[x] ->
			y = first[x];
			do
			:: y <= newest -> assert(seg[y]); y++
			:: y > newest -> break
			od;
			y = 1;
			do
			:: y <= TABLES && HAS(x, y) ->
				assert(table[y] && table_disk[y]); y++
			:: y <= TABLES && !HAS(x, y) -> y++
			:: y > TABLES -> break
			od;
			if
			:: x == 0 || version_disk[x] -> break
			:: else -> x--
			fi
		:: x > 0 && !version[x] -> x--
		od
	   }
	od
}

init {
	atomic {
		byte w;
		for (w : 1 .. newest) {
			seg[w] = true
		}
		first[0] = 1;
		for (w : 1 .. WORKERS) {
			run Worker()
		}
		w = 0;
		if :: READERS > 0 -> run Reader() :: else fi;
		run Writer();
#ifdef BUILD
		run Rebuilder();
#endif
		run Power()
	}
}
