/*
 * sync: group commit, an fdatasync that fails, and a leader that dies or
 * stops in the midst of it.
 *
 * The page cache is modelled as Linux has it: a page whose write-back fails
 * becomes clean and keeps its content until it is evicted; then the old
 * content comes back from disk.  The error is reported once to every open
 * file that was open when it happened, and to the next one opened if nobody
 * has seen it yet.
 *
 * Explored: what is published as synced is on disk (P1, P7, holes A4, B6).
 *
 * `syncing` counts the leaders that have begun and not succeeded.  Who finds
 * it above zero does not trust a mere fdatasync: it makes the pages between
 * synced and its end dirty again (pwrite from the mapping onto itself), then
 * verifies them, then syncs.  An owner of SYNC that finds a mark keeps others
 * from syncing beside it, by a kernel lock, and only then loads its end; so
 * what the dead were about lies before that end, and it may clear all marks
 * when it has succeeded.
 *
 * Broken variants:
 *   NO_MARK	a bare retry
 *   WORD_PLAIN	`syncing` is a word: stored, and cleared by a store
 *   WORD_MAX	`syncing` is a word: raised, and cleared by its setter
 *   CLEAR_LATE	the others are only kept out while the marks are cleared
 *   OPEN_LATE	the file is opened after the mark
 *   VERIFY_FIRST	verified before it is made dirty
 *   ACK_FIRST	published before fdatasync
 *   REBUILD_PLAIN	a rebuild after a failure only calls fdatasync
 *
 * NO_ALONE: nobody syncs without SYNC.  Then WORD_PLAIN is enough.
 */
#ifndef N
#define N	3	/* records, and committers; each writes one */
#endif
#ifndef KILLS
#define KILLS	1
#endif
#ifndef ERRORS
#define ERRORS	1
#endif

/* One page for each record: the most hostile case. */
bool cache[N + 1], dirty[N + 1], disk[N + 1];
byte errors = ERRORS;
byte werr;		/* errors that happened in the file */
bool seen = true;	/* the last of them was reported to somebody */

byte appended, synced, syncing;
bool failed;
byte owner;		/* of SYNC; 0: free */
byte excluder;		/* keeps others from syncing beside it; 0: nobody */
bool beside[N + 1];	/* syncs without SYNC; the kernel forgets the dead */
bool dead[N + 1];
byte kills = KILLS;

#define STEP(x) atomic { x; if :: true :: kills > 0 -> kills--; goto died fi }
#define MAX(a, b) a = ((a) > (b) -> (a) : (b))

/* Who syncs beside is alive, and nobody else may be kept out now. */
inline count_beside()
{
	i = 1;
	others = 0;
	do
	:: i > N -> break
	:: i <= N -> others = others + (beside[i] && !dead[i] -> 1 : 0); i++
	od;
	i = 0
}

/* A handle of long standing, or a file opened now. */
inline file_open()
{
	if
	:: cursor = 0
	:: cursor = (seen -> werr : werr - 1)
	fi
}

/* The kernel may long have forgotten clean pages. */
inline evict()
{
	i = 1;
	do
	:: i > N -> break
	:: i <= N && !dirty[i] && cache[i] && !disk[i] -> cache[i] = false; i++
	:: i <= N -> i++
	od;
	i = 0
}

inline redirty()
{
	i = synced + 1;
	do
	:: i > end -> break
	:: i <= end -> dirty[i] = true; i++
	od;
	i = 0
}

inline verify()
{
	i = synced + 1;
	do
	:: i > end -> break
	:: i <= end && cache[i] -> i++
	:: i <= end && !cache[i] -> bad = true; break
	od;
	i = 0
}

inline write_back()
{
	i = 1;
	do
	:: i > N -> break
	:: i <= N && dirty[i] ->
		if
		:: disk[i] = cache[i]
		:: errors > 0 -> errors--; werr++; seen = false
		fi;
		dirty[i] = false; i++
	:: i <= N && !dirty[i] -> i++
	od;
	i = 0
}

/* Everything up to n is on disk. */
inline promise(n)
{
	i = 1;
	do
	:: i > n -> break
	:: i <= n -> assert(disk[i]); i++
	od;
	i = 0
}

