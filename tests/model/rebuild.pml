/*
 * rebuild: a new generation of the shared memory beside handles that still
 * have the old one mapped.
 *
 * shm/control names a generation, or nothing.  It may have been deleted, be
 * of another boot, or say failed; a writer may have died in the midst of an
 * append.  At any time somebody may delete or replace it, or a sync may fail.
 * Slots are process numbers here; lock.pml has the rest.
 *
 * Explored: no acknowledged record is overwritten or acknowledged twice
 * (P1, P2); nobody waits for ever (P5); a reader that has the old generation
 * mapped sees what was acknowledged before it began (P9); an opener is
 * refused only if somebody alive has a deleted control mapped.
 *
 * BOOTS: processes in containers that see boot ids of their own (C1).
 *
 * Broken variants:
 *   RETIRE_LATE	the old control is retired after the rename
 *   REPAIR_FIRST	`writing` is looked at before `retired`
 *   SLOT_FIRST		a slot is taken before control is mapped and sound
 *   NO_RELINK		control is not looked at again after the slot
 *   NO_REFUSE		a deleted control is built anew beside living ones
 *   NO_WORDS		the old lock words are not taken
 *   WORDS_KEPT		the old lock words are not given back
 *   NO_AGAIN		under REBUILD nobody looks at control again
 *   READER_NO_LINK	a reader looks at `retired` only
 *   COPY_BUILT	a restored control is built anew beside living ones
 *   BOOT_WORDS		(with BOOTS) words are taken from this boot only
 *   NO_C1		(with BOOTS) another boot id decides alone
 */
#ifndef WRITERS
#define WRITERS	3
#endif
#ifndef KILLS
#define KILLS	1
#endif
#define GENS	6
#define ZERO	0
#define TORN	1
#define WHOLE	2

/* Generations; 0 is none. */
typedef Control {
	byte writer;		/* lock word */
	bool retired, failed, writing;
	bool copy;		/* not made in this place: restored */
	byte off, tail, visible;
	byte boot
};
Control ctl[GENS];
byte name;			/* shm/control */
byte gens = 1;			/* built so far */

byte cell[WRITERS + 2];		/* the log */
bool acked[WRITERS + 2];
byte newest;			/* highest acknowledged */

byte rebuilder;			/* holds the REBUILD byte */
bool slot[WRITERS + 2];		/* whose slot's byte is locked */
byte map[WRITERS + 2];		/* which generation is mapped */
byte kills = KILLS;

#define OTHER	99	/* the boot id of an earlier boot */
#define NOBODY	(WRITERS + 1)	/* the slot of one that died long ago */

#define STEP(x) atomic { x; if :: true :: kills > 0 -> kills--; goto died fi }
#define C ctl[c]
#define RAISE(a, b) a = ((a) > (b) -> (a) : (b))
#define DEAD(p) (!slot[p])
#ifdef BOOTS
#define BOOT me
#else
#define BOOT 1
#endif

inline write(n, what)
{
	assert(!acked[n]);
	cell[n] = what
}

/* Made here, and by now perhaps used by somebody? */
#define OURS(g) ((g) != 0 && !ctl[g].copy)
/* Fit to be used, but for its boot id? */
#define SOUND(g) (OURS(g) && !ctl[g].retired && !ctl[g].failed)

inline others_alive(result)
{
	result = false;
	i = 1;
	do
	:: i > WRITERS -> break
	:: i <= WRITERS && i != me && slot[i] ->
		assert(OURS(c) || map[i] != 0);	/* a rightful refusal */
		result = true; break
	:: i <= WRITERS && (i == me || !slot[i]) -> i++
	od
}

proctype Writer(byte me)
{
	byte c, g, seq, i;
	bool live;

open:
#ifdef SLOT_FIRST
	STEP(slot[me] = true);
#endif
	/* O1_MAP */
	STEP(c = name; if
	     :: SOUND(c) && C.boot == BOOT -> map[me] = c
#ifdef NO_AGAIN
	     :: else -> goto rebuild
#else
	     :: else -> c = 0; goto rebuild
#endif
	     fi);
adopt:
	/* O2_SLOT */
	STEP(slot[me] = true);
	/* O3_LINKED: control may have gone before the slot was ours */
#ifndef NO_RELINK
	STEP(if
	     :: name != c || C.retired -> goto reopen
	     :: else
	     fi);
#endif
ready:
	/* W1_LOCK */
	STEP(C.writer == 0 || DEAD(C.writer); C.writer = me);
#ifdef REPAIR_FIRST
	if
	:: C.writing && cell[C.off] != WHOLE -> STEP(write(C.off, ZERO))
	:: else
	fi;
#endif
	/* W1_CHECK: before anything is repaired */
	STEP(if
	     :: C.retired || C.failed -> C.writer = 0; goto reopen
	     :: else
	     fi);
	if
	:: C.writing ->
		STEP(if
		     :: cell[C.off] == WHOLE -> RAISE(C.tail, C.off)
		     :: else -> write(C.off, ZERO)
		     fi);
		STEP(C.writing = false; C.off = 0)
	:: else
	fi;
	/* Finer steps are in commit.pml.
	 * W2_MARK, W3_APPEND, W5_TAIL, W6_CLEAR, W7_UNLOCK */
	STEP(seq = C.tail + 1; C.off = seq; C.writing = true;
	     write(seq, TORN));
	STEP(write(seq, WHOLE));
	STEP(C.tail = seq; C.writing = false; C.off = 0);
	STEP(assert(C.writer == me); C.writer = 0);
	/* S3_SYNC, S4_PUBLISH; see sync.pml */
	STEP(RAISE(C.visible, seq));
	atomic {
		assert(cell[seq] == WHOLE && !acked[seq]);
		acked[seq] = true;
		i = 1;			/* who is done holds no word */
		do
		:: i < GENS -> assert(ctl[i].writer != me || ctl[i].copy ||
		    ctl[i].boot == OTHER); i++
		:: i == GENS -> break
		od;
		RAISE(newest, seq);
		slot[me] = false;
		map[me] = 0;
		goto done
	};

reopen:
	atomic { slot[me] = false; map[me] = 0; c = 0; goto open };

rebuild:
	/* B1_LOCK */
	STEP(rebuilder == 0; rebuilder = me;
	/* B2_AGAIN */
#ifdef NO_AGAIN
	     if :: c == 0 -> c = name :: else fi; map[me] = c);
#else
	     c = name; map[me] = c);
	if
	:: atomic { SOUND(c) && C.boot == BOOT ->
		rebuilder = 0; goto adopt }
	:: else
	fi;
