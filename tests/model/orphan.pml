/*
 * orphan: how a table gets its number, its name and its lock, beside a cleaner
 * that removes what dead processes left.
 *
 * A lock belongs to the file (inode), a version names a number.  A rebuild of
 * the shared memory begins to count where the newest version says, and
 * somebody may still have a number from before: so a number can be taken
 * twice, and even a name may come again.  All may die at every step.
 *
 * Explored: a number that the newest version claims names the file that was
 * made for it, and nobody writes into that one again (P1, P6).
 *
 * Broken variants:
 *   NOT_EXCL		a file is created though the name is taken
 *   UNLOCKED		a worker does not lock its file
 *   UNNAMED		nor look whether it, once locked, still has its name
 *   UNLINK_LOST	who does not get the lock, or has lost the name, removes
 *			the name
 *   CLEAN_UNNAMED	a cleaner does not look whether the file that it has
 *			locked still has its name
 *   CLAIM_FIRST	it reads the version before it locks (A5)
 */
#ifndef WORKERS
#define WORKERS	2
#endif
#ifndef KILLS
#define KILLS	2
#endif
#ifndef NUMBERS
#define NUMBERS	2
#endif
#define FILES	(WORKERS + NUMBERS)

byte next[2];			/* of two generations of control */
byte name;			/* the one in use */
bool rebuild;			/* REBUILD */
byte file[NUMBERS + 1];		/* which file has table/<n> as its name */
bool locked[FILES + 1];
byte opened[FILES + 1];		/* by how many: a file lives as long */

byte claim[NUMBERS + 1];	/* the newest version: a number's file */
byte next_file = 1;		/* and where to count from */

byte kills = KILLS;
hidden byte h, k;

#define STEP(x) atomic { x; if \
	:: true :: kills > 0 -> kills--; leave(); goto end fi }

#define CSTEP(x) atomic { x; if \
	:: true :: kills > 0 -> kills--; rest(); goto end fi }

inline verify()
{
	h = 1;
	do
	:: h > NUMBERS -> break
	:: h <= NUMBERS -> assert(claim[h] == 0 || claim[h] == file[h]); h++
	od
}

/* A file without a name that nobody has open. */
inline new_file(f)
{
	f = 1;
	do
	:: opened[f] != 0 -> f++
	:: opened[f] == 0 ->
		h = 1;
		do
		:: h <= NUMBERS && file[h] != f -> h++
		:: h <= NUMBERS && file[h] == f -> break
		:: h > NUMBERS -> break
		od;
		if
		:: h > NUMBERS -> break
		:: else -> f++
		fi
	od
}

inline leave()
{
	if :: mine -> locked[f] = false :: else fi;
	if :: f != 0 -> opened[f]-- :: else fi;
	mine = false; f = 0; n = 0
}

inline rest()
{
	leave();
	rebuild = false
}

proctype Worker()
{
	byte n, f, c;
	bool mine;

end:
	/* Its control, and some time later: T1_NUMBER */
	c = name;
again:
#ifdef UNLINK_LOST
	STEP(if :: f != 0 -> file[n] = 0; verify() :: else fi);
#endif
	STEP(leave();
	     if
	     :: next[c] <= NUMBERS -> n = next[c]; next[c]++
	     :: else -> goto done
	     fi);
	/* T2_CREATE */
	STEP(if
#ifndef NOT_EXCL
	     :: file[n] != 0 -> goto again
#else
	     :: file[n] != 0 -> f = file[n]
#endif
	     :: else -> new_file(f); file[n] = f
	     fi;
	     opened[f]++);
	/* T3_LOCK */
#ifndef UNLOCKED
	STEP(if
	     :: locked[f] -> goto again
	     :: else -> locked[f] = true; mine = true
	     fi);
#endif
	/* T4_NAMED */
#ifndef UNNAMED
	STEP(if
	     :: file[n] != f -> goto again
	     :: else
	     fi);
#endif
	/* An error: what it has made so far goes again. */
	if
	:: true
	:: STEP(file[n] = 0; verify());
	   atomic { leave(); goto end }
	fi;
	/* V4_LINK: perhaps instead of another */
	STEP(assert(claim[n] == 0);
	     claim[n] = f;
	     if
	     :: next_file <= n -> next_file = n + 1
	     :: else
	     fi;
	     if
	     :: true
	     :: n != 1 -> claim[1] = 0
	     :: n != 2 -> claim[2] = 0
	     fi;
	     verify());
	/* V7_UNLOCK */
	atomic { leave(); goto end };
done:
	c = 0
}

proctype Cleaner()
{
	byte n, f;
	bool mine;

end:
	/* D1_ALONE, and it opens one that is no table of the version */
	atomic {
		!rebuild;
		n = 1;
		do
		:: n <= NUMBERS -> n++
		:: n <= NUMBERS && file[n] != 0 && claim[n] == 0 -> break
		:: n > NUMBERS -> n = 0; goto end
		od;
		f = file[n];
		opened[f]++;
		rebuild = true
	};
	/* D4_LOCK, D4_NAMED */
	CSTEP(if
	     :: locked[f] -> rest(); goto end
	     :: else -> locked[f] = true; mine = true
	     fi);
#ifndef CLEAN_UNNAMED
	CSTEP(if
	     :: file[n] != f -> rest(); goto end
	     :: else
	     fi);
#endif
	/* D5_AGAIN */
#ifndef CLAIM_FIRST
	CSTEP(if :: claim[n] != 0 -> rest(); goto end :: else fi);
#endif
	/* D7_UNLINK: by its name */
	atomic { file[n] = 0; verify(); rest(); goto end }
}

/* See rebuild.pml and version.pml. */
proctype Rebuilder()
{
	atomic { !rebuild; name = 1; next[1] = next_file }
}

init {
	atomic {
		next[0] = 1;
		byte w;
		for (w : 1 .. WORKERS) {
			run Worker()
		}
		w = 0;
		run Cleaner();
		run Rebuilder()
	}
}
