/*
 * compact: several compactors that claim their inputs by locks on the tables'
 * files, beside a flush and a cleaner; all die at every step.
 *
 * Three keys.  A table has a commit's number for each key or nothing, and
 * covers all keys from its first to its last.  In level 0 later ones come
 * first; in the levels below, tables do not overlap.  What is synced and
 * announced, and when, is in version.pml; how a file gets its name and its
 * lock, in orphan.pml.
 *
 * Explored: in each version that is installed, a lookup of any key finds
 * its newest commit or, if that is a deletion, perhaps nothing (P1, P10);
 * levels do not overlap; a compactor finds its inputs, and its claim stands
 * until it has installed; the newest version has all its files (P1).
 *
 * Broken variants:
 *   NO_CLAIM		inputs are not locked
 *   CLAIM_STALE	the version is not loaded again once they are
 *   SKIP_OLDER		a job of level 0 leaves out older tables beside it
 *   NO_REFUSAL		a version is installed though tables overlap
 *   DROP_EARLY		a deletion is dropped if the next level lacks the key
 */
#define KEYS	3
#define LEVELS	4
#define TABLES	7
#ifdef ONLY			/* one of the beginnings in init */
#define SCENE(n) (n == ONLY)
#else
#define SCENE(n) true
#endif
#ifndef VERSIONS
#define VERSIONS 3		/* besides the first, 0 */
#endif
#ifndef WORKERS
#define WORKERS	2
#endif
#ifndef KILLS
#define KILLS	1
#endif

bool table[TABLES + 1];		/* names in table/ */
bool version[VERSIONS + 1];	/* and in version/ */
bool locked[TABLES + 1];

/* What the files say. */
byte val[(TABLES + 1) * KEYS];
byte lo[TABLES + 1], hi[TABLES + 1];
byte level[(VERSIONS + 1) * (TABLES + 1)];	/* plus 1; 0: not in it */
bool flushed[VERSIONS + 1];
#define VAL(t, k)	val[(t) * KEYS + (k)]
#define LEVEL(v, t)	level[(v) * (TABLES + 1) + (t)]
#define IN(mask, t)	(((mask) >> (t)) & 1)
#define DELETION(n)	((n) == 3 || (n) == 5)

byte next;			/* number of the next table */
byte before[KEYS], after[KEYS];	/* the flush: newest commits */
byte kills = KILLS;

#define covers(t, k)	(lo[t] <= (k) && (k) <= hi[t])
#define beside(t, u)	(lo[t] <= hi[u] && lo[u] <= hi[t])
#define overlaps(t)	(lo[t] <= last && first <= hi[t])

hidden byte h, i, j, k, top;

#define STEP(x) atomic { x; if \
	:: true :: kills > 0 -> kills--; leave(); goto end fi }

inline load_newest(n)
{
	n = VERSIONS;
	do
	:: n > 0 && !version[n] -> n--
	:: n == 0 || version[n] -> break
	od
}

inline put(t, l, a, b, c)
{
	table[t] = true;
	LEVEL(0, t) = l + 1;
	VAL(t, 0) = a; VAL(t, 1) = b; VAL(t, 2) = c;
	set_range(t)
}

inline set_range(t)
{
	lo[t] = 0;
	do
	:: lo[t] < KEYS - 1 && VAL(t, lo[t]) == 0 -> lo[t]++
	:: else -> break
	od;
	hi[t] = KEYS - 1;
	do
	:: hi[t] > 0 && VAL(t, hi[t]) == 0 -> hi[t]--
	:: else -> break
	od
}