#endif
	/* B3_ALIVE */
	STEP(others_alive(live); i = 0);
	if
#ifdef COPY_BUILT
	:: c == 0 && live ->
#else
	:: !OURS(c) && live ->
#endif
		/* Refused: somebody alive has a deleted one mapped. */
#ifdef NO_REFUSE
		skip
#else
		atomic { slot[me] = false; rebuilder = 0; goto done }
#endif
	:: SOUND(c) && live ->
		/* Of another boot id, but somebody alive uses it. */
#ifdef NO_C1
		skip
#else
		atomic { live = false; rebuilder = 0; goto adopt }
#endif
	:: else
	fi;
	/* B4_SLOT: held from before the new name can be seen */
	STEP(live = false; i = 0; slot[me] = true);
#ifndef NO_WORDS
	/* B5_WORDS: of another boot id as well */
#ifdef BOOT_WORDS
	if
	:: OURS(c) && C.boot == BOOT ->
#else
	if
	:: OURS(c) ->
#endif
		STEP(C.writer == 0 || DEAD(C.writer) || C.writer == me;
		     C.writer = me)
	:: else
	fi;
#endif
	/* B6_READ: the log says where it ends */
	STEP(seq = 0; do
	     :: cell[seq + 1] == WHOLE -> seq++
	     :: else -> break
	     od;
	     if
	     :: cell[seq + 1] == TORN -> write(seq + 1, ZERO)
	     :: else
	     fi);
	/* B7_BUILD, under another name */
	STEP(g = gens; assert(g < GENS); gens++;
	     ctl[g].tail = seq; ctl[g].visible = seq; ctl[g].boot = BOOT;
	     seq = 0);
	/* B8_RETIRE, B9_RENAME: in this order */
#ifndef RETIRE_LATE
	if
	:: c != 0 -> STEP(C.retired = true; C.tail = 0)
	:: else
	fi;
#endif
	STEP(name = g);
#ifdef RETIRE_LATE
	if
	:: c != 0 -> STEP(C.retired = true; C.tail = 0)
	:: else
	fi;
#endif
	/* B10_FREE */
#ifndef WORDS_KEPT
	STEP(if
	     :: c != 0 && C.writer == me -> C.writer = 0
	     :: else
	     fi);
#endif
	STEP(c = g; map[me] = g; g = 0; rebuilder = 0);
	goto ready;

died:
	atomic {
		slot[me] = false;
		map[me] = 0;
		if :: rebuilder == me -> rebuilder = 0 :: else fi
	};
done:
	atomic { c = 0; g = 0; seq = 0; i = 0; live = false }
}

/* A handle that was opened long ago begins a new snapshot. */
active proctype Reader()
{
	byte c, start;

	/* One that cannot map control reads the log; see C6. */
end_reader:
	atomic { SOUND(name) -> c = name };
	start = newest;
	/* R0_LINKED: has it lost its name?  Then it is opened anew, and if
	 * there is none, or none of ours, this is no answer; see C6.  A
	 * retired one that has its name will do: nothing was acknowledged
	 * elsewhere yet. */
	atomic {
		if
#ifdef READER_NO_LINK
		:: ctl[c].retired -> c = name
#else
		:: name != c -> c = name
#endif
		:: else
		fi
	};
	/* R1_VISIBLE */
	atomic {
		assert(!OURS(c) || ctl[c].visible >= start);
		c = 0;
		start = 0
	}
}

active proctype Trouble()
{
	if
	:: name = 0				/* rm -r shm */
	:: d_step { name = gens; gens++;	/* tar -x over it */
		ctl[name].copy = true; ctl[name].boot = 1;
		ctl[name].writer = 1 }
	:: atomic { name != 0 -> ctl[name].failed = true }	/* EIO */
	:: true
	fi
}

init {
	byte k;
	atomic {
		if
		:: true			/* nothing there: a copy, say */
		:: gens++; name = 1; ctl[1].boot = 1;
			if
			:: true
			:: ctl[1].writer = NOBODY; ctl[1].writing = true;
				ctl[1].off = 1; cell[1] = TORN
			fi
		:: gens++; name = 1; ctl[1].boot = OTHER;
			ctl[1].writer = 1	/* a number, no longer a life */
		fi;
		for (k : 1 .. WRITERS) {
			run Writer(k)
		}
		k = 0
	}
}