proctype Committer(byte me)
{
	byte end, i, cursor, others;
	bool suspect, bad, alone;

	/* W1_LOCK to W7_UNLOCK; see commit.pml.  Committers are alike, so it
	 * is enough to let them append in one order. */
	STEP(appended == me - 1 || failed;
	     if
	     :: failed -> goto done
	     :: else -> appended = me; cache[me] = true; dirty[me] = true
	     fi);
	/* S1_LOCK: SYNC, or by itself if the owner takes too long */
	STEP(if
	     :: owner == 0 || dead[owner] -> owner = me
#ifndef NO_ALONE
	     :: owner != 0 && !dead[owner] &&
		(excluder == 0 || dead[excluder]) -> beside[me] = true
#endif
	     fi;
	     if
	     :: failed || synced >= me -> goto unlock
	     :: else -> skip
	     fi);
#if !defined(NO_MARK) && !defined(WORD_PLAIN) && !defined(WORD_MAX) && \
    !defined(CLEAR_LATE)
	/* S1_ALONE */
	STEP(if
	     :: owner == me && syncing > 0 -> count_beside();
		if
		:: others == 0 -> excluder = me; alone = true
		:: else -> skip
		fi
	     :: else -> skip
	     fi;
	     others = 0);
#endif
	/* S2_END, S2_OPEN: the end first, then the file */
	STEP(end = appended);
#ifndef OPEN_LATE
	STEP(file_open());
#endif
	/* S2_MARK */
#if defined(NO_MARK)
	suspect = false;
#elif defined(WORD_PLAIN)
	STEP(suspect = syncing != 0; syncing = end);
#elif defined(WORD_MAX)
	STEP(suspect = syncing != 0);
	STEP(MAX(syncing, end));
#else
	STEP(suspect = syncing > 0; syncing++);
#endif
#ifdef OPEN_LATE
	STEP(file_open());
#endif
	if
	:: atomic { suspect -> suspect = false };
#ifdef VERIFY_FIRST
		STEP(if :: evict() :: true fi; verify());
#endif
		/* S2_REDIRTY, S2_VERIFY */
		STEP(if :: evict() :: true fi; redirty());
#ifndef VERIFY_FIRST
		STEP(verify());
#endif
		if
		:: atomic { bad -> bad = false; goto failing }
		:: else
		fi
	:: else
	fi;
	/* S3_SYNC: pages go to disk, or not; then the error is looked up */
#ifdef ACK_FIRST
	STEP(MAX(synced, end); promise(end));
#endif
	STEP(write_back());
	STEP(if
	     :: cursor != werr -> seen = true; bad = true
	     :: else -> skip
	     fi;
	     cursor = 0);
	if
	:: atomic { bad -> bad = false; goto failing }
	:: else
	fi;
	/* S4_PUBLISH */
	STEP(MAX(synced, end); promise(end));
	/* S5_UNMARK: only after success */
#if defined(NO_MARK)
#elif defined(WORD_PLAIN)
	STEP(syncing = 0);
#elif defined(WORD_MAX)
	STEP(if :: syncing == end -> syncing = 0 :: else fi);
#elif defined(CLEAR_LATE)
	STEP(syncing--;
	     if
	     :: owner == me && syncing > 0 -> count_beside();
		if :: others == 0 -> syncing = 0 :: else fi
	     :: else -> skip
	     fi;
	     others = 0);
#else
	STEP(if :: alone -> syncing = 0 :: else -> syncing-- fi);
#endif
	goto unlock;
failing:
	/* S4_FAIL: before SYNC is released, and the mark stays */
	STEP(failed = true);
unlock:
	/* S6_UNLOCK, and the answer */
	atomic {
		if :: owner == me -> owner = 0 :: else fi;
		if :: excluder == me -> excluder = 0 :: else fi;
		beside[me] = false;
		if
		:: synced >= me -> promise(me)
		:: synced < me -> assert(failed) /* not known to be durable */
		fi;
		goto done
	};
died:
	dead[me] = true;
done:
	atomic { end = 0; i = 0; cursor = 0; suspect = false; bad = false;
		others = 0; alone = false }
}

/* The next writer builds a new generation from what the log says, by the
 * same rule.  Leaders that sync by themselves may still be at it. */
active proctype Rebuilder()
{
	byte end, i, cursor;
	bool bad;

end_rebuilder:
	atomic {
		failed && (owner == 0 || dead[owner]);
		owner = 0;
		end = appended;
		file_open()
	};
#ifndef REBUILD_PLAIN
	atomic { if :: evict() :: true fi; redirty() };
#endif
	/* B6_READ: whole records only; a cut is zero from now on */
	atomic {
		i = 1;
		do
		:: i <= end && cache[i] -> i++
		:: i > end || !cache[i] -> break
		od;
		end = i - 1;
		i = 0
	};
	atomic { write_back() };
	atomic {
		if
		:: cursor != werr -> seen = true	/* failed as before */
		:: else -> assert(end >= synced); promise(end)
		fi;
		end = 0; cursor = 0
	}
}

init {
	atomic {
		byte k;
		for (k : 1 .. N) {
			run Committer(k)
		}
	}
}