/* Does a lookup in version v find what it should? */
inline verify(v)
{
	k = 0;
	do
	:: k < KEYS ->
		h = (flushed[v] -> after[k] : before[k]);
		i = 1; j = TABLES; top = 0;
		do
		:: i > LEVELS -> break
		:: i <= LEVELS && j == 0 -> i++; j = TABLES
		:: i <= LEVELS && j > 0 && LEVEL(v, j) == i ->
			if
			:: top == 0 -> top = VAL(j, k)
			:: else
			fi;
			j--
		:: i <= LEVELS && j > 0 && LEVEL(v, j) != i -> j--
		od;
		assert(top == h || (top == 0 && DELETION(h)));
		k++
	:: k == KEYS -> break
	od;
	i = 1; j = 2;
	do
	:: i == TABLES -> break
	:: i < TABLES && j > TABLES -> i++; j = i + 1
	:: i < TABLES && j <= TABLES ->
		assert(LEVEL(v, i) < 2 || LEVEL(v, i) != LEVEL(v, j) ||
		    hi[i] < lo[j] || hi[j] < lo[i]);
		j++
	od;
	/* And nothing of it is gone. */
	i = 1;
	do
	:: i > TABLES -> break
	:: i <= TABLES -> assert(LEVEL(v, i) == 0 || table[i]); i++
	od
}

/* The range of the job's upper tables. */
inline widen(t)
{
	if :: lo[t] < first -> first = lo[t] :: else fi;
	if :: hi[t] > last -> last = hi[t] :: else fi
}

/* Tables of level 0 without a gap, and all older ones beside them; or
 * neighbours of another level, perhaps with a gap. */
inline choose_upper()
{
	first = KEYS; last = 0; in = 0;
	if
	:: from = 1
	:: from = 2
	:: from = 3
	fi;
	h = 1;
	do
	:: h <= TABLES && LEVEL(base, h) != from -> h++
	:: h <= TABLES && LEVEL(base, h) == from && in == 0 -> h++
	:: h <= TABLES && LEVEL(base, h) == from ->
		in = in | (1 << h); widen(h); h++
	:: h > TABLES -> break
	:: h <= TABLES && in != 0 -> break
	od;
	/* Is one in between, or an older one beside them, left out? */
	h = 1;
	do
	:: h > TABLES -> break
	:: h <= TABLES ->
		if
#ifndef SKIP_OLDER
		:: LEVEL(base, h) == 1 && from == 1 && !IN(in, h) &&
		   (1 << h) < in && overlaps(h) ->
			in = 0; break
#endif
		:: LEVEL(base, h) == from && from > 1 && !IN(in, h) &&
		   overlaps(h) -> in = 0; break
		:: else
		fi;
		h++
	od;
	/* Is there a gap in level 0? */
	h = first;
	do
	:: from > 1 || in == 0 || h > last -> break
	:: from == 1 && in != 0 && h <= last ->
		j = 1;
		do
		:: j <= TABLES && !(IN(in, j) && covers(j, h)) -> j++
		:: else -> break
		od;
		if
		:: j > TABLES -> in = 0
		:: else
		fi;
		h++
	od
}

/* What they overlap in the next level. */
inline choose_lower()
{
	h = 1;
	do
	:: h > TABLES -> break
	:: h <= TABLES ->
		if
		:: LEVEL(base, h) == from + 1 && overlaps(h) ->
			in = in | (1 << h)
		:: else
		fi;
		h++
	od
}

/* Are the inputs still where they were? */
inline compare(n)
{
	h = 1;
	do
	:: h > TABLES -> break
	:: h <= TABLES ->
		assert(!IN(in, h) || LEVEL(n, h) == LEVEL(base, h));
		h++
	od
}

/* May table t be added to level l of version v, without the job's inputs? */
inline fits(ok, t, l, v)
{
	ok = true;
	h = 1;
	do
	:: h > TABLES -> break
	:: h <= TABLES ->
		if
		:: LEVEL(v, h) == l && !IN(in, h) && beside(t, h) ->
			ok = false
		:: else
		fi;
		h++
	od
}

/* One table, of the newest of each key; without deletions of keys that no
 * deeper level covers.  There may be nothing left. */
