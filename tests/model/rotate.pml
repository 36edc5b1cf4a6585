/*
 * rotate: the log goes on in a second segment, beside leaders that sync,
 * readers, deaths at every step, and loss of power.
 *
 * At every moment the power may fail: of what is not synced any cell may be
 * as it was, as it is, or torn, and names and headers may be missing.  What
 * recovery then makes of it is computed, and it must be the log at least up
 * to the last acknowledged commit (P1) and never be taken for damage (P6).
 * Also: a reader at `visible` finds that very commit (P2, P9); somebody can
 * always go on (P5).
 *
 * Broken variants:
 *   LEADER_ACTIVE_FIRST	a leader loads `active` before `appended`
 *   READER_ACTIVE_FIRST	a reader loads `active` before `visible`
 *   NO_SYNC		the old segment is not synced at all (A2)
 *   HEADER_FIRST	the new segment is made before the old is synced (A2)
 *   NO_DIRSYNC		the new segment's name is not synced
 *   SEAL_UNMARKED	`writing` is not set while sealing and rotating (A3)
 *   MARK_SHORT		`writing` is cleared once the seal is written
 *   ACTIVE_LATE	`active` after the first record of the new segment
 *   REPAIR_SHORT	who finds that the tail has moved does not store `active`
 */
#ifndef WRITERS
#define WRITERS	3
#endif
#ifndef KILLS
#define KILLS	1
#endif
#define CELLS	(WRITERS + 1)	/* of a segment: records and a seal */
#define ZERO	0
#define TORN	1
#define SEAL	2
#define REC	2		/* REC + n: the record of sequence n */
#define AT(s, i) ((s) * CELLS + (i))

/* Segments 0 and 1: as the kernel has them, and on disk. */
byte cell[2 * CELLS], disk[2 * CELLS];
bool named, named_disk;		/* does segment 1 exist */
bool head, head_disk;		/* and its header */

bool idx[2 * (WRITERS + 1)];	/* in the index of which segment */
#define IDX(s, n) idx[(s) * (WRITERS + 1) + (n)]

byte writer, syncer;
mtype = { nothing, record, sealing };
mtype writing = nothing;
byte off, mark_seg;	/* where: which segment */
byte tail_seg, tail_off, tail_seq;	/* change in one store */
/* `newest` is `active` in control: a keyword here. */
byte newest, appended, synced, visible;
bool dead[WRITERS + 1];
byte kills = KILLS;
byte acked;

#define STEP(x) atomic { x; if :: true :: kills > 0 -> kills--; goto died fi }
#define RAISE(a, b) a = ((a) > (b) -> (a) : (b))

inline fdatasync(s)
{
	i = 0;
	do
	:: i == CELLS -> break
	:: i < CELLS -> disk[AT(s, i)] = cell[AT(s, i)]; i++
	od;
	i = 0;
	if
	:: s == 1 -> head_disk = head
	:: else
	fi
}

inline sync_lock()
{
	if
	:: syncer == 0 || dead[syncer] -> dead[syncer] = false; syncer = me
	:: syncer != 0 && !dead[syncer] -> skip	/* by itself: B6 */
	fi
}

inline sync_unlock()
{
	if :: syncer == me -> syncer = 0 :: else fi
}

