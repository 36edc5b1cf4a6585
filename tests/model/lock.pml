/*
 * lock: a lock word that names its owner's slot, and owners that die.
 *
 * A slot is a byte that its owner keeps locked while it lives; the kernel
 * unlocks it at death, and a newcomer may then take the same slot.  Explored:
 * mutual exclusion (P2) and that somebody can always go on (P5).
 *
 * Broken variants:
 *   GETLK	ask whether the byte is locked, then swap the word: between
 *		the two a newcomer takes the slot and, rightly, the word
 *   HAUNTED	GETLK, and a newcomer whose slot a word names takes another
 *   OWN_SLOT	who finds its own slot's number in the word waits for it
 */
#ifdef HAUNTED
#define GETLK
#endif
#define PROCS	3
#define SLOTS	3
#ifndef KILLS
#define KILLS	2
#endif

byte word;		/* 0: free, else a slot */
byte locked[SLOTS + 1];	/* who locked the byte of a slot; 0: nobody */
byte kills = KILLS;
byte inside;

/* One step of a process, which may be its last. */
#define STEP(x) atomic { x; if :: true :: kills > 0 -> kills--; goto died fi }

#ifdef GETLK
#define unprobe(s) skip
#else
#define unprobe(s) locked[s] = 0
#endif

proctype Writer(byte me)
{
	byte slot, seen;
	bool in = false;

again:
	/* L0_SLOT: any byte that is not locked; who finds none tries later */
	atomic {
		if
		:: locked[1] == 0 -> slot = 1
		:: locked[2] == 0 -> slot = 2
		:: locked[3] == 0 -> slot = 3
		fi;
		locked[slot] = me
	};
#ifdef HAUNTED
	STEP(if
	     :: word == slot -> locked[slot] = 0; goto again
	     :: else
	     fi);
#endif
try:
	/* L1_TAKE */
	STEP(seen = word; if :: seen == 0 -> word = slot :: else fi);
	if
	:: seen == 0 -> goto owner
	:: else
	fi;
	if
#ifndef OWN_SLOT
	/* L2_HEIR: nobody else can own the word: its owner is dead. */
	:: atomic { seen == slot && word == seen -> word = slot }
#endif
#ifdef GETLK
	/* L2_ASK */
	:: atomic { seen != slot && locked[seen] == 0 -> skip };
#else
	/* L2_PROBE: while the dead owner's byte is ours, nobody gets that
	 * slot, so the word cannot be taken again under the same number. */
	:: atomic { seen != slot && locked[seen] == 0 -> locked[seen] = me };
#endif
		STEP(skip);
		/* L3_SWAP */
		STEP(if
		     :: word == seen -> word = slot
		     :: else -> unprobe(seen); goto try
		     fi);
		/* L4_UNPROBE */
		STEP(unprobe(seen))
	:: atomic { word != seen -> goto try }
	fi;
owner:
	STEP(inside++; in = true; assert(inside == 1));
	STEP(inside--; in = false);
	/* L5_FREE: an exchange; nobody else may free the word */
	STEP(assert(word == slot); word = 0);
	locked[slot] = 0;
	goto done;

died:
	/* The kernel unlocks all bytes; another process starts. */
	atomic {
		if :: in -> inside--; in = false :: else fi;
		if :: locked[1] == me -> locked[1] = 0 :: else fi;
		if :: locked[2] == me -> locked[2] = 0 :: else fi;
		if :: locked[3] == me -> locked[3] = 0 :: else fi;
		slot = 0;
		seen = 0;
		goto again
	};
done:
	skip
}

init {
	atomic {
		byte i;
		for (i : 1 .. PROCS) {
			run Writer(i)
		}
	}
}