inline merge()
{
	k = 0; top = 0;
	do
	:: k == KEYS -> break
	:: k < KEYS ->
		h = 1;
		do
		:: h > TABLES -> break
		:: h <= TABLES && IN(in, h) ->
			assert(table[h]);
			if
			:: VAL(h, k) > VAL(out, k) -> VAL(out, k) = VAL(h, k)
			:: else
			fi;
			h++
		:: h <= TABLES && !IN(in, h) -> h++
		od;
		h = 1;
		do
		:: h > TABLES -> break
#ifdef DROP_EARLY
		:: h <= TABLES && LEVEL(base, h) == from + 1 && !IN(in, h) &&
		   lo[h] <= k && k <= hi[h] -> break
		:: h <= TABLES && !(LEVEL(base, h) == from + 1 &&
		   !IN(in, h) && lo[h] <= k && k <= hi[h]) -> h++
#else
		:: h <= TABLES && LEVEL(base, h) > from + 1 && lo[h] <= k &&
		   k <= hi[h] -> break
		:: h <= TABLES && !(LEVEL(base, h) > from + 1 && lo[h] <= k &&
		   k <= hi[h]) -> h++
#endif
		od;
		if
		:: h > TABLES && DELETION(VAL(out, k)) -> VAL(out, k) = 0
		:: else
		fi;
		if
		:: VAL(out, k) != 0 -> top = 1
		:: else
		fi;
		k++
	od;
	if
	:: top == 1 -> table[out] = true; locked[out] = true; set_range(out)
	:: else -> out = 0; next--
	fi
}

/* base + 1 is base without the inputs and with the output. */
inline edit(move)
{
	h = 1;
	do
	:: h > TABLES -> break
	:: h <= TABLES ->
		LEVEL(base + 1, h) = (IN(in, h) ->
		    (move -> from + 1 : 0) : LEVEL(base, h));
		h++
	od;
	flushed[base + 1] = flushed[base]
}

inline lock_inputs(ok)
{
	ok = true;
	h = 1;
	do
	:: h > TABLES -> break
	:: h <= TABLES && IN(in, h) && (locked[h] || !table[h]) ->
		ok = false; break
	:: h <= TABLES && !(IN(in, h) && (locked[h] || !table[h])) -> h++
	od;
	h = 1;
	do
	:: h > TABLES || !ok -> break
	:: h <= TABLES && ok && IN(in, h) -> locked[h] = true; h++
	:: h <= TABLES && ok && !IN(in, h) -> h++
	od;
	mine = ok
}

inline leave()
{
	h = 1;
	do
	:: h > TABLES -> break
	:: h <= TABLES && mine && IN(in, h) -> locked[h] = false; h++
	:: h <= TABLES && !(mine && IN(in, h)) -> h++
	od;
	if :: out != 0 -> locked[out] = false :: else fi;
	base = 0; n = 0; in = 0; out = 0; from = 0; first = 0; last = 0;
	mine = false; ok = false; move = false
}

proctype Worker()
{
	byte base, n, in, out, from, first, last;
	bool mine, ok, move;

end:
	/* C1_CHOOSE */
	atomic {
		load_newest(base);
		if
		:: base < VERSIONS
		:: base = 0; goto clean
		fi;
		choose_upper();
		if
		:: in != 0 -> choose_lower()
		:: else
		fi;
		if
		:: in == 0 -> leave(); goto end
		:: else
		fi
	};
#ifndef NO_CLAIM
	/* C2_LOCK: all inputs, or none */
	STEP(lock_inputs(ok);
	     if
	     :: !ok -> leave(); goto end
	     :: else -> ok = false
	     fi);
#endif
	/* C3_AGAIN: is it still the newest version? */
#ifndef CLAIM_STALE
	STEP(load_newest(h);
	     if
	     :: h != base -> leave(); goto end
	     :: else
	     fi);
#endif
	/* C4_MERGE, or C4_MOVE: a table alone changes its level */
	STEP(if
	     :: (in & (in - 1)) == 0 -> move = true
	     :: else ->
		if
		:: next > TABLES -> leave(); goto end
		:: else
		fi;
		out = next; next++;
		merge()
	     fi);
link:
	/* C5_LINK, as in version.pml.  Another's table may have come to lie
	 * in a gap between ours: then all was in vain. */
	STEP(if
	     :: base == VERSIONS -> leave(); goto end
	     :: else
	     fi;
	     if
	     :: version[base + 1] ->
		load_newest(n);
#ifndef CLAIM_STALE
		compare(n);
#endif
		base = n; n = 0;
		goto link
	     :: else
	     fi;
	     ok = true;
#ifndef NO_REFUSAL
	     j = out;
	     if
	     :: move -> j = 1;
		do
		:: !IN(in, j) -> j++
		:: IN(in, j) -> break
		od
	     :: else
	     fi;
	     if
	     :: j != 0 -> fits(ok, j, from + 1, base)
	     :: else
	     fi;
#endif
	     if
	     :: !ok -> leave(); goto end
	     :: else -> version[base + 1] = true
	     fi;
	     edit(move);
	     if
	     :: out != 0 -> LEVEL(base + 1, out) = from + 1
	     :: else
	     fi;
	     verify(base + 1));
	/* C6_UNLOCK */
	atomic { leave(); goto end };

clean:
	/* D1_LOCK, D2_LOAD, D7_UNLINK */
	STEP(load_newest(n);
	     h = 1;
	     do
	     :: h > TABLES -> break
	     :: h <= TABLES ->
		if
		:: table[h] && !locked[h] && LEVEL(n, h) == 0 ->
			in = in | (1 << h); locked[h] = true
		:: else
		fi;
		h++
	     od;
	     if
	     :: in == 0 -> leave(); goto end
	     :: else -> mine = true; n = 0
	     fi);
	STEP(load_newest(n));
	atomic {
		h = 1;
		do
		:: h > TABLES -> break
		:: h <= TABLES ->
			if
			:: IN(in, h) && LEVEL(n, h) == 0 -> table[h] = false
			:: else
			fi;
			h++
		od;
		load_newest(n);
		verify(n);
		leave();
		goto end
	}
}