proctype Writer(byte me)
{
	byte seq, end, i, seg;

	/* W1_LOCK */
	STEP(writer == 0 || dead[writer]; dead[writer] = false; writer = me);
	if
	:: writing == record ->
		if
		:: cell[AT(tail_seg, off)] > REC ->
			STEP(seq = cell[AT(tail_seg, off)] - REC;
			     IDX(tail_seg, seq) = true);
			STEP(if
			     :: tail_seq < seq -> tail_off++; tail_seq = seq
			     :: else
			     fi);
			STEP(RAISE(appended, seq); seq = 0)
		:: cell[AT(tail_seg, off)] <= TORN ->
			STEP(cell[AT(tail_seg, off)] = ZERO)
		fi;
		STEP(writing = nothing; off = 0)
	:: writing == sealing ->
		if
		:: tail_seg == mark_seg -> goto seal	/* all over again */
		:: tail_seg != mark_seg ->
#ifndef REPAIR_SHORT
			STEP(newest = tail_seg);
#endif
			STEP(writing = nothing; off = 0; mark_seg = 0)
		fi
	:: writing == nothing
	fi;
	/* Room for the record, or not. */
	if
	:: true -> goto append
	:: tail_seg == 0 && tail_off > 0
	fi;

	/* T1_MARK */
#ifndef SEAL_UNMARKED
	STEP(off = tail_off; mark_seg = tail_seg; writing = sealing);
#endif
seal:
	/* T2_SEAL */
	STEP(if
	     :: cell[AT(tail_seg, tail_off)] != SEAL ->
		cell[AT(tail_seg, tail_off)] = TORN
	     :: else	/* the same bytes */
	     fi);
	STEP(cell[AT(tail_seg, tail_off)] = SEAL);
#ifdef MARK_SHORT
	STEP(writing = nothing; off = 0);
#endif
	/* T3_SYNC: as a leader does, S1_LOCK to S6_UNLOCK */
#ifdef HEADER_FIRST
	STEP(named = true);
	STEP(head = true);
#endif
#ifndef NO_SYNC
	STEP(sync_lock());
	STEP(fdatasync(tail_seg));
	STEP(RAISE(visible, appended));
	STEP(RAISE(synced, appended));
	STEP(sync_unlock());
#endif
	/* T4_CREATE: what a dead writer left of it is made again */
	STEP(named = true);
	STEP(head = true);
	STEP(fdatasync(1));
#ifndef NO_DIRSYNC
	STEP(named_disk = named);
#endif
	/* T5_TAIL, T6_ACTIVE, T7_CLEAR */
	STEP(tail_seg = 1; tail_off = 0);
#ifndef ACTIVE_LATE
	STEP(newest = 1);
#endif
	STEP(writing = nothing; off = 0; mark_seg = 0);

append:
	/* W2_MARK */
	STEP(seq = tail_seq + 1; off = tail_off; writing = record);
	/* W3_APPEND */
	STEP(cell[AT(tail_seg, off)] = TORN);
	STEP(cell[AT(tail_seg, off)] = REC + seq);
	/* W4_INSERT */
	STEP(IDX(tail_seg, seq) = true);
	/* W5_TAIL, W5_APPENDED */
	STEP(tail_off++; tail_seq = seq);
	STEP(appended = seq);
#ifdef ACTIVE_LATE
	STEP(newest = tail_seg);
#endif
	/* W6_CLEAR, W7_UNLOCK */
	STEP(writing = nothing; off = 0);
	STEP(writer = 0);

	/* S1_LOCK */
	STEP(sync_lock());
	if
	:: synced < seq ->
		/* S2_END, S2_OPEN */
#ifdef LEADER_ACTIVE_FIRST
		STEP(seg = newest);
		STEP(end = appended);
#else
		STEP(end = appended);
		STEP(seg = newest);
#endif
		STEP(fdatasync(seg); seg = 0);	/* S3_SYNC */
		STEP(RAISE(visible, end));	/* S4_PUBLISH */
		STEP(RAISE(synced, end); end = 0)
	:: else
	fi;
	STEP(sync_unlock());			/* S6_UNLOCK */
	atomic { RAISE(acked, seq); assert(visible >= seq); goto done };
died:
	dead[me] = (writer == me || syncer == me);
done:
	atomic { seq = 0; end = 0; i = 0; seg = 0 }
}

/* Searches the newest segment's index, then the older one's. */
inline search(s, v)
{
	assert(v == 0 || IDX(0, v) || (s == 1 && IDX(1, v)))
}

active proctype Reader()
{
	byte v;
	do
#ifdef READER_ACTIVE_FIRST
	:: v = 1 + newest; search(v - 1, visible); v = 0
#else
	:: v = visible;				/* R1_VISIBLE */
	   atomic { search(newest, v); v = 0 }	/* R2_ACTIVE, R3_SEARCH */
#endif
	od
}

inline survives(was, is, now)
{
	if
	:: was == is -> now = is
	:: was != is -> now = was
	:: was != is -> now = is
	:: was != is -> now = TORN
	fi
}

active proctype Outage()
{
	byte i, now, last;
	bool sealed, has, whole;

	do
	:: atomic {
		/* Segment 0: records in order, perhaps a seal. */
		do
		:: survives(disk[AT(0, i)], cell[AT(0, i)], now);
		   if
		   :: now == REC + last + 1 -> last++; i++
		   :: now == SEAL -> sealed = true; break
		   :: else -> break
		   fi
		od;
		/* Segment 1: a name, a header? */
		if
		:: named_disk -> has = true
		:: named && !named_disk -> has = true
		:: !named_disk -> has = false
		fi;
		if
		:: has && head_disk -> whole = true
		:: has && head && !head_disk -> whole = true
		:: !has || !head_disk -> whole = false
		fi;
		/* One with a successor must be sealed. */
		assert(!has || sealed);
		i = 0;
		if
		:: whole ->
			do
			:: survives(disk[AT(1, i)], cell[AT(1, i)], now);
			   if
			   :: now == REC + last + 1 -> last++; i++
			   :: else -> break
			   fi
			od
		:: else
		fi;
		assert(last >= acked);
		i = 0; now = 0; last = 0;
		sealed = false; has = false; whole = false
	   }
	od
}

init {
	atomic {
		byte k;
		for (k : 1 .. WRITERS) {
			run Writer(k)
		}
	}
}