/* To level 1 if nothing there or in level 0 lies beside it. */
inline choose_level()
{
	ok = true;
	fits(ok, t, 1, base);
	if
	:: ok -> fits(ok, t, 2, base)
	:: else
	fi;
	to = (ok -> 2 : 1)
}

proctype Flusher(byte t)
{
	byte base, to, in;
	bool ok;

	atomic {
		table[t] = true;
		locked[t] = true;
		k = 0;
		do
		:: k == KEYS -> break
		:: k < KEYS ->
			if
			:: after[k] != before[k] -> VAL(t, k) = after[k]
			:: else
			fi;
			k++
		od;
		set_range(t);
		load_newest(base)
	};
	do
	:: atomic { base < VERSIONS && !version[base + 1] ->
		version[base + 1] = true;
		choose_level();
		h = 1;
		do
		:: h > TABLES -> break
		:: h <= TABLES ->
			LEVEL(base + 1, h) = LEVEL(base, h); h++
		od;
		LEVEL(base + 1, t) = to;
		flushed[base + 1] = true;
		verify(base + 1);
		break }
	:: atomic { base < VERSIONS && version[base + 1] ->
		load_newest(base) }
	:: atomic { base == VERSIONS -> break }
	od;
	atomic { locked[t] = false; t = 0; base = 0; to = 0; ok = false }
}

init {
	atomic {
		byte w;
		if
		:: SCENE(1) -> put(1, 0, 3, 0, 0);	/* deleted */
		   put(2, 1, 2, 0, 0);
		   put(3, 1, 0, 2, 0);
		   put(4, 2, 1, 1, 0);
		   before[0] = 3; before[1] = 2;
		   after[0] = 4; after[1] = 5;
		   next = 5
		:: SCENE(2) -> put(1, 1, 3, 0, 0);
		   put(2, 1, 0, 2, 0);
		   put(3, 2, 1, 1, 0);
		   before[0] = 3; before[1] = 2;
		   after[0] = 3; after[1] = 5;
		   next = 4
		:: SCENE(3) -> put(1, 0, 2, 0, 2);	/* one between */
		   put(2, 1, 0, 1, 0);
		   before[0] = 2; before[1] = 1; before[2] = 2;
		   after[0] = 2; after[1] = 4; after[2] = 2;
		   next = 3
		:: SCENE(4) -> put(1, 1, 2, 0, 0);	/* nothing */
		   put(2, 1, 0, 0, 2);
		   put(3, 2, 1, 0, 0);
		   put(4, 2, 0, 0, 1);
		   before[0] = 2; before[2] = 2;
		   after[0] = 2; after[1] = 4; after[2] = 2;
		   next = 5
		fi;
		verify(0);
		run Flusher(next);
		next++;
		for (w : 1 .. WORKERS) {
			run Worker()
		}
		w = 0
	}
}
